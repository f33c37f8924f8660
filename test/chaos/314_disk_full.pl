# The disk of the data directory is full: seeing, deciding and acting go on, the tables catch up afterwards.
use strict;
use warnings;

# A small file system of our own needs a name space where we may mount one;
# before any module takes hold of the output.
my $may_mount;
BEGIN
{
	$may_mount = $ENV{PG_HEAL_TEST_MAY_MOUNT};
	if (!$may_mount)
	{
		my @unshare = qw(unshare --user --mount --map-current-user --keep-caps);
		if (system("@unshare mount -t tmpfs -o size=1m tmpfs /mnt >/dev/null 2>&1") == 0)
		{
			$ENV{PG_HEAL_TEST_MAY_MOUNT} = 1;
			exec @unshare, $^X, (map { "-I$_" } @INC), $0;
		}
	}
}
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

if (!$may_mount)
{
	diag('SKIPPED: a small file system cannot be mounted here, so a full disk is not tested');
	plan skip_all => 'cannot mount a small file system';
}

my $node = PostgreSQL::Test::Cluster->new('primary');
system('mount', '-t', 'tmpfs', '-o', 'size=160m', 'tmpfs', $node->basedir) == 0 or die 'could not mount';

# The WAL is elsewhere: a server whose WAL disk is full goes down by itself.
my $wal = PostgreSQL::Test::Utils::tempdir();
$node->init(extra => [ '-X', "$wal/wal" ]);
$node->append_conf('postgresql.conf',
	$ENV{PG_HEAL_STAGED_CONF} ? slurp_file($ENV{PG_HEAL_STAGED_CONF}) : "shared_preload_libraries = 'pg_heal'\n");
$node->append_conf('postgresql.conf', <<'CONF');
restart_after_crash = on
pg_heal.mode = auto
pg_heal.policy = aggressive
pg_heal.monitoring_interval = 500ms
pg_heal.inspect_interval = 2s
pg_heal.calm_period = 0
log_min_messages = info
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
reports($node);
my $f = blocker($node, no_threshold => 1);
$node->safe_psql('postgres', 'CREATE TABLE filled (v text)');
threshold($node, 'idle_in_transaction_blocker', idle_s => 3, wait_s => 3);

# fill it to the last byte
my $ballast = $node->basedir . '/ballast';
open(my $file, '>', $ballast) or die $!;
my $block = "\0" x 65536;
while (defined syswrite($file, $block)) { }
while (defined syswrite($file, "\0" x 512)) { }
close $file;
my ($out, $err);
$node->psql('postgres', "INSERT INTO filled SELECT repeat(md5(i::text), 20) FROM generate_series(1, 3000) i", stdout => \$out, stderr => \$err);
like($err, qr/No space left on device/, 'clients cannot write');

blocker_gone($f, 'the blocker is ended on a full disk');
settle($node, 4);
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'"), '1', 'the healer is there');

# a new healer finds its journal, and what the tables may not have
my $healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
wait_worker($node, 'healer', $healer);
reports($node, 'a new healer starts on a full disk');
leave($f->{blocker}, $f->{victim});
$f = blocker($node, setup => 0, no_threshold => 1, id => 2, lock => 'LOCK TABLE app_t IN SHARE ROW EXCLUSIVE MODE');
blocker_gone($f, 'and heals');
is($node->safe_psql('postgres', "SELECT heal_pause('test') IS NOT NULL"), 't', 'a pause can be written');
$node->safe_psql('postgres', 'SELECT heal_resume()');

unlink $ballast or die $!;
wait_value($node, "SELECT count(*) FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker' AND state = 'resolved'", '2',
	'with room again the tables catch up: both incidents are there');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE outcome = 'healed'"), '2', 'with their attempts');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_audit WHERE action = 'terminate'"), '2', 'and the audit, once each');
leave($f->{blocker}, $f->{victim});
log_ends_well($node);

# no room for the journal itself: it observes, and says so
unlink glob($node->data_dir . '/pg_heal/*');
open($file, '>', $ballast) or die $!;
while (defined syswrite($file, $block)) { }
close $file;
truncate($ballast, (-s $ballast) - 4 * 1024 * 1024);
my $offset = -s $node->logfile;
$node->start;
$node->wait_for_log(qr/pg_heal only observes: it has no journal/, $offset);
reports($node, 'without a journal it still looks');
$f = blocker($node, setup => 0, no_threshold => 1, id => 3, lock => 'LOCK TABLE app_t IN SHARE ROW EXCLUSIVE MODE');
$node->wait_for_log(qr/idle_in_transaction_blocker/, $offset);
settle($node, 12);
ok(alive($node, $f->{pid}), 'and does nothing it could not write down');
like($node->safe_psql('postgres', "SELECT detail FROM heal_status WHERE component = 'healer'"), qr/no journal/, 'heal_status says so');
unlink $ballast;
leave($f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
