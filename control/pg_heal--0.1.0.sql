/* control/pg_heal--0.1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION pg_heal" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

CREATE SCHEMA heal;

/*
 * Tables. The healer writes them from the row images of the core: the keys of
 * an image are the columns here. Timestamps in images are ISO 8601 with zone.
 */

CREATE TABLE heal.incidents (
    incident_id bigint PRIMARY KEY,
    component text NOT NULL,
    failure_type text NOT NULL,
    category text NOT NULL,
    severity text NOT NULL,
    subject text NOT NULL,
    database text NOT NULL,
    fingerprint text NOT NULL,
    state text NOT NULL,
    opened_at timestamptz NOT NULL,
    detected_after_ms double precision,
    root_cause text,
    confidence double precision,
    remedy text,
    attempts integer NOT NULL,
    outcome text,
    resolved_at timestamptz,
    recovery_ms double precision,
    explanation jsonb NOT NULL
);

CREATE TABLE heal.transitions (
    transition_id bigint PRIMARY KEY,
    incident_id bigint NOT NULL,
    at timestamptz NOT NULL,
    from_state text,
    to_state text NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL
);

CREATE TABLE heal.attempts (
    attempt_id bigint PRIMARY KEY,
    incident_id bigint NOT NULL,
    component text NOT NULL,
    failure_type text NOT NULL,
    subject text NOT NULL,
    database text NOT NULL,
    remedy text NOT NULL,
    action text NOT NULL,
    mode text NOT NULL,
    state text NOT NULL,          -- started, verifying, rolling_back, finished
    started_at timestamptz NOT NULL,
    duration_ms double precision,
    attempt_no integer NOT NULL,
    outcome text,                 -- healed no_effect rolled_back unverified failed escalated
    verified boolean NOT NULL,
    snapshot_id bigint,
    sql text NOT NULL,
    undo_sql text NOT NULL,
    detail text NOT NULL
);

CREATE TABLE heal.recommendations (
    recommendation_id bigint PRIMARY KEY,
    incident_id bigint NOT NULL,
    rank integer NOT NULL,
    failure_type text NOT NULL,
    root_cause text,
    confidence double precision,
    remedy text NOT NULL,
    action text NOT NULL,
    risk_class text NOT NULL,
    reversible boolean NOT NULL,
    sql text NOT NULL,
    undo_sql text NOT NULL,
    expected_success double precision NOT NULL,
    reason text NOT NULL,
    state text NOT NULL,          -- open, waiting, approved, rejected, executed, withdrawn
    decided_by text,
    decided_at timestamptz
);

CREATE TABLE heal.snapshots (
    snapshot_id bigint PRIMARY KEY,
    parent_id bigint,
    incident_id bigint,
    depth integer NOT NULL,
    label text NOT NULL,
    component text,
    taken_at timestamptz NOT NULL,
    taken_by text NOT NULL,
    expires_at timestamptz NOT NULL,
    items integer NOT NULL,
    state text NOT NULL,          -- active, rolled_back, expired, superseded
    rollback_status text          -- success, partial, failed, verification_failed, in_progress
);

CREATE TABLE heal.snapshot_items (
    item_id bigint PRIMARY KEY,
    snapshot_id bigint NOT NULL,
    kind text NOT NULL,           -- server_setting, role_setting, storage_option, index
    database text NOT NULL,
    database_oid oid NOT NULL,
    object text NOT NULL,
    name text NOT NULL,
    value text,                   -- before-image; NULL: did not exist
    has_expected boolean NOT NULL, -- an action of pg_heal followed: drift can be told
    expected text,                -- what that action made of it; NULL: does not exist
    restore_sql text NOT NULL,    -- brings the item to this image
    reset_sql text NOT NULL,      -- removes the item; '' where that is never done
    status text,                  -- of the last roll-back
    detail text
);

CREATE TABLE heal.anomalies (
    anomaly_id bigint PRIMARY KEY,
    observed_at timestamptz NOT NULL,
    category text NOT NULL,
    metric text NOT NULL,
    component text NOT NULL,
    value double precision,
    score double precision NOT NULL,
    method text NOT NULL,
    shape text NOT NULL,
    confidence double precision NOT NULL,
    incident_id bigint,
    direction text NOT NULL,
    onset_at timestamptz NOT NULL
);

CREATE TABLE heal.audit (
    audit_id bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    outcome text NOT NULL,
    detail jsonb NOT NULL,
    hash text
);

CREATE TABLE heal.causal_nodes (
    node text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('root_cause', 'mechanism', 'symptom')),
    component text NOT NULL,
    prior double precision NOT NULL CHECK (prior > 0 AND prior < 1),
    metric text,
    description text NOT NULL,
    shipped boolean NOT NULL DEFAULT false
);

CREATE TABLE heal.causal_edges (
    cause text NOT NULL REFERENCES heal.causal_nodes ON DELETE CASCADE,
    effect text NOT NULL REFERENCES heal.causal_nodes ON DELETE CASCADE,
    edge_type text NOT NULL CHECK (edge_type IN ('direct_cause', 'contributing', 'correlation')),
    weight double precision NOT NULL,
    probability double precision NOT NULL CHECK (probability > 0 AND probability < 1),
    observations double precision NOT NULL DEFAULT 0,
    learned double precision,     -- probability learnt from verified outcomes
    shipped boolean NOT NULL DEFAULT false,
    PRIMARY KEY (cause, effect)
);

CREATE TABLE heal.thresholds (
    failure_type text NOT NULL,
    name text NOT NULL,
    value double precision NOT NULL,
    unit text NOT NULL,
    default_value double precision NOT NULL,
    description text NOT NULL,
    lowest double precision NOT NULL,
    highest double precision NOT NULL,
    PRIMARY KEY (failure_type, name),
    CHECK (value BETWEEN lowest AND highest) -- NaN is not
);

CREATE TABLE heal.policies (
    scope text NOT NULL CHECK (scope IN ('server', 'component', 'database', 'schema', 'object', 'role', 'application')),
    subject text NOT NULL,
    setting text NOT NULL CHECK (setting IN ('autonomy', 'exempt', 'allow', 'forbid', 'window', 'critical')),
    value text NOT NULL,
    PRIMARY KEY (scope, subject, setting)
);

