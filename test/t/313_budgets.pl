# Budgets: few sessions a round, few actions a minute; who is active, in a transaction or of another application stays.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('budgets', conf => "pg_heal.policy = conservative\nmax_connections = 60\nautovacuum = off\n");
app_role($node, 'web');
threshold($node, 'connection_exhaustion', used => 0.8, clear => 0.6, leak_share => 0.05, leak_idle_s => 1, quiet_s => 1);
my $slots = 57;    # of ordinary roles

# Before the leak: what is usual.
my @web = map { session($node, 'postgres', user => 'web', app => 'web') } 1 .. 6;
settle($node, 8);
my $active = app($node, app => 'leaky');
busy($active, 'SELECT pg_sleep(600)');
my $working = app($node, app => 'leaky');
$working->query_safe('BEGIN; UPDATE app_t SET v = 1 WHERE id = 1');

# The leak, well above the limit.
my $w = watch($node);
my @leak = map { app($node, app => 'leaky') } 1 .. 42;
sub leaked { return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leaky' AND state = 'idle'"); }
my $i = wait_incident($node, 'connection_exhaustion', 'executing|verifying', 'the leak is seen and dealt with');
is($i->{root_cause}, 'connection_leak', 'root cause is named');

# Five actions a minute, then it waits although the incident is open.
my $targets = "heal_audit a, jsonb_array_elements(a.detail -> 'targets') WHERE a.actor = 'pg_heal' AND a.outcome = 'started'";
wait_value($node, "SELECT count(*) >= 4 FROM $targets", 't', 'it acts');
my $actions = $node->safe_psql('postgres', "SELECT count(*) FROM $targets");
settle($node, 12);
is($node->safe_psql('postgres', "SELECT count(*) FROM $targets"), $actions, 'after these it waits');
is($node->safe_psql('postgres', "SELECT max(n) <= 5 FROM (SELECT count(*) OVER (ORDER BY at RANGE BETWEEN '59 seconds' PRECEDING AND CURRENT ROW) AS n FROM $targets) b"), 't', 'never more than five actions in a minute');
is($node->safe_psql('postgres', "SELECT max(jsonb_array_length(detail -> 'targets')) FROM heal_audit WHERE outcome = 'started'"), '2', 'never more than 5 % of the sessions in a round');
is(incident($node, 'connection_exhaustion')->{state}, 'verifying', 'the incident is open meanwhile');
like(gate_refused($node, $i, 'budget_minute', 'budget of a minute'), qr/6 of at most 5 actions in a minute/, 'and the rule says why');
left_alone($node, $w, 'budget of a minute', attempts => qr/terminate_idle_leak [^,]+/, critical => qr/connection_exhaustion [^,]+/, signals => $actions);

# A pause stops the next round as well, whatever the budget.
$node->safe_psql('postgres', "SELECT heal_pause('enough')");
$node->safe_psql('postgres', "ALTER SYSTEM SET pg_heal.policy = 'aggressive'");
$node->reload;
settle($node, 6);
is($node->safe_psql('postgres', "SELECT count(*) FROM $targets"), $actions, 'paused between two rounds: no further one');
$node->safe_psql('postgres', 'SELECT heal_resume()');

# With a larger budget it goes on, down to the limit and no further.
$i = wait_incident($node, 'connection_exhaustion', 'resolved', 'with a larger budget: healed');
is($i->{outcome}, 'healed', 'with a larger budget: proven');
my $left = $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
cmp_ok($left, '<=', 0.6 * $slots + 1, 'down to the limit');
cmp_ok($left, '>=', 0.6 * $slots - 5, 'and not much further');
my $ended = signals($node, $w->{log});
is($node->safe_psql('postgres', "SELECT sum(jsonb_array_length(detail -> 'targets')) FROM heal_audit WHERE outcome = 'started'"), $ended, 'each session ended is in the audit');
left_alone($node, $w, 'innocent sessions', attempts => qr/terminate_idle_leak [^,]+ healed/, critical => qr/connection_exhaustion [^,]+/, signals => $ended);
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'web'"), '6', 'the other application has all its sessions');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
leave(@web, @leak, $active, $working);
log_ends_well($node);
done_testing();
