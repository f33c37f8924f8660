-- The causal graph: edits that keep it a graph, and what follows from evidence.

SELECT heal_causal_add_node('disk_swapped', 'root_cause', 'storage', 0.02, 'blk_read_time', 'somebody swapped the disk');
SELECT heal_causal_add_node('reads_slow', 'mechanism', 'storage', 0.001);
SELECT heal_causal_add_node('pages_yellow', 'symptom', 'workload', 0.001);
SELECT heal_causal_add_edge('disk_swapped', 'reads_slow');
SELECT heal_causal_add_edge('reads_slow', 'pages_yellow', 'contributing', 0.9);
SELECT heal_causal_add_edge('reads_slow', 'io_latency', 'correlation', 0.5);
SELECT node, kind, component, prior, metric, description, shipped FROM heal_causal_nodes WHERE NOT shipped ORDER BY node COLLATE "C";
SELECT cause, effect, edge_type, weight, probability, observations, learned, shipped FROM heal_causal_edges WHERE NOT shipped ORDER BY cause COLLATE "C", effect COLLATE "C";

-- what the user added takes part in a diagnosis at once
SELECT rank, cause, component, posterior > 0.3 AS likely, chain, round(chain_probability::numeric, 4) AS chain_probability
FROM heal_diagnose('{"pages_yellow": true}') WHERE rank = 1;
SELECT cause, posterior > 0.3 AS likely FROM heal_diagnose('{"pages_yellow": true, "reads_slow": false}') WHERE cause = 'disk_swapped';

-- refused: cycles, with their path; nothing of the edit stays
\set VERBOSITY default
SELECT heal_causal_add_edge('pages_yellow', 'disk_swapped');
SELECT heal_causal_add_edge('reads_slow', 'reads_slow');
SELECT count(*) FROM heal_causal_edges WHERE NOT shipped;
-- unknown ends, doubles, what is no probability
SELECT heal_causal_add_edge('nowhere', 'reads_slow');
SELECT heal_causal_add_edge('disk_swapped', 'nowhere');
SELECT heal_causal_add_edge('disk_swapped', 'reads_slow');
SELECT heal_causal_add_edge('disk_swapped', 'io_latency', 'magic');
SELECT heal_causal_add_edge('disk_swapped', 'io_latency', 'correlation', 1);
SELECT heal_causal_add_node('disk_swapped', 'root_cause', 'storage', 0.5);
SELECT heal_causal_add_node('x', 'root_cause', 'storage', 0);
SELECT heal_causal_remove('nowhere');
SELECT heal_causal_remove('disk_swapped', 'io_latency');

-- an edge, and a node with its edges
SELECT heal_causal_remove('reads_slow', 'io_latency');
SELECT cause, effect FROM heal_causal_edges WHERE NOT shipped ORDER BY cause COLLATE "C";
SELECT heal_causal_remove('reads_slow');
SELECT cause, effect FROM heal_causal_edges WHERE NOT shipped;
SELECT heal_causal_remove('disk_swapped');
SELECT heal_causal_remove('pages_yellow');
SELECT count(*) FROM heal_causal_nodes WHERE NOT shipped;
SELECT action, subject, detail FROM heal_audit WHERE action LIKE 'causal%' AND subject ~ 'disk_swapped|reads_slow|pages_yellow' ORDER BY audit_id;

-- What if. The same symptom, told apart by what else is seen.
CREATE FUNCTION test.best(evidence jsonb, OUT cause text, OUT sure boolean, OUT chain text[]) LANGUAGE sql AS $$
    SELECT d.cause, d.posterior > 0.7, d.chain FROM heal_diagnose(evidence) d WHERE d.rank = 1