CREATE TABLE heal.journal_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    applied_seq bigint NOT NULL,
    server_identity text NOT NULL -- system identifier, timeline, device and inode of the data directory
);

CREATE INDEX transitions_incident_idx ON heal.transitions (incident_id);
CREATE INDEX attempts_incident_idx ON heal.attempts (incident_id);
CREATE INDEX recommendations_incident_idx ON heal.recommendations (incident_id);
CREATE INDEX snapshot_items_snapshot_idx ON heal.snapshot_items (snapshot_id);
CREATE INDEX incidents_opened_idx ON heal.incidents (opened_at);
CREATE INDEX anomalies_observed_idx ON heal.anomalies (observed_at);

/*
 * C entry points. Symbols carry the version, so that an old catalog works
 * with a new library.
 */

CREATE FUNCTION heal.check_database() RETURNS void
    AS 'MODULE_PATHNAME', 'heal_check_database_0_1' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
SELECT heal.check_database();

CREATE FUNCTION heal.check_writable() RETURNS void
    AS 'MODULE_PATHNAME', 'heal_check_writable_0_1' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION heal.config_changed() RETURNS trigger
    AS 'MODULE_PATHNAME', 'heal_config_changed_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION heal.graph_check() RETURNS void
    AS 'MODULE_PATHNAME', 'heal_graph_check_0_1' LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION heal.catalogue() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_catalogue_0_1' LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION heal.status(
    OUT component text, OUT state text, OUT since timestamptz, OUT open_incidents integer,
    OUT worst_failure text, OUT last_recovery_at timestamptz, OUT detail text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'heal_status_0_1' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;

CREATE FUNCTION heal.metrics(
    OUT metric text, OUT component text, OUT category text, OUT value double precision, OUT unit text,
    OUT baseline_mean double precision, OUT baseline_stddev double precision, OUT zscore double precision,
    OUT iqr_low double precision, OUT iqr_high double precision, OUT samples bigint, OUT observed_at timestamptz,
    OUT anomaly_score double precision, OUT forest_score double precision)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'heal_metrics_0_1' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;

CREATE FUNCTION heal.overhead(
    OUT part text, OUT cpu_ms double precision, OUT memory_bytes bigint, OUT shared_bytes bigint,
    OUT disk_bytes bigint, OUT longest_tick_ms double precision, OUT locks_held integer)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'heal_overhead_0_1' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;

CREATE FUNCTION heal.diagnose(evidence jsonb) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_diagnose_0_1' LANGUAGE C STRICT STABLE PARALLEL UNSAFE;

/*
 * The audit is append-only and hash-chained: each row's hash covers its own
 * content and the hash before it.
 */

CREATE FUNCTION heal.audit_hash(previous text, entry heal.audit) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    -- As JSON, so that no text can move from one column to the next unnoticed.
    SELECT encode(sha256(convert_to(
        jsonb_build_array(previous, (entry).audit_id, extract(epoch FROM (entry).at),
                          (entry).actor, (entry).action, (entry).subject,
                          (entry).outcome, (entry).detail)::text, 'UTF8')), 'hex')
    $$;

CREATE FUNCTION heal.audit_chain() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        last heal.audit;
        given text := NEW.hash;
    BEGIN
        -- One writer at a time, or two rows would follow the same hash.
        PERFORM pg_advisory_xact_lock('heal.audit'::regclass::oid::bigint);
        SELECT * INTO last FROM heal.audit a ORDER BY a.audit_id DESC LIMIT 1;
        -- A restored row keeps its place in the chain when it fits there.
        IF given IS NOT NULL AND given = heal.audit_hash(coalesce(last.hash, ''), NEW) THEN
            RETURN NEW;
        END IF;
        NEW.audit_id := coalesce(last.audit_id, 0) + 1;
        NEW.hash := heal.audit_hash(coalesce(last.hash, ''), NEW);
        RETURN NEW;
    END
    $$;

CREATE FUNCTION heal.audit_refuse() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        RAISE EXCEPTION 'the audit is append-only'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Rows of heal.audit are never changed or removed.';
    END
    $$;

CREATE TRIGGER audit_chain BEFORE INSERT ON heal.audit
    FOR EACH ROW EXECUTE FUNCTION heal.audit_chain();
CREATE TRIGGER audit_refuse BEFORE UPDATE OR DELETE OR TRUNCATE ON heal.audit
    FOR EACH STATEMENT EXECUTE FUNCTION heal.audit_refuse();

/*
 * Edits of the configuration run one after the other, until their commit: what
 * one checks must not be changed by another meanwhile.
 */
CREATE FUNCTION heal.begin_edit() RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM heal.check_writable();
        PERFORM pg_advisory_xact_lock('heal.audit'::regclass::oid::bigint);
    END
    $$;

CREATE FUNCTION heal.note(action text, subject text, detail jsonb) RETURNS void
    LANGUAGE sql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    INSERT INTO heal.audit (audit_id, at, actor, action, subject, outcome, detail)
    VALUES (0, clock_timestamp(), session_user, action, subject, 'done', detail)
    $$;

/*
 * A dump holds the thresholds somebody changed; restored, they replace the
 * shipped rows.
 */
CREATE FUNCTION heal.threshold_restored() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        UPDATE heal.thresholds t SET value = NEW.value
        WHERE t.failure_type = NEW.failure_type AND t.name = NEW.name;
        RETURN CASE WHEN FOUND THEN NULL ELSE NEW END;
    END
    $$;

CREATE TRIGGER threshold_restored BEFORE INSERT ON heal.thresholds
    FOR EACH ROW EXECUTE FUNCTION heal.threshold_restored();

/* Edits of these tables reach the healer at commit. */
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.thresholds
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.policies
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.causal_nodes
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.causal_edges
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();

-- @shipped@ rows of heal.causal_nodes, heal.causal_edges and heal.thresholds stand here in the built script

/*
 * Views: what users read. Columns are only ever added.
 */

