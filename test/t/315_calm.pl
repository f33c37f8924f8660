# Nothing automatic soon after a start, longer after a crash, and during a declared migration; then it is healed.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('calm');
app_role($node);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);

# The fault is there soon after the start; it is seen, and healed when the time is over, not before.
sub calm
{
	my ($name, $rule, $id, $seconds, $why) = @_;
	healer_back($node, "$name: pg_heal is back");
	my $f = blocker($node, setup => 0, id => $id);
	my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', "$name: the fault is seen", "subject LIKE 'pid $f->{pid} %'");
	like(gate_refused($node, $i, $rule, $name), $why, "$name: the rule says why");
	$i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', "$name: healed afterwards", "incident_id = $i->{incident_id}");
	is( $node->safe_psql('postgres',
			"SELECT count(*), min(started_at) >= pg_postmaster_start_time() + '$seconds s', outcome FROM heal_history WHERE incident_id = $i->{incident_id} GROUP BY outcome"),
		'1|t|healed', "$name: in one attempt, $seconds s after the start");
	cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM i.opened_at - pg_postmaster_start_time()) FROM heal_incidents i WHERE incident_id = $i->{incident_id}"),
		'<', $seconds, "$name: though it was seen before");
	leave($f->{blocker}, $f->{victim});
	return;
}

$node->append_conf('postgresql.conf', "pg_heal.calm_period = 12s\n");
$node->restart;
calm('after a start', 'calm_period', 1, 12, qr/is \d+ s ago, less than 12 s/);
$node->append_conf('postgresql.conf', "pg_heal.calm_period = 7s\n");
$node->stop('immediate');
$node->start;
calm('after a crash', 'server_crash', 2, 14, qr/crash recovery is \d+ s ago, less than 14 s/);

# A migration declares itself by its application's name.
my $migration = session($node, 'postgres', user => 'app', app => 'pg_heal_migration');
my $f = blocker($node, setup => 0, id => 3);
my $w = watch($node);
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', 'migration: the fault is seen', "subject LIKE 'pid $f->{pid} %'");
is(gate_refused($node, $i, 'migration', 'migration'), 'a migration is declared', 'migration: the rule says why');
settle($node, 6);
left_alone($node, $w, 'migration');
leave($migration);
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'migration: healed when it is over', "incident_id = $i->{incident_id}");
leave($f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
