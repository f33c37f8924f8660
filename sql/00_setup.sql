-- The extension, and helpers of the other files.
CREATE EXTENSION pg_heal;

CREATE SCHEMA test;

-- Poll until the condition holds; its text is in the error when it never does. Commits, so
-- that nobody has to wait for it: a concurrent index build waits for every older snapshot.
CREATE PROCEDURE test.wait_for(condition text) LANGUAGE plpgsql AS $$
DECLARE
    deadline constant timestamptz := clock_timestamp() + interval '60 s';
    holds boolean;
BEGIN
    LOOP
        EXECUTE 'SELECT ' || condition INTO holds;
        EXIT WHEN holds;
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION 'still not true: %', condition;
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.05);
        COMMIT;
    END LOOP;
END
$$;

-- What a call is refused with. A call that succeeds shows as SQLSTATE 00000.
CREATE FUNCTION test.refusal(call text, OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE call;
    state := '00000';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END
$$;

-- Roll back and wait for the end; what became of each item is in test.undone. What needed
-- nothing is left out, how much that is is no matter here.
CREATE TABLE test.undone (item text, status text, detail text);
CREATE PROCEDURE test.undo(id bigint, force boolean DEFAULT false) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM test.undone;
    INSERT INTO test.undone SELECT r.item, r.status, regexp_replace(r.detail, '\d+ unchanged', 'N unchanged') FROM heal_rollback(id, force) r WHERE r.status <> 'unchanged';
    COMMIT;
    IF EXISTS (SELECT FROM test.undone WHERE item = 'snapshot' AND status = 'in_progress') THEN
        CALL test.wait_for(format($c$ (SELECT rollback_status <> 'in_progress' FROM heal_snapshots WHERE snapshot_id = %s) $c$, id));
        DELETE FROM test.undone;
        INSERT INTO test.undone
        SELECT 'snapshot', s.rollback_status, (SELECT regexp_replace(detail ->> 'detail', '\d+ unchanged', 'N unchanged') FROM heal_audit
                                               WHERE subject = 'snapshot ' || id AND action = 'rollback' ORDER BY audit_id DESC LIMIT 1)
        FROM heal_snapshots s WHERE s.snapshot_id = id;
        INSERT INTO test.undone
        SELECT concat_ws(' ', i.kind, i.object, i.name), i.status, i.detail
        FROM heal.snapshot_items i WHERE i.snapshot_id = id AND i.status <> 'unchanged' ORDER BY i.item_id;
    END IF;
END
$$;

CALL test.wait_for($$ (SELECT count(*) = 18 AND bool_and(state = 'healthy') FROM heal_status) $$);

-- Once more: refused, and nothing is disturbed.
CREATE EXTENSION pg_heal;
CREATE EXTENSION IF NOT EXISTS pg_heal;
SELECT extversion, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_heal';
