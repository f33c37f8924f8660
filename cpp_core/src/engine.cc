#include "engine.h"

#include <algorithm>
#include <stdexcept>

#include "core_error.h"
#include "observation_check.h"

namespace heal {
namespace {

constexpr size_t kDefaultMaxBytes = size_t{12} << 20;
constexpr uint32_t kDefaultMaxIncidents = 256;
constexpr uint32_t kDefaultMaxGraphNodes = 4096;
constexpr uint64_t kDefaultMaxWork = uint64_t{1} << 24;

// Baselines rest while a fault is fresh, or it would become the new normal; a
// fault that stays for longer is the new normal.
constexpr int64_t kFrozenUs = 600'000'000;
// Faults of these components leave the load as it is, so they freeze the metrics
// of their component only. Any other drags the sessions, the load and the host
// along and freezes all.
constexpr std::string_view kFrozenAlone[] = {"indexes", "statistics", "sequences", "security", "data"};

hc_limits WithDefaults(hc_limits limits) {
  if (limits.max_bytes == 0) limits.max_bytes = kDefaultMaxBytes;
  if (limits.max_incidents == 0) limits.max_incidents = kDefaultMaxIncidents;
  if (limits.max_graph_nodes == 0) limits.max_graph_nodes = kDefaultMaxGraphNodes;
  if (limits.max_work == 0) limits.max_work = kDefaultMaxWork;
  return limits;
}

// One forecast in three seconds bounds what it costs at any interval.
ForecasterOptions ForecastOptions() {
  ForecasterOptions options;
  options.forecasts_per_tick = 1;
  options.forecast_gap_us = 2'900'000;
  return options;
}

// The scopes the matchers can see in a session.
bool IsSessionScope(std::string_view scope) {
  return scope == "role" || scope == "application" || scope == "database";
}

}  // namespace

Engine::Engine(const hc_limits& limits, uint64_t seed)
    : limits_(WithDefaults(limits)), seed_(seed), bank_(seed), forecaster_(ForecastOptions()) {}

Engine::~Engine() = default;

hc_outcome Engine::Outcome::View() const {
  hc_outcome view{};
  view.command_id = command_id;
  view.status = status;
  view.sqlstate = sqlstate.c_str();
  view.message = message.c_str();
  view.json = json.c_str();
  view.duration_us = duration_us;
  return view;
}

Engine::Outcome Engine::CopyOutcome(const hc_outcome& outcome) {
  return {outcome.command_id, outcome.status, outcome.sqlstate, outcome.message, outcome.json, outcome.duration_us};
}

void Engine::Step(const hc_observation& observation, hc_decisions* out) {
  CheckObservation(observation);
  if (stepped_ && observation.mono_us < last_mono_)
    throw std::invalid_argument("mono_us went backwards");
  Begin(observation);
  if (observation.config != nullptr) TakeConfig(*observation.config);
  if (!stepped_) Resume();
  stepped_ = true;
  TakeOutcomes();
  ObserveMetrics();
  Predict();
  matches_ = matchers_.Run(observation, thresholds_, exemptions_);
  AddPredicted();
  for (Match& match : matches_) links_.AddEvidence(&match);
  UpdateCases();
  HandleRequests();
  if (paused_) {
    StopRuns();
    HoldRollbacks();
  }
  AdvanceAll();
  AdvanceSnapshots();
  ExpireSnapshots();
  IssueBulk();
  Finish(out);
}

void Engine::Begin(const hc_observation& observation) {
  observation_ = &observation;
  now_ = observation.now_us;
  mono_ = last_mono_ = observation.mono_us;
  look_again_us_ = -1;
  outbox_.Clear();
  // Ids must not meet those of an engine before this one: its commands may
  // still be running when this one starts.
  if (!stepped_) next_command_ = static_cast<uint64_t>(std::max<int64_t>(now_, 0)) + 1;
  settings_ = *observation.settings;
  paused_ = settings_.paused != 0;
}

// What is wrong in the tables must not stop the healer: the part that cannot be
// understood is left out, said in the log and in heal_status.
void Engine::TakeConfig(const hc_config& config) {
  config_fault_.clear();
  thresholds_.Reset();
  for (uint32_t i = 0; i < config.n_thresholds; ++i) {
    const hc_threshold& t = config.thresholds[i];
    if (!thresholds_.Set(t.failure_type, t.name, t.value))
      outbox_.Log(true, std::string("threshold ") + t.failure_type + "." + t.name + " is not valid and is ignored");
  }
  const std::span<const hc_policy_row> rows(config.policies, config.n_policies);
  policies_ = Policies(rows);
  exemptions_.clear();
  for (const hc_policy_row& row : rows)
    if (std::string_view(row.setting) == "exempt" && std::string_view(row.value) != "off" && IsSessionScope(row.scope))
      exemptions_.push_back({row.scope, row.subject});
  grades_.Set({config.detectors, config.n_detectors});
  try {
    diagnoser_.SetGraph(&config, limits_.max_graph_nodes);
    links_.SetGraph(&config);
  } catch (const CanceledError&) {
    throw;
  } catch (const CoreError& e) {
    config_fault_ = std::string("the causal graph is not valid and the one before is kept: ") + e.what();
    outbox_.Log(true, config_fault_);
  }
  // What was weighed by other rules is weighed again.
  for (auto& [id, c] : cases_) c.evidence_key.clear();
}

void Engine::TakeOutcomes() {
  for (uint32_t i = 0; i < observation_->n_outcomes; ++i) {
    const hc_outcome& outcome = observation_->outcomes[i];
    const auto found = owners_.find(outcome.command_id);
    if (found == owners_.end()) continue;  // of an engine before this one
    const CommandOwner owner = found->second;
    owners_.erase(found);
    if (owner.kind == Waiting::kAttempt) {
      const auto c = cases_.find(owner.key);
      if (c == cases_.end() || !c->second.run) continue;
      Run& run = *c->second.run;
      if (run.waiting.erase(outcome.command_id) == 0) continue;
      if (run.phase == Phase::kCapturing)
        run.captured = CopyOutcome(outcome);
      else
        run.outcomes.push_back(CopyOutcome(outcome));
    } else if (owner.kind == Waiting::kRollback) {
      const auto job = rollbacks_.find(owner.key);
      if (job == rollbacks_.end() || job->second.held) continue;
      RouteRollback(owner.key, job->second.rollback->OnOutcome(owner.token, outcome, mono_));
    } else {
      const auto job = snapshots_.find(owner.key);
      if (job == snapshots_.end() || job->second.waiting.erase(outcome.command_id) == 0) continue;
      if (outcome.status != HC_OUT_DONE) {
        job->second.failure = outcome.message[0] != '\0' ? outcome.message : "the process that read it ended early";
        continue;
      }
      try {
        for (SnapshotItem& item : ParseItems(outcome.json)) job->second.items.push_back(std::move(item));
      } catch (const SnapshotError& e) {
        job->second.failure = e.what();
      }
    }
  }
}

void Engine::ObserveMetrics() {
  std::set<std::string_view> components;
  bool everything = false;
  for (auto& [id, c] : cases_) {
    if (!c.run && mono_ - c.opened_mono >= kFrozenUs) continue;
    components.insert(RowOf(c).component);
    everything |= !std::ranges::count(kFrozenAlone, RowOf(c).component);
  }
  if (everything || components.empty())
    bank_.Freeze(everything);
  else
    bank_.FreezeComponents(components);
  std::vector<Anomaly> anomalies;
  bank_.Observe(*observation_, &anomalies);
  if (observation_->full_tick != 0) links_.Tick();
  for (const Anomaly& anomaly : anomalies) {
    if (anomaly.confidence < settings().min_confidence) continue;
    if (grades_.Demoted(anomaly.method, anomaly.def->name)) continue;
    links_.Note(anomaly.def->name);
    AnomalyRow row;
    row.observed_at = anomaly.observed_at;
    row.onset_at = anomaly.onset_at;
    row.category = anomaly.def->category;
    row.metric = anomaly.def->name;
    row.component = anomaly.def->component;
    row.value = anomaly.value;
    row.score = anomaly.score;
    row.method = anomaly.method;
    row.shape = anomaly.shape;
    row.direction = anomaly.direction;
    row.confidence = anomaly.confidence;
    for (const auto& [id, incident] : book_.incidents())
      if (incident.open() && incident.component == row.component) row.incident_id = id;
    book_.Append(std::move(row));
  }
}

void Engine::AdvanceAll() {
  AdvanceRollbacks();
  for (auto& [id, c] : cases_)
    // Several states in one step: a proven fact is healed at once. The bound is
    // the length of the life cycle.
    for (int moves = 0; moves < kIncidentStates && Advance(&c); ++moves) {
    }
  AdvanceRollbacks();
  for (auto it = cases_.begin(); it != cases_.end();) {
    Case& c = it->second;
    c.match = nullptr;  // matches_ does not outlive the step
    if (RowOf(c).open()) {
      ++it;
      continue;
    }
    by_fingerprint_.erase(RowOf(c).fingerprint);
    it = cases_.erase(it);
  }
}

void Engine::Finish(hc_decisions* out) {
  int32_t open = static_cast<int32_t>(cases_.size());
  status_.Publish(*observation_, book_.incidents(), Condition(), &outbox_);
  book_.Flush(&outbox_);
  for (MatcherRecord& record : matchers_.TakeRecords()) outbox_.Record(record.table, record.id, std::move(record.json));
  CheckMemory();
  *out = hc_decisions{};
  outbox_.Fill(out);
  out->metrics = bank_.Status();
  out->user_metrics = bank_.UserStatus();
  out->n_user_metrics = bank_.UserCount();
  out->look_again_us = look_again_us_;
  out->open_incidents = open;
  out->paused = paused_ ? 1 : 0;
  observation_ = nullptr;
}

HealerCondition Engine::Condition() const {
  HealerCondition condition;
  if (paused_) {
    condition.detail = "paused: all acting is stopped, roll-backs included";
    if (!pause_reason_.empty()) condition.detail += " (" + pause_reason_ + ")";
    const auto held = std::count_if(rollbacks_.begin(), rollbacks_.end(), [](const auto& job) { return job.second.held; });
    if (held > 0) condition.detail += "; roll-backs stopped: " + std::to_string(held);
  } else if ((observation_->server->flags & HC_SERVER_HEALER_CRASHED) != 0) {
    condition.degraded = true;
    condition.detail = "the worker ended unexpectedly before: it observes and does not act by itself";
  } else if (!config_fault_.empty()) {
    condition.degraded = true;
    condition.detail = config_fault_;
  } else {
    condition.detail = std::string("mode ") + ModeName(settings().mode);
  }
  return condition;
}

void Engine::CheckMemory() const {
  size_t bytes = book_.Bytes() + ledger_.size() * sizeof(LedgerEntry);
  for (const auto& [key, job] : snapshots_)
    for (const SnapshotItem& item : job.items)
      bytes += sizeof item + item.restore_sql.capacity() + (item.value ? item.value->capacity() : 0);
  if (bytes > limits_.max_bytes)
    throw LimitError("the engine would hold " + std::to_string(bytes) + " bytes, more than max_bytes");
}

void Engine::Want(int64_t delay_us) {
  delay_us = std::max<int64_t>(delay_us, 1000);
  if (look_again_us_ < 0 || delay_us < look_again_us_) look_again_us_ = delay_us;
}

uint64_t Engine::Issue(Command command, const CommandOwner& owner) {
  command.id = next_command_++;
  if (command.kind != HC_CMD_INSPECT) owners_[command.id] = owner;
  const uint64_t id = command.id;
  if (owner.kind == Waiting::kAttempt)
    outbox_.Issue(command);
  else
    bulk_.push_back(std::move(command));
  return id;
}

// Snapshots by hand and roll-backs go through every database. The shell has few
// action slots: one such command at a time leaves the others to remedies.
void Engine::IssueBulk() {
  if (owners_.contains(bulk_running_)) return;
  while (!bulk_.empty()) {
    const Command next = std::move(bulk_.front());
    bulk_.pop_front();
    if (!owners_.contains(next.id)) continue;  // given up while it waited
    bulk_running_ = next.id;
    outbox_.Issue(next);
    return;
  }
}

void Engine::Audit(std::string actor, std::string action, std::string subject, std::string outcome,
                   const Json& detail) {
  book_.Append(AuditEntry{0, now_, std::move(actor), std::move(action), std::move(subject), std::move(outcome),
                          JsonText(detail)});
}

}  // namespace heal
