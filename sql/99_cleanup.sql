-- DROP EXTENSION leaves nothing, and CREATE EXTENSION works again.
DROP SCHEMA test CASCADE;
DROP DATABASE regress_heal_elsewhere;
DROP EXTENSION pg_heal;
SELECT count(*) FROM pg_namespace WHERE nspname = 'heal';
SELECT count(*) FROM pg_class WHERE relname LIKE 'heal%';
SELECT count(*) FROM pg_proc WHERE proname LIKE 'heal%' OR prosrc LIKE '%heal.%';
SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid NOT IN (SELECT oid FROM pg_extension);
SELECT count(*) FROM pg_event_trigger;
SELECT count(*) FROM pg_roles WHERE rolname LIKE 'heal%';
SELECT count(*) FROM pg_file_settings WHERE sourcefile LIKE '%postgresql.auto.conf';
SELECT heal_resume();

CREATE EXTENSION pg_heal;
SELECT (SELECT count(*) FROM heal_incidents) AS incidents, (SELECT count(*) FROM heal_audit) AS audited, (SELECT count(*) FROM heal_snapshots) AS snapshots;
DROP EXTENSION pg_heal;
-- in a schema of its own
CREATE SCHEMA regress_heal;
CREATE EXTENSION pg_heal SCHEMA regress_heal;
SELECT count(*) > 10 AS views FROM pg_views WHERE schemaname = 'regress_heal' AND viewname LIKE 'heal\_%';
SELECT count(*) FROM pg_class WHERE relname LIKE 'heal\_%' AND relnamespace = 'public'::regnamespace;
SELECT count(*) > 20 AS works FROM regress_heal.heal_thresholds;
SELECT count(*) > 10 AS works FROM regress_heal.heal_diagnose('{}');
DROP EXTENSION pg_heal;
DROP SCHEMA regress_heal;
