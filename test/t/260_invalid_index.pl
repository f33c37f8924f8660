# P15 in every mode: a failed concurrent build left an invalid index.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $remedy = 'drop_invalid_index';
my $node = heal_node('indexes', mode => 'observe', conf => "pg_heal.inspect_interval = 1s\n");
# One database less to inspect.
$node->safe_psql('postgres', 'ALTER DATABASE template1 ALLOW_CONNECTIONS false');

# The build fails at the row with the zero and leaves its index behind.
sub failed_build
{
	my ($index, $table, $db) = @_;
	my ($schema) = $table =~ /^(".*"|\w+)\./;
	$db ||= 'postgres';
	$node->safe_psql($db, "CREATE TABLE $table (id int, v int); INSERT INTO $table VALUES (1, 1), (2, 0)");
	$node->psql($db, "CREATE INDEX CONCURRENTLY $index ON $table ((100 / v))");
	return fault_of("$schema.$index", $db);
}

sub fault_of
{
	my ($index, $db) = @_;
	my $oid = $node->safe_psql($db, "SELECT indexrelid FROM pg_index WHERE indexrelid = '$index'::regclass AND NOT indisvalid");
	die "index $index is not invalid" if $oid eq '';
	return {
		db => $db, index => $index, oid => $oid,
		definition => $node->safe_psql($db, "SELECT pg_get_indexdef($oid)"),
		where => "incident_id IN (SELECT incident_id FROM heal.incidents WHERE fingerprint LIKE '%/$oid')"
	};
}

sub exists_still
{
	my ($f) = @_;
	return $node->safe_psql($f->{db}, "SELECT count(*) FROM pg_class WHERE oid = $f->{oid}");
}

sub healed
{
	my ($f, $name) = @_;
	my $i = wait_incident($node, 'invalid_index', 'resolved', "$name: resolved", $f->{where});
	is($i->{outcome}, 'healed', "$name: outcome is healed");
	is($i->{root_cause}, 'failed_concurrent_build', "$name: root cause is named");
	is($i->{remedy}, $remedy, "$name: remedy is named");
	is($i->{database}, $f->{db}, "$name: database is named");
	is($node->safe_psql('postgres', "SELECT outcome, verified FROM heal_history WHERE incident_id = $i->{incident_id}"),
		'healed|t', "$name: one attempt, verified on the target");
	is(exists_still($f), '0', "$name: the index is gone");
	is($node->safe_psql('postgres', "SELECT undo_sql FROM heal_history WHERE incident_id = $i->{incident_id}"),
		$f->{definition}, "$name: its definition is kept");
	note_times($i, $name);
	return $i;
}

# Beside all of them: a build that is under way and waits for a writer.
$node->safe_psql('postgres', 'CREATE TABLE live (id int, v int)');
my $writer = session($node, 'postgres');
$writer->query_safe('BEGIN; INSERT INTO live VALUES (1, 1)');
my $builder = session($node, 'postgres');
my $builder_pid = busy($builder, 'CREATE INDEX CONCURRENTLY live_v ON live (v)');
wait_value($node, "SELECT count(*) FROM pg_index WHERE indexrelid = 'live_v'::regclass AND NOT indisvalid", '1', 'a build is under way');
my $live = fault_of('public.live_v', 'postgres');

# observe: only a recommendation, and it goes when the symptom goes.
my $f = failed_build('observed_i', 'public.observed');
my $i = wait_incident($node, 'invalid_index', 'planned', 'observe: planned', $f->{where});
is($i->{subject}, 'public.observed_i', 'observe: the index is named');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is("$r->{risk_class} $r->{reversible}", 'A2 true', 'observe: risk class is shown, and that it can be undone');
is($node->safe_psql('postgres', "SELECT sql FROM heal_recommend($i->{incident_id})"), 'DROP INDEX CONCURRENTLY public.observed_i', 'observe: and the statement');
waits_in_vain($node, 'observe', $i);
is(exists_still($f), '1', 'observe: not dropped');
$node->safe_psql('postgres', 'DROP INDEX observed_i');
$i = wait_incident($node, 'invalid_index', 'closed_itself', 'observe: closes itself', $f->{where});
is($i->{outcome}, '', 'observe: claims no success');
wait_recommendation($node, $i->{incident_id}, $remedy, 'withdrawn', 'observe: the recommendation is withdrawn');

