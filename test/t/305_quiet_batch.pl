# Left alone: ten times the usual load, after a calm baseline. Metrics may stand out; nothing is done.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use IPC::Run;
use Test::More;

my $node = heal_node('batch', conf => "autovacuum = on\nautovacuum_naptime = 1s\nmin_wal_size = 160MB\nmax_wal_size = 1GB\n");
app_role($node);
$ENV{PGAPPNAME} = 'pgbench';
$node->command_ok([ 'pgbench', '-i', '-q', '-s', '1', $node->connstr('postgres') . ' user=app' ], 'pgbench has its tables');

# pgbench as role app: clients, transactions per second, seconds.
sub load
{
	my ($clients, $rate, $seconds) = @_;
	return IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-R', $rate, '-T', $seconds, $node->connstr('postgres') . ' user=app' ],
		'>', \my $out, '2>', \my $err);
}

# The usual day: until the baselines are learnt.
my $calm = load(1, 20, 600);
ok($node->poll_query_until('postgres', "SELECT min(samples) >= 36 FROM heal_metrics WHERE metric IN ('xact_commit', 'sessions_total', 'wal_bytes')"), 'the baselines are learnt');
my $w = watch($node);
is(scalar @{ $w->{sessions} }, 1, 'the usual load is there');

# The batch.
my $before = $node->safe_psql('postgres', "SELECT sum(xact_commit) FROM pg_stat_database");
my $batch = load(10, 200, 8);
settle($node, 10);
left_alone($node, $w, 'during the batch');
ok($batch->finish, 'the batch ends as if nobody had looked');
settle($node, 4);
left_alone($node, $w, 'after the batch');
is($node->safe_psql('postgres', "SELECT string_agg(failure_type, ', ') FROM heal_incidents WHERE severity NOT IN ('info', 'warning')"), '', 'nothing above a warning');
cmp_ok($node->safe_psql('postgres', "SELECT sum(xact_commit) FROM pg_stat_database") - $before, '>', 1000, 'the batch did come');
diag('anomalies: ' . $node->safe_psql('postgres', "SELECT coalesce(string_agg(DISTINCT metric, ', '), 'none') FROM heal_anomalies"));

# The control, under the usual load.
awake($node, 'after the batch');
$calm->kill_kill;
log_ends_well($node);
done_testing();
