# Left alone: old dead rows that do not grow, tables with autovacuum off, statistics that were reset.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;
use Time::HiRes qw(usleep);

my $node = heal_node('tables', conf => "pg_heal.inspect_interval = 1s\nautovacuum = off\n");
app_role($node);

# Half of the rows are dead, from long ago; their statistics are of now.
$node->safe_psql('postgres', <<'SQL', extra_params => [ '-U', 'app' ]);
CREATE TABLE quiet (id int, v int) WITH (autovacuum_enabled = off);
INSERT INTO quiet SELECT i, i FROM generate_series(1, 5000) i;
CREATE INDEX ON quiet (v);
UPDATE quiet SET v = v + 1;
CREATE TABLE parts (id int, v int) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (5000);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (5000) TO (10000);
INSERT INTO parts SELECT i, i FROM generate_series(1, 9999) i;
SQL
# In a session of its own: one counts what it changed when it ends.
$node->safe_psql('postgres', 'ANALYZE quiet; VACUUM ANALYZE parts', extra_params => [ '-U', 'app' ]);
wait_value($node, "SELECT n_dead_tup FROM pg_stat_all_tables WHERE relid = 'quiet'::regclass", '5000', 'there are many dead rows');

# Limits far below what is there.
threshold($node, 'vacuum_starved', min_dead_rows => 500, samples => 2);
threshold($node, 'stale_statistics', min_rows => 500);
threshold($node, 'checkpoint_storm', window_s => 10, min_requested => 1);
threshold($node, 'connection_exhaustion', leak_idle_s => 1);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);
my $w = watch($node);
inspected($node, 4);
left_alone($node, $w, 'old dead rows');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'old dead rows: not taken for a failure');

# All counters fall to zero: no rate is negative, nothing looks stale, lost or idle.
my $reset = q(SELECT pg_stat_reset(), pg_stat_reset_shared('bgwriter'), pg_stat_reset_shared('wal'), pg_stat_reset_shared('archiver'), pg_stat_reset_slru(NULL));
for my $round (1 .. 2)
{
	$node->safe_psql('postgres', $reset);
	inspected($node, 2);
}
left_alone($node, $w, 'statistics reset');
is($node->safe_psql('postgres', 'SELECT string_agg(failure_type || \' \' || subject, \', \') FROM heal_incidents'), '', 'statistics reset: not taken for a failure');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_metrics WHERE unit LIKE '%/s' AND value < 0)), '0', 'statistics reset: no negative rate');
is($node->safe_psql('postgres', "SELECT vacuum_count + analyze_count FROM pg_stat_all_tables WHERE relid = 'quiet'::regclass"), '0', 'neither vacuumed nor analyzed');

# The same table with real churn is healed: it is the growth that counts.
my $i;
for (1 .. 300)
{
	$node->safe_psql('postgres', 'UPDATE quiet SET v = v + 1');
	$i = incident($node, 'vacuum_starved');
	last if $i && $i->{state} =~ /executing|verifying|resolved/;
	usleep(100_000);
}
$i = wait_incident($node, 'vacuum_starved', 'resolved', 'growing dead rows: healed', "subject = 'public.quiet'");
is($i->{outcome}, 'healed', 'growing dead rows: proven');
log_ends_well($node);
done_testing();
