-- Snapshots by hand: every kind of item, nesting, all ways a roll-back can end.
\set VERBOSITY default

CREATE VIEW test.auto_conf AS
    SELECT name, setting FROM pg_file_settings
    WHERE sourcefile LIKE '%postgresql.auto.conf' ORDER BY name COLLATE "C";
CREATE VIEW test.role_settings AS
    SELECT coalesce(d.datname, '') AS database, coalesce(r.rolname, '') AS role, s.setconfig
    FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
    WHERE r.rolname LIKE 'regress%' OR d.datname LIKE 'regress%' ORDER BY 1, 2;

-- Server settings: one with an entry before, one without, one that is reset, a list.
ALTER SYSTEM SET work_mem = '5MB';
ALTER SYSTEM SET search_path = '$user', 'Sch "one"', public;
ALTER SYSTEM SET log_min_duration_statement = 1000;
SELECT heal_snapshot('settings', 'settings') AS s \gset
CALL test.wait_for(format($$ EXISTS (SELECT FROM heal_snapshots WHERE snapshot_id = %s) $$, :s));
SELECT parent_id, depth, label, component, taken_at <= clock_timestamp() AS taken, taken_by = current_user AS by_me,
       expires_at - taken_at AS life, items, state, rollback_status
FROM heal_snapshots WHERE snapshot_id = :s;
SELECT kind, database, database_oid, object, name, value, restore_sql, reset_sql, status, detail
FROM heal.snapshot_items WHERE snapshot_id = :s ORDER BY name COLLATE "C";
ALTER SYSTEM SET work_mem = '6MB';
ALTER SYSTEM SET search_path = public;
ALTER SYSTEM SET maintenance_work_mem = '77MB';
ALTER SYSTEM RESET log_min_duration_statement;
CALL test.undo(:s);
TABLE test.undone;
SELECT * FROM test.auto_conf;
SELECT pg_reload_conf();
CALL test.wait_for($$ current_setting('work_mem') = '5MB' $$);
SELECT name, setting FROM pg_settings WHERE name IN ('work_mem', 'search_path', 'maintenance_work_mem', 'log_min_duration_statement') ORDER BY 1;
ALTER SYSTEM RESET ALL;
SELECT pg_reload_conf();

-- Settings of roles and databases, with names that need quoting.
CREATE ROLE "regress_Ro""le one";
CREATE ROLE regress_plain;
ALTER ROLE "regress_Ro""le one" SET work_mem = '1MB';
ALTER ROLE "regress_Ro""le one" IN DATABASE :"DBNAME" SET search_path = 'a b', "c""d";
ALTER ROLE regress_plain SET application_name = 'it''s one';
SELECT heal_snapshot('roles', 'roles') AS s \gset
ALTER ROLE "regress_Ro""le one" SET work_mem = '2MB';
ALTER ROLE "regress_Ro""le one" IN DATABASE :"DBNAME" SET search_path = public;
ALTER ROLE "regress_Ro""le one" SET lock_timeout = '1s';
ALTER ROLE regress_plain RESET application_name;
CALL test.undo(:s);
SELECT replace(item, current_database(), 'DB') AS item, status, detail FROM test.undone;
SELECT replace(database, current_database(), 'DB') AS database, role, setconfig FROM test.role_settings;
-- a role that has gone cannot be brought back
SELECT heal_snapshot('roles', 'roles') AS s \gset
DROP OWNED BY regress_plain;
DROP ROLE regress_plain;
CALL test.undo(:s);
TABLE test.undone;

