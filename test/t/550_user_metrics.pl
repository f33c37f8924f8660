# Metrics of users: what is read is shown, what goes wrong is said and disturbs nobody, and no
# query gets more rights than the role that defined it.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', mode => 'observe', conf => "pg_heal.component_timeout = 1s\n");
$node->safe_psql('postgres', <<'SQL');
CREATE ROLE app LOGIN;
CREATE ROLE gone LOGIN;
CREATE TABLE secret AS SELECT 1 AS x;
CREATE TABLE visible AS SELECT generate_series(1, 5) AS x;
GRANT SELECT ON visible TO app;
CREATE TABLE filtered AS SELECT generate_series(1, 3) AS x;
ALTER TABLE filtered ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON filtered USING (x = 1);
GRANT SELECT ON filtered TO app;
CREATE SEQUENCE counted;
CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.secret VALUES (2); RETURN 1; END';
CREATE FUNCTION writes_freely() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN PERFORM set_config('transaction_read_only', 'off', true); INSERT INTO public.secret VALUES (2); RETURN 1; END $$;
CREATE FUNCTION becomes(who text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('role', who, false); RETURN (SELECT x FROM public.secret); END $$;
CREATE FUNCTION becomes_session(who text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('session_authorization', who, false); RETURN 1; END $$;
CREATE FUNCTION statement_becomes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RESET ROLE; RETURN (SELECT x FROM public.secret); END $$;
CREATE FUNCTION holds() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DECLARE later CURSOR WITH HOLD FOR SELECT x FROM public.secret'; RETURN 1; END $$;
CREATE FUNCTION raises_timeout() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('statement_timeout', '0', false); PERFORM pg_sleep(1000); RETURN 1; END $$;
CREATE FUNCTION sets_path() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', 'public', false); RETURN 1; END $$;
CREATE FUNCTION stubborn() RETURNS int LANGUAGE plpgsql AS $$
	BEGIN LOOP BEGIN PERFORM pg_sleep(1000); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$;
GRANT EXECUTE ON FUNCTION heal_add_metric TO app, gone;
CREATE DATABASE other;
REVOKE CONNECT ON DATABASE other FROM PUBLIC;
SQL

# values: here, of another database, often, a counter
$node->safe_psql('postgres', <<'SQL');
SELECT heal_add_metric('good', 'SELECT 42.5');
SELECT heal_add_metric('there', 'SELECT count(*) FROM pg_database WHERE datname = current_database() AND datname = ''other''', database => 'other');
SELECT heal_add_metric('often', 'SELECT extract(epoch FROM clock_timestamp())', every => '5 s');
SELECT heal_add_metric('counted', 'SELECT sum(calls) FROM (VALUES (1::bigint), (2)) AS v(calls)', counter => true);
SQL
wait_value($node, "SELECT string_agg(metric || '=' || value, ' ' ORDER BY metric) FROM heal_metrics WHERE metric IN ('good', 'there')",
	'good=42.5 there=1', 'values are shown');
wait_value($node, "SELECT count(*) FROM heal_metrics WHERE metric IN ('often', 'counted') AND observed_at IS NOT NULL", '2', 'all of them');
my $first = $node->safe_psql('postgres', "SELECT observed_at FROM heal_user_metrics WHERE metric = 'good'");
wait_value($node, "SELECT observed_at > '$first' FROM heal_user_metrics WHERE metric = 'good'", 't', 'they are read again');

# a query of app sees what app sees
$node->safe_psql('postgres', <<'SQL', extra_params => [ '-U', 'app' ]);
SELECT heal_add_metric('as_app', 'SELECT count(*) FROM pg_roles WHERE rolname = ''app'' AND rolname = current_user');
SELECT heal_add_metric('sees', 'SELECT count(*) FROM public.visible');
SELECT heal_add_metric('sees_few', 'SELECT count(*) FROM public.filtered');
SELECT heal_add_metric('x_secret', 'SELECT x FROM public.secret');
SELECT heal_add_metric('x_holds', 'SELECT public.holds()');
SELECT heal_add_metric('x_becomes', 'SELECT public.becomes(''postgres'')');
SELECT heal_add_metric('x_session', 'SELECT public.becomes_session(''postgres'')');
SELECT heal_add_metric('x_reset', 'SELECT public.statement_becomes()');
SELECT heal_add_metric('x_none', 'SELECT public.becomes(''none'')');
SELECT heal_add_metric('x_elsewhere', 'SELECT 1', database => 'other');
SQL
$node->safe_psql('postgres', "SELECT heal_add_metric('x_gone', 'SELECT 1')", extra_params => [ '-U', 'gone' ]);
$node->safe_psql('postgres', 'REVOKE ALL ON FUNCTION heal_add_metric FROM gone; DROP ROLE gone');

# what can go wrong, also as a superuser
my $super = $node->safe_psql('postgres', 'SELECT current_user');
$node->safe_psql('postgres', <<'SQL');
SELECT heal_add_metric('e_none', 'SELECT 1 WHERE false');
SELECT heal_add_metric('e_two', 'SELECT generate_series(1, 1000000000000)');
SELECT heal_add_metric('e_null', 'SELECT NULL::int');
SELECT heal_add_metric('e_nan', 'SELECT ''NaN''::float8');
SELECT heal_add_metric('e_infinite', 'SELECT ''-Infinity''::float8');
SELECT heal_add_metric('e_huge', 'SELECT repeat(''9'', 400)::numeric');
SELECT heal_add_metric('e_error', 'SELECT 1 / count(*) FROM pg_class WHERE false');
SELECT heal_add_metric('e_slow', 'SELECT 1 FROM pg_sleep(1000)');
SELECT heal_add_metric('e_loop', 'WITH RECURSIVE r AS (SELECT 1 UNION ALL SELECT 1 FROM r) SELECT count(*) FROM r');
SELECT heal_add_metric('e_memory', 'SELECT length(repeat(''x'', 1000000000))');
SELECT heal_add_metric('e_timeout_off', 'SELECT public.raises_timeout()');
SELECT heal_add_metric('x_writes', 'SELECT public.writes()');
SELECT heal_add_metric('x_writes_freely', 'SELECT public.writes_freely()');
SELECT heal_add_metric('x_nextval', 'SELECT nextval(''public.counted'')');
SELECT heal_add_metric('x_super_role', 'SELECT public.becomes(''app'')');
SELECT heal_add_metric('sets', 'SELECT public.sets_path()');
SQL
# The table may hold what heal_add_metric() refuses.
$node->safe_psql('postgres', <<"SQL");
INSERT INTO heal.user_metrics SELECT v.metric, v.query, 'workload', 'performance', '', false, 'both', v.database, NULL, true, '$super'
FROM (VALUES ('y_text', 'SELECT ''many''', NULL), ('y_columns', 'SELECT 1, 2', NULL), ('y_syntax', 'SELEC', NULL), ('y_two', 'SELECT 1; SELECT 2', NULL),
	('y_delete', 'DELETE FROM public.secret RETURNING 1', NULL), ('y_cte', 'WITH d AS (DELETE FROM public.secret RETURNING 1) SELECT count(*) FROM d', NULL),
	('y_utility', 'RESET ROLE', NULL), ('y_commit', 'COMMIT', NULL), ('y_path', 'SELECT count(*) FROM visible', NULL), ('y_database', 'SELECT 1', 'nowhere')) AS v(metric, query, database)
SQL

my %error = (
	e_none => 'the query returned no row', e_two => 'the query returned more than one row', e_null => 'the query returned NULL',
	e_nan => 'the query returned NaN', e_infinite => 'the query returned infinity', e_huge => 'the query returned infinity', e_error => 'division by zero',
	e_slow => 'canceling statement due to statement timeout', e_loop => 'canceling statement due to statement timeout',
	e_memory => qr/^out of memory/, e_timeout_off => 'canceling statement due to statement timeout',
	x_holds => 'cannot create a cursor WITH HOLD within security-restricted operation',
	x_secret => 'permission denied for table secret', x_becomes => qr/^cannot set parameter "role"/, x_session => qr/^cannot set parameter "session_authorization"/,
	x_reset => qr/^cannot set parameter "role"/, x_none => qr/^cannot set parameter "role"/, x_super_role => qr/^cannot set parameter "role"/,
	x_elsewhere => 'role "app" may not connect to this database', x_gone => 'role "gone" does not exist',
	x_writes => 'cannot execute INSERT in a read-only transaction', x_writes_freely => qr/^transaction read-write mode must be set before any query/,
	x_nextval => 'cannot execute nextval() in a read-only transaction',
	y_text => 'the query returned type text, which is no number', y_columns => 'the query did not return exactly one column', y_syntax => qr/^syntax error/,
	y_two => 'the query is not a single SELECT', y_delete => 'the query is not a single SELECT', y_utility => 'the query is not a single SELECT',
	y_commit => 'the query is not a single SELECT', y_cte => 'the query is not a single SELECT', y_path => qr/^relation "visible" does not exist/,
	y_database => qr/^the database does not exist/,);
wait_value($node, "SELECT count(*) FROM heal_user_metrics WHERE last_error IS NOT NULL", scalar(keys %error), 'every failure is told');
for my $metric (sort keys %error)
{
	my ($text, $value) = split /\|/, $node->safe_psql('postgres', "SELECT last_error, value FROM heal_user_metrics WHERE metric = '$metric'"), -1;
	ref $error{$metric} ? like($text, $error{$metric}, "$metric: $text") : is($text, $error{$metric}, $metric);
	is($value, '', "$metric has no value");
}
is($node->safe_psql('postgres', "SELECT string_agg(metric || '=' || value, ' ' ORDER BY metric) FROM heal_user_metrics WHERE metric IN ('as_app', 'sees', 'sees_few', 'sets')"),
	'as_app=1 sees=5 sees_few=1 sets=1', 'what works works beside them');
is($node->safe_psql('postgres', "SELECT count(*) || ' ' || max(x) FROM secret"), '1 1', 'nothing was written');
is($node->safe_psql('postgres', "SELECT last_value || ' ' || is_called FROM counted"), '1 false', 'not even a sequence');

# One that will not end costs its process and no other metric. The slow ones go first, for speed.
$node->safe_psql('postgres', "SELECT count(heal_remove_metric(metric)) FROM heal_user_metrics WHERE metric IN ('e_slow', 'e_loop', 'e_timeout_off')");
$node->safe_psql('postgres', "SELECT heal_add_metric('e_stubborn', 'SELECT public.stubborn()')");
wait_value($node, "SELECT last_error FROM heal_user_metrics WHERE metric = 'e_stubborn'", 'the query did not end at its timeout, and its process was ended', 'a query that will not end is ended');
for my $round (1 .. 2)
{
	my $at = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	wait_value($node, "SELECT bool_and(last_run_at > '$at') FROM heal_user_metrics WHERE database IS NULL", 't', "all are still run, round $round");
}
is($node->safe_psql('postgres', "SELECT value FROM heal_user_metrics WHERE metric = 'good'"), '42.5', 'with their values');
$node->safe_psql('postgres', 'CREATE TABLE stale AS SELECT generate_series(1, 5000) AS i');
wait_value($node, "SELECT value > 0 FROM heal_metrics WHERE metric = 'tables_stale_statistics'", 't', 'and tables are inspected');

# removed, changed, switched off
$node->safe_psql('postgres', "SELECT heal_remove_metric('e_stubborn'); UPDATE heal.user_metrics SET enabled = false WHERE metric = 'sees'; UPDATE heal.user_metrics SET query = 'SELECT 7' WHERE metric = 'good'");
wait_value($node, "SELECT value FROM heal_metrics WHERE metric = 'good'", '7', 'a changed query is run');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_metrics WHERE metric IN ('sees', 'e_stubborn')"), '0', 'what is off or removed is not shown');
$node->safe_psql('postgres', 'DROP DATABASE other');
wait_value($node, "SELECT last_error FROM heal_user_metrics WHERE metric = 'there'", 'the database does not exist or allows no connections', 'a dropped database is told');

unlike(slurp_file($node->logfile), qr/pg_heal (?:healer|launcher)" \(PID \d+\) exited/, 'the healer went on');
log_ends_well($node);
done_testing();
