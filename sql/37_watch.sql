-- heal_watch() and heal_unwatch(): what they refuse, what they write.
CREATE SCHEMA "Sch one";
CREATE TABLE test.orders (id int, email text, gone int);
ALTER TABLE test.orders DROP COLUMN gone;
CREATE TABLE "Sch one"."Or.ders" ("E mail" text);
CREATE VIEW test.a_view AS SELECT 1 AS email;

SELECT heal_watch('test.orders', 'email');
SELECT heal_watch('"Sch one"."Or.ders"', 'E mail');
SELECT heal_watch('elsewhere.orders', 'email', 'template1');
SELECT database, schema_name, table_name, column_name, watched_by = session_user AS by_me, baseline_at, null_fraction, drift_since
FROM heal_watched_columns ORDER BY 1, 2, 3, 4;
CREATE TABLE test.before AS SELECT watched_at FROM heal_watched_columns WHERE column_name = 'email' AND schema_name = 'test';
SELECT heal_watch('test.orders', 'email');
SELECT w.watched_at > b.watched_at AS again FROM heal_watched_columns w, test.before b WHERE schema_name = 'test';

\set VERBOSITY default
SELECT heal_watch(NULL, 'email');
SELECT heal_watch('test.orders', NULL);
SELECT heal_watch('test.orders', 'email', NULL);
SELECT heal_watch('nowhere', 'email');
SELECT heal_watch('test.nowhere', 'email');
SELECT heal_watch('test.a_view', 'email');
SELECT heal_watch('test.orders', 'gone');
SELECT heal_watch('test.orders', 'ctid');
SELECT heal_watch('test.orders', 'Email');
SELECT heal_watch('a.b.c', 'email');
SELECT heal_watch('"', 'email');
SELECT heal_watch('', 'email');
SELECT heal_watch('test.orders', 'email', 'no_such_database');
SELECT heal_unwatch('test.orders', 'id');
SELECT heal_unwatch(NULL, 'email');
SELECT heal_unwatch('test.orders', 'email', 'template1');
BEGIN;
SELECT count(heal_watch('elsewhere.t' || i, 'c', 'template1')) FROM generate_series(1, 198) i;
ROLLBACK;
\set VERBOSITY terse

SELECT heal_unwatch('test.orders', 'email');
SELECT heal_unwatch('"Sch one"."Or.ders"', 'E mail');
SELECT heal_unwatch('elsewhere.orders', 'email', 'template1');
SELECT count(*) FROM heal_watched_columns;
SELECT action, subject FROM heal_audit WHERE action IN ('watch', 'unwatch') ORDER BY audit_id;

-- a grant is enough; bins and deciles are nobody's
CREATE ROLE watch_reader;
CREATE ROLE watch_user;
GRANT pg_monitor TO watch_reader;
GRANT EXECUTE ON FUNCTION heal_watch(text, name, name) TO watch_user;
SET ROLE watch_reader;
SELECT count(*) FROM heal_watched_columns;
SELECT count(*) FROM heal.column_generations;
SELECT heal_watch('test.orders', 'email');
SET ROLE watch_user;
SELECT heal_watch('test.orders', 'email');
SELECT heal_unwatch('test.orders', 'email');
SELECT count(*) FROM heal_watched_columns;
RESET ROLE;
SELECT heal_unwatch('test.orders', 'email');
REVOKE ALL ON FUNCTION heal_watch(text, name, name) FROM watch_user;
DROP ROLE watch_reader, watch_user;
DROP TABLE test.before, test.orders;
DROP VIEW test.a_view;
DROP SCHEMA "Sch one" CASCADE;
