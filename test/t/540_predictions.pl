# A disk that fills and a sequence that runs out are foreseen, graded and, with pg_heal.predictive, incidents ahead of time; a steady server gets no prediction.
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
use Time::HiRes qw(time usleep);

if (!$may_mount)
{
	diag('SKIPPED: a small file system cannot be mounted here, so a filling disk is not tested');
	plan skip_all => 'cannot mount a small file system';
}

my $node = PostgreSQL::Test::Cluster->new('primary');
system('mount', '-t', 'tmpfs', '-o', 'size=320m', 'tmpfs', $node->basedir) == 0 or die 'could not mount';

# The WAL is elsewhere: a server whose WAL disk is full goes down by itself.
my $wal = PostgreSQL::Test::Utils::tempdir();
$node->init(extra => [ '-X', "$wal/wal" ]);
$node->append_conf('postgresql.conf',
	$ENV{PG_HEAL_STAGED_CONF} ? slurp_file($ENV{PG_HEAL_STAGED_CONF}) : "shared_preload_libraries = 'pg_heal'\n");
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
pg_heal.mode = auto
pg_heal.policy = aggressive
pg_heal.monitoring_interval = 500ms
pg_heal.inspect_interval = 1s
pg_heal.calm_period = 0
pg_heal.min_baseline_samples = 20
pg_heal.predictive = on
log_min_messages = info
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
reports($node);

my ($n_settled, $foreseen) = (40, "SELECT count(*) FROM heal_predictions");
settle($node, $n_settled);
is($node->safe_psql('postgres', $foreseen), '0', 'a steady server gets no prediction');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'and no incident');

# From here on the disk fills by 2 MB and the sequence by 0.4 % a second.
threshold($node, 'sequence_exhaustion', used => 0.95);
$node->safe_psql('postgres', 'CREATE SEQUENCE "Or""der" AS integer');
my $ballast = $node->basedir . '/ballast';
open(my $file, '>', $ballast) or die $!;
my $block = "\0" x (512 * 1024);
my $session = session($node);
my ($began, $written) = (time(), 0);
my $full_at;

# Do what is due by now; false once the disk is full.
sub go_on
{
	my ($with_sequence) = @_;
	my $elapsed = time() - $began;
	while ($written < $elapsed * 2 * 1024 * 1024)
	{
		my $n = syswrite($file, $block);
		$written += $n // 0;
		next if defined $n && $n == length $block;
		while (defined syswrite($file, "\0" x 4096)) { }
		while (defined syswrite($file, "\0" x 512)) { }
		$full_at ||= time();
		return 0;
	}
	$session->query(sprintf(q(SELECT setval('"Or""der"', %d)), 2147483647 * (0.52 + 0.004 * $elapsed))) if $with_sequence && $elapsed < 90;
	usleep(100_000);
	return 1;
}

# Go on until the query is true, at most until the disk is full.
sub go_on_until
{
	my ($sql, $name, $with_sequence) = @_;
	my $true = '';
	while ($true ne 't' && go_on($with_sequence)) { $true = $session->query("SELECT $sql") }
	is($true, 't', $name);
	return;
}

go_on_until(q(EXISTS (SELECT FROM heal_predictions WHERE failure_type = 'disk_full' AND subject = 'data directory')), 'the full disk is foreseen', 1);
# The WAL's disk is the machine's own: somebody else may be filling that.
my $id = $node->safe_psql('postgres', q(SELECT min(prediction_id) FROM heal_predictions WHERE failure_type = 'disk_full' AND subject = 'data directory'));
is($node->safe_psql('postgres', qq(SELECT subject, component, outcome, graded_at IS NULL, unit, slope BETWEEN 1e6 AND 4e6, eta BETWEEN eta_low AND coalesce(eta_high, horizon), confidence >= 0.8
	FROM heal_predictions WHERE prediction_id = $id)), 'data directory|storage|open|t|bytes|t|t|t', 'with all there is to say about it');
go_on_until(q(EXISTS (SELECT FROM heal_predictions WHERE failure_type = 'sequence_exhaustion')), 'the end of the sequence is foreseen', 1);
go_on_until(q(EXISTS (SELECT FROM heal_incidents WHERE failure_type = 'sequence_exhaustion')), 'and opens an incident ahead of time', 1);
my $i = incident($node, 'sequence_exhaustion');
is("$i->{subject}|$i->{database}|$i->{severity}|$i->{state}", 'public."Or""der" (postgres)|postgres|warning|diagnosed', 'a warning, handed to nobody');
is($node->safe_psql('postgres', "SELECT e ->> 'truth' FROM heal_incidents i, jsonb_array_elements(heal_explain(i.incident_id) -> 'evidence') e
	WHERE i.incident_id = $i->{incident_id} AND e ->> 'node' = 'sequence_exhaustion'"), 'unknown', 'it says that it has not happened');

# A new healer takes the open prediction over.
my $healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
go_on_until(qq(EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_heal healer' AND pid <> $healer)), 'a new healer starts', 0);
go_on_until(q(EXISTS (SELECT FROM heal_status WHERE component = 'storage' AND state <> 'unknown')), 'and looks', 0);
is($node->safe_psql('postgres', "SELECT outcome FROM heal_predictions WHERE prediction_id = $id"), 'open', 'the prediction is still open');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_incidents WHERE failure_type = 'sequence_exhaustion')), '1', 'the incident ahead of time is still the same');
$session->query('DROP SEQUENCE "Or""der"');

while (go_on(0)) { }
wait_value($node, q(SELECT value >= 1 FROM heal_metrics WHERE metric = 'disk_used'), 't', 'the disk is full');
settle($node, 3);
close $file;
unlink $ballast or die $!;

wait_value($node, "SELECT outcome IN ('hit', 'early', 'late') FROM heal_predictions WHERE prediction_id = $id", 't', 'the prediction is graded');
diag(sprintf 'disk foreseen %s s before it was full, at %s %% used; median %s s off, 80 %% interval %s s wide: %s', split /\|/,
	$node->safe_psql('postgres', qq(SELECT round(extract(epoch FROM to_timestamp($full_at) - predicted_at), 1), round((100 * value / limit_value)::numeric, 1),
		round(extract(epoch FROM eta - to_timestamp($full_at)), 1), coalesce(round(extract(epoch FROM eta_high - eta_low), 1)::text, 'open'), outcome
		FROM heal_predictions WHERE prediction_id = $id)));
is($node->safe_psql('postgres', qq(SELECT predicted_at < to_timestamp($full_at) - interval '10 s' FROM heal_predictions WHERE prediction_id = $id)), 't',
	'it was foreseen in time');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_incidents WHERE failure_type = 'disk_full' AND subject = 'data directory')), '1', 'what was foreseen and what happened are one incident');
is(incident($node, 'disk_full', "subject = 'data directory'")->{severity}, 'critical', 'critical in the end');
wait_incident($node, 'sequence_exhaustion', 'closed_itself', 'without the sequence its incident closed by itself');
wait_value($node, q(SELECT outcome FROM heal_predictions WHERE failure_type = 'sequence_exhaustion' ORDER BY prediction_id DESC LIMIT 1), 'withdrawn', 'and its prediction was withdrawn');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done about any of it');
leave($session);
log_ends_well($node);
done_testing();
