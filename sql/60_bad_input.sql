-- Wrong arguments to every function: the right SQLSTATE, a hint, and nothing changed.
\pset format unaligned
\pset null '(null)'

-- What must not change.
CREATE VIEW test.state AS
SELECT (SELECT count(*) FROM heal_audit) AS audited,
       (SELECT md5(string_agg(t::text, ';' ORDER BY failure_type, name)) FROM heal_thresholds t) AS thresholds,
       (SELECT md5(coalesce(string_agg(p::text, ';' ORDER BY scope, subject, setting), '')) FROM heal_policies p) AS policies,
       (SELECT md5(string_agg(n::text, ';' ORDER BY node)) FROM heal_causal_nodes n) AS nodes,
       (SELECT md5(string_agg(e::text, ';' ORDER BY cause, effect)) FROM heal_causal_edges e) AS edges,
       (SELECT count(*) FROM heal_snapshots) AS snapshots,
       (SELECT count(*) FROM heal_history) AS attempts,
       (SELECT detail FROM heal_status WHERE component = 'healer') AS healer;
SELECT heal_snapshot('a valid one', 'roles') AS valid \gset
CALL test.wait_for(format($$ EXISTS (SELECT FROM heal_snapshots WHERE snapshot_id = %s) $$, :valid));
CALL test.wait_for(format($$ EXISTS (SELECT FROM heal_audit WHERE action = 'snapshot' AND detail ->> 'snapshot_id' = %L) $$, :'valid'));
CREATE TABLE test.before AS SELECT * FROM test.state;

