#include "recover/verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

#include "json_text.h"

namespace heal {
namespace {

using std::string;

constexpr int64_t kMillis = 1000;
constexpr int64_t kSecondUs = 1000000;
constexpr int64_t kSoonUs = 100000;            // a look while sessions are about to go
constexpr int64_t kReloadUs = 10 * kSecondUs;  // a reload takes effect within
constexpr double kClearlyMore = 1.2;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// ---- small helpers ----

double ValueOf(const std::map<string, double>& values, const char* name, double otherwise = kUnknown) {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : found->second;
}

double Limit(const VerifyInput& input, const VerifyBaseline& baseline, const char* name, double otherwise) {
  const double value = input.threshold ? input.threshold(baseline.failure_type, name) : kUnknown;
  return std::isfinite(value) ? value : otherwise;
}

double Metric(const hc_observation& observation, hc_metric_id id) {
  if (observation.metrics == nullptr) return kUnknown;
  const double value = observation.metrics[id];
  return std::isfinite(value) ? value : kUnknown;
}

string Number(double value, const char* format = "%.2f") {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), format, value);
  return buffer;
}

VerifyResult Result(VerifyVerdict verdict, string reason, int64_t look_again_us = -1) {
  VerifyResult result;
  result.verdict = verdict;
  result.reason = std::move(reason);
  result.look_again_us = look_again_us;
  return result;
}

// ---- the lock waits an action should end ----

bool Holds(const hc_observation& observation, const hc_lock& lock, const std::set<int32_t>& pids) {
  for (uint32_t i = 0; i < lock.n_holders; ++i)
    if (pids.count(observation.lock_holders[lock.first_holder + i].pid) != 0) return true;
  return false;
}

// Place of the first waiter that waits because of pids: everybody when they hold
// the lock, those behind when they wait themselves; n_waiters when there is none.
uint32_t FirstVictim(const hc_observation& observation, const hc_lock& lock, const std::set<int32_t>& pids) {
  if (Holds(observation, lock, pids)) return 0;
  for (uint32_t i = 0; i < lock.n_waiters; ++i)
    if (pids.count(observation.lock_waiters[lock.first_waiter + i].pid) != 0) return i + 1;
  return lock.n_waiters;
}

std::vector<Victim> VictimsOf(const hc_observation& observation, const std::set<int32_t>& pids) {
  std::vector<Victim> victims;
  for (uint32_t l = 0; l < observation.n_locks; ++l) {
    const hc_lock& lock = observation.locks[l];
    for (uint32_t i = FirstVictim(observation, lock, pids); i < lock.n_waiters; ++i) {
      const hc_lock_waiter& waiter = observation.lock_waiters[lock.first_waiter + i];
      if (pids.count(waiter.pid) != 0) continue;
      victims.push_back(
          {waiter.pid, waiter.wait_start, lock.kind, lock.database_oid, lock.relation_oid, lock.name});
    }
  }
  return victims;
}

bool SameLock(const hc_lock& lock, const Victim& victim) {
  return lock.kind == victim.lock_kind && lock.database_oid == victim.database_oid &&
         lock.relation_oid == victim.relation_oid && victim.lock_name == lock.name;
}

// The wait recorded, not a later one of the same session for the same lock.
bool SameWait(const hc_lock_waiter& waiter, const Victim& victim) {
  const bool told_apart = waiter.wait_start != 0 && victim.wait_start != 0;
  return waiter.pid == victim.pid && (!told_apart || waiter.wait_start == victim.wait_start);
}

bool StillWaits(const hc_observation& observation, const Victim& victim) {
  for (uint32_t l = 0; l < observation.n_locks; ++l) {
    const hc_lock& lock = observation.locks[l];
    if (!SameLock(lock, victim)) continue;
    for (uint32_t i = 0; i < lock.n_waiters; ++i)
      if (SameWait(observation.lock_waiters[lock.first_waiter + i], victim)) return true;
  }
  return false;
}

int32_t StillWaiting(const hc_observation& observation, const VerifyBaseline& baseline) {
  return static_cast<int32_t>(std::count_if(baseline.victims.begin(), baseline.victims.end(),
                                            [&](const Victim& v) { return StillWaits(observation, v); }));
}

// ---- the sessions that were signalled ----

