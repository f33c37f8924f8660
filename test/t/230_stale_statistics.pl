# P07 in every mode: a bulk load that was not followed by ANALYZE.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $remedy = 'analyze_table';
my $node = heal_node('statistics', mode => 'observe', conf => "pg_heal.inspect_interval = 1s\nautovacuum = off\n");
# One database less to inspect.
$node->safe_psql('postgres', 'ALTER DATABASE template1 ALLOW_CONNECTIONS false');
threshold($node, 'stale_statistics', min_rows => 2000, samples => 1);

# Tables as they are in a calm server: analyzed, and autovacuum is on for them.
sub make_table
{
	my ($db, $table, $options) = @_;
	$node->safe_psql($db, "CREATE TABLE $table (id int, v text) " . ($options || '') . "; ANALYZE $table");
	return;
}

sub load
{
	my ($table, $db, $rows) = @_;
	$rows ||= 5000;
	my $f = { table => $table, db => $db || 'postgres' };
	$node->safe_psql($f->{db}, "INSERT INTO $table SELECT i, 'loaded' FROM generate_series(1, $rows) AS i");
	$f->{oid} = $node->safe_psql($f->{db}, "SELECT '$table'::regclass::oid");
	$f->{analyzed} = analyzed($f);
	$f->{where} = "incident_id IN (SELECT incident_id FROM heal.incidents WHERE fingerprint LIKE '%/$f->{oid}')";
	return $f;
}

sub analyzed
{
	my ($f) = @_;
	return $node->safe_psql($f->{db}, "SELECT analyze_count, last_analyze FROM pg_stat_all_tables WHERE relid = $f->{oid}");
}

sub untouched
{
	my ($f, $name) = @_;
	is(analyzed($f), $f->{analyzed}, "$name: not analyzed");
	return;
}

sub healed
{
	my ($f, $name, $cause) = @_;
	my $i = wait_incident($node, 'stale_statistics', 'resolved', "$name: resolved", $f->{where});
	is($i->{outcome}, 'healed', "$name: outcome is healed");
	is($i->{root_cause}, $cause || 'bulk_change_without_analyze', "$name: root cause is named");
	is($i->{remedy}, $remedy, "$name: remedy is named");
	is($i->{database}, $f->{db}, "$name: database is named");
	is($node->safe_psql('postgres', "SELECT outcome, verified FROM heal_history WHERE incident_id = $i->{incident_id}"),
		'healed|t', "$name: one attempt, verified on the target");
	isnt(analyzed($f), $f->{analyzed}, "$name: analyzed");
	is($node->safe_psql($f->{db}, "SELECT n_distinct FROM pg_stats WHERE format('%I.%I', schemaname, tablename)::regclass = $f->{oid} AND attname = 'id'"),
		'-1', "$name: the statistics are those of the new rows");
	note_times($i, $name);
	return $i;
}

make_table('postgres', "public.$_") for qw(observed rejected approved limited automatic few);
make_table('postgres', 'public.off', 'WITH (autovacuum_enabled = off)');
make_table('postgres', 'public.parent', 'PARTITION BY RANGE (id)');
$node->safe_psql('postgres', 'CREATE TABLE part PARTITION OF parent FOR VALUES FROM (0) TO (1000000)');

# Beside all of them: some changes, too few to matter.
my $few = load('public.few', 'postgres', 1500);

# observe: only a recommendation, and it goes when the symptom goes.
my $f = load('public.observed');
my $i = wait_incident($node, 'stale_statistics', 'planned', 'observe: planned', $f->{where});
is($i->{subject}, 'public.observed', 'observe: the table is named');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is($r->{risk_class}, 'A1', 'observe: risk class is shown');
is($node->safe_psql('postgres', "SELECT sql FROM heal_recommend($i->{incident_id})"), 'ANALYZE public.observed', 'observe: and the statement');
waits_in_vain($node, 'observe', $i);
untouched($f, 'observe');
$node->safe_psql('postgres', 'ANALYZE observed');
$i = wait_incident($node, 'stale_statistics', 'closed_itself', 'observe: closes itself', $f->{where});
is($i->{outcome}, '', 'observe: claims no success');
wait_recommendation($node, $i->{incident_id}, $remedy, 'withdrawn', 'observe: the recommendation is withdrawn');

# approve: waits; rejected is left alone, approved is healed.
set_mode($node, 'approve');
my ($no, $yes) = (load('public.rejected'), load('public.approved'));
my %recommendation;
for ([ no => $no ], [ yes => $yes ])
{
	my ($which, $fault) = @$_;
	$fault->{incident} = wait_incident($node, 'stale_statistics', 'awaiting_approval', "approve: $which waits", $fault->{where});
	$recommendation{$which} = wait_recommendation($node, $fault->{incident}{incident_id}, $remedy, 'waiting', "approve: $which is asked for");
}
waits_in_vain($node, 'approve', map { $_->{incident} } $no, $yes);
untouched($_, 'approve, before the decision') for $no, $yes;
decide($node, $recommendation{no}, 'the load goes on');
decide($node, $recommendation{yes});
healed($yes, 'approve');

# limited: class A1 is for it alone.
set_mode($node, 'limited');
healed(load('public.limited'), 'limited');

# auto: acts; also where autovacuum never comes by, and where every name needs quoting.
set_mode($node, 'auto');
my ($odd_db, $odd_role) = odd_database($node);
make_table($odd_db, '"Sch ""one"""."Ta""ble one"');
$node->safe_psql($odd_db, 'ALTER TABLE "Sch ""one"""."Ta""ble one" OWNER TO "Ro""le one"');
my @auto = (
	[ load('public.automatic'), 'auto' ],
	[ load('public.off'), 'autovacuum off', 'autovacuum_off_for_table' ],
	[ load('public.parent'), 'partitioned parent', 'autovacuum_off_for_table' ],
	[ load('"Sch ""one"""."Ta""ble one"', $odd_db), 'odd names' ]);
healed(@$_) for @auto;

waits_in_vain($node, 'rejected', $no->{incident});
untouched($no, 'rejected, still');
untouched($few, 'the table beside them');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE subject = 'public.few'"), '0', 'the table beside them was never suspected');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE remedy <> '$remedy'"), '0', 'nothing else was ever done');
log_ends_well($node);
done_testing();
