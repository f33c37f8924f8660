-- Metrics of users: what is accepted, what is refused, who they run as.

\set VERBOSITY default
SELECT heal_add_metric('queue_length', 'SELECT count(*) FROM pg_class', unit => 'rows', bad => 'up');
SELECT heal_add_metric('commits', 'SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()',
                       category => 'resource', unit => '1/s', counter => true, bad => 'none', database => 'postgres', every => '10 s');
SELECT metric, component, category, unit, counter, bad, database, every, enabled, run_as = current_user AS mine, query FROM heal_user_metrics ORDER BY metric;
CALL test.wait_for($$ (SELECT count(*) = 2 AND bool_and(value > 0 AND last_error IS NULL AND last_run_ms >= 0) FROM heal_user_metrics) $$);
SELECT metric, component, category, unit FROM heal_metrics WHERE metric = 'queue_length' AND value > 0 OR metric = 'commits' ORDER BY metric;
SELECT action, subject, detail - 'run_as' AS detail FROM heal_audit WHERE action LIKE '%metric' ORDER BY audit_id;

-- what the query says wrong, at its place
SELECT heal_add_metric('bad', 'SELEC 1');
SELECT heal_add_metric('bad', 'SELECT 1 FROM nowhere');
SELECT heal_add_metric('bad', 'SELECT 1 FROM', database => 'template1');
SELECT heal_add_metric('bad', 'SELECT $1');

CREATE TABLE test.bad_metrics (no serial, call text);
INSERT INTO test.bad_metrics (call) VALUES
    ($$'bad', ''$$), ($$'bad', '-- nothing'$$), ($$'bad', 'SELECT 1; SELECT 2'$$), ($$'bad', 'SELECT 1; DROP TABLE heal.audit'$$),
    ($$'bad', 'DELETE FROM heal.audit'$$), ($$'bad', 'DELETE FROM heal.audit RETURNING 1'$$),
    ($$'bad', 'WITH d AS (DELETE FROM heal.policies RETURNING 1) SELECT count(*) FROM d'$$),
    ($$'bad', 'SELECT 1 INTO test.copy'$$), ($$'bad', 'CREATE TABLE test.copy AS SELECT 1'$$), ($$'bad', 'EXPLAIN SELECT 1'$$),
    ($$'bad', 'SELECT pages FROM heal.none FOR UPDATE', database => 'template1'$$), ($$'bad', 'SELECT 1 FROM pg_class FOR UPDATE'$$),
    ($$'bad', 'SET ROLE postgres'$$), ($$'bad', 'COPY pg_class TO PROGRAM ''cat'''$$), ($$'bad', 'CALL test.wait_for(''true'')'$$),
    ($$'bad', 'DO ''BEGIN END'''$$), ($$'bad', 'BEGIN'$$), ($$'bad', 'VACUUM', database => 'template1'$$),
    ($$'bad', 'SELECT 1; SELECT 2', database => 'template1'$$), ($$'bad', '', database => 'template1'$$),
    ($$'bad', 'SELECT 1, 2'$$), ($$'bad', 'SELECT FROM pg_class'$$), ($$'bad', 'SELECT now()'$$), ($$'bad', 'SELECT ''1'''$$),
    ($$'bad', 'SELECT true'$$), ($$'bad', 'SELECT NULL'$$), ($$'bad', 'SELECT interval ''1 s'''$$),
    ($$'bad', 'SELECT 1', database => 'nowhere'$$), ($$'bad', 'SELECT 1', database => 'template0'$$), ($$'bad', 'SELECT 1', database => ''$$),
    ($$'bad', 'SELECT 1', component => 'engine'$$), ($$'bad', 'SELECT 1', category => 'speed'$$), ($$'bad', 'SELECT 1', bad => 'sideways'$$),
    ($$'bad', 'SELECT 1', unit => repeat('x', 32)$$), ($$'bad', 'SELECT 1' || repeat(' ', 3000)$$),
    ($$'bad', 'SELECT 1', every => '4 s'$$), ($$'bad', 'SELECT 1', every => '-1 day'$$), ($$'bad', 'SELECT 1', every => '2 days'$$),
    ($$'Bad', 'SELECT 1'$$), ($$'', 'SELECT 1'$$), ($$'1st', 'SELECT 1'$$), ($$'a,b', 'SELECT 1'$$), ($$repeat('x', 64), 'SELECT 1'$$),
    ($$'timestamp', 'SELECT 1'$$), ($$'wal_bytes', 'SELECT 1'$$), ($$'commits', 'SELECT 1'$$),
    ($$NULL, 'SELECT 1'$$), ($$'bad', NULL$$), ($$'bad', 'SELECT 1', NULL$$), ($$'bad', 'SELECT 1', counter => NULL$$), ($$'bad', 'SELECT 1', bad => NULL$$);
