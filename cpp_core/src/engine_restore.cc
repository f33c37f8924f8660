// Coming back after a restart or a crash. No command is ever issued for a
// second time: an attempt that may have acted is verified, one that cannot have
// acted (its snapshot was never written) is closed.

#include <stdexcept>

#include "engine.h"

namespace heal {
namespace {

constexpr const char* kLostText = "the worker ended while it ran; the outcome is not known";

}  // namespace

void Engine::Restore(std::span<const hc_record> records, bool foreign) {
  if (stepped_) throw std::logic_error("rows are restored before the first step");
  for (const hc_record& record : records)
    if (record.json == nullptr) throw std::invalid_argument("a record has no row");
  book_.Load(records);
  // How columns were before says as much about a copy of them.
  for (const hc_record& record : records) matchers_.Restore(record);
  restored_ = true;
  foreign_ = foreign_ || foreign;
  // Deeds on another server say nothing about this one.
  if (!foreign) LoadHistory();
}

void Engine::LoadHistory() {
  for (auto& [id, attempt] : book_.attempts()) {
    if (attempt.state == AttemptState::kFinished) Remember(attempt);
    if (attempt.snapshot_id == 0) continue;  // nothing was done
    // Its incident may be closed and forgotten: the row names the database itself.
    ledger_.NoteAttemptRow(RowText(attempt));
  }
  for (const auto& [id, row] : book_.snapshots())
    if (row.state == "rolled_back") NoteRolledBack(id);
  for (const auto& [id, incident] : book_.incidents())
    if (incident.state == IncidentState::kResolved) status_.NoteRecovery(incident.component, incident.resolved_at);
}

// First step: everything that was open is taken up again.
void Engine::Resume() {
  if (!restored_) return;
  if (foreign_) ForgetForeign();
  ResumePredictions();
  for (auto& [id, attempt] : book_.attempts()) {
    const Incident* incident = book_.FindIncident(attempt.incident_id);
    if (attempt.state == AttemptState::kFinished || (incident != nullptr && incident->open())) continue;
    // Its incident was closed in the same moment: nobody is left to judge it.
    attempt.state = AttemptState::kFinished;
    attempt.outcome = "unverified";
    attempt.detail = kLostText;
    book_.Changed(attempt);
  }
  for (auto& [id, incident] : book_.incidents()) {
    if (!incident.open()) continue;
    if (IsFinal(incident.state) || by_fingerprint_.contains(incident.fingerprint)) {
      // Written by an older hand, or a second one for the same trouble.
      incident.resolved_at = now_;
      if (!IsFinal(incident.state)) incident.state = IncidentState::kCancelled;
      book_.Changed(incident);
      continue;
    }
    Case& c = cases_[id];
    c.incident_id = id;
    c.unseen = true;
    c.opened_mono = c.escalated_mono = mono_;
    by_fingerprint_[incident.fingerprint] = id;
    ResumeCase(&c);
  }
  // A roll-back by hand that was cut short is begun anew: its steps bring items
  // to a stated image and may be repeated.
  for (const auto& [id, row] : book_.snapshots()) {
    if (row.rollback_status != "in_progress" || rollbacks_.contains(id)) continue;
    RollbackJob job;
    job.snapshot_id = id;
    job.actor = "pg_heal";
    StartRollback(std::move(job), false);
  }
}

void Engine::ForgetForeign() {
  const std::string reason = "the rows came with a copy of another server";
  for (auto& [id, attempt] : book_.attempts()) {
    if (attempt.state == AttemptState::kFinished) continue;
    attempt.state = AttemptState::kFinished;
    attempt.outcome = "unverified";
    attempt.detail = reason;
    book_.Changed(attempt);
  }
  for (auto& [id, row] : book_.recommendations()) {
    if (!row.undecided()) continue;
    row.state = "withdrawn";
    row.decided_at = now_;
    book_.Changed(row);
  }
  for (auto& [id, row] : book_.snapshots()) {
    if (row.state != "active" && row.rollback_status != "in_progress") continue;
    row.state = "superseded";
    if (row.rollback_status == "in_progress") row.rollback_status = "failed";
    book_.Changed(row);
  }
  for (auto& [id, incident] : book_.incidents()) {
    if (!incident.open()) continue;
    book_.Append(Transition{0, id, now_, std::string(StateName(incident.state)), "cancelled", reason, "{}"});
    incident.state = IncidentState::kCancelled;
    incident.resolved_at = now_;
    book_.Changed(incident);
  }
}

void Engine::ResumeCase(Case* c) {
  const Json explanation = ParseJson(RowOf(*c).explanation, "explanation");
  if (const Json* baseline = explanation.find("baseline")) c->baseline = *baseline;
  Attempt* open_attempt = nullptr;
  for (auto& [id, attempt] : book_.attempts()) {
    if (attempt.incident_id != c->incident_id) continue;
    if (attempt.state == AttemptState::kFinished)
      c->past.push_back({attempt.remedy, attempt.outcome});
    else
      open_attempt = &attempt;
  }
  for (const auto& [id, row] : book_.recommendations())
    if (row.incident_id == c->incident_id && row.state == "rejected") c->rejected.insert(row.remedy);
  if (open_attempt != nullptr) {
    ResumeAttempt(c, open_attempt);
  } else if (IsActing(RowOf(*c).state)) {
    Move(c, IncidentState::kPlanned, "the worker was restarted; no attempt was under way");
  }
}

void Engine::ResumeAttempt(Case* c, Attempt* attempt) {
  c->run.emplace();
  Run& run = *c->run;
  run.attempt_id = attempt->id;
  run.restored = true;
  run.candidate.remedy = attempt->remedy;
  run.phase_since_mono = mono_;
  const IncidentState state = RowOf(*c).state;
  // Rows of one step may have been cut short between the attempt and its incident.
  if (!IsActing(state)) Move(c, IncidentState::kExecuting, "the worker was restarted during an attempt");

  if (attempt->snapshot_id == 0) {
    // The before-image was not written, so the action cannot have begun.
    FinishAttempt(c, "failed", false, "the worker ended before the action began; nothing was done");
    TryAgain(c, "the worker was restarted before the action began");
    return;
  }
  run.phase = Phase::kActing;
  run.commands = 1;
  Outcome lost;
  lost.status = HC_OUT_LOST;
  lost.message = kLostText;
  run.outcomes.push_back(std::move(lost));
  try {
    run.baseline = ParseBaseline(JsonText(c->baseline));
  } catch (const std::exception&) {
    FinishAttempt(c, "unverified", false, std::string(kLostText) + " and what it is judged by is lost");
    Escalate(c, "an attempt was cut short and cannot be judged any more");
    return;
  }
  if (attempt->state == AttemptState::kRollingBack) {
    if (RowOf(*c).state != IncidentState::kRollingBack) {
      if (RowOf(*c).state == IncidentState::kExecuting) Move(c, IncidentState::kVerifying, "the worker was restarted");
      Move(c, IncidentState::kRollingBack, "the worker was restarted during the roll-back");
    }
    run.failure = attempt->detail;
    BeginUndo(c);
    return;
  }
  if (RowOf(*c).state == IncidentState::kRollingBack) {
    BeginUndo(c);
    return;
  }
  attempt->state = AttemptState::kVerifying;
  attempt->detail = kLostText;
  book_.Changed(*attempt);
  if (RowOf(*c).state == IncidentState::kExecuting)
    Move(c, IncidentState::kVerifying, "the worker was restarted; the outcome is judged on the target");
}

}  // namespace heal