$$;
SELECT * FROM test.best('{"idle_in_transaction_blocker": true, "lock_waiters": true, "holder_idle_in_transaction": true, "holder_active_statement": false, "holder_prepared_transaction": false}');
SELECT * FROM test.best('{"lock_waiters": true, "holder_prepared_transaction": true, "holder_idle_in_transaction": false, "holder_active_statement": false}');
SELECT * FROM test.best('{"ddl_lock_queue": true, "ddl_heads_lock_queue": true, "holder_active_statement": true, "holder_idle_in_transaction": false, "holder_prepared_transaction": false}');
-- the four causes of a horizon that stands still
SELECT held, (test.best(jsonb_object_agg(fact, fact = held) || '{"horizon_stuck": true, "vacuum_starved": true}')).*
FROM unnest('{horizon_held_by_session, horizon_held_by_slot, horizon_held_by_standby, horizon_held_by_prepared_transaction}'::text[]) AS held,
     unnest('{horizon_held_by_session, horizon_held_by_slot, horizon_held_by_standby, horizon_held_by_prepared_transaction}'::text[]) AS fact
GROUP BY held ORDER BY held COLLATE "C";
SELECT * FROM test.best('{"checkpoint_storm": true, "wal_fills_max_wal_size": true, "checkpoint_requests_by_hand": false, "base_backup_running": false}');
SELECT * FROM test.best('{"checkpoint_storm": true, "wal_fills_max_wal_size": false, "checkpoint_requests_by_hand": true}');
SELECT * FROM test.best('{"invalid_index": true, "index_not_valid": true, "index_build_running": false}');
SELECT * FROM test.best('{"invalid_index": true, "index_not_valid": true, "index_build_running": true}');

-- Probabilities, ranked, none for certain.
SELECT count(*) > 10 AS many, bool_and(posterior > 0 AND posterior < 1) AS uncertain,
       bool_and(posterior <= previous) AS ranked, bool_and(chain[1] = cause) AS chains
FROM (SELECT *, lag(posterior, 1, 1) OVER (ORDER BY rank) AS previous FROM heal_diagnose('{"lock_waiters": true}')) AS d;
-- without evidence: the priors
SELECT bool_and(abs(d.posterior - n.prior) < 1e-9) AS priors FROM heal_diagnose('{}') d JOIN heal_causal_nodes n ON n.node = d.cause
WHERE NOT EXISTS (SELECT FROM heal_causal_edges e WHERE e.effect = d.cause);
-- unknown (null) is no evidence
SELECT bool_and(a.posterior = b.posterior) AS same
FROM heal_diagnose('{"lock_waiters": true}') a JOIN heal_diagnose('{"lock_waiters": true, "index_not_valid": null}') b USING (cause);
-- a cause that is ruled out, and one that is seen
SELECT cause, posterior FROM heal_diagnose('{"lock_waiters": true, "idle_in_transaction_session": false}') WHERE cause = 'idle_in_transaction_session';
SELECT cause, posterior FROM heal_diagnose('{"idle_in_transaction_session": true}') WHERE rank = 1;

-- evidence that cannot be understood
SELECT * FROM heal_diagnose('{"no_such_node": true}');
SELECT * FROM heal_diagnose('{"lock_waiters": 1}');
SELECT * FROM heal_diagnose('{"lock_waiters": "yes"}');
SELECT * FROM heal_diagnose('[]');
SELECT * FROM heal_diagnose('17');
SELECT * FROM heal_diagnose('null');
SELECT * FROM heal_diagnose(NULL);

-- All against all: every symptom at once while every mechanism is absent. No error, no certainty.
SELECT count(*) > 10 AS many, bool_and(posterior > 0 AND posterior < 1) AS uncertain
FROM heal_diagnose((SELECT jsonb_object_agg(node, kind = 'symptom') FROM heal_causal_nodes WHERE kind <> 'root_cause'));

-- A graph made cyclic behind the back of the functions is refused by the next edit and by a diagnosis.
BEGIN;
INSERT INTO heal.causal_edges VALUES ('lock_waiters', 'idle_in_transaction_session', 'direct_cause', 1, 0.5, 0, NULL, false);
SAVEPOINT s;
SELECT * FROM heal_diagnose('{}');
ROLLBACK TO s;
SELECT heal_causal_add_node('x', 'symptom', 'locks', 0.1);
ROLLBACK;
SELECT count(*) > 10 AS many FROM heal_diagnose('{}');
