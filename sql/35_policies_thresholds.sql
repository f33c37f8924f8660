-- Limits and policies: set, shown, audited, refused.

SELECT heal_set_threshold('invalid_index', 'samples', 3);
SELECT failure_type, name, value, default_value FROM heal_thresholds WHERE value <> default_value;
SELECT heal_set_threshold('ddl_lock_queue', 'wait_s', 0);
SELECT heal_set_threshold('checkpoint_storm', 'requested_share', 1);
SELECT failure_type, name, value, default_value FROM heal_thresholds WHERE value <> default_value ORDER BY failure_type COLLATE "C";
SELECT actor = session_user AS by_me, action, subject, outcome, detail FROM heal_audit
WHERE action = 'set_threshold' ORDER BY audit_id;
-- a call that is rolled back leaves nothing
BEGIN;
SELECT heal_set_threshold('invalid_index', 'samples', 9);
ROLLBACK;
SELECT value FROM heal_thresholds WHERE failure_type = 'invalid_index';
SELECT count(*) FROM heal_audit WHERE action = 'set_threshold';
-- the table itself refuses nonsense
UPDATE heal.thresholds SET value = -1 WHERE failure_type = 'invalid_index';
UPDATE heal.thresholds SET value = 'NaN' WHERE failure_type = 'invalid_index';
UPDATE heal.thresholds SET value = default_value WHERE value <> default_value;

-- a limit counts at once: an index must be seen invalid this often
SELECT heal_set_threshold('invalid_index', 'samples', 1000);
CREATE TABLE counted (a int);
INSERT INTO counted VALUES (1), (1);
CREATE UNIQUE INDEX CONCURRENTLY counted_idx ON counted (a);
SELECT max(observed_at) AS before FROM heal_metrics \gset
CALL test.wait_for(format($$ (SELECT max(observed_at) > %L::timestamptz + interval '3 s' FROM heal_metrics) $$, :'before'));
SELECT count(*) FROM heal_incidents WHERE subject LIKE '%counted%';
SELECT heal_set_threshold('invalid_index', 'samples', 2);
CALL test.wait_for($$ EXISTS (SELECT FROM heal_incidents WHERE subject LIKE '%counted%') $$);
CALL test.wait_for($$ EXISTS (SELECT FROM heal_recommend() WHERE sql LIKE '%counted_idx%') $$);

-- a policy forbids the remedy: it must not even run by hand
SELECT heal_set_policy('object', 'public.counted', 'forbid', 'drop_invalid_index');
SELECT incident_id AS incident FROM heal_incidents WHERE subject LIKE '%counted%' \gset
SELECT state, message, detail, hint FROM test.refusal(format('SELECT heal_execute(%s, %L)', :incident, 'drop_invalid_index'));
SELECT heal_set_policy('object', 'public.counted', 'forbid', NULL);
SELECT * FROM heal_policies;
DROP TABLE counted;

-- every setting
SELECT heal_set_policy('server', '', 'autonomy', 'limited');
SELECT heal_set_policy('component', 'locks', 'critical', 'on');
SELECT heal_set_policy('component', 'in*', 'autonomy', 'observe');
SELECT heal_set_policy('database', 'Data "base"', 'exempt', 'on');
SELECT heal_set_policy('schema', 'Sch "one"', 'window', '22:00-05:30');
SELECT heal_set_policy('object', '"Sch ""one"""."Tab"', 'forbid', 'vacuum_*');
SELECT heal_set_policy('role', 'regress_none', 'allow', 'superusers');
SELECT heal_set_policy('application', 'pgbench*', 'exempt', 'off');
SELECT heal_set_policy('application', 'pgbench*', 'exempt', 'on');
SELECT * FROM heal_policies ORDER BY scope COLLATE "C", subject COLLATE "C";
SELECT action, subject, outcome, detail FROM heal_audit WHERE action = 'set_policy' ORDER BY audit_id;
-- NULL removes, also what is not there
SELECT heal_set_policy('server', '', 'autonomy', NULL);
SELECT heal_set_policy('server', '', 'autonomy', NULL);
SELECT heal_set_policy(scope, subject, setting, NULL) FROM heal_policies;
SELECT count(*) FROM heal_policies;
SELECT heal_set_threshold(failure_type, name, default_value) FROM heal_thresholds WHERE value <> default_value;
SELECT count(*) FROM heal_thresholds WHERE value <> default_value;
