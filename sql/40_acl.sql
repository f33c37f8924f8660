-- Who may do what: PUBLIC nothing, pg_monitor reads, acting is granted one by one.

-- every member of the extension, with its privileges
SELECT pg_describe_object(d.classid, d.objid, 0) AS member,
       (SELECT string_agg(DISTINCT CASE x.grantee WHEN 0 THEN 'PUBLIC' WHEN c.owner THEN 'owner' ELSE x.grantee::regrole::text END
                          || '=' || x.privilege_type, ' ')
        FROM aclexplode(c.acl) x WHERE x.grantee <> c.owner) AS granted
FROM pg_depend d
CROSS JOIN LATERAL (
    SELECT proowner AS owner, coalesce(proacl, acldefault('f', proowner)) AS acl FROM pg_proc WHERE d.classid = 'pg_proc'::regclass AND oid = d.objid
    UNION ALL
    SELECT relowner, coalesce(relacl, acldefault('r', relowner)) FROM pg_class WHERE d.classid = 'pg_class'::regclass AND oid = d.objid AND relkind IN ('r', 'v')
    UNION ALL
    SELECT nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE d.classid = 'pg_namespace'::regclass AND oid = d.objid
) AS c
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
ORDER BY pg_describe_object(d.classid, d.objid, 0) COLLATE "C";

CREATE ROLE regress_nobody;
CREATE ROLE regress_reader IN ROLE pg_monitor;
CREATE ROLE regress_actor;
GRANT USAGE ON SCHEMA test TO regress_nobody, regress_reader, regress_actor;

-- one call for every function and every view
CREATE TABLE test.calls (reads boolean, call text);
INSERT INTO test.calls
SELECT true, format('SELECT * FROM %I', relname) FROM pg_class WHERE relname LIKE 'heal\_%' AND relkind = 'v'
UNION ALL SELECT true, unnest(ARRAY['SELECT * FROM heal_recommend()', 'SELECT heal_explain(max(incident_id)) FROM heal_incidents',
    'SELECT * FROM heal_diagnose(''{"lock_waiters": true}'')', 'SELECT * FROM heal_export_metrics()'])