const hc_session* FindSession(const hc_observation& observation, const hc_session_identity& id) {
  for (uint32_t i = 0; i < observation.n_sessions; ++i)
    if (observation.sessions[i].id.pid == id.pid &&
        observation.sessions[i].id.backend_start == id.backend_start)
      return &observation.sessions[i];
  return nullptr;
}

int32_t StillThere(const hc_observation& observation, const VerifyBaseline& baseline) {
  return static_cast<int32_t>(
      std::count_if(baseline.signalled.begin(), baseline.signalled.end(),
                    [&](const hc_session_identity& id) { return FindSession(observation, id) != nullptr; }));
}

// A cancelled command: the session is out of that transaction, or waits no more.
bool StillWaitsForLock(const hc_observation& observation, const hc_session_identity& id) {
  const hc_session* session = FindSession(observation, id);
  if (session == nullptr || (session->flags & HC_SESSION_LOCK_WAIT) == 0) return false;
  return id.xact_start == 0 || session->id.xact_start == id.xact_start;
}

// ---- outcomes ----

bool NotDone(const hc_outcome& outcome) {
  return outcome.status == HC_OUT_FAILED || outcome.status == HC_OUT_REFUSED;
}

// Nothing was done at all: a lost command may have been carried out.
bool NothingDone(const VerifyInput& input) {
  return !input.outcomes.empty() && std::all_of(input.outcomes.begin(), input.outcomes.end(), NotDone);
}

// The row of the probe, an empty object when there is none.
Json Probe(const VerifyInput& input) {
  for (auto outcome = input.outcomes.rbegin(); outcome != input.outcomes.rend(); ++outcome) {
    if (outcome->json == nullptr || outcome->json[0] == '\0') continue;
    try {
      Json row = ParseJson(outcome->json, "probe");
      if (row.is_object()) return row;
    } catch (const std::invalid_argument&) {
      continue;
    }
  }
  return Json::object();
}

double ProbeNumber(const Json& probe, const char* name) {
  const Json* found = probe.find(name);
  return found == nullptr || !found->is_number() ? kUnknown : found->number();
}

// -1 unknown, 0 false, 1 true.
int ProbeFlag(const Json& probe, const char* name) {
  const Json* found = probe.find(name);
  return found == nullptr || !found->is_boolean() ? -1 : found->boolean() ? 1 : 0;
}

// ---- facts of inspectors ----

const hc_inspection* NewInspection(const hc_observation& observation, const VerifyBaseline& baseline,
                                   int64_t after) {
  for (uint32_t i = 0; i < observation.n_inspections; ++i) {
    const hc_inspection& look = observation.inspections[i];
    if (look.database_oid == baseline.database_oid && look.inspected_at > after) return &look;
  }
  return nullptr;
}

const hc_table* FindTable(const hc_observation& observation, const VerifyBaseline& baseline) {
  for (uint32_t i = 0; i < observation.n_tables; ++i)
    if (observation.tables[i].database_oid == baseline.database_oid &&
        observation.tables[i].relation_oid == baseline.relation_oid)
      return &observation.tables[i];
  return nullptr;
}

bool IndexListed(const hc_observation& observation, const VerifyBaseline& baseline) {
  for (uint32_t i = 0; i < observation.n_indexes; ++i)
    if (observation.indexes[i].database_oid == baseline.database_oid &&
        observation.indexes[i].index_oid == baseline.index_oid)
      return true;
  return false;
}

double DeadShare(double dead, double live) { return dead / std::max(live, 1.0); }

// ---- one judge per failure; each says not_yet until it knows ----

struct Judged {
  const VerifyInput& input;
  VerifyBaseline* baseline;
  const hc_observation& observation;
  bool late;  // the time to verify is over
};

VerifyResult NotYet(const Judged& j, VerifyVerdict when_late, string reason, int64_t look_again_us = -1) {
  if (j.late) return Result(when_late, std::move(reason));
  return Result(VerifyVerdict::kNotYet, std::move(reason), look_again_us);
}

