-- From a failure to a recommendation, a decision, a recovery and its record.

-- A concurrent build that fails leaves an invalid index behind.
CREATE TABLE items (id int, price int);
INSERT INTO items SELECT i, i FROM generate_series(0, 9) AS i;
CREATE INDEX CONCURRENTLY items_price_idx ON items ((100 / price));
CALL test.wait_for($$ EXISTS (SELECT FROM heal_recommend() WHERE failure_type = 'invalid_index') $$);

SELECT incident_id AS incident FROM heal_incidents WHERE failure_type = 'invalid_index' \gset
SELECT component, failure_type, category, severity, subject, state, opened_at <= clock_timestamp() AS opened,
       detected_after_ms >= 0 AS detected, root_cause, confidence > 0.7 AS confident, remedy, attempts, outcome,
       resolved_at, recovery_ms, database = current_database() AS here
FROM heal_incidents WHERE incident_id = :incident;
SELECT rank, failure_type, root_cause, confidence > 0.7 AS confident, remedy, action, risk_class, reversible, sql, undo_sql,
       expected_success BETWEEN 0.5 AND 1 AS likely, reason, state, incident_id = :incident AS same
FROM heal_recommend(:incident);
SELECT r.recommendation_id AS recommendation FROM heal_recommend(:incident) r WHERE r.remedy = 'drop_invalid_index' \gset
SELECT count(*) FROM heal_recommend() WHERE recommendation_id = :recommendation;
SELECT component, state, open_incidents, worst_failure FROM heal_status WHERE component = 'indexes';

-- the explanation: evidence, causes, candidates, safety rules, transitions
SELECT key FROM jsonb_object_keys(heal_explain(:incident)) AS key ORDER BY key COLLATE "C";
SELECT e -> 'evidence' <> '[]' AS evidence, e -> 'causes' -> 0 ->> 'cause' AS cause, e ->> 'state' AS state,
       jsonb_array_length(e -> 'attempts') AS attempts
FROM heal_explain(:incident) AS e;
SELECT t ->> 'from_state' AS from_state, t ->> 'to_state' AS to_state, t ->> 'reason' <> '' AS reason
FROM jsonb_array_elements(heal_explain(:incident) -> 'transitions') AS t;

-- observe: not even an approval acts
SELECT * FROM test.refusal(format('SELECT heal_approve(%s)', :recommendation));
SELECT * FROM test.refusal(format('SELECT heal_execute(%s, %L)', :incident, 'analyze_table'));
SELECT count(*) FROM heal_history;

-- a person says no
SELECT heal_reject(:recommendation, 'it is needed on Monday') - 'recommendation_id' - 'incident_id' AS answer;
CALL test.wait_for(format($$ (SELECT state = 'rejected' FROM heal_recommend(%s) WHERE recommendation_id = %s) $$, :incident, :recommendation));
SELECT decided_by = current_user AS decided_by_me, decided_at <= clock_timestamp() AS decided
FROM heal.recommendations WHERE recommendation_id = :recommendation;
SELECT * FROM test.refusal(format('SELECT heal_approve(%s)', :recommendation));
SELECT * FROM test.refusal(format('SELECT heal_reject(%s)', :recommendation));
SELECT count(*) FROM heal_recommend() WHERE incident_id = :incident;

-- and then runs it by hand
SELECT answer ->> 'remedy' AS remedy FROM heal_execute(:incident, 'drop_invalid_index') AS answer;
CALL test.wait_for(format($$ (SELECT resolved_at IS NOT NULL FROM heal_incidents WHERE incident_id = %s) $$, :incident));
SELECT state, outcome, root_cause, remedy, attempts, recovery_ms > 0 AS recovered FROM heal_incidents WHERE incident_id = :incident;
SELECT failure_type, remedy, action, mode, duration_ms > 0 AS took_time, attempt_no, outcome, verified, state, sql, undo_sql,
       snapshot_id IS NOT NULL AS has_snapshot
FROM heal_history WHERE incident_id = :incident;
SELECT count(*) FROM pg_class WHERE relname = 'items_price_idx';
SELECT s.depth, s.label LIKE 'before drop_invalid_index of incident %' AS labelled, s.component, s.taken_by, s.items, s.state,
       i.kind, i.object, i.name, i.value, i.restore_sql, i.reset_sql
FROM heal_history h JOIN heal_snapshots s USING (snapshot_id) JOIN heal.snapshot_items i USING (snapshot_id)
WHERE h.incident_id = :incident;
SELECT * FROM test.refusal(format('SELECT heal_execute(%s, %L)', :incident, 'drop_invalid_index'));

-- Undo it. While the data are as they are this fails, and leaves nothing behind.
SELECT snapshot_id AS snapshot FROM heal_history WHERE incident_id = :incident \gset
CALL test.undo(:snapshot);
TABLE test.undone;
CALL test.wait_for(format($$ (SELECT rollback_status = 'failed' FROM heal_snapshots WHERE snapshot_id = %s) $$, :snapshot));
SELECT state, rollback_status FROM heal_snapshots WHERE snapshot_id = :snapshot;
SELECT count(*) FROM pg_class WHERE relname = 'items_price_idx';

-- Somebody else takes the name: not touched without force.
CREATE INDEX items_price_idx ON items (id);
CALL test.undo(:snapshot);
TABLE test.undone;
SELECT indexdef FROM pg_indexes WHERE indexname = 'items_price_idx';

-- With the data corrected, and with force.
UPDATE items SET price = 1 WHERE price = 0;
CALL test.undo(:snapshot, force => true);
TABLE test.undone;
SELECT indexdef FROM pg_indexes WHERE indexname = 'items_price_idx';
SELECT indisvalid FROM pg_index WHERE indexrelid = 'items_price_idx'::regclass;
CALL test.wait_for(format($$ (SELECT state = 'rolled_back' FROM heal_snapshots WHERE snapshot_id = %s) $$, :snapshot));
SELECT state, rollback_status FROM heal_snapshots WHERE snapshot_id = :snapshot;
SELECT i.status, i.detail FROM heal.snapshot_items i WHERE i.snapshot_id = :snapshot;
SELECT state, message <> '' AS message, hint FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', :snapshot));

-- The symptom goes before anything is done: the incident closes itself.
CREATE TABLE fleeting (a int);
INSERT INTO fleeting VALUES (1), (1);
CREATE UNIQUE INDEX CONCURRENTLY fleeting_idx ON fleeting (a);
CALL test.wait_for($$ EXISTS (SELECT FROM heal_recommend() WHERE sql LIKE '%fleeting_idx%') $$);
SELECT rank, remedy, risk_class, reversible, sql, state FROM heal_recommend() WHERE sql LIKE '%fleeting_idx%';
DROP INDEX fleeting_idx;
CALL test.wait_for($$ (SELECT resolved_at IS NOT NULL FROM heal_incidents WHERE subject LIKE '%fleeting%') $$);
SELECT subject, state, outcome, attempts FROM heal_incidents WHERE subject LIKE '%fleeting%';
SELECT r.state FROM heal_incidents i, heal_recommend(i.incident_id) r WHERE i.subject LIKE '%fleeting%';

-- what was done by whom
CALL test.wait_for($$ (SELECT count(*) > 0 FROM heal_audit WHERE action = 'rollback' AND outcome = 'success') $$);
SELECT actor IN ('pg_heal', current_user) AS known_actor, action, outcome FROM heal_audit ORDER BY audit_id;
DROP TABLE items, fleeting;
