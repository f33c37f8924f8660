// Recovery attempts: before-image, action, verification on the target, undo.
//
//   capturing -> acting (executing, verifying) -+-> finished
//                                               +-> rolling back -> finished
//
// What leaves in one step with a command: its incident, transition, attempt,
// snapshot (with items where there is something to restore) and audit rows.

#include <algorithm>

#include "engine.h"

namespace heal {
namespace {

// Sessions need a moment to leave before the next round is chosen.
constexpr int64_t kRoundSpacingUs = 200'000;
constexpr int64_t kVerifyLookUs = 50'000;
// A capture only reads; longer than this its worker is given up.
constexpr int64_t kCaptureTimeoutUs = 60'000'000;

const char* ActionName(hc_command_kind kind) {
  switch (kind) {
    case HC_CMD_CANCEL:
      return "cancel";
    case HC_CMD_TERMINATE:
      return "terminate";
    default:
      return "execute_sql";
  }
}

Json TargetsJson(const std::vector<Target>& targets) {
  Json list = Json::array();
  for (const Target& target : targets)
    list.push_back({{"pid", target.id.pid},
                    {"backend_start", TimestampJson(target.id.backend_start)},
                    {"role", target.role},
                    {"database", target.database},
                    {"application", target.application},
                    {"client_addr", target.client_addr}});
  return list;
}

// What went wrong, in one line.
template <typename Outcome>
std::string OutcomeText(const Outcome& outcome) {
  std::string text = outcome.message;
  if (!outcome.sqlstate.empty()) text += " (SQLSTATE " + outcome.sqlstate + ")";
  if (text.empty()) text = outcome.status == HC_OUT_LOST ? "the process that ran it ended" : "it failed";
  return text;
}

}  // namespace

// ---- beginning ----

void Engine::StartAttempt(Case* c, const Candidate& candidate, const std::string& mode, bool approved,
                          uint64_t id_request) {
  Incident& incident = RowOf(*c);
  Attempt attempt;
  attempt.incident_id = incident.id;
  attempt.component = incident.component;
  attempt.failure_type = incident.failure_type;
  attempt.subject = incident.subject;
  attempt.database = incident.database;
  attempt.remedy = candidate.remedy;
  attempt.action = candidate.action;
  attempt.mode = mode;
  attempt.started_at = now_;
  attempt.attempt_no = ++incident.attempts;
  attempt.sql = candidate.sql;
  attempt.undo_sql = candidate.undo_sql;
  incident.remedy = candidate.remedy;
  if (!candidate.root_cause.empty()) incident.root_cause = candidate.root_cause;
  const Attempt& row = book_.Add(std::move(attempt));

  c->run.emplace();
  Run& run = *c->run;
  run.attempt_id = row.id;
  run.candidate = candidate;
  run.approved = approved;
  run.id_request = id_request;
  run.phase_since_mono = mono_;
  Move(c, IncidentState::kExecuting, candidate.action, {{"remedy", candidate.remedy}, {"attempt_id", row.id}});

  if (candidate.capture_items.empty()) {
    Act(c, {});
    return;
  }
  run.phase = Phase::kCapturing;
  Command command;
  command.kind = HC_CMD_CAPTURE;
  command.incident_id = c->incident_id;
  command.attempt_id = run.attempt_id;
  command.database_oid = candidate.database_oid;
  command.items = candidate.capture_items;
  command.lock_timeout_ms = candidate.lock_timeout_ms;
  command.statement_timeout_ms = static_cast<int32_t>(kCaptureTimeoutUs / 1000);
  run.waiting.insert(Issue(command, {Waiting::kAttempt, c->incident_id, 0}));
  Explain(c);
}

// The before-image is known: write it down and act, in this one step.
void Engine::Act(Case* c, std::vector<SnapshotItem> items) {
  Run& run = *c->run;
  const Incident& incident = RowOf(*c);
  SnapshotRow snapshot;
  snapshot.parent_id = AutomaticParent();
  snapshot.incident_id = incident.id;
  snapshot.label = "before " + run.candidate.remedy + " of incident " + std::to_string(incident.id);
  snapshot.component = incident.component;
  snapshot.taken_by = "pg_heal";
  Attempt& attempt = *book_.FindAttempt(run.attempt_id);
  attempt.snapshot_id = TakeSnapshot(std::move(snapshot), std::move(items), run.candidate.expected).id;
  book_.Changed(attempt);

  run.phase = Phase::kActing;
  run.phase_since_mono = mono_;
  run.baseline = MakeBaseline(*c->match, run.candidate, RetryPolicyFor(settings()), *observation_);
  matchers_.NoteOwnAction(incident.fingerprint, now_);
  IssueRound(c);
  for (auto& [id, row] : book_.recommendations()) {
    if (row.incident_id != c->incident_id || row.remedy != run.candidate.remedy) continue;
    if (!row.undecided() && row.state != "approved") continue;
    if (row.decided_by.empty()) row.decided_by = "pg_heal";
    if (row.decided_at == 0) row.decided_at = now_;
    row.state = "executed";
    c->recommended.erase(row.remedy);
    book_.Changed(row);
  }
  AnswerStarted(c);
}

// Signals, one per session, or one batch of statements.
void Engine::IssueRound(Case* c) {
  Run& run = *c->run;
  const Candidate& candidate = run.candidate;
  const Incident& incident = RowOf(*c);
  ++run.rounds;
  run.round_mono = mono_;

  LedgerEntry entry;
  entry.at_us = now_;
  entry.attempt_id = run.attempt_id;
  entry.remedy = candidate.remedy;
  entry.object = candidate.object;
  entry.actions = std::max<int32_t>(1, static_cast<int32_t>(candidate.targets.size()));

  Command command;
  command.kind = candidate.kind;
  command.incident_id = incident.id;
  command.attempt_id = run.attempt_id;
  command.relation_oid = candidate.relation_oid;
  command.database_oid = candidate.database_oid;
  const CommandOwner owner{Waiting::kAttempt, incident.id, 0};
  if (candidate.kind == HC_CMD_SQL) {
    command.as_owner = candidate.as_owner;
    command.guard_sql = candidate.guard_sql;
    command.sql = candidate.sql;
    command.probe_sql = candidate.probe_sql;
    command.lock_timeout_ms = candidate.lock_timeout_ms;
    command.statement_timeout_ms = candidate.statement_timeout_ms;
    run.waiting.insert(Issue(command, owner));
    ++run.commands;
  } else {
    for (const Target& target : candidate.targets) {
      command.target = target.id;
      command.guard = target.guard;
      if (target.relation_oid != 0) command.relation_oid = target.relation_oid;
      run.waiting.insert(Issue(command, owner));
      ++run.commands;
      entry.roles.push_back(target.role);
    }
  }
  ledger_.Note(std::move(entry));
  c->baseline = ParseJson(BaselineJson(run.baseline), "baseline");
  Audit("pg_heal", ActionName(candidate.kind), incident.subject, "started",
        {{"incident_id", incident.id},
         {"attempt_id", run.attempt_id},
         {"remedy", candidate.remedy},
         {"action", candidate.action},
         {"round", run.rounds},
         {"sql", candidate.sql},
         {"targets", TargetsJson(candidate.targets)}});
  outbox_.Log(false, "incident " + std::to_string(incident.id) + ": " + candidate.action);
  Explain(c);
}

// ---- under way ----

void Engine::AdvanceRun(Case* c) {
  if (!c->run) {
    Move(c, IncidentState::kPlanned, "no attempt is under way");
    return;
  }
  switch (c->run->phase) {
    case Phase::kCapturing:
      return AdvanceCapture(c);
    case Phase::kActing:
      return AdvanceActing(c);
    case Phase::kRollingBack:
      // Held by a pause, now resumed.
      if (!paused_ && !rollbacks_.contains(book_.FindAttempt(c->run->attempt_id)->snapshot_id)) BeginUndo(c);
      return;
  }
}

void Engine::AdvanceCapture(Case* c) {
  Run& run = *c->run;
  if (!run.captured && mono_ - run.phase_since_mono < kCaptureTimeoutUs) return;
  std::string failure = "it did not answer in time";
  std::vector<SnapshotItem> items;
  if (run.captured) {
    failure.clear();
    if (run.captured->status != HC_OUT_DONE) failure = OutcomeText(*run.captured);
    try {
      if (failure.empty()) items = ParseItems(run.captured->json);
    } catch (const SnapshotError& e) {
      failure = e.what();
    }
    if (failure.empty() && items.empty()) failure = "there was nothing to capture";
  }
  if (!failure.empty()) {
    FinishAttempt(c, "failed", false, "nothing was done: the before-image could not be taken: " + failure);
    TryAgain(c, "the before-image could not be taken: " + failure);
    return;
  }
  // The world went on meanwhile: what was true at the plan must be true now.
  if (c->match == nullptr || !c->known) {
    FinishAttempt(c, "no_effect", false, "nothing was done: the symptom was not there any more");
    Move(c, IncidentState::kPlanned, "the symptom was not there any more when the before-image was taken");
    return;
  }
  Act(c, std::move(items));
}

void Engine::AdvanceActing(Case* c) {
  Run& run = *c->run;
  if (RowOf(*c).state == IncidentState::kExecuting) {
    if (!run.waiting.empty()) return;
    const auto refused = [](const Outcome& outcome) { return outcome.status == HC_OUT_REFUSED; };
    if (!run.outcomes.empty() && std::all_of(run.outcomes.begin(), run.outcomes.end(), refused)) {
      const std::string why = OutcomeText(run.outcomes.back());
      FinishAttempt(c, "failed", false, "nothing was done, refused at the moment of the action: " + why);
      c->past.pop_back();  // it says nothing about the remedy, which stays first choice
      TryAgain(c, "refused at the moment of the action: " + why);
      return;
    }
    Attempt& attempt = *book_.FindAttempt(run.attempt_id);
    attempt.state = AttemptState::kVerifying;
    book_.Changed(attempt);
    Move(c, IncidentState::kVerifying, "the action is done; its effect is judged on the target");
  }
  const auto failed = std::find_if(run.outcomes.begin(), run.outcomes.end(),
                                   [](const Outcome& outcome) { return outcome.status == HC_OUT_FAILED; });
  if (failed != run.outcomes.end() && run.candidate.kind == HC_CMD_SQL && !run.restored) {
    UndoOrFinish(c, "failed", "the action failed: " + OutcomeText(*failed));
    return;
  }
  std::vector<hc_outcome> outcomes;
  for (const Outcome& outcome : run.outcomes) outcomes.push_back(outcome.View());
  VerifyInput input;
  input.observation = observation_;
  input.matches = matches_;
  input.outcomes = outcomes;
  input.commands = run.commands;
  input.threshold = [this](std::string_view failure, std::string_view name) { return thresholds_.Get(failure, name); };
  Verified(c, Judge(input, &run.baseline));
}

void Engine::Verified(Case* c, const VerifyResult& result) {
  Run& run = *c->run;
  switch (result.verdict) {
    case VerifyVerdict::kHealed:
      FinishAttempt(c, "healed", true, result.reason);
      Close(c, IncidentState::kResolved, "healed", result.reason);
      return;
    case VerifyVerdict::kNotYet:
      if (result.look_again_us >= 0)
        Want(result.look_again_us);
      else if (!run.baseline.signalled.empty())
        Want(kVerifyLookUs);
      if (!run.inspect_asked && c->database_oid != 0 && run.baseline.signalled.empty() && run.waiting.empty()) {
        Command command;
        command.kind = HC_CMD_INSPECT;
        command.incident_id = c->incident_id;
        command.attempt_id = run.attempt_id;
        command.database_oid = c->database_oid;
        Issue(command, {});
        run.inspect_asked = true;
      }
      if (result.another_round) NextRound(c);
      return;
    case VerifyVerdict::kUnverified:
      FinishAttempt(c, "unverified", false, result.reason);
      Escalate(c, "the effect could not be judged: " + result.reason);
      return;
    case VerifyVerdict::kNoEffect:
    case VerifyVerdict::kWorse: {
      // Cut short is not useless: it may be tried again, while this worker knows what it did.
      const auto lost = std::find_if(run.outcomes.begin(), run.outcomes.end(),
                                     [](const Outcome& outcome) { return outcome.status == HC_OUT_LOST; });
      if (lost != run.outcomes.end() && !run.restored)
        UndoOrFinish(c, "failed", "the action was cut short: " + OutcomeText(*lost) + "; " + result.reason);
      else
        UndoOrFinish(c, "no_effect", result.reason);
      return;
    }
  }
}

// The round worked and the target needs a further one: the same remedy, chosen
// and weighed again from the facts of now.
void Engine::NextRound(Case* c) {
  Run& run = *c->run;
  if (paused_ || !run.waiting.empty() || c->match == nullptr || !c->known) return;
  const int64_t since = mono_ - run.round_mono;
  if (since < kRoundSpacingUs) return Want(kRoundSpacingUs - since);
  PlanContext plan = ContextFor(*c);
  std::optional<Candidate> next = PlanNamed(*c->match, c->diagnosis, plan, run.candidate.remedy);
  if (!next || !next->refused_because.empty()) return Want(kVerifyLookUs);
  GateContext gates = GatesFor(*c);
  gates.attempt_id = run.attempt_id;
  gates.approved = run.approved;
  const GateVerdict verdict = CheckGates(*next, *c->match, gates);
  c->weighed.clear();
  c->weighed.push_back({next->remedy, verdict});
  if (verdict.decision != GateVerdict::kAct) {
    ShowWeighed(c);
    return Want(kVerifyLookUs);
  }
  run.candidate = std::move(*next);
  AddRound(run.candidate, *observation_, &run.baseline);
  IssueRound(c);
}

// ---- ending ----

// What can be undone is undone before anything else is tried.
void Engine::UndoOrFinish(Case* c, const std::string& outcome, const std::string& why) {
  Run& run = *c->run;
  const Attempt& attempt = *book_.FindAttempt(run.attempt_id);
  const bool undoable = attempt.snapshot_id != 0 && book_.CountItems(attempt.snapshot_id) > 0;
  if (undoable && settings().rollback_enabled != 0) {
    if (paused_) return;  // judged again, and undone, when resumed
    run.failure = why;
    Move(c, IncidentState::kRollingBack, why);
    BeginUndo(c);
    return;
  }
  if (undoable) {
    FinishAttempt(c, outcome, false, why + "; roll-back is disabled");
    Escalate(c, why + "; the change is still in place because roll-back is disabled");
    return;
  }
  FinishAttempt(c, outcome, false, why);
  TryAgain(c, why);
}

void Engine::BeginUndo(Case* c) {
  Run& run = *c->run;
  Attempt& attempt = *book_.FindAttempt(run.attempt_id);
  attempt.state = AttemptState::kRollingBack;
  attempt.detail = run.failure;
  book_.Changed(attempt);
  run.phase = Phase::kRollingBack;
  run.phase_since_mono = mono_;
  Explain(c);
  if (paused_) return;
  if (book_.FindSnapshot(attempt.snapshot_id) == nullptr) {
    Undone(c, RollbackStatus::kFailed, "its snapshot has expired");
    return;
  }
  RollbackJob job;
  job.snapshot_id = attempt.snapshot_id;
  job.incident_id = c->incident_id;
  job.actor = "pg_heal";
  StartRollback(std::move(job), false);
}

void Engine::Undone(Case* c, RollbackStatus status, const std::string& detail) {
  const std::string why = c->run->failure;
  if (status == RollbackStatus::kSuccess) {
    FinishAttempt(c, "rolled_back", false, why + "; the change was undone");
    TryAgain(c, why);
    return;
  }
  const std::string text = std::string("roll-back ") + RollbackStatusName(status) + (detail.empty() ? "" : ": " + detail);
  FinishAttempt(c, "failed", false, why + "; " + text);
  Escalate(c, why + "; " + text);
}

void Engine::FinishAttempt(Case* c, const std::string& outcome, bool verified, const std::string& detail) {
  Attempt& attempt = *book_.FindAttempt(c->run->attempt_id);
  attempt.state = AttemptState::kFinished;
  attempt.outcome = outcome;
  attempt.verified = verified;
  attempt.detail = detail;
  attempt.duration_ms = static_cast<double>(std::max<int64_t>(now_ - attempt.started_at, 0)) / 1000;
  book_.Changed(attempt);
  Remember(attempt);
  c->past.push_back({attempt.remedy, outcome});
  RowOf(*c).outcome = outcome;
  Audit("pg_heal", attempt.remedy, attempt.subject, outcome,
        {{"incident_id", c->incident_id}, {"attempt_id", attempt.id}, {"detail", detail}});
  AnswerFailed(c, detail);
  for (uint64_t id : c->run->waiting) owners_.erase(id);
  c->run.reset();
  c->baseline = nullptr;
  c->weighed_key.clear();
  Explain(c);
}

void Engine::TryAgain(Case* c, const std::string& why) {
  const RetryPolicy policy = RetryPolicyFor(settings());
  const int attempts = RowOf(*c).attempts;
  if (!MayRetry(policy, attempts)) {
    Escalate(c, "attempt " + std::to_string(attempts) + " of at most " + std::to_string(policy.max_attempts) +
                    " did not help: " + why);
    return;
  }
  const int64_t delay = BackoffUs(policy, attempts);
  c->not_before_mono = mono_ + delay;
  Move(c, IncidentState::kPlanned, "next attempt in " + std::to_string(delay / 1000) + " ms: " + why);
  Want(delay);
}

// Success counts for the next choice of a remedy.
void Engine::Remember(const Attempt& attempt) {
  if (attempt.outcome.empty() || attempt.outcome == "unverified") return;
  RemedyRecord& record = history_[attempt.component + "/" + attempt.failure_type][attempt.remedy];
  ++record.finished;
  if (attempt.outcome == "healed") ++record.healed;
}

// A pause: what has not acted yet does not act.
void Engine::StopRuns() {
  for (auto& [id, c] : cases_) {
    if (!c.run || c.run->phase != Phase::kCapturing) continue;
    FinishAttempt(&c, "failed", false, "nothing was done: pg_heal was paused");
    Move(&c, IncidentState::kPlanned, "paused before the action began");
  }
}

}  // namespace heal