VerifyResult JudgeIdleBlocker(const Judged& j) {
  if (j.observation.sessions_known == 0 || j.observation.locks_known == 0)
    return NotYet(j, VerifyVerdict::kUnverified, "sessions or locks cannot be seen");
  if (StillThere(j.observation, *j.baseline) > 0)
    return NotYet(j, VerifyVerdict::kNoEffect, "the session is still there", kSoonUs);
  const int32_t waiting = StillWaiting(j.observation, *j.baseline);
  if (waiting > 0)
    return NotYet(j, VerifyVerdict::kNoEffect,
                  std::to_string(waiting) + " blocked sessions still wait for the lock", kSoonUs);
  if (j.baseline->victims.empty())
    return NotYet(j, VerifyVerdict::kUnverified, "the session is gone, but nobody was seen waiting for it");
  return Result(VerifyVerdict::kHealed, "the session is gone and nobody it blocked waits for that lock");
}

VerifyResult JudgeDdlQueue(const Judged& j) {
  if (j.observation.sessions_known == 0 || j.observation.locks_known == 0)
    return NotYet(j, VerifyVerdict::kUnverified, "sessions or locks cannot be seen");
  for (const hc_session_identity& id : j.baseline->signalled)
    if (StillWaitsForLock(j.observation, id))
      return NotYet(j, VerifyVerdict::kNoEffect, "the command still waits", kSoonUs);
  const int32_t waiting = StillWaiting(j.observation, *j.baseline);
  if (waiting > 0)
    return NotYet(j, VerifyVerdict::kNoEffect,
                  std::to_string(waiting) + " sessions still wait on the relation", kSoonUs);
  if (j.baseline->victims.empty())
    return NotYet(j, VerifyVerdict::kUnverified, "the command is gone, but nobody was seen queued behind it");
  return Result(VerifyVerdict::kHealed, "the command no longer waits and its queue is gone");
}

// Statistics of the table now: the probe's, else a later inspection's.
bool AnalyzeFacts(const Judged& j, double* analyzed_at, double* changed) {
  const Json probe = Probe(j.input);
  *analyzed_at = ProbeNumber(probe, "last_analyze_us");
  *changed = ProbeNumber(probe, "n_mod_since_analyze");
  if (std::isfinite(*analyzed_at)) return true;
  const hc_table* table = FindTable(j.observation, *j.baseline);
  if (table == nullptr || NewInspection(j.observation, *j.baseline, j.baseline->acted_at_us) == nullptr)
    return false;
  *analyzed_at = static_cast<double>(table->last_analyze);
  *changed = static_cast<double>(table->mod_since_analyze);
  return true;
}

VerifyResult JudgeStatistics(const Judged& j) {
  double analyzed_at = kUnknown, changed = kUnknown;
  if (!AnalyzeFacts(j, &analyzed_at, &changed))
    return NotYet(j, VerifyVerdict::kUnverified, "nobody looked at the table since");
  const double before =
      ValueOf(j.baseline->values, "last_analyze", static_cast<double>(j.baseline->acted_at_us) - 1);
  if (!(analyzed_at > before && analyzed_at >= static_cast<double>(j.baseline->acted_at_us)))
    return NotYet(j, VerifyVerdict::kNoEffect, "the table was not analysed since");
  const double changed_before = ValueOf(j.baseline->values, "mod_since_analyze");
  if (std::isfinite(changed) && std::isfinite(changed_before) && changed >= changed_before && changed > 0)
    return NotYet(j, VerifyVerdict::kNoEffect, "as many rows changed since the action as before it");
  return Result(VerifyVerdict::kHealed, "the table was analysed after the action");
}

// What happened since the setting took effect. A cycle is the WAL that used to
// be written between two requested checkpoints; -1 when that is not known.
struct Checkpoints {
  double requested, timed, cycles;
};

double CycleBytes(const VerifyBaseline& baseline) {
  const double wal = ValueOf(baseline.values, "wal_mb") * 1024 * 1024;
  return wal / std::max(1.0, ValueOf(baseline.values, "requested", 1));
}

