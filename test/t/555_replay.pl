# Recorded metrics: complete up to now, kept in the table, and heal-replay finds in them what the
# server found.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use PostgreSQL::Test::Utils;
use Test::More;

# The program stands beside the server's own, or in the staged installation.
my $replay = 'heal-replay';
if (my $staged = $ENV{PG_HEAL_STAGED_CONF})
{
	my ($dist) = slurp_file($staged) =~ /^extension_destdir = '(.*)'/m;
	chomp(my $bindir = `pg_config --bindir`);
	$replay = "$dist$bindir/heal-replay";
}

my $node = heal_node('primary', mode => 'observe', conf => "autovacuum = off\npg_heal.min_baseline_samples = 10\n");

# What the program takes for the defaults are the server's.
my ($help) = run_command([ $replay, '--help' ]);
my $defaults = join("\n", sort grep { /=/ } map { s/^\s+//r } grep { /^  [a-z_]+=/ } split /\n/, $help);
my $names = join(', ', map { "'pg_heal." . (split /=/)[0] . "'" } split /\n/, $defaults);
is($node->safe_psql('postgres', "SELECT string_agg(substr(name, 9) || '=' || CASE name WHEN 'pg_heal.monitoring_interval' THEN '10s'
	WHEN 'pg_heal.calm_period' THEN '10min' WHEN 'pg_heal.rollback_timeout' THEN '30s' WHEN 'pg_heal.snapshot_retention' THEN '1h' ELSE boot_val END,
	E'\\n' ORDER BY substr(name, 9) || '=' COLLATE \"C\") FROM pg_settings WHERE name IN ($names)"), $defaults, 'heal-replay has the defaults of the server');
is($node->safe_psql('postgres', "SELECT string_agg(boot_val, ' ' ORDER BY name) FROM pg_settings
	WHERE name IN ('pg_heal.monitoring_interval', 'pg_heal.calm_period', 'pg_heal.rollback_timeout', 'pg_heal.snapshot_retention')"),
	'600000 10000 30000 3600', 'in units too');

sub export
{
	my ($name, $args) = @_;
	my $file = $node->basedir . "/$name.csv";
	append_to_file($file, $node->safe_psql('postgres', 'SELECT heal_export_metrics(' . ($args || '') . ')') . "\n");
	return $file;
}

# A quiet while, then many statements fail: log_errors leaves its baseline.
$node->safe_psql('postgres', "SELECT heal_add_metric('ones', 'SELECT 1')");
wait_value($node, "SELECT samples >= 20 FROM heal_metrics WHERE metric = 'log_errors'", 't', 'a baseline');
my $trouble = session($node);
for (1 .. 40)
{
	$trouble->query('SELECT 1/0;' x 50);
	last if $node->safe_psql('postgres', "SELECT count(*) > 0 FROM heal_anomalies WHERE metric = 'log_errors'") eq 't';
}
$trouble->quit;
wait_value($node, "SELECT count(*) > 0 FROM heal_anomalies WHERE metric = 'log_errors'", 't', 'the server has seen it');

my $first = $node->safe_psql('postgres', "SELECT observed_at FROM heal_anomalies WHERE metric = 'log_errors' ORDER BY anomaly_id LIMIT 1");
my $file = export('now');
my $start = $node->safe_psql('postgres', q{SELECT left(line, 27) FROM heal_export_metrics() WITH ORDINALITY AS e(line, no) WHERE no = 2});
my ($out, $err) = run_command([ $replay, '--setting', 'min_baseline_samples=10', $file ]);
is($err, '', 'the export is read');
like($out, qr/samples over \d+ s, \d+ metrics, .* 0 incidents/, 'to its end');
like((split /\n/, slurp_file($file))[0], qr/,ones,/, "users' metrics are columns");
my $utc = $node->safe_psql('postgres', qq{SELECT to_char(timestamptz '$first' AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')});
like($out, qr/^\Q$utc\E anomaly log_errors: /m, 'replay finds the anomaly at the very time the server did');

# What the server and the replay found from the first sample on is the same, one by one.
my $seen = $node->safe_psql('postgres', qq{SELECT string_agg(to_char(observed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || ' ' || metric || ' ' || shape, E'\n'
	ORDER BY observed_at, metric COLLATE "C") FROM heal_anomalies WHERE observed_at >= '$start' AND observed_at <= '$first'});
my @found = sort grep { (split / /)[0] le $utc } map { /^(\S+) anomaly (\S+): (\w+),/ ? "$1 $2 $3" : () } split /\n/, $out;
is(join("\n", @found), join("\n", sort split /\n/, $seen), 'and nothing else');

($out) = run_command([ $replay, '--setting', 'min_baseline_samples=10', '--setting', 'pg_heal.anomaly_threshold=1000', '--setting', 'min_confidence=1', $file ]);
like($out, qr/ 0 anomalies/, 'with other settings the same samples raise nothing');

# The frames go to the table when their columns change; nothing is lost or told twice.
my $before = $node->safe_psql('postgres', 'SELECT heal_export_metrics()');
$node->safe_psql('postgres', "SELECT heal_add_metric('twos', 'SELECT 2')");
wait_value($node, 'SELECT sum(samples) > 20 FROM heal.metric_history', 't', 'samples are in the table');
settle($node, 2);
my %after = map { $_ => 1 } map { (split /,/)[0] } split /\n/, $node->safe_psql('postgres', 'SELECT heal_export_metrics()');
is(scalar(grep { !$after{ (split /,/)[0] } } split /\n/, $before), 0, 'what was in memory is still there');
my @times = map { (split /,/)[0] } split /\n/, $node->safe_psql('postgres', 'SELECT heal_export_metrics()');
shift @times;
is(join(' ', @times), join(' ', do { my %once; sort grep { !$once{$_}++ } @times }), 'in order, each once');
$node->command_ok([ $replay, export('both') ], 'batches with other columns are read together');

# A restart loses no more than what was not written; the counters of the hooks begin anew.
$node->restart;
wait_value($node, "SELECT count(*) > 3 FROM heal_metrics WHERE observed_at IS NOT NULL", 't', 'up again');
settle($node, 3);
($out, $err) = run_command([ $replay, '--json', export('restarted') ]);
is($err, '', 'an export over a restart is read');
unlike($out, qr/"shape":"void"/, 'and the restart is no anomaly of a counter');
like((split /\n/, $out)[-1], qr/^\{"kind":"summary","samples":\d+/, 'JSON ends with a summary');

# off: nothing is recorded any more
$node->append_conf('postgresql.conf', "pg_heal.history_enabled = off\n");
$node->reload;
settle($node, 4);
my $n = $node->safe_psql('postgres', 'SELECT count(*) FROM heal_export_metrics()');
settle($node, 4);
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_export_metrics()'), $n, 'history_enabled = off ends it');
log_ends_well($node);
done_testing();