SELECT b.call, r.state, r.message, r.hint FROM test.bad_metrics b, test.refusal('SELECT heal_add_metric(' || b.call || ')') r ORDER BY b.no;
SELECT count(*) FROM heal_user_metrics;

SELECT (test.refusal('SELECT heal_remove_metric(NULL)')).*;
SELECT (test.refusal($$SELECT heal_remove_metric('wal_bytes')$$)).*;

-- at most 128
INSERT INTO heal.user_metrics SELECT 'many_' || i, query, component, category, unit, counter, bad, NULL, NULL, true, run_as
FROM heal.user_metrics, generate_series(1, 126) i WHERE metric = 'queue_length';
SELECT (test.refusal($$SELECT heal_add_metric('one_more', 'SELECT 1')$$)).*;
DELETE FROM heal.user_metrics WHERE metric LIKE 'many\_%';

-- It runs as who adds it, also when that is done inside a function of somebody else.
CREATE ROLE regress_measurer;
GRANT USAGE ON SCHEMA test TO regress_measurer;
CREATE FUNCTION test.trojan() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM heal_add_metric('trojan', 'SELECT 1'); END $$;
ALTER FUNCTION test.trojan() OWNER TO regress_measurer;
SELECT (test.refusal('SELECT test.trojan()')).state;
GRANT EXECUTE ON FUNCTION heal_add_metric TO regress_measurer;
SELECT test.trojan();
SET ROLE regress_measurer;
SELECT heal_add_metric('own', 'SELECT count(*) FROM pg_roles WHERE rolname = current_user');
SELECT (test.refusal($$SELECT heal_remove_metric('own')$$)).state;
RESET ROLE;
SELECT metric, run_as FROM heal_user_metrics WHERE metric IN ('trojan', 'own') ORDER BY metric;
-- a right to write the table is none to run as somebody else
GRANT USAGE ON SCHEMA heal TO regress_measurer;
GRANT INSERT, UPDATE, SELECT ON heal.user_metrics TO regress_measurer;
SET ROLE regress_measurer;
SELECT (test.refusal($$UPDATE heal.user_metrics SET run_as = 'postgres'$$)).*;
SELECT (test.refusal($$INSERT INTO heal.user_metrics SELECT 'other', query, component, category, unit, counter, bad, NULL, NULL, true, 'nobody_at_all' FROM heal.user_metrics WHERE metric = 'own'$$)).state;
RESET ROLE;
REVOKE ALL ON heal.user_metrics FROM regress_measurer;
REVOKE ALL ON SCHEMA heal FROM regress_measurer;

-- a node of the graph may be tied to it
SELECT heal_causal_add_node('queue_grows', 'root_cause', 'workload', 0.05, 'queue_length');
SELECT heal_causal_remove('queue_grows');

SELECT count(heal_remove_metric(metric)) FROM heal_user_metrics;
DROP FUNCTION test.trojan();
DROP TABLE test.bad_metrics;
REVOKE ALL ON FUNCTION heal_add_metric FROM regress_measurer;
REVOKE ALL ON SCHEMA test FROM regress_measurer;
DROP ROLE regress_measurer;

-- Samples: the header, then a line for each.
CALL test.wait_for($$ (SELECT count(*) > 3 FROM heal_export_metrics()) $$);
SELECT line ~ '^timestamp,archive_failed,archived,auth_failures' AS header, line LIKE '%,queue_length,%' AS past_metric FROM heal_export_metrics() WITH ORDINALITY AS e(line, no) WHERE no = 1;
SELECT bool_and(line ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z,') AS times, count(DISTINCT length(regexp_replace(line, '[^,]', '', 'g'))) AS widths,
       bool_and(left(line, 27)::timestamptz <= now()) AS past, count(DISTINCT left(line, 27)) = count(*) AS distinct_times
FROM heal_export_metrics() WITH ORDINALITY AS e(line, no) WHERE no > 1;
SELECT count(*) FROM heal_export_metrics(now() + interval '1 day');
SELECT count(*) FROM heal_export_metrics(NULL, '2001-01-01');
SELECT count(*) > 3 AS all FROM heal_export_metrics('-infinity', 'infinity');
SELECT (test.refusal($$SELECT heal_export_metrics(now(), now() - interval '1 s')$$)).*;
