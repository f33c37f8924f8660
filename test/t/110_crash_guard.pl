# A healer that crashes again and again: after two crashes it only observes, after three it stays down and says so.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', conf => "pg_heal.inspect_interval = 1s\n");
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t SELECT i, 0 FROM generate_series(1, 9) i; GRANT ALL ON app_t TO app');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);

# crashes of others are not its own
my $offset;
for my $n (1 .. 3)
{
	my $session = session($node);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$offset = -s $node->logfile;
	kill('KILL', $pid);
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	leave($session);
	reports($node, "after crash $n of somebody else it works");
}

# the first crash: it comes back and acts
crash_worker($node, 'healer', 'SEGV');
reports($node, 'after the first crash it is back');
my $f = blocker($node, setup => 0, no_threshold => 1, id => 1);
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'after the first crash it acts');
leave($f->{blocker}, $f->{victim});

# the second in a row, now of a worker in the middle of an action: it observes
$node->safe_psql('postgres', q{
	CREATE TABLE slow_t (id int, a int) WITH (autovacuum_enabled = off);
	CREATE FUNCTION slow(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
		BEGIN PERFORM pg_catalog.pg_advisory_xact_lock_shared(4711); RETURN a; END $$;
	CREATE INDEX slow_i ON slow_t (slow(a));
	INSERT INTO slow_t SELECT i, i FROM generate_series(1, 1000) i;});
my $holder = session($node);
$holder->query_safe('SELECT pg_advisory_lock(4711)');
threshold($node, 'stale_statistics', min_rows => 100);
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal action' AND wait_event = 'advisory'", '1', 'an action is running');
crash_worker($node, 'action', 'SEGV');
leave($holder);
reports($node, 'after the second crash it is back');
$f = blocker($node, setup => 0, no_threshold => 1, id => 2);
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', 'after the second it sees a failure', "state <> 'resolved'");
settle($node, 6);
ok(alive($node, $f->{pid}), 'and only observes');
like($node->safe_psql('postgres', "SELECT heal_explain($i->{incident_id})"), qr/healer crashed/, 'and the explanation says why');
leave($f->{blocker}, $f->{victim});

# the third: it stays down
$offset = crash_worker($node, 'healer', 'SEGV');
$node->wait_for_log(qr/healer is not started: it stays down after 3 crashes in a row/, $offset);
like(log_since($node, $offset), qr/HINT:.*pg_heal.enabled/, 'the log says how to start it again');
wait_value($node, "SELECT state || ' ' || (detail ~ 'stays down after 3 crashes') FROM heal_status WHERE component = 'healer'", 'unknown true', 'heal_status says so');
is(worker_pid($node, 'healer'), '', 'there is no healer');
refused($node, "SELECT heal_pause('x')", '55000', undef, 'a request is refused');
$node->reload;
$node->safe_psql('postgres', 'SELECT 1');
is(worker_pid($node, 'healer'), '', 'a reload alone does not start it');
is(count_log($node, qr/WARNING:.*stays down/, $offset), 1, 'it is said once');

# a restart of the server does not forget it
$node->restart;
wait_value($node, "SELECT detail ~ 'stays down' FROM heal_status WHERE component = 'healer'", 't', 'after a restart of the server it still stays down');

# off and on is the way out
setting($node, 'pg_heal.enabled', 'off');
wait_value($node, "SELECT detail FROM heal_status WHERE component = 'healer'", 'pg_heal.enabled is off', 'off');
setting($node, 'pg_heal.enabled', undef);
reports($node, 'off and on starts it again');
$f = blocker($node, setup => 0, no_threshold => 1, id => 3);
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'and it acts', "subject IN (SELECT subject FROM heal_incidents ORDER BY incident_id DESC LIMIT 1)");
leave($f->{blocker}, $f->{victim});

$node->stop;
my $log = slurp_file($node->logfile);
like($log, qr/database system is shut down\s*\z/, 'the log ends with a clean shutdown');
my @crashes = $log =~ /terminated by signal (?:6|11)/g;
is(scalar @crashes, 3, 'no crash but the three made here');
done_testing();
