-- The extension, and helpers of the other files.
CREATE EXTENSION pg_heal;

CREATE SCHEMA test;

-- Poll until the condition holds; its text is in the error when it never does.
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
        PERFORM pg_sleep(0.05);
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

-- Change a setting of the server and wait until the call answers by it.
CREATE PROCEDURE test.wait_for_refusal(call text, wanted text) LANGUAGE plpgsql AS $$
DECLARE
    deadline constant timestamptz := clock_timestamp() + interval '60 s';
    got text;
BEGIN
    LOOP
        SELECT state INTO got FROM test.refusal(call);
        EXIT WHEN got = wanted;
        IF clock_timestamp() > deadline THEN
            RAISE EXCEPTION '% still answers % instead of %', call, got, wanted;
        END IF;
        PERFORM pg_sleep(0.05);
    END LOOP;
END
$$;

CALL test.wait_for($$ (SELECT count(*) = 16 AND bool_and(state = 'healthy') FROM heal_status) $$);

-- Once more: refused, and nothing is disturbed.
CREATE EXTENSION pg_heal;
CREATE EXTENSION IF NOT EXISTS pg_heal;
SELECT extversion, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_heal';
