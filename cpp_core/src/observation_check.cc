#include "observation_check.h"

#include <cmath>
#include <cstring>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>

namespace heal {
namespace {

[[noreturn]] void Fail(const char* field, const char* fault) {
  throw std::invalid_argument(std::string(field) + " " + fault);
}

template <typename T>
std::span<const T> Array(const T* data, uint32_t n, const char* field) {
  if (n > 0 && data == nullptr) Fail(field, "is missing");
  return {data, n};
}

void Strings(const char* field, std::initializer_list<const char*> texts) {
  for (const char* text : texts)
    if (text == nullptr) Fail(field, "has a string that is missing");
}

// C may hand in any integer as an enum. Reading it as one would be undefined, so
// its bytes are looked at.
template <typename Enum>
void Within(const char* field, const Enum& value, Enum last) {
  static_assert(sizeof(Enum) == sizeof(uint32_t));
  uint32_t number;
  std::memcpy(&number, &value, sizeof number);
  if (number > static_cast<uint32_t>(last)) Fail(field, "is not a value of its enumeration");
}

void AtLeast(const char* field, int64_t value, int64_t least) {
  if (value < least) Fail(field, "is out of range");
}

void Finite(const char* field, double value, double least, double most) {
  if (!std::isfinite(value) || value < least || value > most) Fail(field, "is out of range");
}

void CheckSessions(const hc_observation& o) {
  for (const hc_session& s : Array(o.sessions, o.n_sessions, "sessions")) {
    Strings("sessions", {s.role, s.database, s.application, s.client_addr, s.query});
    Within("sessions.kind", s.kind, HC_BACKEND_OTHER);
    Within("sessions.state", s.state, HC_STATE_FASTPATH);
  }
}

void CheckSlice(uint32_t first, uint32_t n, uint32_t size, const char* field) {
  if (first > size || n > size - first) Fail(field, "reach outside their array");
}

void CheckLocks(const hc_observation& o) {
  for (const hc_lock_holder& h : Array(o.lock_holders, o.n_lock_holders, "lock_holders"))
    Strings("lock_holders", {h.gid});
  for (const hc_lock_waiter& w : Array(o.lock_waiters, o.n_lock_waiters, "lock_waiters"))
    if (w.mode < 1 || w.mode > 8) Fail("lock_waiters.mode", "is not a lock mode");
  for (const hc_lock& l : Array(o.locks, o.n_locks, "locks")) {
    Strings("locks", {l.name});
    Within("locks.kind", l.kind, HC_LOCK_OTHER);
    CheckSlice(l.first_holder, l.n_holders, o.n_lock_holders, "locks.holders");
    CheckSlice(l.first_waiter, l.n_waiters, o.n_lock_waiters, "locks.waiters");
  }
}

void CheckReplication(const hc_observation& o) {
  for (const hc_prepared& p : Array(o.prepared, o.n_prepared, "prepared"))
    Strings("prepared", {p.gid, p.role, p.database});
  for (const hc_slot& s : Array(o.slots, o.n_slots, "slots")) Strings("slots", {s.name, s.database});
  for (const hc_standby& s : Array(o.standbys, o.n_standbys, "standbys"))
    Strings("standbys", {s.application, s.state});
}

void CheckLogins(const hc_observation& o) {
  for (const hc_login& l : Array(o.logins, o.n_logins, "logins")) Strings("logins", {l.role, l.address});
  for (const hc_security_event& e : Array(o.security_events, o.n_security_events, "security_events")) {
    Within("security_events.kind", e.kind, HC_SEC_SETTING);
    Strings("security_events", {e.role, e.database, e.application, e.client_addr, e.object, e.detail});
  }
}

void CheckClients(const hc_observation& o) {
  for (const hc_client& c : Array(o.clients, o.n_clients, "clients"))
    Strings("clients", {c.role, c.database, c.application, c.client_addr});
}

void CheckInspected(const hc_observation& o) {
  for (const hc_inspection& i : Array(o.inspections, o.n_inspections, "inspections"))
    Strings("inspections", {i.database});
  for (const hc_table& t : Array(o.tables, o.n_tables, "tables"))
    Strings("tables", {t.database, t.schema, t.name, t.qualified, t.owner, t.reloptions});
  for (const hc_index& i : Array(o.indexes, o.n_indexes, "indexes"))
    Strings("indexes", {i.database, i.qualified, i.table_qualified, i.owner, i.definition});
  for (const hc_sequence& s : Array(o.sequences, o.n_sequences, "sequences"))
    Strings("sequences", {s.database, s.qualified});
}

void CheckDataQuality(const hc_observation& o) {
  for (const hc_column_stats& c : Array(o.columns, o.n_columns, "columns"))
    Strings("columns", {c.database, c.schema, c.table, c.column});
  for (const hc_row_count& r : Array(o.row_counts, o.n_row_counts, "row_counts"))
    Strings("row_counts", {r.database, r.schema, r.table});
  for (const hc_fault& f : Array(o.faults, o.n_faults, "faults")) {
    Within("faults.kind", f.kind, HC_FAULT_COLLATION);
    Strings("faults", {f.database, f.table, f.object, f.detail});
  }
  for (const hc_behind& b : Array(o.behind, o.n_behind, "behind"))
    Strings("behind", {b.database, b.sequence, b.table, b.column});
  for (const hc_violation& v : Array(o.violations, o.n_violations, "violations"))
    Strings("violations", {v.database, v.sqlstate, v.schema, v.table, v.constraint});
  for (const hc_checksum& c : Array(o.checksums, o.n_checksums, "checksums")) Strings("checksums", {c.database});
}

void CheckUserMetrics(const hc_observation& o) {
  for (const hc_user_metric& m : Array(o.user_metrics, o.n_user_metrics, "user_metrics"))
    Strings("user_metrics", {m.name, m.component, m.category, m.unit});
}

void CheckRequests(const hc_observation& o) {
  for (const hc_request& r : Array(o.requests, o.n_requests, "requests")) {
    Within("requests.kind", r.kind, HC_REQ_RESET_BASELINE);
    Strings("requests", {r.role, r.text, r.component});
  }
  for (const hc_outcome& out : Array(o.outcomes, o.n_outcomes, "outcomes")) {
    Within("outcomes.status", out.status, HC_OUT_LOST);
    Strings("outcomes", {out.sqlstate, out.message, out.json});
  }
}

}  // namespace

void CheckSettings(const hc_settings& s) {
  Within("settings.mode", s.mode, HC_MODE_AUTO);
  Within("settings.policy", s.policy, HC_POLICY_AGGRESSIVE);
  AtLeast("settings.monitoring_interval_ms", s.monitoring_interval_ms, 1);
  AtLeast("settings.calm_period_ms", s.calm_period_ms, 0);
  AtLeast("settings.confirm_samples", s.confirm_samples, 1);
  AtLeast("settings.window_size", s.window_size, 2);
  AtLeast("settings.min_baseline_samples", s.min_baseline_samples, 2);
  AtLeast("settings.inference_max_path_depth", s.inference_max_path_depth, 1);
  AtLeast("settings.rollback_max_attempts", s.rollback_max_attempts, 1);
  AtLeast("settings.rollback_timeout_ms", s.rollback_timeout_ms, 1);
  AtLeast("settings.rollback_max_depth", s.rollback_max_depth, 1);
  AtLeast("settings.snapshot_retention_ms", s.snapshot_retention_ms, 0);
  AtLeast("settings.concurrent_recoveries", s.concurrent_recoveries, 1);
  Finite("settings.anomaly_threshold", s.anomaly_threshold, 0, 1e6);
  Finite("settings.iqr_multiplier", s.iqr_multiplier, 0, 1e6);
  Finite("settings.min_confidence", s.min_confidence, 0, 1);
  Finite("settings.inference_min_confidence", s.inference_min_confidence, 0, 1);
  Finite("settings.inference_min_edge_probability", s.inference_min_edge_probability, 0, 1);
}

void CheckConfig(const hc_config& c) {
  for (const hc_threshold& t : Array(c.thresholds, c.n_thresholds, "thresholds"))
    Strings("thresholds", {t.failure_type, t.name});
  for (const hc_policy_row& p : Array(c.policies, c.n_policies, "policies"))
    Strings("policies", {p.scope, p.subject, p.setting, p.value});
  for (const hc_causal_node& n : Array(c.nodes, c.n_nodes, "nodes"))
    Strings("nodes", {n.node, n.kind, n.component, n.metric});
  for (const hc_causal_edge& e : Array(c.edges, c.n_edges, "edges"))
    Strings("edges", {e.cause, e.effect, e.edge_type});
  for (const hc_detector_counts& d : Array(c.detectors, c.n_detectors, "detectors"))
    Strings("detectors", {d.detector, d.subject});
}

void CheckObservation(const hc_observation& o) {
  if (o.settings == nullptr) Fail("settings", "are missing");
  if (o.server == nullptr) Fail("server", "is missing");
  if (o.metrics == nullptr) Fail("metrics", "are missing");
  CheckSettings(*o.settings);
  if (o.config != nullptr) CheckConfig(*o.config);
  CheckSessions(o);
  CheckLocks(o);
  CheckReplication(o);
  CheckLogins(o);
  CheckClients(o);
  CheckInspected(o);
  CheckDataQuality(o);
  CheckRequests(o);
  CheckUserMetrics(o);
}

}  // namespace heal
