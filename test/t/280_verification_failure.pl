# A remedy that does not help is undone, tried again, and then handed to a person.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = heal_node('verification', mode => 'auto', conf => <<'CONF');
pg_heal.inspect_interval = 1s
pg_heal.max_retries = 2
autovacuum = off
max_wal_size = 48MB
CONF
threshold($node, 'checkpoint_storm', window_s => 20, verify_cycles => 10);
threshold($node, 'vacuum_starved', min_dead_rows => 500, samples => 2);

# State after state, as the transitions tell.
sub path
{
	my ($id) = @_;
	return $node->safe_psql('postgres', "SELECT string_agg(to_state, ' ' ORDER BY transition_id) FROM heal.transitions WHERE incident_id = $id");
}

# An escalated incident tells a person everything: what is, why, what was tried, what may be done.
sub whole_story
{
	my ($id, $remedy, $name) = @_;
	my $ask = "FROM (SELECT heal_explain($id) AS e) AS x";
	is($node->safe_psql('postgres', "SELECT e ->> 'state', e ->> 'outcome' $ask"), 'escalated|escalated', "$name: escalated");
	is($node->safe_psql('postgres', "SELECT jsonb_array_length(e -> 'evidence') > 2, e -> 'causes' -> 0 ->> 'posterior' IS NOT NULL, "
			  . "jsonb_array_length(e -> 'causes' -> 0 -> 'chain') > 1 $ask"), 't|t|t', "$name: evidence, causes and chains are told");
	is($node->safe_psql('postgres', "SELECT string_agg(t ->> 'remedy' || ' ' || (t ->> 'outcome'), ', ') FROM (SELECT heal_explain($id) AS e) AS x, jsonb_array_elements(e -> 'tried') AS t"),
		"$remedy rolled_back, $remedy rolled_back", "$name: what was tried is told");
	is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM (SELECT heal_explain($id) AS e) AS x, jsonb_array_elements(e -> 'candidates') AS c WHERE c ->> 'remedy' = '$remedy' AND c ->> 'action' <> ''"),
		't', "$name: and what may be done");
	is($node->safe_psql('postgres', "SELECT jsonb_array_length(e -> 'attempts'), (SELECT string_agg(t ->> 'to_state', ' ') FROM jsonb_array_elements(e -> 'transitions') AS t) = '" . path($id) . "' $ask"),
		'2|t', "$name: with every attempt and transition");
	return;
}

# Both attempts were undone, each from its own before-image.
sub undone
{
	my ($id, $name) = @_;
	is($node->safe_psql('postgres', "SELECT string_agg(concat_ws(' ', attempt_no, outcome, verified, state), ', ' ORDER BY attempt_no) FROM heal_history WHERE incident_id = $id"),
		'1 rolled_back f finished, 2 rolled_back f finished', "$name: two attempts, both rolled back");
	is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT state || ' ' || rollback_status, ', ') FROM heal_snapshots WHERE incident_id = $id"),
		'rolled_back success', "$name: both snapshots are rolled back, and that is verified");
	my $cycle = 'executing verifying rolling_back';
	is(path($id), "detected diagnosed planned $cycle planned $cycle escalated", "$name: rolled back, tried again, rolled back, escalated");
	return;
}

# P11: every cycle of WAL still ends in requested checkpoints, whatever max_wal_size is.
sub settings
{
	return $node->safe_psql('postgres',
		"SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf'") . ' / '
	  . $node->safe_psql('postgres', 'SHOW max_wal_size');
}
$node->safe_psql('postgres', "ALTER SYSTEM SET max_wal_size = '32MB'; ALTER SYSTEM SET work_mem = '5MB'");
$node->reload;
wait_value($node, 'SHOW max_wal_size', '32MB', 'max_wal_size comes from ALTER SYSTEM');
my $before = settings();
my $deadline = time() + 90;
my $i;
my %seen;
while (time() < $deadline)
{
	$i = incident($node, 'checkpoint_storm');
	last if $i && $i->{state} eq 'escalated';
	$seen{ $node->safe_psql('postgres', 'SHOW max_wal_size') } = 1;
	my $acting = $i && $i->{state} =~ /executing|verifying/;
	$node->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'test', repeat('x', 17000000)) FROM generate_series(1, 2)") for 1 .. $acting ? 1 : 2;
	$node->safe_psql('postgres', 'CHECKPOINT; CHECKPOINT') if $acting;
}
my $id = $i->{incident_id};
undone($id, 'max_wal_size');
cmp_ok(scalar(keys %seen), '>', 1, 'max_wal_size: it had been raised: ' . join(', ', sort keys %seen));
is(settings(), $before, 'max_wal_size: file and setting are as before');
whole_story($id, 'raise_max_wal_size', 'max_wal_size');