-- Storage options and indexes, with names that need quoting.
CREATE SCHEMA "Sch ""one""";
CREATE TABLE "Sch ""one"""."Tab'le; one" (id int, "Col umn" text);
CREATE TABLE plain (id int CONSTRAINT plain_key PRIMARY KEY DEFERRABLE, v text, r int4range);
ALTER TABLE "Sch ""one"""."Tab'le; one" SET (fillfactor = 70, toast.autovacuum_enabled = off);
CREATE INDEX "In'dex; one" ON "Sch ""one"""."Tab'le; one" (lower("Col umn") text_pattern_ops DESC) WITH (fillfactor = 50) WHERE id > 0;
CREATE UNIQUE INDEX plain_v ON plain (v) INCLUDE (id);
SELECT heal_snapshot('storage', 'storage') AS storage, heal_snapshot('indexes', 'indexes') AS indexes \gset
CALL test.wait_for(format($$ (SELECT count(*) = 2 FROM heal_snapshots WHERE snapshot_id IN (%s, %s)) $$, :storage, :indexes));
SELECT kind, object, name, value, restore_sql, reset_sql FROM heal.snapshot_items
WHERE snapshot_id IN (:storage, :indexes) ORDER BY snapshot_id, object COLLATE "C", name COLLATE "C";
ALTER TABLE "Sch ""one"""."Tab'le; one" SET (fillfactor = 60, autovacuum_vacuum_threshold = 99);
ALTER TABLE "Sch ""one"""."Tab'le; one" RESET (toast.autovacuum_enabled);
DROP INDEX "Sch ""one"""."In'dex; one";
ALTER TABLE plain DROP CONSTRAINT plain_key;
CREATE INDEX plain_later ON plain (id);
CALL test.undo(:storage);
TABLE test.undone;
CALL test.undo(:indexes);
TABLE test.undone;
SELECT c.reloptions, t.reloptions AS toast FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid = '"Sch ""one"""."Tab''le; one"'::regclass;
SELECT indexdef FROM pg_indexes WHERE tablename IN ('plain', 'Tab''le; one') ORDER BY indexname COLLATE "C";
SELECT conname, contype, condeferrable, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'plain'::regclass AND contype = 'p';

-- An index that came later goes only with force; one that was changed comes back only with force.
SELECT heal_snapshot('indexes', 'indexes') AS s \gset
DROP INDEX plain_v;
CREATE INDEX plain_v ON plain (r);
CREATE INDEX plain_even_later ON plain (v);
CALL test.undo(:s);
TABLE test.undone;
CALL test.undo(:s, true);
TABLE test.undone;
SELECT indexdef FROM pg_indexes WHERE tablename = 'plain' ORDER BY indexname COLLATE "C";

-- Nesting: to three levels, undone from the outermost.
SELECT heal_snapshot('one', 'storage') AS one \gset
ALTER TABLE plain SET (fillfactor = 90);
SELECT heal_snapshot('two', 'storage', :one) AS two \gset
ALTER TABLE plain SET (fillfactor = 80);
SELECT heal_snapshot('three', 'storage', :two) AS three \gset
ALTER TABLE plain SET (fillfactor = 70);
SELECT state, replace(message, :'three', 'N') AS message, detail, hint FROM test.refusal(format('SELECT heal_snapshot(%L, %L, %s)', 'four', 'storage', :three));
CALL test.wait_for(format($$ (SELECT count(*) = 3 FROM heal_snapshots WHERE snapshot_id IN (%s, %s, %s)) $$, :one, :two, :three));
SELECT label, depth, parent_id = lag(snapshot_id) OVER (ORDER BY snapshot_id) AS in_the_one_before, state
FROM heal_snapshots WHERE snapshot_id IN (:one, :two, :three) ORDER BY depth;
CALL test.undo(:three);
TABLE test.undone;
SELECT reloptions FROM pg_class WHERE oid = 'plain'::regclass;
CALL test.undo(:one);
TABLE test.undone;
SELECT reloptions FROM pg_class WHERE oid = 'plain'::regclass;
CALL test.wait_for(format($$ (SELECT bool_and(state = 'rolled_back') FROM heal_snapshots WHERE snapshot_id IN (%s, %s, %s)) $$, :one, :two, :three));
SELECT label, state, rollback_status FROM heal_snapshots WHERE snapshot_id IN (:one, :two, :three) ORDER BY depth;
-- each is undone once; nothing can be hung under it any more
SELECT state, replace(message, :'two', 'N') AS message, hint FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', :two));
SELECT state, replace(message, :'one', 'N') AS message, hint FROM test.refusal(format('SELECT * FROM heal_rollback(%s, true)', :one));
SELECT state, replace(message, :'one', 'N') AS message, hint FROM test.refusal(format('SELECT heal_snapshot(%L, %L, %s)', 'late', 'storage', :one));

