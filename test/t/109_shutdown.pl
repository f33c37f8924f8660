# Every kind of shutdown ends well, also in the middle of work: the log says so, and nothing crashed.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = heal_node('primary', conf => "pg_heal.inspect_interval = 1s\nlogging_collector = off\n");

sub ends_well
{
	my ($name) = @_;
	my $log = slurp_file($node->logfile);
	like($log, qr/database system is shut down\s*\z/, "$name: the log ends with a shutdown");
	unlike($log, qr/terminated by signal (?:6|11)|PANIC|TRAP:/, "$name: nothing crashed");
	return;
}

for my $mode (qw(smart fast immediate))
{
	my $start = time();
	$node->stop($mode);
	cmp_ok(time() - $start, '<', 10, "$mode: at once");
	ends_well($mode);
	$node->start;
	reports($node, "$mode: pg_heal is back");
}

# right after the start, before anything has settled
for my $mode (qw(fast smart immediate fast))
{
	$node->stop($mode);
	ends_well("early $mode");
	$node->start;
}
reports($node);

# while an action runs
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
my $start = time();
$node->stop('fast');
cmp_ok(time() - $start, '<', 10, 'fast with a running action: at once');
ends_well('fast with a running action');
leave($holder);
$node->start;
reports($node);
wait_value($node, "SELECT count(*) FROM heal_history WHERE state <> 'finished'", '0', 'its attempt is closed after the restart');

# a single-user server with the library loaded
$node->stop;
my ($out, $err) = ('', '');
my $in = "SELECT detail FROM heal_status;\nSELECT heal_pause('x');\n";
IPC::Run::run([ 'postgres', '--single', '-D', $node->data_dir, 'postgres' ], '<', \$in, '>', \$out, '2>', \$err);
like($out, qr/launcher has not started/, 'single-user mode: heal_status says that nothing runs');
like($err, qr/ERROR:.*worker is not running/, 'single-user mode: a request is refused');
unlike($err, qr/FATAL|PANIC|signal/, 'single-user mode: nothing crashes');
$node->start;
reports($node);
log_ends_well($node);
done_testing();
