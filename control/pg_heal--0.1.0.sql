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

CREATE TABLE heal.predictions (
    prediction_id bigint PRIMARY KEY,
    failure_type text NOT NULL,
    component text NOT NULL,
    subject text NOT NULL,
    predicted_at timestamptz NOT NULL,
    eta timestamptz NOT NULL,
    eta_low timestamptz NOT NULL,
    eta_high timestamptz,         -- NULL: perhaps never
    confidence double precision NOT NULL,
    outcome text NOT NULL,        -- open, hit, early, late, miss, withdrawn
    graded_at timestamptz,
    resource text NOT NULL,
    value double precision NOT NULL,
    limit_value double precision NOT NULL,
    slope double precision NOT NULL,
    unit text NOT NULL,
    horizon timestamptz NOT NULL
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

CREATE TABLE heal.feedback (
    about text NOT NULL CHECK (about IN ('anomaly', 'incident')),
    id bigint NOT NULL,
    found_at timestamptz NOT NULL, -- ids of anomalies begin anew after a restore
    detector text NOT NULL,
    subject text NOT NULL,
    correct boolean NOT NULL,
    given_by text NOT NULL,
    given_at timestamptz NOT NULL,
    comment text NOT NULL,
    PRIMARY KEY (about, id)
);

CREATE TABLE heal.watched_columns (
    database text NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    column_name text NOT NULL,
    watched_at timestamptz NOT NULL,
    watched_by text NOT NULL,
    PRIMARY KEY (database, schema_name, table_name, column_name)
);

-- What a watched column is compared with. Holds no value of a user: frequent
-- values are counted by a hash of theirs in few bins.
CREATE TABLE heal.column_generations (
    generation_id bigint PRIMARY KEY,
    database text NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    column_name text NOT NULL,
    watched_at timestamptz NOT NULL,
    baseline_at timestamptz,
    table_rows double precision NOT NULL,
    sample_rows double precision NOT NULL,
    null_fraction double precision NOT NULL,
    distinct_values double precision NOT NULL,
    frequent_share double precision NOT NULL,
    bins double precision[] NOT NULL,
    deciles double precision[] NOT NULL,
    usual_index double precision NOT NULL,
    usual_shift double precision NOT NULL,
    recent_null_fraction double precision NOT NULL,
    recent_looks integer NOT NULL,
    drift_since timestamptz
);

CREATE TABLE heal.journal_state (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    applied_seq bigint NOT NULL,
    server_identity text NOT NULL -- system identifier, timeline, device and inode of the data directory
);

-- What users measure besides. How it goes is in heal_user_metrics: the table
-- changes only when a definition does.
CREATE TABLE heal.user_metrics (
    metric text PRIMARY KEY CHECK (metric ~ '^[a-z][a-z0-9_]{0,62}$'),
    query text NOT NULL CHECK (octet_length(query) BETWEEN 1 AND 3000),
    component text NOT NULL,
    category text NOT NULL CHECK (category IN ('performance', 'resource', 'security', 'data_quality')),
    unit text NOT NULL CHECK (octet_length(unit) <= 31),
    counter boolean NOT NULL,
    bad text NOT NULL CHECK (bad IN ('up', 'down', 'both', 'none')),
    database text,                -- NULL: the database of the extension
    every interval CHECK (every BETWEEN '5 s' AND '1 day'), -- NULL: with each inspection
    enabled boolean NOT NULL DEFAULT true,
    run_as text NOT NULL
);

-- Samples, some minutes in a row; see src/metric_history.c. Kept for a while, not dumped.
CREATE TABLE heal.metric_history (
    first_at timestamptz PRIMARY KEY,
    last_at timestamptz NOT NULL,
    samples integer NOT NULL,
    metrics text NOT NULL,
    data bytea NOT NULL
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

CREATE FUNCTION heal.detector_grade(
    confirmed double precision, refuted double precision, unexplained double precision,
    OUT "precision" double precision, OUT low double precision, OUT high double precision, OUT demoted boolean)
    AS 'MODULE_PATHNAME', 'heal_detector_grade_0_1' LANGUAGE C STRICT IMMUTABLE PARALLEL SAFE;

CREATE FUNCTION heal.user_metric_state(
    OUT metric text, OUT value double precision, OUT observed_at timestamptz, OUT last_run_at timestamptz,
    OUT last_run_ms double precision, OUT last_error text)
    RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'heal_user_metric_state_0_1' LANGUAGE C STRICT VOLATILE PARALLEL SAFE;

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

/*
 * Whoever may write this table, by whatever grant, must not name a role with
 * more rights than its own: the query runs as that role.
 */
CREATE FUNCTION heal.user_metric_guard() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            RETURN NEW;
        ELSIF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = NEW.run_as AND pg_has_role(r.oid, 'MEMBER')) THEN
            RAISE EXCEPTION 'permission denied to run a metric as role "%"', NEW.run_as
                USING ERRCODE = 'insufficient_privilege', HINT = 'Use heal_add_metric(), which runs it as you.';
        END IF;
        RETURN NEW;
    END
    $$;

CREATE TRIGGER user_metric_guard BEFORE INSERT OR UPDATE ON heal.user_metrics
    FOR EACH ROW EXECUTE FUNCTION heal.user_metric_guard();

/* Edits of these tables reach the healer at commit. */
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.user_metrics
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.thresholds
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.policies
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.watched_columns
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.causal_nodes
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.causal_edges
    FOR EACH STATEMENT EXECUTE FUNCTION heal.config_changed();

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON heal.feedback
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

CREATE VIEW @extschema@.heal_user_metrics AS
    SELECT m.metric, m.component, m.category, m.unit, m.counter, m.bad, m.database, m.every, m.enabled, m.run_as,
           m.query, s.value, s.observed_at, s.last_run_at, s.last_run_ms, s.last_error
    FROM heal.user_metrics m LEFT JOIN heal.user_metric_state() s USING (metric);

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

CREATE VIEW @extschema@.heal_predictions AS
    SELECT prediction_id, failure_type, component, subject, predicted_at, eta, eta_low, eta_high, confidence,
           outcome, graded_at, resource, value, limit_value, slope, unit, horizon
    FROM heal.predictions;

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

CREATE VIEW @extschema@.heal_watched_columns AS
    SELECT w.database, w.schema_name, w.table_name, w.column_name, w.watched_at, w.watched_by, g.baseline_at,
           CASE WHEN g.table_rows > 0 THEN g.table_rows END AS table_rows,
           CASE WHEN g.table_rows > 0 THEN g.null_fraction END AS null_fraction,
           CASE WHEN g.table_rows > 0 THEN g.distinct_values END AS distinct_values,
           CASE WHEN g.recent_looks > 0 THEN g.recent_null_fraction END AS recent_null_fraction,
           g.drift_since
    FROM heal.watched_columns w LEFT JOIN heal.column_generations g
         ON g.database = w.database AND g.schema_name = w.schema_name AND g.table_name = w.table_name
        AND g.column_name = w.column_name AND g.watched_at = w.watched_at;

/*
 * What became of each detector's findings. A person's word counts most, then a
 * repair that was verified; an anomaly without an incident near it for an hour is
 * unexplained. Counts fade: a month ago counts half. The healer reads them with
 * its configuration.
 */
CREATE VIEW heal.detector_counts AS
    WITH finding AS (
        SELECT f.detector, f.subject, f.found_at,
               CASE WHEN f.correct THEN 'confirmed' ELSE 'refuted' END AS verdict
        FROM heal.feedback f
        UNION ALL
        SELECT a.method, a.metric, a.observed_at,
               CASE WHEN i.outcome = 'healed' THEN 'confirmed'
                    WHEN a.incident_id IS NULL AND a.observed_at < clock_timestamp() - interval '1 hour'
                         AND NOT EXISTS (
                             SELECT FROM heal.incidents n
                             WHERE n.component = a.component
                               AND n.opened_at BETWEEN a.observed_at AND a.observed_at + interval '10 minutes')
                    THEN 'unexplained' END
        FROM heal.anomalies a LEFT JOIN heal.incidents i USING (incident_id)
        WHERE NOT EXISTS (SELECT FROM heal.feedback f
                          WHERE f.about = 'anomaly' AND f.id = a.anomaly_id AND f.found_at = a.observed_at)
        UNION ALL
        SELECT i.failure_type, '', i.opened_at, CASE WHEN i.outcome = 'healed' THEN 'confirmed' END
        FROM heal.incidents i
        WHERE NOT EXISTS (SELECT FROM heal.feedback f
                          WHERE f.about = 'incident' AND f.id = i.incident_id AND f.found_at = i.opened_at)
    ), weighed AS (
        SELECT detector, subject, found_at, verdict,
               0.5 ^ (greatest(extract(epoch FROM clock_timestamp() - found_at)::double precision, 0)
                      / (30 * 86400)) AS weight
        FROM finding
    )
    SELECT detector, subject, count(*) AS raised,
           coalesce(sum(weight) FILTER (WHERE verdict = 'confirmed'), 0) AS confirmed,
           coalesce(sum(weight) FILTER (WHERE verdict = 'refuted'), 0) AS refuted,
           coalesce(sum(weight) FILTER (WHERE verdict = 'unexplained'), 0) AS unexplained,
           max(found_at) AS last_raised_at
    FROM weighed GROUP BY detector, subject;

CREATE VIEW @extschema@.heal_detectors AS
    WITH definition AS (
        SELECT f.item ->> 'failure_type' AS detector
        FROM jsonb_array_elements(heal.catalogue() -> 'failures') AS f(item)
    ), counted AS (
        SELECT coalesce(c.detector, d.detector) AS detector, coalesce(c.subject, '') AS subject,
               CASE WHEN d.detector IS NULL THEN 'statistical' ELSE 'definition' END AS kind,
               coalesce(c.raised, 0) AS raised, coalesce(c.confirmed, 0) AS confirmed,
               coalesce(c.refuted, 0) AS refuted, coalesce(c.unexplained, 0) AS unexplained, c.last_raised_at
        FROM heal.detector_counts c FULL JOIN definition d ON d.detector = c.detector
    )
    SELECT c.detector, c.kind, c.subject, c.raised, c.confirmed, c.refuted, c.unexplained,
           g."precision", g.low AS precision_low, g.high AS precision_high,
           CASE WHEN g.demoted THEN 'demoted' ELSE 'active' END AS state, c.last_raised_at
    FROM counted c, heal.detector_grade(c.confirmed, c.refuted, c.unexplained) AS g;

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

CREATE FUNCTION @extschema@.heal_export_metrics(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL)
    RETURNS SETOF text
    AS 'MODULE_PATHNAME', 'heal_export_metrics_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp;

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

CREATE FUNCTION heal.components() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT '{sessions, locks, connections, workload, checkpointer, wal, archiver, replication,
        transactions, storage, host, vacuum, statistics, indexes, sequences, security, data, healer}'::text[]
    $$;