CREATE TABLE test.bad (n int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO test.bad (call) VALUES
-- reading
('heal_recommend(0)'), ('heal_recommend(-1)'), ('heal_recommend(9223372036854775807)'), ('heal_recommend(9223372036854775808)'),
('heal_explain(NULL)'), ('heal_explain(0)'), ('heal_explain(-1)'), ('heal_explain(9223372036854775807)'),
('heal_diagnose(NULL)'), ('heal_diagnose(''{"": true}'')'), ('heal_diagnose(''{"a":'')'), ('heal_diagnose(''"lock_waiters"'')'),
('heal_diagnose(''{"lock_waiters": {"x": true}}'')'), ('heal_diagnose(jsonb_build_object(repeat(''x'', 100000), true))'),
('heal_diagnose((SELECT jsonb_object_agg(''n'' || i, true) FROM generate_series(1, 100000) AS i))'),
-- deciding
('heal_approve(NULL)'), ('heal_approve(0)'), ('heal_approve(-1)'), ('heal_approve(9223372036854775807)'), ('heal_approve(-9223372036854775808)'),
('heal_reject(NULL)'), ('heal_reject(NULL, ''why'')'), ('heal_reject(0)'), ('heal_reject(-1, '''')'), ('heal_reject(9223372036854775807)'),
('heal_reject(1, NULL)'), ('heal_reject(0, repeat(''x'', 1023))'), ('heal_reject(0, repeat(''x'', 1024))'), ('heal_reject(0, repeat(''xy'', 1000000))'),
-- acting
('heal_execute(NULL, NULL)'), ('heal_execute(NULL, ''analyze_table'')'), ('heal_execute(1, NULL)'), ('heal_execute(0, ''analyze_table'')'),
('heal_execute(-1, ''analyze_table'')'), ('heal_execute(9223372036854775807, ''analyze_table'')'), ('heal_execute(1, '''')'),
('heal_execute(1, ''rm -rf /'')'), ('heal_execute(1, ''ANALYZE_TABLE'')'), ('heal_execute(1, repeat(''xy'', 500))'), ('heal_execute(1, repeat(''x'', 100000))'),
('heal_pause(NULL)'), ('heal_pause(repeat(''x'', 1024))'),
-- snapshots
('heal_snapshot(NULL)'), ('heal_snapshot('''')'), ('heal_snapshot(repeat(''x'', 1024))'), ('heal_snapshot(''x'', ''bogus'')'),
('heal_snapshot(''x'', repeat(''y'', 100))'), ('heal_snapshot(''x'', ''roles'', 0)'), ('heal_snapshot(''x'', ''roles'', -1)'),
('heal_snapshot(''x'', ''roles'', 9223372036854775807)'), ('heal_snapshot(NULL, NULL, NULL)'),
('heal_rollback(NULL)'), ('heal_rollback(NULL, NULL)'), ('heal_rollback(1, NULL)'), ('heal_rollback(0)'), ('heal_rollback(-1)'), ('heal_rollback(-1, true)'),
('heal_rollback(9223372036854775807)'),
-- thresholds
('heal_set_threshold(NULL, NULL, NULL)'), ('heal_set_threshold(''invalid_index'', NULL, 1)'), ('heal_set_threshold(NULL, ''samples'', 1)'),
('heal_set_threshold(''invalid_index'', ''samples'', NULL)'), ('heal_set_threshold(''invalid_index'', ''samples'', -1)'),
('heal_set_threshold(''invalid_index'', ''samples'', 0)'), ('heal_set_threshold(''invalid_index'', ''samples'', 1e308)'),
('heal_set_threshold(''invalid_index'', ''samples'', ''NaN'')'), ('heal_set_threshold(''invalid_index'', ''samples'', ''Infinity'')'),
('heal_set_threshold(''invalid_index'', ''samples'', ''-Infinity'')'), ('heal_set_threshold(''invalid_index'', ''sample'', 1)'),
('heal_set_threshold(''bogus'', ''samples'', 1)'), ('heal_set_threshold('''', '''', 1)'), ('heal_set_threshold(''checkpoint_storm'', ''requested_share'', 1.01)'),
('heal_set_threshold(repeat(''x'', 300000), ''samples'', 1)'),
-- policies
('heal_set_policy(NULL, NULL, NULL, NULL)'), ('heal_set_policy(''bogus'', ''x'', ''exempt'', ''on'')'), ('heal_set_policy(''bogus'', ''x'', ''exempt'', NULL)'),
('heal_set_policy(''role'', NULL, ''exempt'', ''on'')'), ('heal_set_policy(''role'', '''', ''exempt'', ''on'')'), ('heal_set_policy(''server'', ''x'', ''exempt'', ''on'')'),
('heal_set_policy(''role'', ''x'', ''bogus'', ''on'')'), ('heal_set_policy(''role'', ''x'', NULL, ''on'')'), ('heal_set_policy(''role'', ''x'', ''exempt'', '''')'),
('heal_set_policy(''role'', ''x'', ''exempt'', ''maybe'')'), ('heal_set_policy(''role'', ''x'', ''critical'', ''ON'')'), ('heal_set_policy(''server'', '''', ''autonomy'', ''full'')'),
('heal_set_policy(''server'', '''', ''window'', ''always'')'), ('heal_set_policy(''server'', '''', ''window'', ''25:00-26:00'')'), ('heal_set_policy(''server'', '''', ''window'', ''22:00-05:3'')'),
('heal_set_policy(''server'', '''', ''allow'', ''everything'')'), ('heal_set_policy(''server'', '''', ''forbid'', '''')'), ('heal_set_policy(''server'', '''', ''forbid'', ''terminate_idle_blokcer'')'),
('heal_set_policy(''component'', ''lokcs'', ''critical'', ''on'')'), ('heal_set_policy(''role'', repeat(''x'', 1001), ''exempt'', ''on'')'),
('heal_set_policy(''role'', ''x'', ''forbid'', repeat(''x'', 1001))'),
-- the graph
('heal_causal_add_node(NULL, NULL, NULL, NULL)'), ('heal_causal_add_node('''', ''symptom'', ''locks'', 0.1)'), ('heal_causal_add_node(''Bad Name'', ''symptom'', ''locks'', 0.1)'),
('heal_causal_add_node(repeat(''x'', 64), ''symptom'', ''locks'', 0.1)'), ('heal_causal_add_node(''x'', ''bogus'', ''locks'', 0.1)'), ('heal_causal_add_node(''x'', NULL, ''locks'', 0.1)'),
('heal_causal_add_node(''x'', ''symptom'', NULL, 0.1)'), ('heal_causal_add_node(''x'', ''symptom'', '''', 0.1)'), ('heal_causal_add_node(''x'', ''symptom'', repeat(''y'', 1000000), 0.1)'),
('heal_causal_add_node(''x'', ''symptom'', ''locks'', NULL)'), ('heal_causal_add_node(''x'', ''symptom'', ''locks'', 0)'), ('heal_causal_add_node(''x'', ''symptom'', ''locks'', 1)'),
('heal_causal_add_node(''x'', ''symptom'', ''locks'', -0.1)'), ('heal_causal_add_node(''x'', ''symptom'', ''locks'', ''NaN'')'), ('heal_causal_add_node(''x'', ''symptom'', ''locks'', 1e308)'),
('heal_causal_add_node(''lock_waiters'', ''symptom'', ''locks'', 0.1)'), ('heal_causal_add_node(''x'', ''symptom'', ''locks'', 0.1, repeat(''m'', 64))'),
('heal_causal_add_node(''x'', ''symptom'', ''locks'', 0.1, NULL, repeat(''d'', 1001))'),
('heal_causal_add_edge(NULL, NULL)'), ('heal_causal_add_edge(''lock_waiters'', NULL)'), ('heal_causal_add_edge(NULL, ''lock_waiters'')'), ('heal_causal_add_edge('''', '''')'),
('heal_causal_add_edge(''lock_waiters'', ''bogus'')'), ('heal_causal_add_edge(''lock_waiters'', ''lock_waiters'')'), ('heal_causal_add_edge(''lock_waiters'', ''idle_in_transaction_session'')'),
('heal_causal_add_edge(''lock_waiters'', ''disk_full'', NULL)'), ('heal_causal_add_edge(''lock_waiters'', ''disk_full'', ''bogus'')'),
('heal_causal_add_edge(''lock_waiters'', ''disk_full'', ''correlation'', NULL)'), ('heal_causal_add_edge(''lock_waiters'', ''disk_full'', ''correlation'', 0)'),
('heal_causal_add_edge(''lock_waiters'', ''disk_full'', ''correlation'', 1)'), ('heal_causal_add_edge(''lock_waiters'', ''disk_full'', ''correlation'', ''NaN'')'),
('heal_causal_add_edge(''idle_in_transaction_session'', ''holder_idle_in_transaction'')'),
('heal_causal_remove(NULL)'), ('heal_causal_remove('''')'), ('heal_causal_remove(''bogus'')'), ('heal_causal_remove(''lock_waiters'', ''bogus'')'), ('heal_causal_remove(NULL, ''lock_waiters'')'),
-- what only the extension itself calls
('heal.config_changed()'), ('heal.audit_chain()'), ('heal.audit_refuse()'), ('heal.diagnose(''[]'')'), ('heal.check_policy(NULL, NULL, NULL, NULL)'),
('heal.graph_check(1)'),
-- wrong types and numbers of arguments
('heal_approve()'), ('heal_approve(''one'')'), ('heal_approve(1.5)'), ('heal_rollback(1, ''maybe'')'), ('heal_pause()'), ('heal_resume(1)'),
('heal_reset_baseline(''bogus'')'), ('heal_reset_baseline('''')'), ('heal_reset_baseline(repeat(''m'', 1000000))');
-- Texts are cut: some are very long.
SELECT left(b.call, 100) AS call, r.state, left(r.message, 100) AS message, r.detail <> '' AS detail, left(r.hint, 100) AS hint
FROM test.bad b CROSS JOIN LATERAL test.refusal('SELECT ' || b.call) AS r ORDER BY b.n;
-- Our own refusals all have a hint.
SELECT b.call FROM test.bad b CROSS JOIN LATERAL test.refusal('SELECT ' || b.call) AS r
WHERE r.state IN ('22004', '22023', '55000', '54000', '42704', '42710', '53000') AND r.hint = '' ORDER BY b.n;

-- Nothing has changed, and the worker has not stumbled.
SELECT max(observed_at) AS before FROM heal_metrics \gset
CALL test.wait_for(format($$ (SELECT max(observed_at) > %L::timestamptz + interval '1 s' FROM heal_metrics) $$, :'before'));
SELECT b.audited = s.audited AS audit, b.thresholds = s.thresholds AS thresholds, b.policies = s.policies AS policies,
       b.nodes = s.nodes AS nodes, b.edges = s.edges AS edges, b.snapshots = s.snapshots AS snapshots, b.attempts = s.attempts AS attempts, b.healer = s.healer AS healer
FROM test.before b, test.state s;
SELECT detail FROM heal_status WHERE component = 'healer';
SELECT status FROM heal_rollback(:valid) WHERE item = 'snapshot';

-- With the SQLSTATE alone, as a program sees it.
\set VERBOSITY sqlstate
SELECT heal_approve(NULL);
SELECT heal_approve(4711);
SELECT * FROM heal_rollback(4711);
SELECT heal_snapshot('x', 'bogus');
SELECT heal_set_threshold('bogus', 'bogus', 1);
SELECT heal_causal_add_edge('bogus', 'bogus');
\set VERBOSITY default

-- Settings.
ALTER SYSTEM SET pg_heal.mode = 'full';
ALTER SYSTEM SET pg_heal.policy = '';
ALTER SYSTEM SET pg_heal.monitoring_interval = '499ms';
ALTER SYSTEM SET pg_heal.monitoring_interval = 'often';
ALTER SYSTEM SET pg_heal.monitoring_interval = '2h';
ALTER SYSTEM SET pg_heal.snapshot_retention = 0;
ALTER SYSTEM SET pg_heal.rollback_max_depth = 4;
ALTER SYSTEM SET pg_heal.confirm_samples = 0;
ALTER SYSTEM SET pg_heal.min_confidence = 1.5;
ALTER SYSTEM SET pg_heal.anomaly_threshold = 'NaN';
ALTER SYSTEM SET pg_heal.log_format = 'xml';
ALTER SYSTEM SET pg_heal.database = '';
ALTER SYSTEM SET pg_heal.database = 'a_name_that_is_longer_than_any_database_can_have_in_this_server_ever';
ALTER SYSTEM SET pg_heal.no_such_setting = 1;
SET pg_heal.mode = 'auto';
ALTER ROLE CURRENT_USER SET pg_heal.mode = 'auto';
SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf' AND name LIKE 'pg\_heal.%';
SHOW pg_heal.mode;

-- Elsewhere it cannot be created.
CREATE DATABASE regress_heal_elsewhere;
\c regress_heal_elsewhere
CREATE EXTENSION pg_heal;
SELECT count(*) FROM pg_namespace WHERE nspname = 'heal';
\c -