# P12: somebody else's trigger takes back half of what the remedy sets.
$node->safe_psql('postgres', "SELECT heal_set_policy('server', '', 'forbid', 'vacuum_table')");
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE churned (id int, v int) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.3);
INSERT INTO churned SELECT i, i FROM generate_series(1, 1000) AS i;
CREATE INDEX ON churned (v);
VACUUM ANALYZE churned;
CREATE TABLE resets (at timestamptz, options text[]);
CREATE FUNCTION take_back() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE oid = 'public.churned'::regclass AND reloptions::text LIKE '%cost_limit%') THEN
        INSERT INTO public.resets SELECT now(), reloptions FROM pg_class WHERE oid = 'public.churned'::regclass;
        ALTER TABLE public.churned RESET (autovacuum_vacuum_cost_limit);
    END IF;
END $$;
CREATE EVENT TRIGGER take_back ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION take_back();
SQL
$before = $node->safe_psql('postgres', "SELECT reloptions FROM pg_class WHERE relname = 'churned'");
$deadline = time() + 60;
while (time() < $deadline)
{
	$i = incident($node, 'vacuum_starved');
	last if $i && $i->{state} =~ /executing|verifying|rolling_back|escalated/;
	$node->safe_psql('postgres', 'UPDATE churned SET v = v + 1');
	usleep(200_000);
}
$i = wait_incident($node, 'vacuum_starved', 'escalated', 'options: escalated');
undone($i->{incident_id}, 'options');
like($node->safe_psql('postgres', 'SELECT options FROM resets LIMIT 1'), qr/scale_factor=0.02/, 'options: they had been set');
is($node->safe_psql('postgres', "SELECT reloptions FROM pg_class WHERE relname = 'churned'"), $before, 'options: they are as before');
is($node->safe_psql('postgres', "SELECT vacuum_count FROM pg_stat_user_tables WHERE relname = 'churned'"), '1', 'options: the forbidden remedy was not tried');
whole_story($i->{incident_id}, 'set_autovacuum_options', 'options');
$node->safe_psql('postgres', 'DROP EVENT TRIGGER take_back');

# P15: the first attempt runs into a lock and gives up in time, the second one heals.
$node->safe_psql('postgres', 'CREATE TABLE locked (id int, v int); INSERT INTO locked VALUES (1, 0)');
$node->psql('postgres', 'CREATE INDEX CONCURRENTLY locked_i ON locked ((100 / v))');
my $writer = session($node, 'postgres');
$writer->query_safe('BEGIN; INSERT INTO locked VALUES (2, 1)');
wait_value($node, "SELECT h.outcome FROM heal_history h JOIN heal_incidents i USING (incident_id) WHERE i.subject = 'public.locked_i' AND attempt_no = 1",
	'rolled_back', 'lock: the first attempt failed and left things as they were');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_index WHERE indexrelid = 'locked_i'::regclass AND NOT indisvalid"), '1', 'lock: the index is as it was');
$writer->query_safe('COMMIT');
$writer->quit;
$i = wait_incident($node, 'invalid_index', 'resolved', 'lock: resolved');
is("$i->{outcome} $i->{attempts}", 'healed 2', 'lock: healed by the second attempt');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'locked_i'"), '0', 'lock: the index is gone');

log_ends_well($node);
done_testing();
