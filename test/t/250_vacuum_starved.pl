# P12 in every mode: dead rows of a table grow faster than vacuum comes by.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;
use Time::HiRes qw(time usleep);

my $remedy = 'vacuum_table';
my $node = heal_node('vacuum', mode => 'observe', conf => "pg_heal.inspect_interval = 1s\nautovacuum = off\n");
# One database less to inspect.
$node->safe_psql('postgres', 'ALTER DATABASE template1 ALLOW_CONNECTIONS false');
threshold($node, 'vacuum_starved', min_dead_rows => 500, samples => 2);

# An index on the updated column, so that no dead row goes by pruning alone.
sub make_table
{
	my ($db, $table, $options) = @_;
	$node->safe_psql($db, "CREATE TABLE $table (id int, v int) " . ($options || '') . "; INSERT INTO $table SELECT i, i FROM generate_series(1, 1000) AS i; CREATE INDEX ON $table (v); VACUUM ANALYZE $table");
	my $oid = $node->safe_psql($db, "SELECT '$table'::regclass::oid");
	return {
		db => $db, table => $table, oid => $oid,
		where => "incident_id IN (SELECT incident_id FROM heal.incidents WHERE fingerprint LIKE '%/$oid')"
	};
}

# Update the tables again and again until each has an incident in this state.
sub churn
{
	my ($state, $name, @tables) = @_;
	my $deadline = time() + 60;
	my $missing = 1;
	while ($missing && time() < $deadline)
	{
		$missing = 0;
		for my $f (@tables)
		{
			my $i = $f->{incident} = incident($node, 'vacuum_starved', $f->{where});
			next if $i && $i->{state} =~ /^(?:$state)$/;
			$missing++;
			$node->safe_psql($f->{db}, "UPDATE $f->{table} SET v = v + 1");
		}
		usleep(100_000) if $missing;
	}
	is($missing, 0, $name) or diag(join(', ', map { $_->{incident} ? "$_->{table} $_->{incident}{state}" : "$_->{table} none" } @tables));
	return;
}

sub vacuums
{
	my ($f) = @_;
	return $node->safe_psql($f->{db}, "SELECT vacuum_count FROM pg_stat_all_tables WHERE relid = $f->{oid}");
}

sub options
{
	my ($f) = @_;
	return $node->safe_psql($f->{db}, "SELECT reloptions FROM pg_class WHERE oid = $f->{oid}");
}

sub healed
{
	my ($f, $name, $cause) = @_;
	my $i = wait_incident($node, 'vacuum_starved', 'resolved', "$name: resolved", $f->{where});
	is($i->{outcome}, 'healed', "$name: outcome is healed");
	is($i->{root_cause}, $cause || 'autovacuum_too_slow', "$name: root cause is named");
	is($i->{remedy}, $remedy, "$name: remedy is named");
	is($i->{database}, $f->{db}, "$name: database is named");
	is($node->safe_psql('postgres', "SELECT outcome, verified FROM heal_history WHERE incident_id = $i->{incident_id}"),
		'healed|t', "$name: one attempt, verified on the target");
	is(vacuums($f), '2', "$name: vacuumed once");
	like($node->safe_psql('postgres', "SELECT detail FROM heal_history WHERE incident_id = $i->{incident_id}"), qr/dead rows is 0\.0/, "$name: the dead rows are gone");
	note_times($i, $name);
	return $i;
}

# Beside all of them: many dead rows, but they do not grow.
my $calm = make_table('postgres', 'public.calm');
$node->safe_psql('postgres', 'UPDATE calm SET v = v + 1');

# observe: only a recommendation, and it goes when the symptom goes.
my $f = make_table('postgres', 'public.observed');
churn('planned', 'observe: planned', $f);
my $i = $f->{incident};
is($i->{subject}, 'public.observed', 'observe: the table is named');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is($r->{risk_class}, 'A1', 'observe: risk class is shown');
is(wait_recommendation($node, $i->{incident_id}, 'set_autovacuum_options', 'open', 'observe: the next best too')->{risk_class},
	'A2', 'observe: with its risk class');
waits_in_vain($node, 'observe', $i);
is(vacuums($f), '1', 'observe: not vacuumed');
$node->safe_psql('postgres', 'VACUUM observed');
$i = wait_incident($node, 'vacuum_starved', 'closed_itself', 'observe: closes itself', $f->{where});
is($i->{outcome}, '', 'observe: claims no success');
wait_recommendation($node, $i->{incident_id}, $_, 'withdrawn', "observe: the recommendation of $_ is withdrawn") for $remedy, 'set_autovacuum_options';

# approve: waits; rejected is left alone, approved is healed.
set_mode($node, 'approve');
my ($no, $yes) = map { make_table('postgres', "public.$_") } qw(rejected approved);
churn('awaiting_approval', 'approve: both wait', $no, $yes);
my ($no_r, $yes_r) = map { wait_recommendation($node, $_->{incident}{incident_id}, $remedy, 'waiting', "approve: $_->{table} is asked for") } $no, $yes;
waits_in_vain($node, 'approve', map { $_->{incident} } $no, $yes);
is(vacuums($_), '1', "approve: $_->{table} is not vacuumed before the decision") for $no, $yes;
decide($node, $no_r, 'it is truncated tonight');
decide($node, $yes_r);
healed($yes, 'approve');
# The remedy was rejected, not the incident: the next best is asked for.
my $next = wait_recommendation($node, $no->{incident}{incident_id}, 'set_autovacuum_options', 'waiting', 'rejected: the next best is asked for');
decide($node, $next, 'no');
waits_in_vain($node, 'rejected', $no->{incident});
is(vacuums($no) . options($no), '1', 'rejected: neither vacuumed nor altered');

# limited: class A1 is for it alone.
set_mode($node, 'limited');
$f = make_table('postgres', 'public.limited');
churn('executing|verifying|resolved', 'limited: acts', $f);
healed($f, 'limited');

# auto: acts; also where its user switched autovacuum off, and where every name needs quoting.
set_mode($node, 'auto');
my ($odd_db, $odd_role) = odd_database($node);
my $off = make_table('postgres', 'public.off', 'WITH (autovacuum_enabled = off)');
my $odd = make_table($odd_db, '"Sch ""one"""."Ta""ble one"');
$node->safe_psql($odd_db, 'ALTER TABLE "Sch ""one"""."Ta""ble one" OWNER TO "Ro""le one"');
churn('executing|verifying|resolved', 'auto: acts', $off, $odd);
healed($off, 'autovacuum off', 'autovacuum_off_for_table');
healed($odd, 'odd names');
is(options($off), '{autovacuum_enabled=off}', 'autovacuum off: the option of its user is as it was');
is(options($odd), '', 'odd names: no option was needed');

is(vacuums($calm), '1', 'the table beside them was not vacuumed');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE subject = 'public.calm'"), '0', 'the table beside them was never suspected');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE remedy <> '$remedy'"), '0', 'nothing else was ever done');
log_ends_well($node);
done_testing();
