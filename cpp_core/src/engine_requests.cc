// Requests from SQL: each is answered once, at once or when its work is done.

#include <algorithm>

#include "engine.h"
#include "plan/remedies.h"

namespace heal {
namespace {

constexpr size_t kMaxSnapshotJobs = 4;
constexpr const char* kSnapshotComponents[] = {"", "settings", "storage", "indexes", "roles"};

std::string Id(int64_t id) { return std::to_string(id); }

}  // namespace

void Engine::HandleRequests() {
  for (uint32_t i = 0; i < observation_->n_requests; ++i) {
    const hc_request& request = observation_->requests[i];
    switch (request.kind) {
      case HC_REQ_APPROVE:
        HandleApprove(request);
        break;
      case HC_REQ_REJECT:
        HandleReject(request);
        break;
      case HC_REQ_EXECUTE:
        HandleExecute(request);
        break;
      case HC_REQ_SNAPSHOT:
        HandleSnapshot(request);
        break;
      case HC_REQ_ROLLBACK:
        HandleRollback(request);
        break;
      case HC_REQ_PAUSE:
        HandlePause(request);
        break;
      case HC_REQ_RESUME:
        HandleResume(request);
        break;
      case HC_REQ_RESET_BASELINE:
        HandleResetBaseline(request);
        break;
    }
  }
}

// The open incident, with its symptom in this very step and nothing under way;
// nullptr after a refusal was answered.
Engine::Case* Engine::CaseForAction(uint64_t id_request, int64_t incident_id) {
  const auto found = cases_.find(incident_id);
  if (found == cases_.end() || !RowOf(found->second).open()) {
    const bool closed = book_.WasIncident(incident_id);
    Answer(Refuse(id_request, closed ? Refusal::kIncidentClosed : Refusal::kUnknownIncident, Id(incident_id)));
    return nullptr;
  }
  Case* c = &found->second;
  if (c->run) {
    Answer(Refuse(id_request, Refusal::kAttemptUnderWay, Id(incident_id)));
    return nullptr;
  }
  if (c->match == nullptr || !c->known) {
    Answer(Refuse(id_request, Refusal::kSymptomGone, Id(incident_id)));
    return nullptr;
  }
  return c;
}

void Engine::AuditConsent(const hc_request& request, const Case& c, const std::string& remedy,
                          const std::string& outcome) {
  const bool approves = request.kind == HC_REQ_APPROVE;
  Audit(request.role, approves ? "approve" : "execute", RowOf(c).subject, outcome,
        {{approves ? "recommendation_id" : "incident_id", request.id}, {"remedy", remedy}});
}

// Consent was given: the rules about acting alone are passed, all others hold.
void Engine::RunApproved(Case* c, const Candidate& candidate, const hc_request& request, const std::string& mode,
                         hc_mode at_least) {
  hc_settings consented = settings();
  consented.mode = std::max(consented.mode, at_least);
  GateContext gates = GatesFor(*c);
  gates.settings = &consented;
  gates.approved = true;
  const GateVerdict verdict = CheckGates(candidate, *c->match, gates);
  c->weighed.clear();
  c->weighed.push_back({candidate.remedy, verdict});
  if (verdict.decision != GateVerdict::kAct) {
    ShowWeighed(c);
    const bool observing = std::any_of(verdict.gates.begin(), verdict.gates.end(), [](const GateResult& gate) {
      return gate.name == "observe" && !gate.passed;
    });
    AuditConsent(request, *c, candidate.remedy, "refused");
    Answer(Refuse(request.id_request, observing ? Refusal::kObserving : Refusal::kGateClosed, candidate.remedy,
                  verdict.reason + "."));
    return;
  }
  AuditConsent(request, *c, candidate.remedy, "done");
  // An incident that was not planned yet, or was escalated, is taken over.
  if (RowOf(*c).state == IncidentState::kDetected) Move(c, IncidentState::kDiagnosed, "taken over by " + mode);
  if (RowOf(*c).state == IncidentState::kDiagnosed) Move(c, IncidentState::kPlanned, "taken over by " + mode);
  for (auto& [id, row] : book_.recommendations()) {
    if (row.incident_id != c->incident_id || row.remedy != candidate.remedy || !row.undecided()) continue;
    row.state = "approved";
    row.decided_by = request.role;
    row.decided_at = now_;
    book_.Changed(row);
  }
  StartAttempt(c, candidate, mode, true, request.id_request);
}

void Engine::HandleApprove(const hc_request& request) {
  const Recommendation* row = book_.FindRecommendation(request.id);
  if (row == nullptr || !row->undecided()) {
    const bool known = row != nullptr || book_.WasRecommendation(request.id);
    return Answer(Refuse(request.id_request, known ? Refusal::kNotWaiting : Refusal::kUnknownRecommendation, Id(request.id)));
  }
  if (paused_) return Answer(Refuse(request.id_request, Refusal::kPaused, pause_reason_));
  const std::string remedy = row->remedy;
  Case* c = CaseForAction(request.id_request, row->incident_id);
  if (c == nullptr) return;
  if (!c->diagnosed) Diagnose(c);
  MakePlan(c);
  const auto candidate = std::find_if(c->candidates.begin(), c->candidates.end(),
                                      [&remedy](const Candidate& x) { return x.remedy == remedy; });
  // Consent to signalling one session is none to signalling another.
  if (candidate == c->candidates.end() || (candidate->kind != HC_CMD_SQL && candidate->sql != row->sql))
    return Answer(Refuse(request.id_request, Refusal::kGateClosed, remedy, "The plan has changed since it was recommended."));
  RunApproved(c, Candidate(*candidate), request, "approve", HC_MODE_OBSERVE);
}

void Engine::HandleReject(const hc_request& request) {
  Recommendation* row = book_.FindRecommendation(request.id);
  if (row == nullptr || !row->undecided()) {
    const bool known = row != nullptr || book_.WasRecommendation(request.id);
    return Answer(Refuse(request.id_request, known ? Refusal::kNotWaiting : Refusal::kUnknownRecommendation, Id(request.id)));
  }
  row->state = "rejected";
  row->decided_by = request.role;
  row->decided_at = now_;
  book_.Changed(*row);
  Json result = {{"recommendation_id", row->id}, {"incident_id", row->incident_id}, {"state", "rejected"}};
  if (const auto found = cases_.find(row->incident_id); found != cases_.end()) {
    Case& c = found->second;
    c.rejected.insert(row->remedy);
    c.recommended.erase(row->remedy);
    if (RowOf(c).state == IncidentState::kAwaitingApproval)
      Move(&c, IncidentState::kPlanned, row->remedy + " was rejected by " + request.role +
                                            (request.text[0] == '\0' ? "" : std::string(": ") + request.text));
    Explain(&c);
    Audit(request.role, "reject", RowOf(c).subject, "done",
          {{"recommendation_id", row->id}, {"remedy", row->remedy}, {"reason", request.text}});
  }
  Answer(Grant(request.id_request, "recommendation rejected", JsonText(result)));
}

void Engine::HandleExecute(const hc_request& request) {
  if (FindRemedy(request.text) == nullptr)
    return Answer(Refuse(request.id_request, Refusal::kUnknownRemedy, request.text));
  if (paused_) return Answer(Refuse(request.id_request, Refusal::kPaused, pause_reason_));
  Case* c = CaseForAction(request.id_request, request.id);
  if (c == nullptr) return;
  if (!c->diagnosed) Diagnose(c);
  const std::optional<Candidate> candidate = PlanNamed(*c->match, c->diagnosis, ContextFor(*c), request.text);
  if (!candidate) return Answer(Refuse(request.id_request, Refusal::kRemedyDoesNotFit, request.text));
  // Calling it is the consent, also where pg_heal by itself only observes.
  RunApproved(c, *candidate, request, "manual", HC_MODE_APPROVE);
}

void Engine::AnswerStarted(Case* c) {
  Run& run = *c->run;
  if (run.id_request == 0) return;
  const Json result = {{"incident_id", c->incident_id},
                       {"attempt_id", run.attempt_id},
                       {"remedy", run.candidate.remedy},
                       {"state", StateName(RowOf(*c).state)}};
  Answer(Grant(run.id_request, "remedy started", JsonText(result)));
  run.id_request = 0;
}

void Engine::AnswerFailed(Case* c, const std::string& why) {
  Run& run = *c->run;
  if (run.id_request == 0) return;
  Answer(Refuse(run.id_request, Refusal::kActionFailed, run.candidate.remedy, why + "."));
  run.id_request = 0;
}

// Of a snapshot that is not there, or not active any more. Rolled back and
// expired ones leave memory; which of the two is asked of the past.
Refusal Engine::WhyNotActive(int64_t snapshot_id) const {
  const auto row = book_.snapshots().find(snapshot_id);
  if (row == book_.snapshots().end()) {
    if (!book_.WasSnapshot(snapshot_id)) return Refusal::kUnknownSnapshot;
    return rolled_back_.contains(snapshot_id) ? Refusal::kSnapshotRolledBack : Refusal::kSnapshotExpired;
  }
  if (row->second.state == "superseded") return Refusal::kSnapshotSuperseded;
  return row->second.state == "rolled_back" ? Refusal::kSnapshotRolledBack : Refusal::kSnapshotExpired;
}

void Engine::HandleSnapshot(const hc_request& request) {
  const std::string component = request.component;
  if (std::find(std::begin(kSnapshotComponents), std::end(kSnapshotComponents), component) ==
      std::end(kSnapshotComponents))
    return Answer(Refuse(request.id_request, Refusal::kUnknownComponent, component));
  if (request.id != 0) {
    const SnapshotRow* parent = book_.FindSnapshot(request.id);
    if (parent == nullptr || parent->state != "active" || parent->expires_at <= now_) {
      return Answer(Refuse(request.id_request, WhyNotActive(request.id), Id(request.id)));
    }
    if (SnapshotInUse(request.id)) return Answer(Refuse(request.id_request, Refusal::kSnapshotBusy, Id(request.id)));
    if (parent->depth >= settings().rollback_max_depth)
      return Answer(Refuse(request.id_request, Refusal::kTooDeep, Id(request.id)));
  }
  if (snapshots_.size() >= kMaxSnapshotJobs)
    return Answer(Refuse(request.id_request, Refusal::kBusy, std::to_string(snapshots_.size()) + " snapshots"));
  SnapshotJob job;
  job.id_request = request.id_request;
  job.label = request.text;
  job.component = component;
  job.role = request.role;
  job.parent_id = request.id;
  job.since_mono = mono_;
  snapshots_.emplace(next_job_++, std::move(job));
}

void Engine::HandleRollback(const hc_request& request) {
  const SnapshotRow* row = book_.FindSnapshot(request.id);
  if (row == nullptr || row->state != "active")
    return Answer(Refuse(request.id_request, WhyNotActive(request.id), Id(request.id)));
  if (paused_) return Answer(Refuse(request.id_request, Refusal::kPaused, pause_reason_));
  if (settings().rollback_enabled == 0) return Answer(Refuse(request.id_request, Refusal::kRollbackDisabled, ""));
  if (SnapshotInUse(request.id)) return Answer(Refuse(request.id_request, Refusal::kSnapshotBusy, Id(request.id)));
  if (row->expires_at <= now_) return Answer(Refuse(request.id_request, Refusal::kSnapshotExpired, Id(request.id)));
  for (int64_t id : NestedSnapshots(Nodes(), request.id))
    if (SnapshotInUse(id)) return Answer(Refuse(request.id_request, Refusal::kSnapshotBusy, Id(id)));
  RollbackJob job;
  job.snapshot_id = request.id;
  job.id_request = request.id_request;
  job.actor = request.role;
  StartRollback(std::move(job), request.flag != 0);
}

void Engine::SetPaused(bool paused, std::string reason) {
  paused_ = paused;
  settings_.paused = paused ? 1 : 0;
  pause_reason_ = std::move(reason);
}

void Engine::HandlePause(const hc_request& request) {
  SetPaused(true, request.text);
  const auto capturing = std::count_if(cases_.begin(), cases_.end(), [](const auto& entry) {
    return entry.second.run && entry.second.run->phase == Phase::kCapturing;
  });
  const Json result = {{"paused", true},
                       {"stopped_attempts", capturing},
                       {"stopped_rollbacks", rollbacks_.size()},
                       {"reason", request.text}};
  Audit(request.role, "pause", "pg_heal", "done", result);
  outbox_.Log(false, std::string("paused by ") + request.role + ": " + request.text);
  Answer(Grant(request.id_request, "pg_heal is paused", JsonText(result)));
}

void Engine::HandleResume(const hc_request& request) {
  const Json result = {{"paused", false}, {"was_paused", paused_}};
  SetPaused(false, "");
  Audit(request.role, "resume", "pg_heal", "done", result);
  outbox_.Log(false, std::string("resumed by ") + request.role);
  Answer(Grant(request.id_request, "pg_heal acts again", JsonText(result)));
}

void Engine::HandleResetBaseline(const hc_request& request) {
  const std::string metric = request.text;
  const size_t n = bank_.Reset(metric);
  const std::string subject = metric.empty() ? "all metrics" : metric;
  if (n == 0) {
    Answer(Refuse(request.id_request, Refusal::kUnknownMetric, metric));
    return;
  }
  const Json result = {{"metric", metric.empty() ? Json(nullptr) : Json(metric)}, {"reset", n}};
  Audit(request.role, "reset_baseline", subject, "done", result);
  Answer(Grant(request.id_request, "the baseline is learnt anew", JsonText(result)));
}

}  // namespace heal