CREATE VIEW @extschema@.heal_status AS
    SELECT component, state, since, open_incidents, worst_failure, last_recovery_at, detail
    FROM heal.status();

CREATE VIEW @extschema@.heal_metrics AS
    SELECT metric, component, category, value, unit, baseline_mean, baseline_stddev, zscore,
           iqr_low, iqr_high, samples, observed_at, anomaly_score, forest_score
    FROM heal.metrics();

CREATE VIEW @extschema@.heal_overhead AS
    SELECT part, cpu_ms, memory_bytes, shared_bytes,
           CASE part WHEN 'healer' THEN disk_bytes + (
               SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
               FROM pg_class c WHERE c.relnamespace = 'heal'::regnamespace AND c.relkind = 'r')
           ELSE disk_bytes END AS disk_bytes,
           longest_tick_ms, locks_held
    FROM heal.overhead();

CREATE VIEW @extschema@.heal_anomalies AS
    SELECT anomaly_id, observed_at, category, metric, component, value, score, method, shape,
           confidence, incident_id, direction, onset_at
    FROM heal.anomalies;

CREATE VIEW @extschema@.heal_incidents AS
    SELECT incident_id, component, failure_type, category, severity, subject, state, opened_at,
           detected_after_ms, root_cause, confidence, remedy, attempts, outcome, resolved_at,
           recovery_ms, database
    FROM heal.incidents;

CREATE VIEW @extschema@.heal_history AS
    SELECT attempt_id, incident_id, component, failure_type, remedy, action, mode, started_at,
           duration_ms, attempt_no, outcome, verified, snapshot_id, detail, subject, state, sql, undo_sql, database
    FROM heal.attempts;

CREATE VIEW @extschema@.heal_snapshots AS
    SELECT snapshot_id, parent_id, depth, label, component, taken_at, taken_by, expires_at, items,
           CASE WHEN state = 'active' AND expires_at <= clock_timestamp() THEN 'expired' ELSE state END AS state,
           rollback_status, incident_id
    FROM heal.snapshots;

CREATE VIEW @extschema@.heal_causal_nodes AS
    SELECT node, kind, component, prior, metric, description, shipped FROM heal.causal_nodes;

CREATE VIEW @extschema@.heal_causal_edges AS
    SELECT cause, effect, edge_type, weight, probability, observations, learned, shipped FROM heal.causal_edges;

CREATE VIEW @extschema@.heal_audit AS
    SELECT audit_id, at, actor, action, subject, outcome, detail, hash FROM heal.audit;

CREATE VIEW @extschema@.heal_thresholds AS
    SELECT failure_type, name, value, unit, default_value, description, lowest, highest FROM heal.thresholds;

CREATE VIEW @extschema@.heal_policies AS
    SELECT scope, subject, setting, value FROM heal.policies;

/*
 * Reading functions.
 */

CREATE FUNCTION @extschema@.heal_recommend(incident bigint DEFAULT NULL)
    RETURNS TABLE (recommendation_id bigint, incident_id bigint, rank integer, failure_type text,
                   root_cause text, confidence double precision, remedy text, action text,
                   risk_class text, reversible boolean, sql text, undo_sql text,
                   expected_success double precision, reason text, state text)
    LANGUAGE sql STABLE PARALLEL SAFE
    BEGIN ATOMIC
        SELECT r.recommendation_id, r.incident_id, r.rank, r.failure_type, r.root_cause, r.confidence,
               r.remedy, r.action, r.risk_class, r.reversible, r.sql, r.undo_sql, r.expected_success,
               r.reason, r.state
        FROM heal.recommendations r
        WHERE CASE WHEN heal_recommend.incident IS NULL THEN r.state IN ('open', 'waiting')
                   ELSE r.incident_id = heal_recommend.incident END
        ORDER BY r.incident_id, r.rank, r.recommendation_id;
    END;

