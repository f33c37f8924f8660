# SIGTERM and pg_terminate_backend end any process of pg_heal at any moment; it comes back.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = heal_node('primary', conf => "pg_heal.inspect_interval = 1s\npg_heal.recovery_timeout = 5s\n");
my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

# the healer, with the back-off of one that ends again and again
my $healer = worker_pid($node, 'healer');
my @pause;
for my $n (1 .. 3)
{
	my $start = time();
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
	my $next = wait_worker($node, 'healer', $healer) or last;
	push @pause, time() - $start;
	$healer = $next;
}
note("pauses: @pause");
cmp_ok($pause[0], '<', 3, 'the first time it is back within three seconds');
cmp_ok($pause[2], '>', $pause[0] + 1, 'each time later');
reports($node, 'the healer works again');

# a reload forgets the back-off
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
wait_gone($node, $healer);
$node->reload;
my $start = time();
$healer = wait_worker($node, 'healer', $healer);
cmp_ok(time() - $start, '<', 5, 'a reload starts it at once');
reports($node);

# who waits for an answer is told
my $asking = session($node);
my $blocked = session($node);
$node->safe_psql('postgres', 'CREATE TABLE held (id int PRIMARY KEY)');
my $snapshot = $node->safe_psql('postgres', "SELECT heal_snapshot('before')");
$node->safe_psql('postgres', 'ALTER TABLE held SET (autovacuum_vacuum_scale_factor = 0.01)');
$blocked->query_safe('BEGIN; LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE');
$asking->query_until(qr/asked/, "\\echo asked\n\\set VERBOSITY verbose\nSELECT item, status FROM heal_rollback($snapshot);\n\\echo answered\n");
my $action = wait_worker($node, 'action');
kill('TERM', $healer);
$asking->query_until(qr/answered/, '');
like($asking->{stderr}, qr/57P01/, 'a request that waits fails with 57P01 when the healer ends');
wait_gone($node, $action, 'the worker of a healer that ends is ended with it');
leave($asking, $blocked);
$healer = wait_worker($node, 'healer', $healer);
wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'success', 'the roll-back that was cut short is finished');
is($node->safe_psql('postgres', "SELECT reloptions FROM pg_class WHERE relname = 'held'"), '', 'the option is gone');

# inspectors: the next one does the work
my $ended = 0;
my $offset = -s $node->logfile;
my $hunter = session($node);
my $deadline = time() + $HealNode::timeout;
while ($ended < 3 && time() < $deadline)
{
	for my $pid (split /\n/, $hunter->query_safe("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_heal inspector'"))
	{
		$ended += kill('TERM', $pid);
	}
	usleep(1_000);
}
leave($hunter);
cmp_ok($ended, '>=', 3, 'inspectors were ended');
is(worker_pid($node, 'healer'), $healer, 'the healer does not mind');
invalid_index($node, 'broken');
wait_incident($node, 'invalid_index', 'resolved', 'the next inspectors see everything');

# an action worker: the attempt is judged, not lost
$node->safe_psql('postgres', q{
	CREATE TABLE slow_t (id int, a int) WITH (autovacuum_enabled = off);
	CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
		BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711); RETURN a; END $$;
	CREATE INDEX slow_i ON slow_t (slow(a));
	INSERT INTO slow_t SELECT i, i FROM generate_series(1, 1000) i;});
my $holder = session($node);
$holder->query_safe('SELECT pg_advisory_lock(4711)');
threshold($node, 'stale_statistics', min_rows => 100);
$action = wait_until('ANALYZE runs and waits',
	sub { $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_heal action' AND wait_event = 'advisory'") });
my $incident = incident($node, 'stale_statistics');
is($incident->{state}, 'executing', 'its incident is executing');
kill('TERM', $action);
wait_gone($node, $action, 'the action worker ends at once');
leave($holder);
$incident = wait_incident($node, 'stale_statistics', 'resolved|escalated|closed_itself', 'its incident goes on', "incident_id = $incident->{incident_id}");
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE incident_id = $incident->{incident_id} AND state <> 'finished'"), '0',
	'no attempt stays open');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE incident_id = $incident->{incident_id} AND attempt_no = 1 AND outcome = 'healed'"), '0',
	'the attempt that was cut short is not called healed');

# the launcher: the postmaster brings it back after ten seconds, with a healer; never two
my $launcher = worker_pid($node, 'launcher');
$healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($launcher)");
wait_gone($node, $healer, 'the healer ends with the launcher');
wait_worker($node, 'launcher', $launcher);
wait_worker($node, 'healer', $healer);
reports($node, 'the new pair works');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'"), '1', 'there is one healer');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster, 'the server ran all the time');

log_ends_well($node);
done_testing();
