# Who calls, and from where: roles without rights, texts in other encodings, calls inside functions.
use strict;
use warnings;
use utf8;
use lib 'test/perl';
use HealNode;
use HealFault;
use Encode qw(encode decode);
use Test::More;

my $node = heal_node('primary', mode => 'observe', init => { extra => [ '--encoding=LATIN1', '--locale=C' ] });
is($node->safe_psql('postgres', 'SHOW server_encoding'), 'LATIN1', 'a database that is not UTF-8');

# A role without rights: nothing, and nothing changes.
$node->safe_psql('postgres', 'CREATE ROLE nobody LOGIN; CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
my $state = "SELECT (SELECT count(*) FROM heal_audit), (SELECT count(*) FROM heal_snapshots), (SELECT md5(string_agg(t::text, '')) FROM heal_thresholds t),"
  . " (SELECT count(*) FROM heal_policies), (SELECT count(*) FROM heal_causal_nodes), (SELECT detail FROM heal_status WHERE component = 'healer')";
my $before = $node->safe_psql('postgres', $state);
for my $call ('heal_approve(1)', 'heal_reject(1)', "heal_execute(1, 'analyze_table')", "heal_snapshot('x')", 'heal_rollback(1)', "heal_pause('x')",
	'heal_resume()', "heal_set_threshold('invalid_index', 'samples', 3)", "heal_set_policy('server', '', 'autonomy', 'auto')",
	"heal_causal_add_node('x', 'symptom', 'locks', 0.1)", "heal_causal_add_edge('lock_held', 'disk_full')", "heal_causal_remove('lock_held')")
{
	for my $role (qw(nobody watcher))
	{
		my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT $call", extra_params => [ '-U', $role ]);
		like($err, qr/ERROR:\s+42501/, "$role may not call $call");
	}
}
for my $view (qw(heal_status heal_metrics heal_incidents heal_audit heal_thresholds heal_recommend()), q(heal_diagnose('{}')), 'heal_explain(1)')
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSELECT * FROM $view", extra_params => [ '-U', 'nobody' ]);
	like($err, qr/ERROR:\s+42501/, "nobody may not read $view");
}
settle($node, 2);
is($node->safe_psql('postgres', $state), $before, 'nothing has changed');
is($node->safe_psql('postgres', 'SELECT count(*) > 1 FROM heal_status', extra_params => [ '-U', 'watcher' ]), 't', 'pg_monitor reads');

# Names and texts in the encoding of the database, by a client that speaks UTF-8.
local $ENV{PGCLIENTENCODING} = 'UTF8';
sub utf8_query
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', encode('UTF-8', $sql));
	return (decode('UTF-8', $out), decode('UTF-8', $err));
}
utf8_query('CREATE ROLE "Jürgen" LOGIN SUPERUSER');
my ($out, $err) = utf8_query(q(SET SESSION AUTHORIZATION "Jürgen"; SELECT heal_snapshot('größer als vorher', 'roles')));
my $snapshot = $out;
like($snapshot, qr/^\d+$/, 'a label with umlauts');
wait_value($node, "SELECT count(*) FROM heal_snapshots WHERE snapshot_id = $snapshot", '1', 'is kept');
is((utf8_query("SELECT label, taken_by FROM heal_snapshots WHERE snapshot_id = $snapshot"))[0], 'größer als vorher|Jürgen', 'as it was given');
is((utf8_query("SELECT actor FROM heal_audit WHERE action = 'snapshot' AND detail ->> 'snapshot_id' = '$snapshot'"))[0], 'Jürgen', 'as is who took it');
like((utf8_query(q(SELECT heal_execute(1, 'böse')))) [1], qr/there is no remedy "böse"/, 'an error repeats a text as it was');
utf8_query('ALTER ROLE "Jürgen" SET application_name = ' . q('schön'));
is((utf8_query("SELECT item || ' ' || status FROM heal_rollback($snapshot) WHERE status <> 'unchanged'"))[0],
	"snapshot success\nrole_setting Jürgen application_name reset", 'and an answer too');
# Long texts are cut between characters: 1023 bytes in this encoding are twice as many in the one of the worker.
($out, $err) = utf8_query(q(SELECT heal_execute(1, repeat('ö', 500))));
like($err, qr/there is no remedy "ö+/, 'a long text comes back in whole characters');
like((utf8_query(q(SELECT heal_execute(1, repeat('ö', 600)))))[1], qr/too long/, 'a longer one is refused');

# Inside functions, DO blocks, with errors caught.
is($node->safe_psql('postgres', <<'SQL'), 'caught 22023, then 55000', 'inside a function, with the errors caught');
CREATE FUNCTION try_it() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	first text;
BEGIN
	PERFORM heal_pause('inside a function');
	BEGIN
		PERFORM heal_rollback(4711);
	EXCEPTION WHEN invalid_parameter_value THEN
		first := SQLSTATE;
	END;
	BEGIN
		PERFORM heal_rollback(heal_snapshot('inside', 'roles'));
	EXCEPTION WHEN object_not_in_prerequisite_state THEN
		PERFORM heal_resume();
		RETURN format('caught %s, then %s', first, SQLSTATE);
	END;
END $$;
SELECT try_it();
SQL

# In a parallel query, a prepared statement, a cursor.
is($node->safe_psql('postgres', "PREPARE p AS SELECT heal_resume() ->> 'paused'; EXECUTE p; EXECUTE p"), "false\nfalse", 'as a prepared statement');
is($node->safe_psql('postgres', "BEGIN; DECLARE c CURSOR FOR SELECT heal_resume() ->> 'paused' FROM generate_series(1, 3); FETCH 2 FROM c; COMMIT"),
	"false\nfalse", 'through a cursor');
is($node->safe_psql('postgres', "SET force_parallel_mode = on; SELECT count(*) > 1 FROM heal_status"), 't', 'heal_status in a parallel worker');

log_ends_well($node);
done_testing();
