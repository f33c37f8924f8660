-- Detectors are graded by what people say and by what was repaired; noise is demoted.
\pset null '(null)'

-- every definition is there before it found anything
SELECT count(*) = jsonb_array_length(heal.catalogue() -> 'failures') AS all_there FROM heal_detectors WHERE kind = 'definition';
SELECT detector, kind, subject, state FROM heal_detectors WHERE detector = 'ddl_lock_queue';

-- what is on record: three incidents, two anomalies; ids below 0 are nobody else's
INSERT INTO heal.incidents (incident_id, component, failure_type, category, severity, subject, database, fingerprint, state,
                            opened_at, attempts, outcome, resolved_at, explanation)
SELECT -i, 'indexes', 'invalid_index', 'performance', 'warning', 'x', '', 'feedback test ' || i, 'closed_itself',
       now() - interval '1 day', 0, NULL, now(), '{}' FROM generate_series(1, 4) AS i;
INSERT INTO heal.anomalies (anomaly_id, observed_at, onset_at, category, metric, component, value, score, method, shape, direction, confidence)
SELECT -i, now() - age, now() - age, 'performance', 'feedback_metric', 'wal', 1, 9, 'zscore', 'spike', 'up', 0.9
FROM (VALUES (1, interval '2 hours'), (2, interval '60 days')) AS v(i, age);

-- one word does not condemn, and a word can be taken back
SELECT detector, subject, state FROM heal_feedback('incident', -1, false, 'a build was running');
SELECT detector, subject, state FROM heal_feedback('incident', -1, true);
SELECT about, id, detector, subject, correct, given_by = session_user AS by_me, comment FROM heal.feedback;
SELECT detector, subject, state FROM heal_feedback('incident', -1, false);
SELECT detector, subject, state FROM heal_feedback('incident', -2, false);
SELECT detector, subject, state FROM heal_feedback('incident', -3, false);
SELECT detector, subject, state FROM heal_feedback('incident', -4, false);
SELECT raised >= 4 AS raised, round(refuted::numeric, 1) AS refuted, precision_high < 0.5 AS noise, state
FROM heal_detectors WHERE detector = 'invalid_index';
SELECT actor = session_user AS by_me, action, subject, outcome, detail FROM heal_audit WHERE action = 'feedback' ORDER BY audit_id DESC LIMIT 1;

-- from now on what it finds needs approval
CREATE TABLE doubted (a int);
INSERT INTO doubted VALUES (1), (1);
CREATE UNIQUE INDEX CONCURRENTLY doubted_idx ON doubted (a);
CALL test.wait_for($$ EXISTS (SELECT FROM heal_recommend() WHERE sql LIKE '%doubted_idx%') $$);
SELECT incident_id AS incident FROM heal_incidents WHERE subject LIKE '%doubted%' \gset
SELECT g ->> 'passed' AS passed, g ->> 'reason' AS reason
FROM jsonb_path_query(heal_explain(:incident), '$.** ? (@.rule == "detector_precision")') AS g LIMIT 1;
DROP TABLE doubted;

-- anomalies: unexplained ones count a tenth, old ones fade
SELECT detector, subject, raised, confirmed, refuted, round(unexplained::numeric, 2) AS unexplained, "precision", state
FROM heal_detectors WHERE subject = 'feedback_metric';
SELECT detector, subject, round("precision"::numeric, 2) AS precision, state FROM heal_feedback('anomaly', -1, true);
SELECT raised, round(confirmed::numeric, 2) AS confirmed, round(unexplained::numeric, 2) AS unexplained
FROM heal_detectors WHERE subject = 'feedback_metric';

-- refused
SELECT r.* FROM (VALUES ('''alert'', 1, true'), ('NULL, 1, true'), ('''anomaly'', NULL, true'), ('''incident'', 1, NULL'),
                        ('''anomaly'', 0, true'), ('''incident'', 9223372036854775807, false'), ('''incident'', -1, false, repeat(''x'', 1001)')) AS v(arguments)
CROSS JOIN LATERAL test.refusal(format('SELECT heal_feedback(%s)', arguments)) AS r;

DELETE FROM heal.feedback;
DELETE FROM heal.anomalies WHERE anomaly_id < 0;
DELETE FROM heal.incidents WHERE incident_id < 0;
SELECT state FROM heal_detectors WHERE detector = 'invalid_index';