// Counting begins when the setting is seen: what came before is not the
// remedy's. False while there is nothing to count from.
bool CountCheckpoints(const Judged& j, Checkpoints* count) {
  const double requested = Metric(j.observation, HC_M_CHECKPOINTS_REQUESTED);
  const double timed = Metric(j.observation, HC_M_CHECKPOINTS_TIMED);
  const double wal = Metric(j.observation, HC_M_WAL_BYTES);
  if (!std::isfinite(requested) || !std::isfinite(timed)) return false;
  auto& values = j.baseline->values;
  const bool reset = requested < ValueOf(values, "_since_requested", 0) ||
                     timed < ValueOf(values, "_since_timed", 0) || wal < ValueOf(values, "_since_wal", 0);
  if (values.count("_since_us") == 0 || reset) {
    values["_since_requested"] = requested;
    values["_since_timed"] = timed;
    values["_since_us"] = static_cast<double>(j.observation.now_us);
    values.erase("_since_wal");
    if (std::isfinite(wal)) values["_since_wal"] = wal;
  }
  const double cycle = CycleBytes(*j.baseline);
  const double cycles = cycle > 0 ? (wal - ValueOf(values, "_since_wal")) / cycle : kUnknown;
  *count = {requested - values["_since_requested"], timed - values["_since_timed"],
            std::isfinite(cycles) ? cycles : -1};
  return true;
}

// Time that so many checkpoint cycles took before.
int64_t CheckpointWindowUs(const Judged& j, double cycles) {
  const auto& values = j.baseline->values;
  double interval_s = ValueOf(values, "interval_s");
  if (!std::isfinite(interval_s))
    interval_s = CycleBytes(*j.baseline) / (ValueOf(values, "wal_mb_per_s") * 1024 * 1024);
  if (!std::isfinite(interval_s) || interval_s <= 0) interval_s = 10;
  return static_cast<int64_t>(std::min(cycles * interval_s, 86400.0) * static_cast<double>(kSecondUs));
}

VerifyResult JudgeShare(const Judged& j, const Checkpoints& count) {
  const double all = count.requested + count.timed;
  const double share = all > 0 ? count.requested / all : 0;
  const double clear = Limit(j.input, *j.baseline, "clear_share", 0.1);
  string seen = Number(count.requested, "%.0f") + " of " + Number(all, "%.0f") + " checkpoints were requested";
  if (count.cycles >= 0)
    seen += " while WAL for " + Number(count.cycles, "%.1f") + " checkpoints of the old size was written";
  // One may have been under way when the setting changed.
  const bool rare = count.cycles >= 0 && count.requested <= 1 + clear * count.cycles;
  if (share < clear || rare) return Result(VerifyVerdict::kHealed, seen);
  const bool worse = count.cycles > 0 && count.requested > 1 + kClearlyMore * count.cycles;
  return Result(worse ? VerifyVerdict::kWorse : VerifyVerdict::kNoEffect, seen);
}

VerifyResult JudgeCounted(const Judged& j, const Checkpoints& count) {
  const double cycles = Limit(j.input, *j.baseline, "verify_cycles", 3);
  if (count.cycles >= cycles) return JudgeShare(j, count);
  const int64_t window = CheckpointWindowUs(j, cycles);
  const int64_t past = j.observation.now_us - static_cast<int64_t>(ValueOf(j.baseline->values, "_since_us"));
  // The load may have become less: one cycle of the old size is the least that
  // can tell something, and the time to wait for it is bounded. After a short
  // burst the window is short too: the time to verify is the least.
  const int64_t longest = std::max(2 * window, j.baseline->deadline_us - j.baseline->acted_at_us);
  if (past >= window && (count.cycles < 0 || count.cycles >= 1)) return JudgeShare(j, count);
  if (past >= longest)
    return Result(VerifyVerdict::kUnverified,
                  "too little WAL was written to tell whether checkpoints are rarer");
  return Result(VerifyVerdict::kNotYet, "checkpoints are counted",
                past < window ? window - past : longest - past);
}

VerifyResult JudgeCheckpoints(const Judged& j) {
  const double wanted = ValueOf(j.baseline->values, "value");
  const bool effective =
      j.observation.server != nullptr && static_cast<double>(j.observation.server->max_wal_size_mb) >= wanted;
  if (!effective) {
    const int64_t finished = static_cast<int64_t>(ValueOf(j.baseline->values, "_finished_us"));
    if (j.observation.now_us - finished < kReloadUs)
      return Result(VerifyVerdict::kNotYet, "the setting is not in effect yet", kSoonUs);
    return Result(VerifyVerdict::kNoEffect, "the setting did not take effect");
  }
  Checkpoints count{};
  if (!CountCheckpoints(j, &count))
    return NotYet(j, VerifyVerdict::kUnverified, "the checkpoint counters cannot be seen");
  return JudgeCounted(j, count);
}

