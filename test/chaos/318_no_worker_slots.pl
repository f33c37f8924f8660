# All background worker slots are taken by others: signals still heal, the rest waits and is not lost.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', mode => 'approve',
	conf => "max_worker_processes = 3\nmax_logical_replication_workers = 0\nmax_parallel_workers = 8\npg_heal.retry_delay = 3s\n");
invalid_index($node, 'broken');
my $i = wait_incident($node, 'invalid_index', 'awaiting_approval');
my $f = blocker($node, no_threshold => 1);

# A parallel worker that sleeps keeps the only slot that is left.
my $hog = session($node);
$hog->query_safe('SET force_parallel_mode = on');
my $offset = -s $node->logfile;
my $hogging = wait_until('the last worker slot is taken', sub {
	$hog->query_until(qr/hogging/, "\\echo hogging\nSELECT pg_sleep(600);\n");
	for (1 .. 20)
	{
		return 1 if $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'") eq '1';
	}
	# an inspector was quicker: end the query and try again
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE 'SELECT pg_sleep%'");
	return 0;
});

setting($node, 'pg_heal.mode', 'auto');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
blocker_gone($f, 'a signal needs no worker');
settle($node, 8);
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), '1', 'a remedy that needs one waits');
my $now = incident($node, 'invalid_index');
is($now->{incident_id}, $i->{incident_id}, 'its incident is open');
cmp_ok(count_log($node, qr/WARNING/, $offset), '<=', 4, 'the log is not flooded');

# the slot is given back
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND query LIKE 'SELECT pg_sleep%'");
wait_incident($node, 'invalid_index', 'resolved', 'with a free slot it is healed', "incident_id = $i->{incident_id}");
leave($hog, $f->{blocker}, $f->{victim});

# not even one for the healer
$node->append_conf('postgresql.conf', "max_worker_processes = 1\n");
$offset = -s $node->logfile;
$node->restart;
$node->wait_for_log(qr/healer is not started: no free background worker slot/, $offset);
like(log_since($node, $offset), qr/HINT:.*max_worker_processes/, 'no slot for the healer: the log says what to raise');
like($node->safe_psql('postgres', "SELECT state || ' ' || detail FROM heal_status WHERE component = 'healer'"), qr/^unknown no free background worker slot/, 'and heal_status');
log_ends_well($node);
done_testing();
