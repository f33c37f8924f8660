# Left alone: who is idle in a transaction and blocks nobody, a long harmless query, a working lock holder, a superuser.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('sessions');
app_role($node);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);
$node->safe_psql('postgres', 'CREATE ROLE dba LOGIN SUPERUSER');

# Idle in a transaction, with a row and a snapshot, wanted by nobody; once more after an error.
my $idle = app($node);
$idle->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE app_t SET v = 1 WHERE id = 1');
my $aborted = app($node);
$aborted->query('BEGIN; UPDATE app_t SET v = 1 WHERE id = 2; SELECT 1 / 0');

# A query that takes long, and one that makes others wait: both at work.
my $report = app($node);
busy($report, 'SELECT sum(v), pg_sleep(600) FROM app_t');
my $batch = app($node);
busy($batch, 'BEGIN; UPDATE app_t SET v = 1 WHERE id = 3; SELECT pg_sleep(600)');
my $behind = app($node);
waiter($node, $behind, 'UPDATE app_t SET v = 2 WHERE id = 3', 'somebody waits for the batch');

my $w = watch($node);
is(scalar @{ $w->{sessions} }, 5, 'five sessions are watched');
settle($node, 10);
left_alone($node, $w, 'idle, long and working sessions');
# CREATE ROLE ... SUPERUSER above is rightly noted; nothing else is.
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_incidents WHERE failure_type <> 'privilege_escalation')), '0', 'nothing is taken for a failure at all');

# The very failure, but the holder is a superuser: a person is told, nobody is ended.
my $super = session($node, 'postgres', user => 'dba');
my $super_pid = $super->query_safe('SELECT pg_backend_pid()');
$super->query_safe('BEGIN; UPDATE app_t SET v = 9 WHERE id = 4');
my $victim = app($node);
my $victim_pid = waiter($node, $victim, "UPDATE app_t SET v = 10 WHERE id = 4", 'somebody waits for the superuser');
$w = watch($node);
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned|escalated', 'the superuser as blocker is an incident', "subject LIKE 'pid $super_pid %'");
is($i->{severity}, 'warning', 'a warning, not more');
my $r = wait_recommendation($node, $i->{incident_id}, 'terminate_idle_blocker', 'open', 'it is recommended, not done');
like(gate_refused($node, $i, 'protected_superuser', 'superuser'), qr/pid $super_pid belongs to a superuser/, 'the rule names the session');
settle($node, 8);
left_alone($node, $w, 'superuser');
refused($node, "SELECT heal_approve($r->{recommendation_id})", '55000', '', 'superuser: not by an approval either');
refused($node, "SELECT heal_execute($i->{incident_id}, 'terminate_idle_blocker')", '55000', '', 'superuser: nor by hand');
settle($node, 2);
left_alone($node, $w, 'superuser, after the refusals');

# The owner may allow it, and then it is done: everything but the rule was there.
$node->safe_psql('postgres', "SELECT heal_set_policy('role', 'dba', 'allow', 'superusers')");
$i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'allowed by policy: healed', "incident_id = $i->{incident_id}");
is($i->{outcome}, 'healed', 'allowed by policy: proven');
ok(!alive($node, $super_pid), 'allowed by policy: the superuser\'s session is ended');
wait_value($node, "SELECT state FROM pg_stat_activity WHERE pid = $victim_pid", 'idle', 'its victim went on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '1', 'and nothing else was ever done');

$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
leave($idle, $aborted, $report, $batch, $behind, $super, $victim);
log_ends_well($node);
done_testing();
