// The life of an incident until it acts: opened by a match, diagnosed, planned,
// weighed by the safety rules, closed when the symptom has gone.

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "engine.h"

namespace heal {
namespace {

// Looks closer together than this see the same thing.
constexpr int64_t kLookSpacingUs = 40'000;
// The wanted second look at a session-level failure.
constexpr int64_t kSecondLookUs = 50'000;
constexpr int32_t kLooksGone = 2;
// Matchers with a memory need time before they can see a trouble again.
constexpr int64_t kUnseenGraceUs = 180'000'000;
// How long a refusal that may pass (a busy table, say) is waited for.
constexpr int64_t kUnsureUs = 60'000'000;
// A match that just lingers after it was healed is no new incident.
constexpr int64_t kQuietUs = 60'000'000;
// Evidence that is not there at the first look (a rate, a usual number) comes
// with the next ones: a person is called only when it did not help.
constexpr int64_t kUncertainUs = 10'000'000;
// An incident that was escalated for want of a remedy is weighed again when its
// evidence has changed, at most this often.
constexpr int64_t kReweighUs = 5'000'000;
constexpr size_t kMaxTransitions = 64;

// Failures of these components are seen by inspectors, one database at a time.
bool IsInspected(std::string_view component) {
  return component == "statistics" || component == "vacuum" || component == "indexes" || component == "sequences" ||
         component == "data";
}

bool IsUnknown(const Match& match) {
  const auto unknown = match.values.find("unknown");
  return unknown != match.values.end() && unknown->second != 0;
}

bool IsPredicted(const Match& match) { return match.values.contains("predicted"); }

// What would help where there is no remedy, and how much time there is.
std::string Advice(const Match& match) {
  std::string text;
  for (const char* name : {"forecast", "advice"})
    if (const auto found = match.params.find(name); found != match.params.end()) text += "; " + found->second;
  return text;
}

// What was there before pg_heal acted on it was not caused by that action.
void ClearOwnAction(Match* match) {
  for (Evidence& evidence : match->evidence) {
    if (evidence.node != "healer_acted_recently") continue;
    evidence.truth = Truth::kAbsent;
    evidence.why = "the trouble was there before pg_heal acted on it";
  }
}

// Which nodes are known to be what: the wording of the reasons changes with
// every tick, this does not.
std::string EvidenceKey(const Match& match) {
  std::string key;
  for (const Evidence& evidence : match.evidence)
    key += evidence.node + (evidence.truth == Truth::kPresent ? "+" : evidence.truth == Truth::kAbsent ? "-" : "?");
  return key + "!";
}

std::string Percent(double p) { return std::to_string(static_cast<int>(p * 100 + 0.5)) + " %"; }

// What a change of a recommendation means to its reader: the rest is wording.
std::string MaterialKey(const Candidate& candidate, std::string_view state) {
  std::string key = candidate.remedy + '\n' + candidate.sql + '\n' + candidate.undo_sql + '\n' + candidate.risk +
                    '\n' + candidate.root_cause + '\n' + std::string(state);
  for (const Target& target : candidate.targets) key += '\n' + std::to_string(target.id.pid);
  return key;
}

bool Viable(const Candidate& candidate, const std::set<std::string>& rejected) {
  return candidate.refused_because.empty() && !rejected.contains(candidate.remedy);
}

}  // namespace

// ---- opening and looking ----

void Engine::UpdateCases() {
  std::set<std::string_view> matched;
  for (Match& match : matches_) {
    if (!matched.insert(match.fingerprint).second) continue;
    const auto found = by_fingerprint_.find(match.fingerprint);
    if (found == by_fingerprint_.end()) {
      Open(match);
    } else {
      Case& c = cases_.at(found->second);
      if (RowOf(c).attempts > 0) ClearOwnAction(&match);
      c.match = &match;
      c.known = !IsUnknown(match);
    }
  }
  for (auto it = quiet_.begin(); it != quiet_.end();)
    it = !matched.contains(it->first) || mono_ >= it->second ? quiet_.erase(it) : std::next(it);
  for (auto& [id, c] : cases_) Look(&c);
}

void Engine::Open(const Match& match) {
  if (IsUnknown(match) || quiet_.contains(match.fingerprint)) return;
  if (cases_.size() >= limits_.max_incidents) {
    if (!incident_limit_logged_) outbox_.Log(true, "too many open incidents: further ones are not recorded");
    incident_limit_logged_ = true;
    return;
  }
  incident_limit_logged_ = false;
  Incident row;
  row.component = match.component;
  row.failure_type = match.failure_type;
  row.category = match.category;
  row.severity = match.severity;
  row.subject = match.subject;
  row.database = match.database;
  row.fingerprint = match.fingerprint;
  row.opened_at = now_;
  if (match.since_us > 0) row.detected_after_ms = static_cast<double>(std::max<int64_t>(now_ - match.since_us, 0)) / 1000;
  const Incident& incident = book_.Add(std::move(row));

  Case& c = cases_[incident.id];
  c.incident_id = incident.id;
  c.match = &match;
  c.known = true;
  c.database_oid = match.database_oid;
  c.opened_mono = mono_;
  by_fingerprint_[match.fingerprint] = incident.id;
  c.transitions.push_back(
      book_.Append(Transition{0, incident.id, now_, "", "detected", "the definition of the failure holds", "{}"}));
  outbox_.Log(false, "incident " + std::to_string(incident.id) + ": " + incident.failure_type + ", " + incident.subject);
}

int64_t Engine::SampleOf(const Case& c) const {
  for (uint32_t i = 0; i < observation_->n_inspections; ++i)
    if (observation_->inspections[i].database_oid == c.database_oid) return observation_->inspections[i].inspected_at;
  return 0;
}

// Is this a look of its own? The same inspection seen twice is one look, and so
// are two steps without time between them.
bool Engine::NewLook(Case* c) {
  const bool first = c->looks == 0 && c->gone == 0;
  const bool inspected = c->database_oid != 0 && IsInspected(RowOf(*c).component);
  const int64_t sample = inspected ? SampleOf(*c) : 0;
  // Without a sample the database has gone: nobody will look at it again.
  const bool fresh = sample != 0 ? sample != c->look_sample : mono_ - c->look_mono >= kLookSpacingUs;
  if (!first && !fresh) return false;
  c->look_sample = sample;
  c->look_mono = mono_;
  return true;
}

void Engine::Look(Case* c) {
  if (c->match != nullptr) {
    if (!c->known) return;
    c->unseen = false;
    c->database_oid = c->match->database_oid;
    Incident& row = RowOf(*c);
    if (row.severity != c->match->severity) {
      row.severity = c->match->severity;
      book_.Changed(row);
    }
    // A trouble that comes back between two looks was never away.
    if (NewLook(c)) {
      ++c->looks;
      c->gone = 0;
    }
    return;
  }
  if (ComponentUnknown(*observation_, RowOf(*c).component)) return;
  if (c->unseen && mono_ - c->opened_mono < kUnseenGraceUs && RowOf(*c).component != "locks" &&
      RowOf(*c).component != "connections")
    return;
  if (!NewLook(c)) return;
  c->looks = 0;
  if (++c->gone >= kLooksGone) SymptomGone(c);
}

void Engine::SymptomGone(Case* c) {
  const IncidentState state = RowOf(*c).state;
  if (IsActing(state)) return;  // verification judges
  if (state == IncidentState::kEscalated)
    Settle(c);
  else
    Close(c, IncidentState::kClosedItself, "", "the symptom went by itself");
}

// ---- one move ----

// Returns whether the incident changed its state, so that the next state may
// be looked at in the same step.
bool Engine::Advance(Case* c) {
  const IncidentState before = RowOf(*c).state;
  switch (before) {
    case IncidentState::kDetected:
      if (c->match == nullptr || !c->known) return false;
      Diagnose(c);
      Move(c, IncidentState::kDiagnosed,
           c->diagnosis.abstained ? "no cause is certain enough: " + c->diagnosis.reason
                                  : "root cause " + c->diagnosis.best()->node + ", " + Percent(c->diagnosis.best()->posterior));
      break;
    case IncidentState::kDiagnosed:
    case IncidentState::kPlanned:
    case IncidentState::kAwaitingApproval:
      if (!Weigh(c)) {
        if (c->gone > 0) Want(kSecondLookUs);
        return false;
      }
      // What has not happened is shown, and neither treated nor handed over.
      if (IsPredicted(*c->match)) {
        if (std::exchange(c->weighed_key, "predicted") != "predicted") Explain(c);
        return false;
      }
      Consider(c);
      break;
    case IncidentState::kEscalated:
      Reweigh(c);
      break;
    case IncidentState::kExecuting:
    case IncidentState::kVerifying:
    case IncidentState::kRollingBack:
      AdvanceRun(c);
      break;
    default:
      return false;
  }
  return RowOf(*c).state != before;
}

// Diagnosis and plan from the facts of this step. False when there are none.
bool Engine::Weigh(Case* c) {
  if (c->match == nullptr || !c->known) return false;
  const bool changed = Diagnose(c);
  MakePlan(c);
  if (changed) Explain(c);
  return true;
}

bool Engine::Diagnose(Case* c) {
  const std::string key = EvidenceKey(*c->match);
  if (c->diagnosed && key == c->evidence_key) return false;
  c->diagnosis = diagnoser_.Diagnose(*c->match, settings(), limits_);
  c->evidence = c->match->evidence;
  c->values = c->match->values;
  c->evidence_key = key;
  c->diagnosed = true;
  Incident& incident = RowOf(*c);
  const CausePosterior* best = c->diagnosis.best();
  incident.root_cause = best != nullptr && !c->diagnosis.abstained ? best->node : "";
  incident.confidence = best != nullptr ? std::optional<double>(best->posterior) : std::nullopt;
  incident.severity = c->match->severity;
  book_.Changed(incident);
  return true;
}

PlanContext Engine::ContextFor(const Case& c) const {
  PlanContext context;
  context.server = observation_->server;
  context.min_confidence = settings().inference_min_confidence;
  for (uint32_t i = 0; i < observation_->n_sessions; ++i)
    context.sessions += observation_->sessions[i].kind == HC_BACKEND_CLIENT ? 1 : 0;
  const Incident& incident = *const_cast<Engine*>(this)->book_.FindIncident(c.incident_id);
  if (const auto found = history_.find(incident.component + "/" + incident.failure_type); found != history_.end()) {
    context.history = found->second;
    double best = 0;
    for (const auto& [remedy, record] : found->second) {
      const double rate = record.finished > 0 ? static_cast<double>(record.healed) / record.finished : 0;
      if (record.healed < 3 || rate <= best) continue;
      best = rate;
      context.proven = remedy;
    }
  }
  context.attempts = c.past;
  return context;
}

void Engine::MakePlan(Case* c) { c->candidates = Plan(*c->match, c->diagnosis, ContextFor(*c)); }

int32_t Engine::RunsUnderWay() const {
  return static_cast<int32_t>(
      std::count_if(cases_.begin(), cases_.end(), [](const auto& entry) { return entry.second.run.has_value(); }));
}

// Other attempts under way on the same relation; none for what is not about one.
int32_t Engine::RunsOnRelationOf(const Case& c) const {
  if (c.match == nullptr || c.match->relation_oid == 0) return 0;
  const auto same = [&c](const auto& entry) {
    const Case& other = entry.second;
    return &other != &c && other.run && other.run->candidate.relation_oid == c.match->relation_oid &&
           other.run->candidate.database_oid == c.match->database_oid;
  };
  return static_cast<int32_t>(std::count_if(cases_.begin(), cases_.end(), same));
}

GateContext Engine::GatesFor(const Case& c) const {
  GateContext context;
  context.now_us = now_;
  context.settings = &settings();
  context.server = observation_->server;
  context.policies = &policies_;
  context.ledger = &ledger_;
  context.looks = c.looks;
  if (c.match != nullptr) context.detector_demoted = grades_.Demoted(c.match->failure_type, "");
  context.running = RunsUnderWay() - (c.run ? 1 : 0);
  context.running_on_relation = RunsOnRelationOf(c);
  for (uint32_t i = 0; i < observation_->n_sessions; ++i)
    context.sessions += observation_->sessions[i].kind == HC_BACKEND_CLIENT ? 1 : 0;
  return context;
}

// ---- choosing ----

// The candidates in their order; the first the safety rules do not refuse
// decides. A preferred remedy that must wait is waited for, not passed over.
void Engine::Consider(Case* c) {
  const bool any = std::any_of(c->candidates.begin(), c->candidates.end(),
                               [c](const Candidate& x) { return Viable(x, c->rejected); });
  if (!any) return NothingToTry(c);
  c->unsure_since_mono = -1;
  if (RowOf(*c).state == IncidentState::kDiagnosed) {
    const Candidate& first = *std::find_if(c->candidates.begin(), c->candidates.end(),
                                           [c](const Candidate& x) { return Viable(x, c->rejected); });
    RowOf(*c).remedy = first.remedy;
    Move(c, IncidentState::kPlanned, "remedy " + first.remedy + ": " + first.reason);
  }
  if (mono_ < c->not_before_mono) return Want(c->not_before_mono - mono_);

  c->weighed.clear();
  const GateContext context = GatesFor(*c);
  GateVerdict::Decision decision = GateVerdict::kRefuse;
  const Candidate* chosen = nullptr;
  for (const Candidate& candidate : c->candidates) {
    if (!Viable(candidate, c->rejected)) continue;
    c->weighed.push_back({candidate.remedy, CheckGates(candidate, *c->match, context)});
    decision = c->weighed.back().verdict.decision;
    chosen = &candidate;
    if (decision != GateVerdict::kRefuse) break;
  }
  ShowWeighed(c);
  const std::string reason = c->weighed.back().verdict.reason;
  const bool waiting = RowOf(*c).state == IncidentState::kAwaitingApproval;
  switch (decision) {
    case GateVerdict::kAct:
      StartAttempt(c, Candidate(*chosen), ModeName(settings().mode), false, 0);
      return;
    case GateVerdict::kAsk:
      if (!waiting) Move(c, IncidentState::kAwaitingApproval, "approval is needed: " + reason);
      Recommend(c, "waiting");
      return;
    case GateVerdict::kEscalate:
      Recommend(c, "open");
      Escalate(c, chosen->remedy + ": " + reason);
      return;
    case GateVerdict::kWait:
      if (c->looks < std::max(2, settings().confirm_samples) && !c->match->certain) {
        // Inspectors are asked for the second look, the rest comes by itself.
        if (!IsInspected(RowOf(*c).component)) {
          Want(kSecondLookUs);
        } else if (!c->inspect_asked && c->database_oid != 0) {
          Command command;
          command.kind = HC_CMD_INSPECT;
          command.incident_id = c->incident_id;
          command.database_oid = c->database_oid;
          Issue(command, {});
          c->inspect_asked = true;
        }
      }
      [[fallthrough]];
    case GateVerdict::kRefuse:
      if (waiting) Move(c, IncidentState::kPlanned, "approval would not be enough now: " + reason);
      Recommend(c, "open");
      return;
  }
}

// Abstained, no remedy for the cause, or all of them refused by the plan.
void Engine::NothingToTry(Case* c) {
  if (c->unsure_since_mono < 0) c->unsure_since_mono = mono_;
  std::string reason;
  bool may_pass = false;
  if (c->diagnosis.abstained) {
    reason = "no cause is certain enough: " + c->diagnosis.reason;
  } else {
    reason = "there is no automatic remedy for " + c->diagnosis.best()->node;
    for (const Candidate& candidate : c->candidates) {
      const bool rejected = c->rejected.contains(candidate.remedy);
      reason = candidate.remedy + (rejected ? " was rejected" : " is not tried: " + candidate.refused_because);
      may_pass = !rejected && !candidate.refused_for_good;
      break;
    }
  }
  reason += Advice(*c->match);
  if (RowOf(*c).state == IncidentState::kDiagnosed && !c->candidates.empty())
    Move(c, IncidentState::kPlanned, reason);
  // Two looks for this decision too, and time for what may pass.
  const bool seen = c->match->certain || c->looks >= std::max(2, settings().confirm_samples);
  const int64_t patience = may_pass ? kUnsureUs : std::max(kUncertainUs, int64_t{3'000} * settings().monitoring_interval_ms);
  if (seen && mono_ - c->unsure_since_mono >= patience) {
    Escalate(c, reason);
    c->nothing_to_try = true;
  }
}

// What nothing could be tried against may become treatable as evidence comes in.
void Engine::Reweigh(Case* c) {
  if (!c->nothing_to_try || c->match == nullptr || !c->known) return;
  if (EvidenceKey(*c->match) == c->evidence_key || mono_ - c->escalated_mono < kReweighUs) return;
  c->escalated_mono = mono_;
  if (!Weigh(c) || c->diagnosis.abstained) return;
  const bool any = std::any_of(c->candidates.begin(), c->candidates.end(),
                               [c](const Candidate& x) { return Viable(x, c->rejected); });
  if (!any) return;
  c->nothing_to_try = false;
  RowOf(*c).outcome.clear();
  Move(c, IncidentState::kDiagnosed, "the evidence changed: root cause " + c->diagnosis.best()->node);
}

// The explanation follows when another rule decides than before.
void Engine::ShowWeighed(Case* c) {
  std::string key;
  for (const Case::Weighed& weighed : c->weighed) {
    key += weighed.remedy + ":" + DecisionName(weighed.verdict.decision);
    for (const GateResult& gate : weighed.verdict.gates)
      if (!gate.passed) key += "," + gate.name;
    key += ";";
  }
  if (key == c->weighed_key) return;
  c->weighed_key = key;
  Explain(c);
}

// ---- recommendations ----

// One row per remedy that may be tried; refreshed in place while it lasts. Whom
// a signal would hit is what its reader decides about: others are another row.
void Engine::Recommend(Case* c, std::string_view state) {
  const Incident& incident = RowOf(*c);
  int rank = 0;
  std::set<std::string> shown;
  for (const Candidate& candidate : c->candidates) {
    if (!Viable(candidate, c->rejected)) continue;
    ++rank;
    shown.insert(candidate.remedy);
    const std::string key = MaterialKey(candidate, state) + "\n" + std::to_string(rank);
    if (const auto found = c->recommended.find(candidate.remedy);
        found != c->recommended.end() && found->second == key)
      continue;
    c->recommended[candidate.remedy] = key;
    Recommendation* row = nullptr;
    for (auto& [id, other] : book_.recommendations())
      if (other.incident_id == c->incident_id && other.remedy == candidate.remedy && other.undecided()) row = &other;
    if (row != nullptr && candidate.kind != HC_CMD_SQL && row->sql != candidate.sql) {
      row->state = "withdrawn";
      row->decided_at = now_;
      book_.Changed(*row);
      row = nullptr;
    }
    if (row == nullptr) row = &book_.Add(Recommendation{});
    row->incident_id = c->incident_id;
    row->rank = rank;
    row->failure_type = incident.failure_type;
    row->root_cause = candidate.root_cause;
    row->confidence = candidate.confidence;
    row->remedy = candidate.remedy;
    row->action = candidate.action;
    row->risk_class = candidate.risk;
    row->reversible = candidate.reversible;
    row->sql = candidate.sql;
    row->undo_sql = candidate.undo_sql;
    row->expected_success = candidate.expected_success;
    row->reason = candidate.reason;
    row->state = state;
    book_.Changed(*row);
  }
  for (auto& [id, row] : book_.recommendations()) {
    if (row.incident_id != c->incident_id || !row.undecided() || shown.contains(row.remedy)) continue;
    row.state = "withdrawn";
    row.decided_at = now_;
    c->recommended.erase(row.remedy);
    book_.Changed(row);
  }
}

void Engine::Withdraw(Case* c) {
  for (auto& [id, row] : book_.recommendations()) {
    if (row.incident_id != c->incident_id || !row.undecided()) continue;
    row.state = "withdrawn";
    row.decided_at = now_;
    book_.Changed(row);
  }
  c->recommended.clear();
}

// ---- moving and closing ----

void Engine::Move(Case* c, IncidentState to, std::string reason, const Json& evidence) {
  Incident& incident = RowOf(*c);
  if (!TransitionAllowed(incident.state, to))
    throw std::logic_error("incident cannot go from " + std::string(StateName(incident.state)) + " to " +
                           std::string(StateName(to)));
  Transition row{0, incident.id, now_, std::string(StateName(incident.state)), std::string(StateName(to)),
                 std::move(reason), JsonText(evidence)};
  row = book_.Append(std::move(row));
  if (c->transitions.size() < kMaxTransitions) c->transitions.push_back(row);
  incident.state = to;
  book_.Changed(incident);
}

// A person takes over. The incident stays until the symptom has gone; what was
// recommended stays too, heal_execute may still use it.
void Engine::Escalate(Case* c, std::string reason) {
  Incident& incident = RowOf(*c);
  outbox_.Log(true, "incident " + std::to_string(incident.id) + " (" + incident.failure_type + ", " + incident.subject +
                        ") needs a person: " + reason);
  Move(c, IncidentState::kEscalated, std::move(reason));
  incident.outcome = "escalated";
  c->escalated_mono = mono_;
  c->unsure_since_mono = -1;
  for (auto& [id, row] : book_.recommendations()) {
    if (row.incident_id != c->incident_id || row.state != "waiting") continue;
    row.state = "open";
    c->recommended.erase(row.remedy);
    book_.Changed(row);
  }
  Explain(c);
}

// An escalated incident frees its fingerprint; its state stays what it was.
void Engine::Settle(Case* c) {
  Incident& incident = RowOf(*c);
  incident.resolved_at = now_;
  incident.recovery_ms = static_cast<double>(std::max<int64_t>(now_ - incident.opened_at, 0)) / 1000;
  book_.Changed(incident);
  Withdraw(c);
}

void Engine::Close(Case* c, IncidentState state, std::string outcome, std::string reason) {
  Withdraw(c);
  Move(c, state, std::move(reason));
  Incident& incident = RowOf(*c);
  if (!outcome.empty()) incident.outcome = std::move(outcome);
  incident.resolved_at = now_;
  incident.recovery_ms = static_cast<double>(std::max<int64_t>(now_ - incident.opened_at, 0)) / 1000;
  if (state == IncidentState::kResolved) {
    status_.NoteRecovery(incident.component, now_);
    quiet_[incident.fingerprint] = mono_ + kQuietUs;
  }
  outbox_.Log(false, "incident " + std::to_string(incident.id) + " " + std::string(StateName(state)));
  Explain(c);
}

}  // namespace heal
