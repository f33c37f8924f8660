# Left alone: indexes that are invalid because they are being built, beside one that really is left over.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('index_build', conf => "pg_heal.inspect_interval = 1s\n");
app_role($node);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);
threshold($node, 'ddl_lock_queue', wait_s => 0.3, queue => 1);
$node->safe_psql('postgres', <<'SQL', extra_params => [ '-U', 'app' ]);
CREATE TABLE built (id int, v int); INSERT INTO built SELECT i, i FROM generate_series(1, 100) i;
CREATE TABLE rebuilt (id int PRIMARY KEY, v int); INSERT INTO rebuilt SELECT i, i FROM generate_series(1, 100) i;
SQL

# Work in a transaction that has changed both tables: every concurrent build waits for its end.
my $work = app($node);
my $work_pid = busy($work, 'BEGIN; UPDATE built SET v = 0 WHERE id = 1; UPDATE rebuilt SET v = 0 WHERE id = 1; SELECT pg_sleep(600)');
wait_value($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $work_pid", 'PgSleep', 'a long transaction works');
my ($create, $reindex) = map { app($node) } 1 .. 2;
my @pids = (
	waiter($node, $create, 'CREATE INDEX CONCURRENTLY built_v ON built (v)', 'a concurrent build waits'),
	waiter($node, $reindex, 'REINDEX TABLE CONCURRENTLY rebuilt', 'a concurrent rebuild waits'));
my $invalid = "SELECT string_agg(indexrelid::regclass::text, ' ' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE NOT indisvalid";
wait_value($node, $invalid, 'built_v rebuilt_pkey_ccnew', 'both indexes are invalid meanwhile');

my $w = watch($node);
inspected($node, 4);
left_alone($node, $w, 'live builds');
is($node->safe_psql('postgres', $invalid), 'built_v rebuilt_pkey_ccnew', 'both are there still');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'neither is taken for a failure');

# Beside them an index that a failed build left behind is dropped.
invalid_index($node, 'broken');
my $i = wait_incident($node, 'invalid_index', 'resolved', 'meanwhile the leftover is healed');
is($i->{subject}, 'public.broken', 'it is the leftover');
inspected($node, 2);
left_alone($node, $w, 'live builds beside a leftover', attempts => 'drop_invalid_index public.broken healed');
is($node->safe_psql('postgres', $invalid), 'built_v rebuilt_pkey_ccnew', 'the live ones are there still');

# The long transaction ends, the builds come to their end.
$node->safe_psql('postgres', "SELECT pg_terminate_backend($work_pid)");
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE pid IN ($pids[0], $pids[1]) AND state = 'idle'", '2', 'both builds end');
is($node->safe_psql('postgres', $invalid), '', 'no index is invalid any more');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_index WHERE indrelid IN ('built'::regclass, 'rebuilt'::regclass) AND indisvalid"), '2', 'and both are there');
leave($work, $create, $reindex);
log_ends_well($node);
done_testing();