-- Nothing has changed: success, without doing anything.
SELECT heal_snapshot('still') AS s \gset
CALL test.undo(:s);
TABLE test.undone;

-- in_progress: an index is built when the caller is out of its way.
CREATE TABLE built (a int);
CREATE INDEX built_a ON built (a);
SELECT heal_snapshot('built', 'indexes') AS s \gset
DROP INDEX built_a;
SELECT * FROM heal_rollback(:s) r WHERE r.status <> 'unchanged';
CALL test.wait_for(format($$ (SELECT rollback_status = 'success' FROM heal_snapshots WHERE snapshot_id = %s) $$, :s));
SELECT state, rollback_status FROM heal_snapshots WHERE snapshot_id = :s;
SELECT i.status, i.detail FROM heal.snapshot_items i WHERE i.snapshot_id = :s AND i.object = 'public.built_a';
SELECT indexdef FROM pg_indexes WHERE tablename = 'built';
DROP TABLE built;

-- partial: some items come back, one cannot.
CREATE TABLE twice (a int) WITH (fillfactor = 50);
CREATE UNIQUE INDEX twice_a ON twice (a);
SELECT heal_snapshot('partial') AS s \gset
DROP INDEX twice_a;
INSERT INTO twice VALUES (1), (1);
ALTER TABLE twice SET (fillfactor = 40);
CALL test.undo(:s);
TABLE test.undone;
SELECT count(*) AS leftovers FROM pg_index WHERE indrelid = 'twice'::regclass;
-- what was left can be undone later
DELETE FROM twice;
CALL test.undo(:s);
TABLE test.undone;
SELECT indexdef FROM pg_indexes WHERE tablename = 'twice';

-- failed: nothing comes back.
SELECT heal_snapshot('failed', 'indexes') AS s \gset
DROP INDEX twice_a;
INSERT INTO twice VALUES (1), (1);
CALL test.undo(:s);
TABLE test.undone;
CALL test.wait_for(format($$ (SELECT rollback_status = 'failed' AND state = 'active' FROM heal_snapshots WHERE snapshot_id = %s) $$, :s));
-- what cannot be built again without blocking writers is left to people
DELETE FROM twice;
ALTER TABLE plain ADD CONSTRAINT plain_r EXCLUDE USING gist (r WITH &&);
SELECT heal_snapshot('exclusion', 'indexes') AS s \gset
ALTER TABLE plain DROP CONSTRAINT plain_r;
CALL test.undo(:s);
TABLE test.undone;
-- nor does a table come back
SELECT heal_snapshot('table', 'storage') AS s \gset
DROP TABLE twice;
CALL test.undo(:s);
TABLE test.undone;

-- verification_failed: undone, and still not as it was.
CREATE FUNCTION test.meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE relname = 'plain' AND 'fillfactor=33' <> ALL (reloptions)) THEN
        ALTER TABLE public.plain SET (fillfactor = 33);
    END IF;
END
$$;
ALTER TABLE plain SET (fillfactor = 44);
SELECT heal_snapshot('verified', 'storage') AS s \gset
ALTER TABLE plain SET (fillfactor = 33);
CREATE EVENT TRIGGER test_meddle ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION test.meddle();
CALL test.undo(:s);
TABLE test.undone;
DROP EVENT TRIGGER test_meddle;
CALL test.wait_for(format($$ (SELECT rollback_status = 'verification_failed' AND state = 'active' FROM heal_snapshots WHERE snapshot_id = %s) $$, :s));
SELECT object, name, status, detail FROM heal.snapshot_items WHERE snapshot_id = :s AND status <> 'unchanged';
CALL test.undo(:s);
TABLE test.undone;

