# In limited mode a component marked critical is asked for, the others are healed.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('critical', mode => 'limited', conf => "pg_heal.inspect_interval = 1s\nautovacuum = off\n");
app_role($node);
$node->safe_psql('postgres', "SELECT heal_set_policy('component', 'locks', 'critical', 'on')");
threshold($node, 'ddl_lock_queue', wait_s => 0.3, queue => 1);
threshold($node, 'stale_statistics', min_rows => 500);
$node->safe_psql('postgres', 'CREATE TABLE orders (id int); ALTER TABLE orders OWNER TO app; CREATE TABLE stale (id int); ANALYZE stale');

# Class A1 both: a queue behind a schema change, and a table without statistics.
my ($report, $deploy, $reader) = map { app($node) } 1 .. 3;
$report->query_safe('BEGIN; SELECT count(*) FROM orders');
busy($report, 'SELECT pg_sleep(600)');
waiter($node, $deploy, 'ALTER TABLE orders ADD COLUMN note text', 'a schema change waits');
busy($reader, 'SELECT count(*) FROM orders');
$node->safe_psql('postgres', 'INSERT INTO stale SELECT generate_series(1, 5000)');
my $w = watch($node);
my $i = wait_incident($node, 'ddl_lock_queue', 'awaiting_approval', 'critical: asks');
is(gate_refused($node, $i, 'critical', 'critical'), 'marked critical by policy', 'critical: the rule says why');
my $r = wait_recommendation($node, $i->{incident_id}, 'cancel_waiting_ddl', 'waiting', 'critical: it is asked for');
is($r->{risk_class}, 'A1', 'critical: though it is of class A1');
wait_incident($node, 'stale_statistics', 'resolved', 'not critical: healed without asking', "subject = 'public.stale'");
settle($node, 6);
left_alone($node, $w, 'critical', attempts => 'analyze_table public.stale healed', critical => 'ddl_lock_queue public.orders');

# Approved it is done; without the mark it needs no approval.
decide($node, $r);
wait_incident($node, 'ddl_lock_queue', 'resolved', 'approved: healed', "incident_id = $i->{incident_id}");
$node->safe_psql('postgres', "SELECT heal_set_policy('component', 'locks', 'critical', 'off')");
my ($again, $second) = map { app($node) } 1 .. 2;
waiter($node, $again, 'ALTER TABLE orders ADD COLUMN note text', 'a schema change waits again');
busy($second, 'SELECT count(*) FROM orders');
wait_incident($node, 'ddl_lock_queue', 'resolved', 'not critical any more: healed without asking', "incident_id > $i->{incident_id}");
is($node->safe_psql('postgres', "SELECT string_agg(mode, ' ' ORDER BY attempt_id) FROM heal_history WHERE remedy = 'cancel_waiting_ddl'"), 'approve limited', 'and the history tells them apart');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
leave($report, $deploy, $reader, $again, $second);
log_ends_well($node);
done_testing();