# limited: class A2 is not for it alone; rejected is left alone, approved is healed.
set_mode($node, 'limited');
my ($no, $yes) = (failed_build('rejected_i', 'public.rejected'), failed_build('approved_i', 'public.approved'));
my %recommendation;
for ([ no => $no ], [ yes => $yes ])
{
	my ($which, $fault) = @$_;
	$fault->{incident} = wait_incident($node, 'invalid_index', 'awaiting_approval', "limited: $which waits", $fault->{where});
	$recommendation{$which} = wait_recommendation($node, $fault->{incident}{incident_id}, $remedy, 'waiting', "limited: $which is asked for");
}
set_mode($node, 'approve');
waits_in_vain($node, 'approve', map { $_->{incident} } $no, $yes);
is(exists_still($_), '1', "approve: $_->{index} is not dropped before the decision") for $no, $yes;
decide($node, $recommendation{no}, 'it is built again tonight');
decide($node, $recommendation{yes});
$i = healed($yes, 'approve');

# The way back: once the data are right, the kept definition makes the index.
$node->safe_psql('postgres', 'DELETE FROM approved WHERE v = 0');
my $snapshot = $node->safe_psql('postgres', "SELECT snapshot_id FROM heal_history WHERE incident_id = $i->{incident_id}");
is($node->safe_psql('postgres', "SELECT status FROM heal_rollback($snapshot) WHERE item = 'snapshot'"), 'in_progress', 'roll-back by hand: builds the index once its caller does not stand in the way');
wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'success', 'roll-back: success');
is($node->safe_psql('postgres', "SELECT indisvalid, pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = 'approved_i'::regclass"),
	"t|$yes->{definition}", 'roll-back: the index is there as it was meant');

# auto: acts, also where every name needs quoting, and on what REINDEX left behind;
# a unique index that its user asked for is only proposed.
set_mode($node, 'auto');
my ($odd_db, $odd_role) = odd_database($node);
my $auto = failed_build('automatic_i', 'public.automatic');
my $odd = failed_build('"In""dex one"', '"Sch ""one"""."Ta""ble one"', $odd_db);
$node->safe_psql($odd_db, 'ALTER TABLE "Sch ""one"""."Ta""ble one" OWNER TO "Ro""le one"');
$odd->{definition} = $node->safe_psql($odd_db, "SELECT pg_get_indexdef($odd->{oid})");
$node->safe_psql('postgres', 'CREATE TABLE doubles (id int); INSERT INTO doubles VALUES (1), (1)');
$node->psql('postgres', 'CREATE UNIQUE INDEX CONCURRENTLY doubles_i ON doubles (id)');
my $unique = fault_of('public.doubles_i', 'postgres');
$node->safe_psql('postgres', 'CREATE TABLE again (id int); CREATE UNIQUE INDEX again_i ON again (id)');
my $busy = session($node, 'postgres');
$busy->query_safe('BEGIN; INSERT INTO again VALUES (1)');
$node->psql('postgres', "SET statement_timeout = '300ms'; REINDEX INDEX CONCURRENTLY again_i");
$busy->query_safe('COMMIT');
$busy->quit;
my $leftover = fault_of('public.again_i_ccnew', 'postgres');

healed($auto, 'auto');
healed($leftover, 'left by REINDEX');
healed($odd, 'odd names');
is($node->safe_psql('postgres', "SELECT indisvalid FROM pg_index WHERE indexrelid = 'again_i'::regclass"), 't', 'left by REINDEX: the index in use was not touched');
$i = wait_incident($node, 'invalid_index', 'awaiting_approval', 'unique: asks, in auto too', $unique->{where});
$r = wait_recommendation($node, $i->{incident_id}, $remedy, 'waiting', 'unique: proposed');
is($r->{risk_class}, 'A3', 'unique: with its risk class');
waits_in_vain($node, 'unique and rejected', $i, $no->{incident});
is(exists_still($unique), '1', 'unique: not dropped');
is(exists_still($no), '1', 'rejected: not dropped');

is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE $live->{where}"), '0', 'the build under way was never suspected');
is($node->safe_psql('postgres', "SELECT state FROM pg_stat_activity WHERE pid = $builder_pid"), 'active', 'the build under way goes on');
$writer->query_safe('COMMIT');
wait_value($node, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'live_v'::regclass", 't', 'the build under way came to its end');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE remedy <> '$remedy'"), '0', 'nothing else was ever done');
$_->quit for $writer, $builder;
log_ends_well($node);
done_testing();