VerifyResult JudgeDeadRows(const Judged& j, double dead, double live) {
  const double share = DeadShare(dead, live);
  const double before = ValueOf(j.baseline->values, "dead_share");
  const string seen = "the share of dead rows is " + Number(share);
  if (share < Limit(j.input, *j.baseline, "clear_share", 0.1)) return Result(VerifyVerdict::kHealed, seen);
  const bool worse = std::isfinite(before) && share > before * kClearlyMore;
  return NotYet(j, worse ? VerifyVerdict::kWorse : VerifyVerdict::kNoEffect, seen);
}

VerifyResult JudgeVacuum(const Judged& j) {
  const Json probe = Probe(j.input);
  if (ProbeFlag(probe, "effective") == 0)
    return Result(VerifyVerdict::kNoEffect, "the options are not in effect");
  // A later look at the table knows more than the probe.
  const hc_table* table = FindTable(j.observation, *j.baseline);
  const int64_t finished = static_cast<int64_t>(ValueOf(j.baseline->values, "_finished_us"));
  if (table != nullptr && NewInspection(j.observation, *j.baseline, finished) != nullptr)
    return JudgeDeadRows(j, static_cast<double>(table->dead_tuples), static_cast<double>(table->live_tuples));
  const double dead = ProbeNumber(probe, "n_dead_tup"), live = ProbeNumber(probe, "n_live_tup");
  if (!std::isfinite(dead) || !std::isfinite(live))
    return NotYet(j, VerifyVerdict::kUnverified, "nobody looked at the table since");
  return JudgeDeadRows(j, dead, live);
}

VerifyResult JudgeIndex(const Judged& j) {
  const int gone = ProbeFlag(Probe(j.input), "gone");
  if (gone == 1) return Result(VerifyVerdict::kHealed, "the index is gone");
  const hc_inspection* look = NewInspection(j.observation, *j.baseline, j.baseline->acted_at_us);
  if (look == nullptr || look->complete == 0) {
    if (gone == 0) return NotYet(j, VerifyVerdict::kNoEffect, "the index is still there");
    return NotYet(j, VerifyVerdict::kUnverified, "nobody looked at the index since");
  }
  if (IndexListed(j.observation, *j.baseline))
    return NotYet(j, VerifyVerdict::kNoEffect, "the index is still there");
  return Result(VerifyVerdict::kHealed, "the index is gone");
}

VerifyResult JudgeSequence(const Judged& j) {
  const int ahead = ProbeFlag(Probe(j.input), "ahead");
  if (ahead == 1) return Result(VerifyVerdict::kHealed, "the sequence is ahead of its column");
  if (ahead == 0) return NotYet(j, VerifyVerdict::kNoEffect, "the sequence is still behind its column");
  return NotYet(j, VerifyVerdict::kUnverified, "nobody looked at the sequence since");
}

// Microseconds without a refused connection, -1 when that cannot be told.
int64_t QuietUs(const Judged& j) {
  const double refused = Metric(j.observation, HC_M_LOG_TOO_MANY_CONNECTIONS);
  if (!std::isfinite(refused)) return -1;
  auto& values = j.baseline->values;
  if (values.count("_refused") == 0 || refused != values["_refused"]) {
    values["_refused"] = refused;
    values["_refused_us"] = static_cast<double>(j.observation.now_us);
  }
  return j.observation.now_us - static_cast<int64_t>(values["_refused_us"]);
}

VerifyResult JudgeConnections(const Judged& j) {
  const double used = Metric(j.observation, HC_M_CONNECTIONS_USED);
  const int64_t quiet = QuietUs(j);
  if (!std::isfinite(used) || quiet < 0 || j.observation.sessions_known == 0)
    return NotYet(j, VerifyVerdict::kUnverified, "connections cannot be seen");
  const string seen = Number(used * 100, "%.0f") + " % of the connections are used";
  if (StillThere(j.observation, *j.baseline) > 0)
    return NotYet(j, VerifyVerdict::kNoEffect, "signalled sessions are still there", kSoonUs);
  if (used > Limit(j.input, *j.baseline, "clear", 0.75)) {  // as strict as the matcher
    const double before = ValueOf(j.baseline->values, "used");
    const bool worse = std::isfinite(before) && used > before * kClearlyMore;
    VerifyResult result = NotYet(j, worse ? VerifyVerdict::kWorse : VerifyVerdict::kNoEffect, seen);
    result.another_round = !j.late;
    return result;
  }
  const int64_t wanted =
      static_cast<int64_t>(Limit(j.input, *j.baseline, "quiet_s", 60) * static_cast<double>(kSecondUs));
  if (quiet >= wanted) return Result(VerifyVerdict::kHealed, seen + " and none was refused");
  // Room was made; the quiet time is waited for beyond the deadline.
  return Result(VerifyVerdict::kNotYet, seen + ", waiting for a time without refused ones", wanted - quiet);
}