-- Value NULL: the policy is to be removed.
CREATE FUNCTION heal.check_policy(scope text, subject text, setting text, value text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        components constant text[] := heal.components();
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

CREATE FUNCTION @extschema@.heal_feedback(about text, id bigint, correct boolean, comment text DEFAULT '',
                                          OUT detector text, OUT subject text, OUT "precision" double precision, OUT state text)
    RETURNS record
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        found_at timestamptz;
        counts heal.detector_counts;
        grade record;
    BEGIN
        PERFORM heal.begin_edit();
        IF about IS NULL OR about NOT IN ('anomaly', 'incident') THEN
            RAISE EXCEPTION 'feedback cannot be about "%"', about
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Use anomaly or incident.';
        ELSIF id IS NULL OR correct IS NULL THEN
            RAISE EXCEPTION 'feedback needs an id and a verdict'
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'For example heal_feedback(''incident'', 12, false) for a false alarm.';
        ELSIF octet_length(comment) > 1000 THEN
            RAISE EXCEPTION 'argument is too long'
                USING ERRCODE = 'invalid_parameter_value', HINT = 'A comment may have at most 1000 bytes.';
        END IF;
        IF about = 'anomaly' THEN
            SELECT a.method, a.metric, a.observed_at INTO detector, subject, found_at
            FROM heal.anomalies a WHERE a.anomaly_id = heal_feedback.id;
        ELSE
            SELECT i.failure_type, '', i.opened_at INTO detector, subject, found_at
            FROM heal.incidents i WHERE i.incident_id = heal_feedback.id;
        END IF;
        IF detector IS NULL THEN
            RAISE EXCEPTION 'there is no % %', about, id
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = format('SELECT * FROM heal_%s lists them.',
                                    CASE about WHEN 'anomaly' THEN 'anomalies' ELSE 'incidents' END);
        END IF;
        INSERT INTO heal.feedback AS f
        VALUES (about, id, found_at, detector, subject, correct, session_user, clock_timestamp(), coalesce(comment, ''))
        ON CONFLICT ON CONSTRAINT feedback_pkey DO UPDATE
        SET (found_at, detector, subject, correct, given_by, given_at, comment) =
            (excluded.found_at, excluded.detector, excluded.subject, excluded.correct, excluded.given_by,
             excluded.given_at, excluded.comment);
        SELECT * INTO STRICT counts FROM heal.detector_counts c
        WHERE c.detector = heal_feedback.detector AND c.subject = heal_feedback.subject;
        grade := heal.detector_grade(counts.confirmed, counts.refuted, counts.unexplained);
        "precision" := grade."precision";
        state := CASE WHEN grade.demoted THEN 'demoted' ELSE 'active' END;
        PERFORM heal.note('feedback', about || ' ' || id,
                          jsonb_build_object('correct', correct, 'detector', detector, 'state', state));
    END
    $$;

/*
 * Metrics of users. heal_add_metric() is C and not SECURITY DEFINER, because the
 * query has to run as the role that calls it, and only C can tell that role from
 * the owner. It checks the query and leaves the rest to heal.put_metric(), which
 * it calls as the owner.
 */
CREATE FUNCTION heal.put_metric(
    metric text, query text, component text, category text, unit text, counter boolean, bad text,
    database text, every interval, run_as text) RETURNS void
    LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM heal.begin_edit();
        IF metric !~ '^[a-z][a-z0-9_]{0,62}$' OR metric = 'timestamp' THEN
            RAISE EXCEPTION 'invalid name "%" for a metric', left(metric, 100)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Use lower-case letters, digits and underscores, at most 63, with a letter first; not "timestamp".';
        ELSIF EXISTS (SELECT FROM jsonb_array_elements(heal.catalogue() -> 'metrics') AS c(item)
                      WHERE c.item ->> 'metric' = put_metric.metric) THEN
            RAISE EXCEPTION 'metric "%" is one of pg_heal''s own', metric
                USING ERRCODE = 'duplicate_object', HINT = 'Choose another name; heal_metrics lists those in use.';
        ELSIF EXISTS (SELECT FROM heal.user_metrics m WHERE m.metric = put_metric.metric) THEN
            RAISE EXCEPTION 'metric "%" exists already', metric
                USING ERRCODE = 'duplicate_object', HINT = 'Remove it first with heal_remove_metric().';
        ELSIF component <> ALL (heal.components()) THEN
            RAISE EXCEPTION 'there is no component "%"', left(component, 100)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = format('Components are %s.', array_to_string(heal.components(), ', '));
        ELSIF category NOT IN ('performance', 'resource', 'security', 'data_quality') THEN
            RAISE EXCEPTION 'unknown category "%" of metric', left(category, 100)
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Categories are performance, resource, security and data_quality.';
        ELSIF bad NOT IN ('up', 'down', 'both', 'none') THEN
            RAISE EXCEPTION 'unknown bad direction "%" of metric', left(bad, 100)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'Use up, down, both or none.';
        ELSIF octet_length(unit) > 31 OR octet_length(query) > 3000 THEN
            RAISE EXCEPTION 'argument is too long'
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'A unit may have at most 31 bytes, a query 3000; put a longer one into a view.';
        ELSIF NOT every BETWEEN '5 s' AND '1 day' THEN
            RAISE EXCEPTION 'a metric cannot be read every %', every
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Use 5 seconds to 1 day, or NULL: with each inspection (pg_heal.inspect_interval).';
        ELSIF NOT EXISTS (SELECT FROM pg_database d
                          WHERE d.datname = coalesce(database, current_database()) AND d.datallowconn) THEN
            RAISE EXCEPTION 'there is no database "%" that allows connections', left(database, 100)
                USING ERRCODE = 'invalid_parameter_value', HINT = 'NULL stands for the database of the extension.';
        ELSIF (SELECT count(*) >= 128 FROM heal.user_metrics) THEN
            RAISE EXCEPTION 'there are 128 metrics already'
                USING ERRCODE = 'program_limit_exceeded', HINT = 'Remove one with heal_remove_metric().';
        END IF;
        INSERT INTO heal.user_metrics
        VALUES (metric, query, component, category, unit, counter, bad, database, every, true, run_as);
        PERFORM heal.note('add_metric', metric, jsonb_build_object('query', query, 'run_as', run_as));
    END
    $$;

CREATE FUNCTION @extschema@.heal_add_metric(
    metric text, query text, component text DEFAULT 'workload', category text DEFAULT 'performance',
    unit text DEFAULT '', counter boolean DEFAULT false, bad text DEFAULT 'both', database text DEFAULT NULL,
    every interval DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'heal_add_metric_0_1' LANGUAGE C VOLATILE PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp;

CREATE FUNCTION @extschema@.heal_remove_metric(metric text) RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        PERFORM heal.begin_edit();
        DELETE FROM heal.user_metrics m WHERE m.metric = heal_remove_metric.metric;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'there is no metric "%" of users', coalesce(left(metric, 100), 'NULL')
                USING ERRCODE = 'undefined_object', HINT = 'SELECT metric FROM heal_user_metrics lists them.';
        END IF;
        PERFORM heal.note('remove_metric', metric, '{}');
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

-- Schema and table of a name as it stands in SQL; public where none is given.
CREATE FUNCTION heal.split_relation(relation text, OUT schema_name text, OUT table_name text)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        parts text[];
    BEGIN
        BEGIN
            parts := parse_ident(relation);
        EXCEPTION WHEN invalid_parameter_value THEN
            parts := '{}';
        END;
        IF coalesce(array_length(parts, 1), 0) NOT IN (1, 2) THEN
            RAISE EXCEPTION '"%" is not the name of a table', left(relation, 200)
                USING ERRCODE = 'invalid_name',
                      HINT = 'Write schema.table, quoted as in SQL.';
        END IF;
        -- Names are cut as the server cuts them.
        table_name := parts[array_length(parts, 1)]::name;
        schema_name := CASE array_length(parts, 1) WHEN 2 THEN parts[1]::name ELSE 'public' END;
    END
    $$;

CREATE FUNCTION heal.check_watch(relation text, column_name name, database name) RETURNS void
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        IF relation IS NULL OR column_name IS NULL OR database IS NULL THEN
            RAISE EXCEPTION 'a watched column needs a table, a column and a database'
                USING ERRCODE = 'null_value_not_allowed',
                      HINT = 'For example heal_watch(''public.orders'', ''email'').';
        END IF;
    END
    $$;

CREATE FUNCTION @extschema@.heal_watch(relation text, column_name name, database name DEFAULT current_database())
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        most constant integer := 200;
        target record;
        found_relation oid;
    BEGIN
        PERFORM heal.begin_edit();
        PERFORM heal.check_watch(relation, column_name, database);
        SELECT * INTO target FROM heal.split_relation(relation);
        IF NOT EXISTS (SELECT FROM pg_database d WHERE d.datname = heal_watch.database) THEN
            RAISE EXCEPTION 'database "%" does not exist', database
                USING ERRCODE = 'invalid_catalog_name', HINT = 'SELECT datname FROM pg_database lists them.';
        END IF;
        -- Of another database nothing can be seen from here.
        IF database = current_database() THEN
            SELECT c.oid INTO found_relation FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = target.schema_name AND c.relname = target.table_name AND c.relkind IN ('r', 'p', 'm');
            IF NOT FOUND THEN
                RAISE EXCEPTION 'table "%.%" does not exist', target.schema_name, target.table_name
                    USING ERRCODE = 'undefined_table',
                          HINT = 'Write schema.table; name the database where it is in another one.';
            ELSIF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = found_relation AND a.attnum > 0
                              AND NOT a.attisdropped AND a.attname = heal_watch.column_name) THEN
                RAISE EXCEPTION 'column "%" of table "%.%" does not exist', column_name, target.schema_name, target.table_name
                    USING ERRCODE = 'undefined_column', HINT = 'Write the column as it is stored, without quotes.';
            END IF;
        END IF;
        INSERT INTO heal.watched_columns AS w
        VALUES (database, target.schema_name, target.table_name, column_name, clock_timestamp(), session_user)
        ON CONFLICT ON CONSTRAINT watched_columns_pkey
            DO UPDATE SET watched_at = excluded.watched_at, watched_by = excluded.watched_by;
        IF (SELECT count(*) FROM heal.watched_columns) > most THEN
            RAISE EXCEPTION 'too many watched columns'
                USING ERRCODE = 'program_limit_exceeded',
                      DETAIL = format('At most %s columns of the server are watched.', most),
                      HINT = 'Remove some with heal_unwatch().';
        END IF;
        PERFORM heal.note('watch', concat_ws('.', database, target.schema_name, target.table_name, column_name), '{}');
    END
    $$;

CREATE FUNCTION @extschema@.heal_unwatch(relation text, column_name name, database name DEFAULT current_database())
    RETURNS void
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        target record;
    BEGIN
        PERFORM heal.begin_edit();
        PERFORM heal.check_watch(relation, column_name, database);
        SELECT * INTO target FROM heal.split_relation(relation);
        DELETE FROM heal.watched_columns w
        WHERE w.database = heal_unwatch.database AND w.schema_name = target.schema_name
          AND w.table_name = target.table_name AND w.column_name = heal_unwatch.column_name;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'column "%" of table "%.%" is not watched', column_name, target.schema_name, target.table_name
                USING ERRCODE = 'undefined_object', HINT = 'SELECT * FROM heal_watched_columns lists them.';
        END IF;
        DELETE FROM heal.column_generations g
        WHERE g.database = heal_unwatch.database AND g.schema_name = target.schema_name
          AND g.table_name = target.table_name AND g.column_name = heal_unwatch.column_name;
        PERFORM heal.note('unwatch', concat_ws('.', database, target.schema_name, target.table_name, column_name), '{}');
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
    @extschema@.heal_feedback(text, bigint, boolean, text),
    @extschema@.heal_causal_add_node(text, text, text, double precision, text, text),
    @extschema@.heal_causal_add_edge(text, text, text, double precision), @extschema@.heal_causal_remove(text, text),
    @extschema@.heal_add_metric(text, text, text, text, text, boolean, text, text, interval),
    @extschema@.heal_remove_metric(text), @extschema@.heal_export_metrics(timestamptz, timestamptz),
    @extschema@.heal_watch(text, name, name), @extschema@.heal_unwatch(text, name, name)
    FROM PUBLIC;

GRANT USAGE ON SCHEMA heal TO pg_monitor;
GRANT SELECT ON ALL TABLES IN SCHEMA heal TO pg_monitor;
GRANT EXECUTE ON FUNCTION heal.status(), heal.metrics(), heal.overhead(), heal.diagnose(jsonb), heal.catalogue(),
    heal.detector_grade(double precision, double precision, double precision) TO pg_monitor;
GRANT EXECUTE ON FUNCTION heal.user_metric_state(), @extschema@.heal_export_metrics(timestamptz, timestamptz) TO pg_monitor;
GRANT SELECT ON @extschema@.heal_user_metrics TO pg_monitor;
-- Deciles of numbers may tell about people.
REVOKE SELECT ON heal.column_generations FROM pg_monitor;
GRANT SELECT ON @extschema@.heal_watched_columns TO pg_monitor;
GRANT SELECT ON
    @extschema@.heal_status, @extschema@.heal_metrics, @extschema@.heal_overhead, @extschema@.heal_anomalies,
    @extschema@.heal_predictions,
    @extschema@.heal_incidents, @extschema@.heal_history, @extschema@.heal_snapshots,
    @extschema@.heal_causal_nodes, @extschema@.heal_causal_edges, @extschema@.heal_audit,
    @extschema@.heal_thresholds, @extschema@.heal_policies, @extschema@.heal_detectors TO pg_monitor;
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
SELECT pg_extension_config_dump('heal.feedback', '');
SELECT pg_extension_config_dump('heal.user_metrics', '');
SELECT pg_extension_config_dump('heal.watched_columns', '');
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
COMMENT ON TABLE heal.anomalies IS 'Metrics that left their baseline; not dumped';
COMMENT ON TABLE heal.predictions IS 'Failures foreseen, with how each prediction turned out; about this server, not dumped';
COMMENT ON TABLE heal.audit IS 'Append-only, hash-chained record of every act of pg_heal and of its operators';
COMMENT ON TABLE heal.causal_nodes IS 'Nodes of the causal graph: root causes, mechanisms, symptoms';
COMMENT ON TABLE heal.causal_edges IS 'Edges of the causal graph, from cause to effect';
COMMENT ON TABLE heal.thresholds IS 'Limits in the definitions of failures';
COMMENT ON TABLE heal.policies IS 'What the owner allows, forbids or exempts; can only lower the autonomy of the server';
COMMENT ON TABLE heal.feedback IS 'What people said about anomalies and incidents; see heal_feedback()';
COMMENT ON VIEW heal.detector_counts IS 'What became of each detector''s findings, faded with age; read by the healer with its configuration';
COMMENT ON TABLE heal.user_metrics IS 'Metrics that users defined; see heal_user_metrics';
COMMENT ON TABLE heal.metric_history IS 'Samples of all metrics, in batches; read them with heal_export_metrics()';
COMMENT ON TABLE heal.watched_columns IS 'Columns whose contents are watched; change it with heal_watch() and heal_unwatch()';
COMMENT ON TABLE heal.column_generations IS 'How watched columns were, as numbers; what they are compared with';
COMMENT ON VIEW @extschema@.heal_watched_columns IS 'Columns whose contents are watched, and what they are compared with';
COMMENT ON FUNCTION heal.split_relation(text) IS 'Schema and table of a name as it stands in SQL';
COMMENT ON FUNCTION heal.check_watch(text, name, name) IS 'Raises an error when an argument of heal_watch() or heal_unwatch() is NULL';
COMMENT ON FUNCTION @extschema@.heal_watch(text, name, name) IS 'Watches the contents of a column; again: accepts what is in it now';
COMMENT ON FUNCTION @extschema@.heal_unwatch(text, name, name) IS 'Ends the watch over a column';
COMMENT ON TABLE heal.journal_state IS 'How far the journal file has been applied to these tables, and whose it is';

COMMENT ON VIEW @extschema@.heal_status IS 'State of each component of the server as pg_heal sees it now';
COMMENT ON VIEW @extschema@.heal_metrics IS 'Every metric with its newest value and its baseline';
COMMENT ON VIEW @extschema@.heal_user_metrics IS 'Metrics that users defined and how reading them goes; add one with heal_add_metric()';
COMMENT ON VIEW @extschema@.heal_overhead IS 'What pg_heal itself costs, part by part';
COMMENT ON VIEW @extschema@.heal_anomalies IS 'Metrics that left their baseline';
COMMENT ON VIEW @extschema@.heal_predictions IS 'What is going to run out and when, and how earlier predictions turned out';
COMMENT ON VIEW @extschema@.heal_incidents IS 'Failures, open and past';
COMMENT ON VIEW @extschema@.heal_history IS 'Recovery attempts';
COMMENT ON VIEW @extschema@.heal_snapshots IS 'Snapshots that heal_rollback() can return to';
COMMENT ON VIEW @extschema@.heal_causal_nodes IS 'Nodes of the causal graph';
COMMENT ON VIEW @extschema@.heal_causal_edges IS 'Edges of the causal graph';
COMMENT ON VIEW @extschema@.heal_audit IS 'Append-only, hash-chained record of every act';
COMMENT ON VIEW @extschema@.heal_thresholds IS 'Limits in the definitions of failures; change them with heal_set_threshold()';
COMMENT ON VIEW @extschema@.heal_detectors IS 'How often each detector was right, by verified repairs and by what people said with heal_feedback()';
COMMENT ON VIEW @extschema@.heal_policies IS 'What the owner allows, forbids or exempts; change it with heal_set_policy()';

COMMENT ON FUNCTION heal.check_database() IS 'Refuses databases other than pg_heal.database';
COMMENT ON FUNCTION heal.check_writable() IS 'Refuses to configure pg_heal on a standby';
COMMENT ON FUNCTION heal.config_changed() IS 'Trigger: tells the healer at commit that its configuration changed';
COMMENT ON FUNCTION heal.graph_check() IS 'Raises an error when the causal graph in the tables is not valid';
COMMENT ON FUNCTION heal.catalogue() IS 'Everything pg_heal knows, as JSON: failures, thresholds, remedies, rules, metrics, causal graph';
COMMENT ON FUNCTION heal.status() IS 'Rows of heal_status, from shared memory';
COMMENT ON FUNCTION heal.metrics() IS 'Rows of heal_metrics, from shared memory';
COMMENT ON FUNCTION heal.user_metric_state() IS 'How reading the metrics of users goes, from shared memory';
COMMENT ON FUNCTION heal.user_metric_guard() IS 'Trigger: refuses metrics that would run as a role the writer does not belong to';
COMMENT ON FUNCTION heal.components() IS 'Components of the server';
COMMENT ON FUNCTION heal.put_metric(text, text, text, text, text, boolean, text, text, interval, text) IS 'Checks and stores a metric of users, for heal_add_metric()';
COMMENT ON FUNCTION @extschema@.heal_add_metric(text, text, text, text, text, boolean, text, text, interval) IS 'Adds a metric: a query of one row with one number, run read-only as the role that adds it';
COMMENT ON FUNCTION @extschema@.heal_remove_metric(text) IS 'Removes a metric that heal_add_metric() added';
COMMENT ON FUNCTION @extschema@.heal_export_metrics(timestamptz, timestamptz) IS 'Recorded samples of all metrics as lines of CSV, for heal-replay; counters are cumulative';
COMMENT ON FUNCTION heal.overhead() IS 'Rows of heal_overhead, from shared memory';
COMMENT ON FUNCTION heal.detector_grade(double precision, double precision, double precision) IS 'Precision of a detector with its 80 % interval, and whether it is noise';
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
COMMENT ON FUNCTION @extschema@.heal_feedback(text, bigint, boolean, text) IS 'Says whether an anomaly or an incident was real; a detector that is mostly wrong is demoted';
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
            ('*', 'prediction_id', 'Prediction'),
            ('*', 'predicted_at', 'When it was predicted'),
            ('*', 'eta', 'When the limit is most probably reached (median)'),
            ('*', 'eta_low', 'Start of the interval in which it is reached with probability 80 %'),
            ('*', 'eta_high', 'End of that interval; NULL: perhaps it is not reached within the horizon'),
            ('predictions', 'confidence', 'Probability that the limit is reached within the horizon, 0 to 1'),
            ('heal_predictions', 'confidence', 'Probability that the limit is reached within the horizon, 0 to 1'),
            ('predictions', 'outcome', 'open; hit, early, late: reached within, before, after the interval; miss: not reached in twice the time; withdrawn: the limit moved, space was made, the subject went, or nobody was looking'),
            ('heal_predictions', 'outcome', 'open; hit, early, late: reached within, before, after the interval; miss: not reached in twice the time; withdrawn: the limit moved, space was made, the subject went, or nobody was looking'),
            ('*', 'graded_at', 'When the outcome was known; NULL while open'),
            ('*', 'resource', 'disk, wal_disk, connections, xid_age, mxid_age, mxid_members, sequence, slot_wal or temp_space'),
            ('predictions', 'value', 'What was used when it was predicted'),
            ('heal_predictions', 'value', 'What was used when it was predicted'),
            ('*', 'limit_value', 'What can be used'),
            ('*', 'slope', 'Growth per second when it was predicted'),
            ('*', 'horizon', 'How far the trend was followed'),
            ('*', 'audit_id', 'Place in the chain'),
            ('*', 'actor', 'Role that acted, or pg_heal'),
            ('*', 'hash', 'SHA-256 over this row and the hash before it'),
            ('*', 'about', 'anomaly or incident'),
            ('*', 'id', 'Its id'),
            ('*', 'found_at', 'When it was observed or opened'),
            ('*', 'detector', 'Failure type, or method of the statistical detector'),
            ('feedback', 'subject', 'Metric of a statistical detector, else empty'),
            ('detector_counts', 'subject', 'Metric of a statistical detector, else empty'),
            ('heal_detectors', 'subject', 'Metric of a statistical detector, else empty'),
            ('*', 'correct', 'Whether it was real'),
            ('*', 'given_by', 'Role that said so'),
            ('*', 'given_at', 'When it was said'),
            ('*', 'comment', 'Why, in words'),
            ('*', 'raised', 'Findings on record'),
            ('*', 'confirmed', 'Findings confirmed by a verified repair or a person, faded with age'),
            ('*', 'refuted', 'Findings a person called false, faded with age'),
            ('*', 'unexplained', 'Anomalies without an incident near them, faded with age'),
            ('*', 'last_raised_at', 'When it last found something'),
            ('heal_detectors', 'kind', 'definition (of a failure) or statistical'),
            ('*', 'precision', 'Share of graded findings that were real; an unexplained one counts a tenth'),
            ('*', 'precision_low', 'Lower end of its 80 % interval'),
            ('*', 'precision_high', 'Upper end of its 80 % interval'),
            ('heal_detectors', 'state', 'active, or demoted: as a definition it acts only with approval, as a statistic it is silent'),
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
            ('*', 'query', 'Query of one row with one number'),
            ('*', 'counter', 'Whether it only grows: its rate per second is judged'),
            ('*', 'bad', 'Direction of trouble: up, down, both or none'),
            ('user_metrics', 'database', 'Database in which the query runs; NULL: that of the extension'),
            ('heal_user_metrics', 'database', 'Database in which the query runs; NULL: that of the extension'),
            ('*', 'every', 'Time between two readings; NULL: with each inspection'),
            ('*', 'enabled', 'Whether it is read'),
            ('*', 'run_as', 'Role that defined the metric and that the query runs as'),
            ('*', 'last_run_at', 'When the query ran last'),
            ('*', 'last_run_ms', 'How long it took, ms'),
            ('*', 'last_error', 'Why there is no value; NULL: the last run succeeded'),
            ('*', 'first_at', 'First sample'),
            ('*', 'last_at', 'Last sample'),
            ('metric_history', 'samples', 'Number of samples'),
            ('*', 'metrics', 'Names of the metrics, in the order of the data'),
            ('*', 'data', 'Times and values, by metric'),
            ('*', 'schema_name', 'Schema of the table'),
            ('*', 'table_name', 'Table'),
            ('*', 'column_name', 'Column'),
            ('*', 'watched_at', 'When the watch began, or what was there was last accepted'),
            ('*', 'watched_by', 'Role that asked for it'),
            ('*', 'generation_id', 'Number of the row'),
            ('*', 'baseline_at', 'When the column was as it is compared with; NULL: not analyzed yet'),
            ('*', 'table_rows', 'Rows of the table then'),
            ('*', 'sample_rows', 'Most rows ANALYZE looked at'),
            ('*', 'null_fraction', 'Share of the rows that were NULL, 0 to 1'),
            ('*', 'distinct_values', 'Estimated number of different values'),
            ('*', 'frequent_share', 'Share of the rows with one of the frequent values'),
            ('*', 'bins', 'Shares of the frequent values, by a hash of the value'),
            ('*', 'deciles', 'Deciles of the other values where they are numbers'),
            ('*', 'usual_index', 'Largest stability index between states without a drift'),
            ('*', 'usual_shift', 'Largest distance of the deciles between states without a drift'),
            ('*', 'recent_null_fraction', 'Highest usual share of NULL in the newest rows, 0 to 1'),
            ('*', 'recent_looks', 'Looks at the newest rows that were learnt from, at most 3'),
            ('*', 'drift_since', 'When the column was first seen to differ; NULL: it does not'),
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