CREATE FUNCTION @extschema@.heal_explain(incident_id bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        found_incident heal.incidents;
    BEGIN
        SELECT * INTO found_incident FROM heal.incidents i WHERE i.incident_id = heal_explain.incident_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no incident %', incident_id
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'SELECT incident_id, failure_type, subject FROM heal_incidents lists them.';
        END IF;
        RETURN to_jsonb(found_incident) - 'explanation' || found_incident.explanation || jsonb_build_object(
            'transitions', (
                SELECT coalesce(jsonb_agg(to_jsonb(t) - 'incident_id' ORDER BY t.transition_id), '[]')
                FROM heal.transitions t WHERE t.incident_id = found_incident.incident_id),
            'attempts', (
                SELECT coalesce(jsonb_agg(to_jsonb(a) - 'incident_id' ORDER BY a.attempt_id), '[]')
                FROM heal.attempts a WHERE a.incident_id = found_incident.incident_id));
    END
    $$;

CREATE FUNCTION @extschema@.heal_diagnose(evidence jsonb)
    RETURNS TABLE (rank integer, cause text, component text, posterior double precision,
                   chain text[], chain_probability double precision)
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT d.ordinality::integer, d.item ->> 'cause', d.item ->> 'component',
           (d.item ->> 'posterior')::double precision,
           ARRAY(SELECT jsonb_array_elements_text(d.item -> 'chain')),
           (d.item ->> 'probability_chain')::double precision
    FROM jsonb_array_elements(heal.diagnose(evidence)) WITH ORDINALITY AS d(item, ordinality)
    $$;

/*
 * Acting functions: each sends one request to the healer. Granted to nobody,
 * the administrator decides; a grant on one of them is enough to use it. Not
 * STRICT: a NULL must be an error, not a request that is silently not made.
 */

CREATE FUNCTION @extschema@.heal_approve(recommendation_id bigint) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_approve_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_reject(recommendation_id bigint, reason text DEFAULT '') RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_reject_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_execute(incident_id bigint, remedy text) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_execute_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_snapshot(label text, component text DEFAULT NULL, parent_id bigint DEFAULT NULL)
    RETURNS bigint
    AS 'MODULE_PATHNAME', 'heal_snapshot_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_rollback(
    snapshot_id bigint, force boolean DEFAULT false, OUT item text, OUT status text, OUT detail text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'heal_rollback_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_pause(reason text) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_pause_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_resume() RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_resume_0_1' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION @extschema@.heal_reset_baseline(metric text DEFAULT NULL) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'heal_reset_baseline_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE;

/*
 * Configuring functions. They run as the extension's owner, so that a grant of
 * EXECUTE is enough and nobody needs rights on the tables: every argument is
 * checked and only ever used as a value, search_path is pinned, and the audit
 * names session_user.
 */

CREATE FUNCTION @extschema@.heal_set_threshold(failure_type text, name text, value double precision) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        before heal.thresholds;
    BEGIN
        PERFORM heal.begin_edit();
        SELECT * INTO before FROM heal.thresholds t
        WHERE t.failure_type = heal_set_threshold.failure_type AND t.name = heal_set_threshold.name FOR UPDATE;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no threshold "%" of failure "%"', name, failure_type
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'SELECT failure_type, name FROM heal_thresholds lists them.';
        ELSIF value IS NULL OR NOT value BETWEEN before.lowest AND before.highest THEN
            RAISE EXCEPTION 'threshold "%" of failure "%" cannot be %', name, failure_type, coalesce(value::text, 'NULL')
                USING ERRCODE = 'invalid_parameter_value',
                      DETAIL = format('It must be between %s and %s, in %s.', before.lowest, before.highest, before.unit),
                      HINT = 'SELECT * FROM heal_thresholds shows units, defaults and ranges.';
        END IF;
        UPDATE heal.thresholds t SET value = heal_set_threshold.value
        WHERE t.failure_type = heal_set_threshold.failure_type AND t.name = heal_set_threshold.name;
        PERFORM heal.note('set_threshold', failure_type || '.' || name,
                          jsonb_build_object('before', before.value, 'after', value));
    END
    $$;

-- Value NULL: the policy is to be removed.
CREATE FUNCTION heal.check_policy(scope text, subject text, setting text, value text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        components constant text[] := '{sessions, locks, connections, workload, checkpointer, wal, archiver, replication,
            transactions, storage, host, vacuum, statistics, indexes, sequences, security, healer}';
    BEGIN
        IF scope IS NULL OR scope NOT IN ('server', 'component', 'database', 'schema', 'object', 'role', 'application') THEN
            RAISE EXCEPTION 'unknown policy scope "%"', scope
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Scopes are server, component, database, schema, object, role and application.';
        ELSIF subject IS NULL THEN
            RAISE EXCEPTION 'a policy needs a subject'
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'Name what the policy is about; for scope server use an empty text.';
        ELSIF (scope = 'server') <> (subject = '') THEN
            RAISE EXCEPTION 'subject "%" is not valid for policy scope "%"', subject, scope
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Name what the policy is about; for scope server use an empty text.';
        ELSIF octet_length(subject) > 1000 OR octet_length(value) > 1000 THEN
            RAISE EXCEPTION 'argument is too long'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Subject and value may have at most 1000 bytes.';
        ELSIF setting IS NULL OR setting NOT IN ('autonomy', 'exempt', 'allow', 'forbid', 'window', 'critical') THEN
            RAISE EXCEPTION 'unknown policy setting "%"', setting
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Settings are autonomy, exempt, allow, forbid, window and critical.';
        ELSIF value IS NULL THEN
            RETURN;
        ELSIF setting = 'autonomy' AND value NOT IN ('observe', 'approve', 'limited', 'auto')
              OR setting IN ('exempt', 'critical') AND value NOT IN ('on', 'off')
              OR setting = 'window' AND value !~ '^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$'
              OR setting = 'allow' AND value <> 'superusers'
              OR setting = 'forbid' AND NOT EXISTS (
                  SELECT FROM jsonb_array_elements(heal.catalogue() -> 'remedies') AS r(item)
                  WHERE r.item ->> 'remedy' = value
                     OR right(value, 1) = '*' AND starts_with(r.item ->> 'remedy', left(value, -1))) THEN
            RAISE EXCEPTION 'value "%" is not valid for policy setting "%"', value, setting
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = CASE setting
                          WHEN 'autonomy' THEN 'Use observe, approve, limited or auto.'
                          WHEN 'window' THEN 'Use HH:MM-HH:MM, in UTC.'
                          WHEN 'allow' THEN 'Use superusers: their sessions may then be signalled.'
                          WHEN 'forbid' THEN 'Name a remedy, or * for all of them.'
                          ELSE 'Use on or off.' END;
        -- A policy that never applies would protect nothing.
        ELSIF scope = 'component' AND NOT EXISTS (
                  SELECT FROM unnest(components) AS c(name)
                  WHERE c.name = subject OR right(subject, 1) = '*' AND starts_with(c.name, left(subject, -1))) THEN
            RAISE EXCEPTION 'there is no component "%"', subject
                USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT component FROM heal_status lists them.';
        END IF;
    END
    $$;

CREATE FUNCTION @extschema@.heal_set_policy(scope text, subject text, setting text, value text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        before text;
    BEGIN
        PERFORM heal.begin_edit();
        PERFORM heal.check_policy(scope, subject, setting, value);
        SELECT p.value INTO before FROM heal.policies p
        WHERE p.scope = heal_set_policy.scope AND p.subject = heal_set_policy.subject
          AND p.setting = heal_set_policy.setting;
        IF value IS NULL THEN
            DELETE FROM heal.policies p
            WHERE p.scope = heal_set_policy.scope AND p.subject = heal_set_policy.subject
              AND p.setting = heal_set_policy.setting;
        ELSE
            INSERT INTO heal.policies AS p VALUES (scope, subject, setting, value)
            ON CONFLICT ON CONSTRAINT policies_pkey DO UPDATE SET value = excluded.value;
        END IF;
        PERFORM heal.note('set_policy', concat_ws(' ', scope, subject, setting),
                          jsonb_build_object('before', before, 'after', value));
    END
    $$;

CREATE FUNCTION @extschema@.heal_causal_add_node(
    node text, kind text, component text, prior double precision,
    metric text DEFAULT NULL, description text DEFAULT '') RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM heal.begin_edit();
        IF node IS NULL OR node !~ '^[a-z][a-z0-9_]{0,62}$' THEN
            RAISE EXCEPTION 'invalid name "%" for a causal node', left(node, 100)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Use lower-case letters, digits and underscores, at most 63, with a letter first.';
        ELSIF kind IS NULL OR kind NOT IN ('root_cause', 'mechanism', 'symptom') THEN
            RAISE EXCEPTION 'unknown kind "%" of causal node', kind
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Kinds are root_cause, mechanism and symptom.';
        ELSIF prior IS NULL OR NOT (prior > 0 AND prior < 1) THEN
            RAISE EXCEPTION 'prior % is not between 0 and 1', prior
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Give the probability that the node is present when none of its causes is.';
        ELSIF EXISTS (SELECT FROM heal.causal_nodes n WHERE n.node = heal_causal_add_node.node) THEN
            RAISE EXCEPTION 'causal node "%" exists already', node
                USING ERRCODE = 'duplicate_object', HINT = 'Remove it first with heal_causal_remove().';
        ELSIF component IS NULL THEN
            RAISE EXCEPTION 'a causal node needs a component'
                USING ERRCODE = 'null_value_not_allowed', HINT = 'SELECT component FROM heal_status lists them.';
        ELSIF component !~ '^[a-z][a-z0-9_]{0,62}$' THEN
            RAISE EXCEPTION 'invalid name "%" for the component of a causal node', left(component, 100)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Use lower-case letters, digits and underscores, at most 63, with a letter first.';
        ELSIF octet_length(metric) > 63 OR octet_length(description) > 1000 THEN
            RAISE EXCEPTION 'argument is too long'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'A metric may have at most 63 bytes, a description 1000.';
        END IF;
        INSERT INTO heal.causal_nodes VALUES (node, kind, component, prior, metric, coalesce(description, ''), false);
        PERFORM heal.graph_check();
        PERFORM heal.note('causal_add_node', node, jsonb_build_object('kind', kind, 'prior', prior));
    END
    $$;

CREATE FUNCTION @extschema@.heal_causal_add_edge(
    cause text, effect text, edge_type text DEFAULT 'direct_cause', probability double precision DEFAULT 0.8)
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        missing text;
        type_weight double precision := CASE edge_type
            WHEN 'direct_cause' THEN 1.0 WHEN 'contributing' THEN 0.8 WHEN 'correlation' THEN 0.5 END;
    BEGIN
        PERFORM heal.begin_edit();
        SELECT coalesce(w.name, 'NULL') INTO missing FROM (VALUES (cause), (effect)) AS w(name)
        WHERE NOT EXISTS (SELECT FROM heal.causal_nodes n WHERE n.node = w.name) LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'there is no causal node "%"', missing
                USING ERRCODE = 'undefined_object', HINT = 'Add it first with heal_causal_add_node().';
        ELSIF type_weight IS NULL THEN
            RAISE EXCEPTION 'unknown type "%" of causal edge', edge_type
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Types are direct_cause, contributing and correlation.';
        ELSIF probability IS NULL OR NOT (probability > 0 AND probability < 1) THEN
            RAISE EXCEPTION 'probability % is not between 0 and 1', probability
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Give the probability of the effect when this is its only cause.';
        ELSIF EXISTS (SELECT FROM heal.causal_edges e
                      WHERE e.cause = heal_causal_add_edge.cause AND e.effect = heal_causal_add_edge.effect) THEN
            RAISE EXCEPTION 'the edge from "%" to "%" exists already', cause, effect
                USING ERRCODE = 'duplicate_object', HINT = 'Remove it first with heal_causal_remove().';
        END IF;
        INSERT INTO heal.causal_edges VALUES (cause, effect, edge_type, type_weight, probability, 0, NULL, false);
        PERFORM heal.graph_check();
        PERFORM heal.note('causal_add_edge', cause || ' > ' || effect,
                          jsonb_build_object('edge_type', edge_type, 'probability', probability));
    END
    $$;

CREATE FUNCTION @extschema@.heal_causal_remove(node text, effect text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM heal.begin_edit();
        IF effect IS NULL THEN
            DELETE FROM heal.causal_nodes n WHERE n.node = heal_causal_remove.node;
        ELSE
            DELETE FROM heal.causal_edges e
            WHERE e.cause = heal_causal_remove.node AND e.effect = heal_causal_remove.effect;
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no such causal %', CASE WHEN effect IS NULL THEN 'node' ELSE 'edge' END
                USING ERRCODE = 'undefined_object',
                      HINT = 'See heal_causal_nodes and heal_causal_edges.';
        END IF;
        PERFORM heal.graph_check();
        PERFORM heal.note('causal_remove', concat_ws(' > ', node, effect), '{}');
    END
    $$;

/*
 * Privileges. PUBLIC may read and execute nothing; what reads is granted to
 * pg_monitor, what acts or configures to nobody.
 */

REVOKE ALL ON SCHEMA heal FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA heal FROM PUBLIC;
REVOKE ALL ON FUNCTION
    @extschema@.heal_recommend(bigint), @extschema@.heal_explain(bigint), @extschema@.heal_diagnose(jsonb),
    @extschema@.heal_approve(bigint), @extschema@.heal_reject(bigint, text), @extschema@.heal_execute(bigint, text),
    @extschema@.heal_snapshot(text, text, bigint), @extschema@.heal_rollback(bigint, boolean),
    @extschema@.heal_pause(text), @extschema@.heal_resume(), @extschema@.heal_reset_baseline(text),
    @extschema@.heal_set_threshold(text, text, double precision), @extschema@.heal_set_policy(text, text, text, text),
    @extschema@.heal_causal_add_node(text, text, text, double precision, text, text),
    @extschema@.heal_causal_add_edge(text, text, text, double precision), @extschema@.heal_causal_remove(text, text)
    FROM PUBLIC;

GRANT USAGE ON SCHEMA heal TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA heal TO pg_monitor;
GRANT EXECUTE ON FUNCTION heal.status(), heal.metrics(), heal.overhead(), heal.diagnose(jsonb) TO pg_monitor;
GRANT SELECT ON
    @extschema@.heal_status, @extschema@.heal_metrics, @extschema@.heal_overhead, @extschema@.heal_anomalies,
    @extschema@.heal_incidents, @extschema@.heal_history, @extschema@.heal_snapshots,
    @extschema@.heal_causal_nodes, @extschema@.heal_causal_edges, @extschema@.heal_audit,
    @extschema@.heal_thresholds, @extschema@.heal_policies TO pg_monitor;
GRANT EXECUTE ON FUNCTION
    @extschema@.heal_recommend(bigint), @extschema@.heal_explain(bigint), @extschema@.heal_diagnose(jsonb) TO pg_monitor;

/*
 * Dumps carry what users decided and what was done, not shipped rows and not
 * samples. Restored incidents are history: journal_state stays behind, so the
 * healer sees that they belong to another server.
 */

SELECT pg_extension_config_dump('heal.incidents', '');
SELECT pg_extension_config_dump('heal.transitions', '');
SELECT pg_extension_config_dump('heal.attempts', '');
SELECT pg_extension_config_dump('heal.recommendations', '');
SELECT pg_extension_config_dump('heal.snapshots', '');
SELECT pg_extension_config_dump('heal.snapshot_items', '');
SELECT pg_extension_config_dump('heal.audit', '');
SELECT pg_extension_config_dump('heal.causal_nodes', 'WHERE NOT shipped');
SELECT pg_extension_config_dump('heal.causal_edges', 'WHERE NOT shipped');
SELECT pg_extension_config_dump('heal.policies', '');
SELECT pg_extension_config_dump('heal.thresholds', 'WHERE value <> default_value');

/*
 * Comments. A view's column says what the table's column of that name says.
 */

COMMENT ON SCHEMA heal IS 'Tables of pg_heal; users read the heal_* views instead';
COMMENT ON TABLE heal.incidents IS 'One row per failure of one subject, from detection to its end';
COMMENT ON TABLE heal.transitions IS 'Every change of state of an incident, with its reason';
COMMENT ON TABLE heal.attempts IS 'Every attempt to recover, with what was run and how it ended';
COMMENT ON TABLE heal.recommendations IS 'What pg_heal would do about an open incident, best first';
COMMENT ON TABLE heal.snapshots IS 'Before-images taken ahead of a change, by pg_heal or by hand';
COMMENT ON TABLE heal.snapshot_items IS 'One setting, storage option or index of a snapshot';
COMMENT ON TABLE heal.anomalies IS 'Metrics that left their baseline; samples themselves are not kept and not dumped';
COMMENT ON TABLE heal.audit IS 'Append-only, hash-chained record of every act of pg_heal and of its operators';
COMMENT ON TABLE heal.causal_nodes IS 'Nodes of the causal graph: root causes, mechanisms, symptoms';
COMMENT ON TABLE heal.causal_edges IS 'Edges of the causal graph, from cause to effect';
COMMENT ON TABLE heal.thresholds IS 'Limits in the definitions of failures';
COMMENT ON TABLE heal.policies IS 'What the owner allows, forbids or exempts; can only lower the autonomy of the server';
COMMENT ON TABLE heal.journal_state IS 'How far the journal file has been applied to these tables, and whose it is';

COMMENT ON VIEW @extschema@.heal_status IS 'State of each component of the server as pg_heal sees it now';
COMMENT ON VIEW @extschema@.heal_metrics IS 'Every metric with its newest value and its baseline';
COMMENT ON VIEW @extschema@.heal_overhead IS 'What pg_heal itself costs, part by part';
COMMENT ON VIEW @extschema@.heal_anomalies IS 'Metrics that left their baseline';
COMMENT ON VIEW @extschema@.heal_incidents IS 'Failures, open and past';
COMMENT ON VIEW @extschema@.heal_history IS 'Recovery attempts';
COMMENT ON VIEW @extschema@.heal_snapshots IS 'Snapshots that heal_rollback() can return to';
COMMENT ON VIEW @extschema@.heal_causal_nodes IS 'Nodes of the causal graph';
COMMENT ON VIEW @extschema@.heal_causal_edges IS 'Edges of the causal graph';
COMMENT ON VIEW @extschema@.heal_audit IS 'Append-only, hash-chained record of every act';
COMMENT ON VIEW @extschema@.heal_thresholds IS 'Limits in the definitions of failures; change them with heal_set_threshold()';
COMMENT ON VIEW @extschema@.heal_policies IS 'What the owner allows, forbids or exempts; change it with heal_set_policy()';

COMMENT ON FUNCTION heal.check_database() IS 'Refuses databases other than pg_heal.database';
COMMENT ON FUNCTION heal.check_writable() IS 'Refuses to configure pg_heal on a standby';
COMMENT ON FUNCTION heal.config_changed() IS 'Trigger: tells the healer at commit that its configuration changed';
COMMENT ON FUNCTION heal.graph_check() IS 'Raises an error when the causal graph in the tables is not valid';
COMMENT ON FUNCTION heal.catalogue() IS 'Everything pg_heal knows, as JSON: failures, thresholds, remedies, rules, metrics, causal graph';
COMMENT ON FUNCTION heal.status() IS 'Rows of heal_status, from shared memory';
COMMENT ON FUNCTION heal.metrics() IS 'Rows of heal_metrics, from shared memory';
COMMENT ON FUNCTION heal.overhead() IS 'Rows of heal_overhead, from shared memory';
COMMENT ON FUNCTION heal.diagnose(jsonb) IS 'Ranked root causes for evidence, as JSON';
COMMENT ON FUNCTION heal.audit_hash(text, heal.audit) IS 'Hash of an audit row given the hash before it';
COMMENT ON FUNCTION heal.audit_chain() IS 'Trigger: links a new audit row into the hash chain';
COMMENT ON FUNCTION heal.audit_refuse() IS 'Trigger: refuses to change or remove audit rows';
COMMENT ON FUNCTION heal.threshold_restored() IS 'Trigger: lets restored thresholds replace shipped ones';
COMMENT ON FUNCTION heal.begin_edit() IS 'Lets one edit of the configuration run at a time';
COMMENT ON FUNCTION heal.note(text, text, jsonb) IS 'Writes an audit row for what an operator did';
COMMENT ON FUNCTION heal.check_policy(text, text, text, text) IS 'Raises an error for a policy that means nothing';
COMMENT ON FUNCTION @extschema@.heal_recommend(bigint) IS 'What pg_heal recommends now, or for one incident; decide with heal_approve() and heal_reject()';
COMMENT ON FUNCTION @extschema@.heal_explain(bigint) IS 'Evidence, causes with posteriors and chains, candidates, gates and transitions of an incident';
COMMENT ON FUNCTION @extschema@.heal_diagnose(jsonb) IS 'Ranked root causes for any evidence, for example ''{"lock_waiters": true}''';
COMMENT ON FUNCTION @extschema@.heal_approve(bigint) IS 'Lets pg_heal carry out a recommendation';
COMMENT ON FUNCTION @extschema@.heal_reject(bigint, text) IS 'Declines a recommendation';
COMMENT ON FUNCTION @extschema@.heal_execute(bigint, text) IS 'Runs a named remedy for an incident, with the same snapshot, verification and audit';
COMMENT ON FUNCTION @extschema@.heal_snapshot(text, text, bigint) IS 'Takes a snapshot of settings, roles, storage or indexes (NULL: all); returns its id';
COMMENT ON FUNCTION @extschema@.heal_rollback(bigint, boolean) IS 'Undoes what was changed since a snapshot; with force also what somebody else changed; indexes are built in the background, see heal_snapshots';
COMMENT ON FUNCTION @extschema@.heal_pause(text) IS 'Stops all acting at once, roll-backs included';
COMMENT ON FUNCTION @extschema@.heal_resume() IS 'Lets pg_heal act again';
COMMENT ON FUNCTION @extschema@.heal_reset_baseline(text) IS 'Forgets what is usual for a metric, or for all, and learns it anew';
COMMENT ON FUNCTION @extschema@.heal_set_threshold(text, text, double precision) IS 'Changes a limit in the definition of a failure';
COMMENT ON FUNCTION @extschema@.heal_set_policy(text, text, text, text) IS 'Sets a policy; value NULL removes it';
COMMENT ON FUNCTION @extschema@.heal_causal_add_node(text, text, text, double precision, text, text) IS 'Adds a node to the causal graph';
COMMENT ON FUNCTION @extschema@.heal_causal_add_edge(text, text, text, double precision) IS 'Adds an edge to the causal graph';
COMMENT ON FUNCTION @extschema@.heal_causal_remove(text, text) IS 'Removes a node with its edges, or one edge';

DO $$
DECLARE
    about record;
    target record;
BEGIN
    -- relation "*": the column of that name wherever no row of its own exists
    FOR target IN
        SELECT c.oid::regclass AS relation, c.relname, a.attname
        FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_heal')
          AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
    LOOP
        SELECT v.text INTO about FROM (VALUES
            ('*', 'incident_id', 'Incident'),
            ('*', 'component', 'Component of the server'),
            ('*', 'failure_type', 'Failure as named in the failure catalogue'),
            ('*', 'category', 'performance, security, data_quality or resource'),
            ('*', 'severity', 'critical, warning or info'),
            ('*', 'subject', 'What it is about: a session, a table, an index, a setting'),
            ('*', 'database', 'Database, empty where it concerns the whole server'),
            ('*', 'fingerprint', 'Component, failure and subject; one open incident for each'),
            ('incidents', 'state', 'State of the incident, see docs/lifecycle.md'),
            ('heal_incidents', 'state', 'State of the incident, see docs/lifecycle.md'),
            ('*', 'opened_at', 'When the failure was first seen'),
            ('*', 'detected_after_ms', 'Milliseconds from when its definition began to hold to its detection'),
            ('*', 'root_cause', 'Most probable root cause; NULL while pg_heal abstains'),
            ('*', 'confidence', 'Posterior probability of the root cause, or of the anomaly, 0 to 1'),
            ('*', 'remedy', 'Remedy as named in the playbook'),
            ('*', 'attempts', 'Number of recovery attempts'),
            ('*', 'outcome', 'healed, no_effect, rolled_back, unverified, failed or escalated; NULL while open'),
            ('audit', 'outcome', 'How it ended'),
            ('heal_audit', 'outcome', 'How it ended'),
            ('*', 'resolved_at', 'When the incident ended'),
            ('*', 'recovery_ms', 'Milliseconds from detection to verified recovery'),
            ('*', 'explanation', 'Evidence, posteriors, chains, candidates and gates; see heal_explain()'),
            ('*', 'transition_id', 'Transition'),
            ('*', 'at', 'When it happened'),
            ('*', 'from_state', 'State before; NULL for the first'),
            ('*', 'to_state', 'State after'),
            ('*', 'reason', 'Why, in words'),
            ('*', 'evidence', 'Facts behind it'),
            ('*', 'attempt_id', 'Recovery attempt'),
            ('*', 'action', 'What was or would be done, in words'),
            ('*', 'mode', 'Autonomy under which it ran, or manual'),
            ('attempts', 'state', 'started, verifying, rolling_back or finished'),
            ('heal_history', 'state', 'started, verifying, rolling_back or finished'),
            ('*', 'started_at', 'When the attempt started'),
            ('*', 'duration_ms', 'Milliseconds the attempt took, verification included'),
            ('*', 'attempt_no', 'Number of the attempt within its incident, from 1'),
            ('*', 'verified', 'Whether recovery was proven on the target'),
            ('*', 'snapshot_id', 'Snapshot taken before the change'),
            ('*', 'sql', 'SQL of the remedy; empty for a signal'),
            ('*', 'undo_sql', 'SQL that undoes it; empty where nothing needs undoing'),
            ('*', 'detail', 'Details in words'),
            ('audit', 'detail', 'Details as JSON'),
            ('heal_audit', 'detail', 'Details as JSON'),
            ('*', 'recommendation_id', 'Recommendation'),
            ('*', 'rank', 'Place among the recommendations of the incident, 1 first'),
            ('*', 'risk_class', 'A0 watch, A1 automatic any time, A2 automatic with guards, A3 only after approval, A4 never'),
            ('*', 'reversible', 'Whether it can be undone'),
            ('*', 'expected_success', 'Probability that the remedy works, 0 to 1'),
            ('recommendations', 'state', 'open, waiting, approved, rejected, executed or withdrawn'),
            ('*', 'decided_by', 'Role that decided'),
            ('*', 'decided_at', 'When it was decided'),
            ('*', 'parent_id', 'Snapshot this one is nested in'),
            ('*', 'depth', 'Depth of nesting, from 1'),
            ('*', 'label', 'Label given when it was taken'),
            ('*', 'taken_at', 'When it was taken'),
            ('*', 'taken_by', 'Role that took it, or pg_heal'),
            ('*', 'expires_at', 'After this it can no longer be rolled back'),
            ('*', 'items', 'Number of items'),
            ('snapshots', 'state', 'active, rolled_back, expired or superseded'),
            ('heal_snapshots', 'state', 'active, rolled_back, expired or superseded'),
            ('*', 'rollback_status', 'success, partial, failed, verification_failed or in_progress; NULL: not rolled back'),
            ('*', 'item_id', 'Item'),
            ('*', 'kind', 'server_setting, role_setting, storage_option or index'),
            ('causal_nodes', 'kind', 'root_cause, mechanism or symptom'),
            ('heal_causal_nodes', 'kind', 'root_cause, mechanism or symptom'),
            ('*', 'database_oid', 'Database, 0 where it concerns the whole server'),
            ('*', 'object', 'Role, table or index, quoted for SQL'),
            ('*', 'name', 'Name of the setting, option or limit'),
            ('snapshot_items', 'value', 'Before-image; NULL: it did not exist'),
            ('*', 'has_expected', 'Whether an action of pg_heal followed, so that a later change by somebody else can be told'),
            ('*', 'expected', 'What that action made of the item; NULL: it does not exist'),
            ('*', 'restore_sql', 'SQL that brings the item to its before-image'),
            ('*', 'reset_sql', 'SQL that removes the item; empty where that is never done'),
            ('*', 'status', 'Outcome of the last roll-back for this item'),
            ('*', 'anomaly_id', 'Anomaly'),
            ('*', 'observed_at', 'When it was observed'),
            ('*', 'metric', 'Metric'),
            ('*', 'direction', 'Where the value went: up or down'),
            ('*', 'onset_at', 'First odd sample of the burst'),
            ('*', 'anomaly_score', '1 minus the probability of a value so far out under the metric''s own past; NULL until known'),
            ('*', 'forest_score', 'Score of the metrics of this category together, 0 to 1; NULL until the forest is fitted'),
            ('*', 'value', 'Value; NULL: unknown'),
            ('*', 'unit', 'Unit of the value'),
            ('*', 'baseline_mean', 'Mean over the window; NULL while learning'),
            ('*', 'baseline_stddev', 'Standard deviation over the window'),
            ('*', 'zscore', 'Distance of the value from the mean in standard deviations'),
            ('*', 'iqr_low', 'Lower fence: first quartile less iqr_multiplier times the interquartile range'),
            ('*', 'iqr_high', 'Upper fence: third quartile plus iqr_multiplier times the interquartile range'),
            ('*', 'samples', 'Samples in the window'),
            ('*', 'score', 'Score of the detector'),
            ('*', 'method', 'Detector: zscore or iqr'),
            ('*', 'shape', 'spike, level_shift, drift or void'),
            ('*', 'audit_id', 'Place in the chain'),
            ('*', 'actor', 'Role that acted, or pg_heal'),
            ('*', 'hash', 'SHA-256 over this row and the hash before it'),
            ('*', 'node', 'Name of the node'),
            ('*', 'prior', 'Root cause: prior probability; other: probability without any of its causes'),
            ('*', 'description', 'What it means'),
            ('*', 'shipped', 'Whether it came with pg_heal'),
            ('*', 'cause', 'Cause'),
            ('*', 'effect', 'Effect'),
            ('*', 'edge_type', 'direct_cause, contributing or correlation'),
            ('*', 'weight', 'Weight of the edge type: 1.0, 0.8 or 0.5'),
            ('*', 'probability', 'Probability of the effect when this is its only cause'),
            ('*', 'observations', 'Verified outcomes behind the learnt probability'),
            ('*', 'learned', 'Probability learnt from verified outcomes; NULL: none yet'),
            ('*', 'default_value', 'Value shipped with pg_heal'),
            ('*', 'lowest', 'Lowest value it can have'),
            ('*', 'highest', 'Highest value it can have'),
            ('*', 'scope', 'server, component, database, schema, object, role or application'),
            ('*', 'setting', 'autonomy, exempt, allow, forbid, window or critical'),
            ('*', 'one', 'Always true: the table has one row'),
            ('*', 'applied_seq', 'Last journal record that is in the tables'),
            ('*', 'server_identity', 'System identifier, timeline, device and inode of the data directory'),
            ('heal_status', 'state', 'healthy, degraded, failing, recovering or unknown'),
            ('*', 'since', 'Since when it is in this state'),
            ('*', 'open_incidents', 'Number of open incidents'),
            ('*', 'worst_failure', 'Most severe open failure'),
            ('*', 'last_recovery_at', 'When an incident was last healed'),
            ('*', 'part', 'Part of pg_heal'),
            ('*', 'cpu_ms', 'CPU time used, ms'),
            ('*', 'memory_bytes', 'Anonymous memory, bytes'),
            ('*', 'shared_bytes', 'Shared memory, bytes'),
            ('*', 'disk_bytes', 'Journal and tables, bytes'),
            ('*', 'longest_tick_ms', 'Longest tick, ms'),
            ('*', 'locks_held', 'Heavyweight locks held between ticks')
        ) AS v(relation, name, text)
        WHERE v.name = target.attname AND v.relation IN (target.relname, '*')
        ORDER BY v.relation = '*' LIMIT 1;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'no comment for column %.%', target.relation, target.attname;
        END IF;
        EXECUTE format('COMMENT ON COLUMN %s.%I IS %L', target.relation, target.attname, about.text);
    END LOOP;
END
$$;