UNION ALL SELECT false, unnest(ARRAY['SELECT heal_approve(1)', 'SELECT heal_reject(1)', 'SELECT heal_execute(1, ''analyze_table'')',
    'SELECT heal_snapshot(''x'')', 'SELECT * FROM heal_rollback(1)', 'SELECT heal_pause(''x'')', 'SELECT heal_resume()', 'SELECT heal_reset_baseline()',
    'SELECT heal_set_threshold(''invalid_index'', ''samples'', 3)', 'SELECT heal_set_policy(''server'', '''', ''autonomy'', ''auto'')',
    'SELECT heal_watch(''test.t'', ''c'')', 'SELECT heal_unwatch(''test.t'', ''c'')', 'SELECT heal_feedback(''incident'', 1, true)',
    'SELECT heal_causal_add_node(''x'', ''symptom'', ''locks'', 0.1)', 'SELECT heal_causal_add_edge(''a'', ''b'')', 'SELECT heal_causal_remove(''lock_waiters'')',
    'SELECT heal_add_metric(''x'', ''SELECT 1'')', 'SELECT heal_remove_metric(''x'')'])
UNION ALL SELECT false, format('SELECT * FROM heal.%I', relname) FROM pg_class WHERE relnamespace = 'heal'::regnamespace AND relkind = 'r'
UNION ALL SELECT false, format('DELETE FROM heal.%I', relname) FROM pg_class WHERE relnamespace = 'heal'::regnamespace AND relkind = 'r'
UNION ALL SELECT false, unnest(ARRAY['SELECT heal.check_database()', 'SELECT heal.check_writable()', 'SELECT heal.begin_edit()', 'SELECT heal.graph_check()', 'SELECT heal.catalogue()',
    'SELECT * FROM heal.status()', 'SELECT * FROM heal.metrics()', 'SELECT * FROM heal.overhead()', 'SELECT heal.diagnose(''{}'')',
    'SELECT * FROM heal.user_metric_state()', 'SELECT heal.components()', 'SELECT heal.put_metric(''x'', ''SELECT 1'', ''workload'', ''security'', '''', false, ''up'', NULL, NULL, ''postgres'')',
    'SELECT * FROM heal.split_relation(''t'')', 'SELECT heal.check_watch(''t'', ''c'', ''d'')', 'SELECT heal.detector_grade(1, 1, 1)',
    'SELECT heal.audit_hash('''', NULL)', 'SELECT heal.note(''x'', ''y'', ''{}'')', 'SELECT heal.check_policy('''', '''', '''', '''')',
    'DELETE FROM heal_policies', 'UPDATE heal_thresholds SET value = 1', 'INSERT INTO heal_audit VALUES (1)']);
GRANT SELECT ON test.calls TO PUBLIC;
-- no function of the extension is left out
SELECT p.proname FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND p.prorettype <> 'trigger'::regtype
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
  AND NOT EXISTS (SELECT FROM test.calls c WHERE c.call ~ ('\m' || p.proname || '\('));
SELECT count(*) AS audited FROM heal_audit \gset

-- a plain role: nothing at all
SET ROLE regress_nobody;
SELECT (test.refusal(call)).state, count(*) > 20 AS many FROM test.calls GROUP BY 1;
RESET ROLE;

-- a monitor reads everything and does nothing
SET ROLE regress_reader;
SELECT reads, (test.refusal(call)).state, count(*) > 5 AS many FROM test.calls WHERE call !~ ' heal\.' GROUP BY 1, 2 ORDER BY 1;
SELECT call, (test.refusal(call)).state FROM test.calls WHERE call ~ ' heal\.' AND call !~ 'SELECT \* FROM' ORDER BY call COLLATE "C";
RESET ROLE;
SELECT count(*) = :audited AS nothing_done FROM heal_audit;

-- a single grant of EXECUTE is enough to act
GRANT EXECUTE ON FUNCTION heal_pause(text), heal_resume(), heal_snapshot(text, text, bigint), heal_rollback(bigint, boolean), heal_reject(bigint, text) TO regress_actor;
SET ROLE regress_actor;
SELECT heal_pause('by the actor') AS answer;
SELECT heal_resume() AS answer;
SELECT heal_snapshot('by the actor', 'roles') AS s \gset
SELECT status FROM heal_rollback(:s) WHERE item = 'snapshot';
SELECT state FROM test.refusal('SELECT heal_reject(4711)');
SELECT state FROM test.refusal('SELECT heal_approve(4711)');
SELECT state FROM test.refusal('SELECT * FROM heal_snapshots');
RESET ROLE;
CALL test.wait_for($$ EXISTS (SELECT FROM heal_audit WHERE actor = 'regress_actor' AND action = 'rollback' AND outcome = 'success') $$);
SELECT actor, action, outcome FROM heal_audit WHERE actor = 'regress_actor' ORDER BY audit_id;

-- and to configure
GRANT EXECUTE ON FUNCTION heal_set_threshold(text, text, double precision), heal_set_policy(text, text, text, text),
    heal_causal_add_node(text, text, text, double precision, text, text), heal_causal_add_edge(text, text, text, double precision),
    heal_causal_remove(text, text) TO regress_actor;
SET SESSION AUTHORIZATION regress_actor;
SELECT heal_set_threshold('invalid_index', 'samples', 3);
SELECT heal_set_policy('role', 'regress_actor', 'exempt', 'on');
SELECT heal_causal_add_node('acted', 'root_cause', 'locks', 0.01);
SELECT heal_causal_add_edge('acted', 'lock_waiters');
SELECT heal_causal_remove('acted');
SELECT heal_set_policy('role', 'regress_actor', 'exempt', NULL);
SELECT heal_set_threshold('invalid_index', 'samples', 2);
RESET SESSION AUTHORIZATION;
SELECT actor, action, subject FROM heal_audit WHERE actor = 'regress_actor' AND action LIKE 'set%' OR action LIKE 'causal%' ORDER BY audit_id;

-- An operator cannot be led astray by what others put into his path.
CREATE SCHEMA regress_trap AUTHORIZATION regress_nobody;
SET ROLE regress_nobody;
CREATE FUNCTION regress_trap.octet_length(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION regress_trap.starts_with(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
RESET ROLE;
GRANT USAGE ON SCHEMA regress_trap TO PUBLIC;
SET search_path = regress_trap, public, pg_catalog;
SELECT heal_set_policy('server', '', 'forbid', 'vacuum_*');
SELECT heal_set_policy('server', '', 'forbid', NULL);
SELECT count(*) > 0 AS works FROM heal_diagnose('{"lock_waiters": true}');
RESET search_path;
DROP SCHEMA regress_trap CASCADE;

DROP OWNED BY regress_nobody, regress_reader, regress_actor;
DROP ROLE regress_nobody, regress_reader, regress_actor;