struct JudgeDef {
  std::string_view failure;
  VerifyResult (*judge)(const Judged&);
};

constexpr JudgeDef kJudges[] = {
    {"idle_in_transaction_blocker", JudgeIdleBlocker},
    {"ddl_lock_queue", JudgeDdlQueue},
    {"stale_statistics", JudgeStatistics},
    {"checkpoint_storm", JudgeCheckpoints},
    {"vacuum_starved", JudgeVacuum},
    {"invalid_index", JudgeIndex},
    {"sequence_behind", JudgeSequence},
    {"connection_exhaustion", JudgeConnections},
};

// Facts of the table as they were before the action.
void AddTableFacts(const hc_observation& observation, VerifyBaseline* baseline) {
  const hc_table* table = FindTable(observation, *baseline);
  if (table == nullptr) return;
  auto& values = baseline->values;
  values["dead_share"] =
      DeadShare(static_cast<double>(table->dead_tuples), static_cast<double>(table->live_tuples));
  values["mod_since_analyze"] = static_cast<double>(table->mod_since_analyze);
  values["last_analyze"] = static_cast<double>(table->last_analyze);
}

void AddMetric(const hc_observation& observation, hc_metric_id id, const char* name,
               VerifyBaseline* baseline) {
  const double value = Metric(observation, id);
  if (std::isfinite(value)) baseline->values[name] = value;
}

// ---- text form ----

Json VictimJson(const Victim& victim) {
  return {{"pid", victim.pid},
          {"wait_start", victim.wait_start},
          {"kind", victim.lock_kind},
          {"database", victim.database_oid},
          {"relation", victim.relation_oid},
          {"lock", victim.lock_name}};
}

Json SessionJson(const hc_session_identity& id) {
  return {{"pid", id.pid},
          {"backend_start", id.backend_start},
          {"xact_start", id.xact_start},
          {"query_id", id.query_id},
          {"state_change", id.state_change}};
}

// Throws when the number does not fit.
template <typename T>
T IntegerAt(const Json& row, const char* key) {
  const int64_t value = row.at(key).integer();
  if (!std::in_range<T>(value)) throw std::invalid_argument(string(key) + " is out of range");
  return static_cast<T>(value);
}

// A query_id uses all 64 bits.
uint64_t QueryIdAt(const Json& row) {
  const Json& value = row.at("query_id");
  return value.is_integer() ? static_cast<uint64_t>(value.integer()) : std::stoull(JsonText(value));
}

Victim ParseVictim(const Json& row) {
  return {IntegerAt<int32_t>(row, "pid"),       IntegerAt<int64_t>(row, "wait_start"),
          IntegerAt<int32_t>(row, "kind"),      IntegerAt<uint32_t>(row, "database"),
          IntegerAt<uint32_t>(row, "relation"), row.at("lock").text()};
}

hc_session_identity ParseSession(const Json& row) {
  return {IntegerAt<int32_t>(row, "pid"), IntegerAt<int64_t>(row, "backend_start"),
          IntegerAt<int64_t>(row, "xact_start"), QueryIdAt(row), IntegerAt<int64_t>(row, "state_change")};
}

}  // namespace

const char* VerdictName(VerifyVerdict verdict) {
  constexpr const char* kNames[] = {"healed", "not_yet", "no_effect", "worse", "unverified"};
  return kNames[static_cast<int>(verdict)];
}

