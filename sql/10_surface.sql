-- What users see: every object, every column, every comment, every shipped row.

-- objects of the extension
SELECT pg_describe_object(classid, objid, 0) AS member
FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
ORDER BY pg_describe_object(classid, objid, 0) COLLATE "C";

-- views and tables with their columns
SELECT c.oid::regclass AS relation, c.relkind AS kind, obj_description(c.oid, 'pg_class') AS comment
FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'v')
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
ORDER BY c.oid::regclass::text COLLATE "C";

SELECT a.attrelid::regclass AS relation, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AS "not null", col_description(a.attrelid, a.attnum) AS comment
FROM pg_depend d JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'v')
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
ORDER BY c.oid::regclass::text COLLATE "C", a.attnum;

-- functions
SELECT p.oid::regprocedure AS function, pg_get_function_result(p.oid) AS result,
       p.provolatile AS vol, p.proisstrict AS strict, p.prosecdef AS definer, p.proparallel AS par,
       obj_description(p.oid, 'pg_proc') AS comment
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- Every function that is not C has a fixed search_path or a parsed body.
SELECT p.oid::regprocedure
FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid JOIN pg_language l ON l.oid = p.prolang
WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
  AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
  AND l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c = 'search_path=pg_catalog, pg_temp');

-- settings
SELECT name, boot_val, unit, context, vartype, min_val, max_val, enumvals, short_desc, extra_desc
FROM pg_settings WHERE name LIKE 'pg\_heal.%' ORDER BY name COLLATE "C";

-- shipped rows
SELECT failure_type, name, value = default_value AS is_default, value, unit, lowest, highest, description
FROM heal_thresholds ORDER BY failure_type COLLATE "C", name COLLATE "C";
SELECT kind, count(*) >= CASE kind WHEN 'root_cause' THEN 10 WHEN 'mechanism' THEN 15 ELSE 7 END AS enough,
       bool_and(prior > 0 AND prior < 1) AS uncertain, bool_and(shipped) AS shipped, bool_and(description <> '') AS described
FROM heal_causal_nodes GROUP BY kind ORDER BY kind COLLATE "C";
SELECT count(*) >= 40 AS enough FROM heal_causal_nodes;
SELECT edge_type, weight, bool_and(probability > 0 AND probability < 1) AS uncertain, bool_and(shipped) AS shipped,
       bool_and(learned IS NULL AND observations = 0) AS unlearnt
FROM heal_causal_edges GROUP BY 1, 2 ORDER BY 2 DESC;
-- each of the seven failures is a symptom with at least one cause
SELECT DISTINCT t.failure_type FROM heal_thresholds t
WHERE NOT EXISTS (SELECT FROM heal_causal_edges e JOIN heal_causal_nodes n ON n.node = e.effect
                  WHERE e.effect = t.failure_type AND n.kind = 'symptom');
SELECT count(*) FROM heal_policies;

-- what the worker publishes
SELECT component, state, since <= clock_timestamp() AS since, open_incidents, worst_failure, last_recovery_at, detail
FROM heal_status ORDER BY component COLLATE "C";
SELECT metric, component, category, unit FROM heal_metrics ORDER BY metric COLLATE "C";
SELECT metric FROM heal_metrics GROUP BY metric HAVING count(*) > 1;
SELECT DISTINCT m.component FROM heal_metrics m WHERE m.component NOT IN (SELECT s.component FROM heal_status s);
CALL test.wait_for($$ (SELECT bool_or(samples > 0) FROM heal_metrics) $$);
SELECT part, cpu_ms >= 0 AS cpu, memory_bytes >= 0 AS memory, shared_bytes >= 0 AS shared, disk_bytes >= 0 AS disk,
       longest_tick_ms >= 0 AS tick, locks_held
FROM heal_overhead ORDER BY part COLLATE "C";
SELECT (SELECT count(*) FROM heal_incidents) AS incidents, (SELECT count(*) FROM heal_history) AS attempts,
       (SELECT count(*) FROM heal_snapshots) AS snapshots, (SELECT count(*) FROM heal_recommend()) AS recommendations;
