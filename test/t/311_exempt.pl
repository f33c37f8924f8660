# Exempt roles, databases and applications are left alone, and so is what a policy lowers; the rest is healed.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('exempt');
app_role($node, 'vip');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);
$node->safe_psql('postgres', 'CREATE DATABASE vault OWNER app');
$node->safe_psql('vault', 'CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t SELECT i, 0 FROM generate_series(1, 100) i; GRANT ALL ON app_t TO app');
$node->safe_psql('postgres', <<'SQL');
SELECT heal_set_policy('role', 'vip', 'exempt', 'on');
SELECT heal_set_policy('database', 'vault', 'exempt', 'on');
SELECT heal_set_policy('application', 'payroll', 'exempt', 'on');
SQL

# The same fault four times: by whom, where and with what.
my %fault = (role => [ 1, 'postgres', 'vip', 'test' ], database => [ 1, 'vault', 'app', 'test' ], application => [ 2, 'postgres', 'app', 'payroll' ]);
my (%holder, %victim, %pid);
sub fault
{
	my ($name, $id, $db, $role, $application) = @_;
	$holder{$name} = session($node, $db, user => $role, app => $application);
	$pid{$name} = $holder{$name}->query_safe('SELECT pg_backend_pid()');
	$holder{$name}->query_safe("BEGIN; UPDATE app_t SET v = 1 WHERE id = $id");
	$victim{$name} = session($node, $db, user => 'app');
	waiter($node, $victim{$name}, "UPDATE app_t SET v = 2 WHERE id = $id", "$name: somebody waits");
	return;
}

sub of { my ($name) = @_; return "subject LIKE 'pid $pid{$name} %'"; }

fault($_, @{ $fault{$_} }) for sort keys %fault;
my $w = watch($node);
my %i = map { $_ => wait_incident($node, 'idle_in_transaction_blocker', 'planned', "exempt $_: seen", of($_)) } sort keys %fault;
settle($node, 8);
left_alone($node, $w, 'exempt');

# Meanwhile one that nobody exempted is healed, and only that one.
fault('none', 3, 'postgres', 'app', 'test');
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'not exempt: healed', of('none'));
is($node->safe_psql('postgres', 'SELECT string_agg(subject, \',\') FROM heal_history'), "pid $pid{none} (app\@postgres)", 'and nobody else was touched');

# By hand neither.
my ($ret, $out, $err) = $node->psql('postgres', "SELECT heal_execute($i{role}{incident_id}, 'terminate_idle_blocker')");
isnt($ret, 0, 'exempt role: not by hand either') or diag($out);
ok(alive($node, $pid{role}), 'exempt role: is there still');

# A lower autonomy for one database: asked for there.
$node->safe_psql('postgres', "SELECT heal_set_policy('database', 'vault', 'autonomy', 'approve'); SELECT heal_set_policy('database', 'vault', 'exempt', NULL)");
wait_incident($node, 'idle_in_transaction_blocker', 'awaiting_approval', 'lowered autonomy: asks', of('database'));
settle($node, 4);
ok(alive($node, $pid{database}), 'lowered autonomy: nothing is done without an answer');

# A remedy that is forbidden for one application.
$node->safe_psql('postgres', "SELECT heal_set_policy('application', 'payroll', 'forbid', 'terminate_idle_blocker'); SELECT heal_set_policy('application', 'payroll', 'exempt', NULL)");
like(gate_refused($node, $i{application}, 'forbidden', 'forbidden remedy'), qr/forbids terminate_idle_blocker/, 'forbidden remedy: the policy is named');
settle($node, 4);
ok(alive($node, $pid{application}), 'forbidden remedy: is there still');

# Without the policies each of them is healed: it was the policy that kept them.
$node->safe_psql('postgres', "SELECT heal_set_policy('role', 'vip', 'exempt', 'off'); SELECT heal_set_policy('database', 'vault', 'autonomy', NULL); SELECT heal_set_policy('application', 'payroll', 'forbid', NULL)");
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', "$_: healed without the policy", of($_)) for sort keys %fault;
leave(values %holder, values %victim);
log_ends_well($node);
done_testing();