-- Roll-back can be switched off. Each try has a snapshot of its own: it may work still.
CREATE PROCEDURE test.wait_for_rollback(wanted text) LANGUAGE plpgsql AS $$
DECLARE
    deadline constant timestamptz := clock_timestamp() + interval '60 s';
BEGIN
    WHILE (SELECT r.state FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', heal_snapshot('try', 'roles'))) AS r) <> wanted
    LOOP
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'a roll-back is still not answered with %', wanted;
        END IF;
    END LOOP;
END
$$;
ALTER SYSTEM SET pg_heal.rollback_enabled = off;
SELECT pg_reload_conf();
CALL test.wait_for_rollback('55000');
SELECT heal_snapshot('off', 'roles') AS s \gset
SELECT * FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', :s));
ALTER SYSTEM RESET pg_heal.rollback_enabled;
SELECT pg_reload_conf();
CALL test.wait_for_rollback('00000');

-- A pause stops roll-backs too; snapshots can still be taken.
SELECT heal_pause('change freeze') AS answer;
SELECT heal_snapshot('paused', 'roles') AS s \gset
SELECT * FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', :s));
CALL test.wait_for($$ (SELECT detail LIKE '%change freeze%' FROM heal_status WHERE component = 'healer') $$);
SELECT detail FROM heal_status WHERE component = 'healer';
SELECT heal_resume() AS answer;
CALL test.undo(:s);
TABLE test.undone;

-- Expired.
CREATE PROCEDURE test.snapshots_live(shortest interval, longest interval) LANGUAGE plpgsql AS $$
DECLARE
    deadline constant timestamptz := clock_timestamp() + interval '60 s';
    id bigint;
    life interval;
BEGIN
    LOOP
        id := heal_snapshot('life', 'roles');
        CALL test.wait_for(format('EXISTS (SELECT FROM heal_snapshots WHERE snapshot_id = %s)', id));
        SELECT s.expires_at - s.taken_at INTO life FROM heal_snapshots s WHERE s.snapshot_id = id;
        EXIT WHEN life BETWEEN shortest AND longest;
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'snapshots live for %', life;
        END IF;
    END LOOP;
END
$$;
SELECT heal_snapshot('long', 'roles') AS long \gset
ALTER SYSTEM SET pg_heal.snapshot_retention = '1s';
SELECT pg_reload_conf();
CALL test.snapshots_live('0', '2 s');
SELECT heal_snapshot('short', 'roles') AS s \gset
CALL test.wait_for(format($$ (SELECT state = 'expired' FROM heal_snapshots WHERE snapshot_id = %s) $$, :s));
SELECT state, replace(message, :'s', 'N') AS message, hint FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', :s));
SELECT state, replace(message, :'s', 'N') AS message, hint FROM test.refusal(format('SELECT heal_snapshot(%L, %L, %s)', 'late', 'roles', :s));
CALL test.wait_for(format($$ (SELECT state = 'expired' FROM heal.snapshots WHERE snapshot_id = %s) $$, :s));
SELECT state, message <> '' AS message FROM test.refusal(format('SELECT * FROM heal_rollback(%s)', :s));
-- only what is taken from now on lives shorter
CALL test.undo(:long);
TABLE test.undone;
ALTER SYSTEM RESET pg_heal.snapshot_retention;
SELECT pg_reload_conf();
CALL test.snapshots_live('1 h', '1 h');

DROP TABLE plain;
DROP SCHEMA "Sch ""one""" CASCADE;
DROP OWNED BY "regress_Ro""le one";
DROP ROLE "regress_Ro""le one";
ALTER SYSTEM RESET ALL;
SELECT pg_reload_conf();
