-- The audit: append-only, chained, and tampering shows.

-- rows that do not follow from the row before
CREATE VIEW test.broken_chain AS
SELECT audit_id FROM (
    SELECT a.audit_id, a.hash, heal.audit_hash(lag(a.hash, 1, '') OVER w, a) AS wanted, lag(a.audit_id, 1, 0::bigint) OVER w + 1 AS wanted_id
    FROM heal.audit a WINDOW w AS (ORDER BY a.audit_id)) AS c
WHERE hash IS DISTINCT FROM wanted OR audit_id <> wanted_id;

SELECT heal_pause('audit');
SELECT heal_resume();
SELECT heal_reset_baseline('deadlocks');
SELECT heal_reset_baseline() -> 'metric' AS all_metrics;
SELECT heal_set_threshold('invalid_index', 'samples', 2);
CALL test.wait_for($$ EXISTS (SELECT FROM heal_audit WHERE action = 'resume') $$);
SELECT count(*) > 20 AS many, bool_and(hash ~ '^[0-9a-f]{64}$') AS hashed, min(audit_id) AS first, count(*) = max(audit_id) AS complete,
       bool_and(at <= clock_timestamp()) AS past, count(DISTINCT hash) = count(*) AS different
FROM heal_audit;
SELECT count(*) FROM test.broken_chain;

-- nobody changes or removes a row, not even the owner
UPDATE heal.audit SET actor = 'somebody else';
UPDATE heal.audit SET actor = 'somebody else' WHERE false;
DELETE FROM heal.audit WHERE audit_id = 1;
TRUNCATE heal.audit;
UPDATE heal_audit SET outcome = 'done';

-- a row that is added by hand is chained too; its number and hash are not the writer's to choose
BEGIN;
SELECT max(audit_id) AS last FROM heal.audit \gset
INSERT INTO heal.audit VALUES (1, '2020-01-01', 'intruder', 'none', 's', 'o', '{}', 'deadbeef');
SELECT audit_id = :last + 1 AS at_the_end, hash <> 'deadbeef' AS rehashed FROM heal.audit WHERE actor = 'intruder';
SELECT count(*) FROM test.broken_chain;
ROLLBACK;

-- a superuser can switch the triggers off, and it shows
BEGIN;
SET LOCAL session_replication_role = replica;
SELECT audit_id AS victim FROM heal.audit ORDER BY audit_id OFFSET 5 LIMIT 1 \gset
SAVEPOINT s;
UPDATE heal.audit SET actor = 'somebody else' WHERE audit_id = :victim;
SELECT audit_id = :victim AS found FROM test.broken_chain;
ROLLBACK TO s;
UPDATE heal.audit SET detail = detail || '{"x": 1}' WHERE audit_id = :victim;
SELECT audit_id = :victim AS found FROM test.broken_chain;
ROLLBACK TO s;
UPDATE heal.audit SET at = at + interval '1 us' WHERE audit_id = :victim;
SELECT audit_id = :victim AS found FROM test.broken_chain;
ROLLBACK TO s;
DELETE FROM heal.audit WHERE audit_id = :victim;
SELECT audit_id = :victim + 1 AS found FROM test.broken_chain;
ROLLBACK TO s;
-- text moved from one column to the next
UPDATE heal.audit SET actor = actor || '|' || action, action = subject, subject = outcome, outcome = '' WHERE audit_id = :victim;
SELECT audit_id = :victim AS found FROM test.broken_chain;
ROLLBACK TO s;
-- a row put in between
UPDATE heal.audit SET audit_id = audit_id + 1000000 WHERE audit_id > :victim;
SELECT count(*) AS found FROM test.broken_chain;
ROLLBACK TO s;
-- a hash that is corrected breaks the next one
UPDATE heal.audit a SET actor = 'somebody else',
    hash = heal.audit_hash((SELECT p.hash FROM heal.audit p WHERE p.audit_id = a.audit_id - 1), ROW(a.audit_id, a.at, 'somebody else', a.action, a.subject, a.outcome, a.detail, '')::heal.audit)
WHERE audit_id = :victim;
SELECT audit_id = :victim + 1 AS found FROM test.broken_chain;
ROLLBACK;
SELECT count(*) FROM test.broken_chain;