VerifyBaseline MakeBaseline(const Match& match, const Candidate& candidate, const RetryPolicy& retry,
                            const hc_observation& observation) {
  VerifyBaseline baseline;
  baseline.failure_type = match.failure_type;
  baseline.remedy = candidate.remedy;
  baseline.fingerprint = match.fingerprint;
  baseline.database_oid = candidate.database_oid != 0 ? candidate.database_oid : match.database_oid;
  baseline.relation_oid = candidate.relation_oid != 0 ? candidate.relation_oid : match.relation_oid;
  baseline.acted_at_us = observation.now_us;
  baseline.deadline_us =
      observation.now_us + std::max(retry.recovery_timeout_us, candidate.verify_ms * kMillis);
  for (const auto& [name, value] : match.values)
    if (std::isfinite(value)) baseline.values[name] = value;
  for (const auto& [name, value] : candidate.values)
    if (std::isfinite(value)) baseline.values[name] = value;
  baseline.index_oid = static_cast<uint32_t>(ValueOf(baseline.values, "index_oid", 0));
  AddTableFacts(observation, &baseline);
  AddMetric(observation, HC_M_CONNECTIONS_USED, "used", &baseline);
  AddRound(candidate, observation, &baseline);
  return baseline;
}

void AddRound(const Candidate& candidate, const hc_observation& observation, VerifyBaseline* baseline) {
  std::set<int32_t> pids;
  for (const Target& target : candidate.targets) {
    baseline->signalled.push_back(target.id);
    pids.insert(target.id.pid);
  }
  if (pids.empty()) return;
  baseline->values.erase("_finished_us");
  for (Victim& victim : VictimsOf(observation, pids)) baseline->victims.push_back(std::move(victim));
}

string BaselineJson(const VerifyBaseline& baseline) {
  Json sessions = Json::array(), victims = Json::array();
  for (const hc_session_identity& id : baseline.signalled) sessions.push_back(SessionJson(id));
  for (const Victim& victim : baseline.victims) victims.push_back(VictimJson(victim));
  const Json row = {{"failure_type", baseline.failure_type},
                    {"remedy", baseline.remedy},
                    {"fingerprint", baseline.fingerprint},
                    {"database_oid", baseline.database_oid},
                    {"relation_oid", baseline.relation_oid},
                    {"index_oid", baseline.index_oid},
                    {"acted_at_us", baseline.acted_at_us},
                    {"deadline_us", baseline.deadline_us},
                    {"signalled", sessions},
                    {"victims", victims},
                    {"values", baseline.values}};
  return JsonText(row);
}

VerifyBaseline ParseBaseline(std::string_view text) {
  const Json row = ParseJson(text, "the verification baseline");
  VerifyBaseline baseline;
  baseline.failure_type = row.at("failure_type").text();
  baseline.remedy = row.at("remedy").text();
  baseline.fingerprint = row.at("fingerprint").text();
  baseline.database_oid = IntegerAt<uint32_t>(row, "database_oid");
  baseline.relation_oid = IntegerAt<uint32_t>(row, "relation_oid");
  baseline.index_oid = IntegerAt<uint32_t>(row, "index_oid");
  baseline.acted_at_us = IntegerAt<int64_t>(row, "acted_at_us");
  baseline.deadline_us = IntegerAt<int64_t>(row, "deadline_us");
  for (const Json& session : row.at("signalled").elements()) baseline.signalled.push_back(ParseSession(session));
  for (const Json& victim : row.at("victims").elements()) baseline.victims.push_back(ParseVictim(victim));
  for (const auto& [name, value] : row.at("values").members()) baseline.values[name] = value.number();
  return baseline;
}

VerifyResult Judge(const VerifyInput& input, VerifyBaseline* baseline) {
  const hc_observation& observation = *input.observation;
  if (static_cast<int32_t>(input.outcomes.size()) < input.commands)
    return Result(VerifyVerdict::kNotYet, "the remedy is being executed", kSoonUs);
  if (NothingDone(input))
    return Result(VerifyVerdict::kNoEffect,
                  "the remedy was not executed: " + string(input.outcomes.back().message));
  if (baseline->values.count("_finished_us") == 0)
    baseline->values["_finished_us"] = static_cast<double>(observation.now_us);
  const int64_t finished = static_cast<int64_t>(baseline->values["_finished_us"]);
  // An extra look does not see everything: it does not end the time to verify.
  const bool late = observation.full_tick != 0 &&
                    observation.now_us - finished >= baseline->deadline_us - baseline->acted_at_us;
  for (const JudgeDef& def : kJudges)
    if (def.failure == baseline->failure_type) return def.judge({input, baseline, observation, late});
  return Result(VerifyVerdict::kUnverified, "there is no judge for this failure");
}

}  // namespace heal
