-- What a dump holds: decisions and history, not shipped rows, not the state of this server.
SELECT t.config::regclass AS dumped, t.condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS t(config, condition)
WHERE e.extname = 'pg_heal' ORDER BY t.config::regclass::text COLLATE "C";
SELECT c.oid::regclass AS not_dumped, obj_description(c.oid, 'pg_class') AS comment
FROM pg_class c, pg_extension e
WHERE c.relnamespace = 'heal'::regnamespace AND c.relkind = 'r' AND e.extname = 'pg_heal' AND c.oid <> ALL (e.extconfig)
ORDER BY c.oid::regclass::text COLLATE "C";

-- A limit that somebody changed comes back over the shipped row.
SELECT heal_set_threshold('invalid_index', 'samples', 7);
CREATE TABLE test.dump AS SELECT * FROM heal.thresholds WHERE value <> default_value;
SELECT heal_set_threshold('invalid_index', 'samples', 2);
INSERT INTO heal.thresholds SELECT * FROM test.dump;
SELECT failure_type, name, value, default_value FROM heal_thresholds WHERE value <> default_value;
SELECT heal_set_threshold('invalid_index', 'samples', 2);
