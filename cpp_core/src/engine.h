// engine.h: one engine, one step: observation in, decisions out.
//
// A step runs its stages in a fixed order (engine.cc): outcomes of earlier
// commands, metric baselines, matchers, incidents, requests, then every open
// incident moves as far as it can: diagnosis, plan, safety rules, action,
// verification, roll-back. Rows that changed are handed out once, at the end.
//
//   engine.cc            construction, the order of a step, configuration
//   engine_restore.cc    coming back from rows after a restart or a crash
//   engine_predict.cc    forecasts, and the incidents they open ahead of time
//   engine_incidents.cc  opening, diagnosing, planning, closing
//   engine_explain.cc    what heal_explain shows
//   engine_attempts.cc   acting and verifying
//   engine_snapshots.cc  before-images by hand, roll-backs, expiry
//   engine_requests.cc   heal_approve, heal_execute, heal_pause and the others
//
// Invariants
//  * One open incident per fingerprint; at most max_incidents.
//  * A command that changes anything leaves in the same step as the rows that
//    say so, and those rows include its before-image.
//  * A command is issued at most once, also across a restart.
//  * While paused no command but an inspection or a capture by hand leaves.

#ifndef HEAL_CORE_ENGINE_H_
#define HEAL_CORE_ENGINE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/failures.h"
#include "detect/detector_grades.h"
#include "detect/matchers.h"
#include "detect/metric_bank.h"
#include "diagnose/diagnoser.h"
#include "diagnose/metric_links.h"
#include "heal_core/c_api.h"
#include "history/ledger.h"
#include "json_text.h"
#include "model.h"
#include "outbox.h"
#include "plan/planner.h"
#include "predict/forecaster.h"
#include "predict/resources.h"
#include "recover/book.h"
#include "recover/gates.h"
#include "recover/policies.h"
#include "recover/requests.h"
#include "recover/retry.h"
#include "recover/rollback.h"
#include "recover/status.h"
#include "recover/verify.h"

namespace heal {

class Engine {
 public:
  // limits may contain zeros: the defaults of hc_limits.
  Engine(const hc_limits& limits, uint64_t seed);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Throws std::invalid_argument (the engine is as it was) for rows that are no
  // row images, std::logic_error after the first step.
  void Restore(std::span<const hc_record> records, bool foreign);

  // Throws std::invalid_argument before anything changed. *out points into the
  // engine and is valid until the next call. After any other exception
  // (LimitError, CanceledError, bad_alloc) the engine must be thrown away.
  void Step(const hc_observation& observation, hc_decisions* out);

 private:
  // An outcome with strings of its own: it is judged in later steps.
  struct Outcome {
    uint64_t command_id = 0;
    hc_outcome_status status = HC_OUT_DONE;
    std::string sqlstate, message, json;
    int64_t duration_us = 0;
    hc_outcome View() const;
  };

  enum class Phase { kCapturing, kActing, kRollingBack };

  // A recovery attempt under way.
  struct Run {
    int64_t attempt_id = 0;
    Phase phase = Phase::kCapturing;
    Candidate candidate;  // of the newest round; only its name after a restart
    VerifyBaseline baseline;
    bool approved = false;
    bool restored = false;
    int32_t commands = 0;
    std::set<uint64_t> waiting;     // commands without an outcome
    std::vector<Outcome> outcomes;
    std::optional<Outcome> captured;
    int64_t phase_since_mono = 0;
    int64_t round_mono = 0;
    int32_t rounds = 0;
    bool inspect_asked = false;
    uint64_t id_request = 0;   // whom to answer once it acts, 0 nobody
    std::string failure;       // why it is being rolled back
  };

  // What the engine knows about an open incident besides its row.
  struct Case {
    int64_t incident_id = 0;
    const Match* match = nullptr;  // of this step; nullptr: does not hold
    bool known = false;            // match says how it is now, not how it was
    uint32_t database_oid = 0;
    int32_t looks = 0;             // consecutive looks with, and
    int32_t gone = 0;              // without the symptom
    int64_t look_mono = 0;
    int64_t look_sample = 0;       // inspected_at of that look
    bool unseen = false;           // restored, and not matched since
    int64_t opened_mono = 0;
    bool inspect_asked = false;

    std::vector<Evidence> evidence;  // of the diagnosis
    std::map<std::string, double> values;
    std::string evidence_key;
    bool diagnosed = false;
    Diagnosis diagnosis;
    std::vector<Candidate> candidates;
    struct Weighed {
      std::string remedy;
      GateVerdict verdict;
    };
    std::vector<Weighed> weighed;
    std::string weighed_key;

    int64_t unsure_since_mono = -1;  // nothing could be tried since
    int64_t escalated_mono = 0;
    bool nothing_to_try = false;     // why it was escalated
    int64_t not_before_mono = 0;     // back-off
    std::vector<PastAttempt> past;
    std::vector<Transition> transitions;
    std::set<std::string> rejected;  // remedies a person rejected
    std::map<std::string, std::string> recommended;  // remedy -> what was last shown
    std::optional<Run> run;
    Json baseline;                   // of the attempt under way, for a restart
  };

  // A roll-back under way, by hand (incident_id 0) or of an attempt.
  struct RollbackJob {
    std::unique_ptr<Rollback> rollback;
    int64_t snapshot_id = 0;
    int64_t incident_id = 0;
    uint64_t id_request = 0;
    std::string actor;
    bool held = false;  // by a pause; begun anew afterwards
    int64_t building_since_mono = -1;  // an index
  };

  // A snapshot by hand under way.
  struct SnapshotJob {
    uint64_t id_request = 0;
    std::string label, component, role;
    int64_t parent_id = 0;
    int64_t since_mono = 0;
    bool started = false;
    std::set<uint64_t> waiting;
    std::vector<SnapshotItem> items;
    std::string failure;
  };

  enum class Waiting { kAttempt, kRollback, kSnapshot };
  struct CommandOwner {
    Waiting kind = Waiting::kAttempt;
    int64_t key = 0;     // incident, snapshot or job
    uint32_t token = 0;  // of a roll-back
  };

  using Cases = std::map<int64_t, Case>;

  // ---- engine.cc ----
  void Begin(const hc_observation& observation);
  void TakeConfig(const hc_config& config);
  void TakeOutcomes();
  void ObserveMetrics();
  void AdvanceAll();
  void Finish(hc_decisions* out);
  void CheckMemory() const;
  HealerCondition Condition() const;
  const hc_settings& settings() const { return settings_; }
  void Want(int64_t delay_us);  // a look before the next tick
  uint64_t Issue(Command command, const CommandOwner& owner);
  void IssueBulk();
  void Audit(std::string actor, std::string action, std::string subject, std::string outcome, const Json& detail);
  static Outcome CopyOutcome(const hc_outcome& outcome);

  // ---- engine_restore.cc ----
  void LoadHistory();
  void ForgetForeign();
  void Resume();
  void ResumeCase(Case* c);
  void ResumeAttempt(Case* c, Attempt* attempt);

  // ---- engine_predict.cc ----
  void ResumePredictions();
  void Predict();
  void AddPredicted();
  bool Believed(const Prediction& prediction) const;
  void AddForecast(Resource resource, Match* match) const;
  Match PredictedMatch(const Prediction& prediction) const;

  // ---- engine_incidents.cc ----
  void UpdateCases();
  void Open(const Match& match);
  bool NewLook(Case* c);
  int64_t SampleOf(const Case& c) const;
  void Look(Case* c);
  void SymptomGone(Case* c);
  bool Advance(Case* c);
  bool Weigh(Case* c);
  bool Diagnose(Case* c);
  void MakePlan(Case* c);
  PlanContext ContextFor(const Case& c) const;
  GateContext GatesFor(const Case& c) const;
  void Consider(Case* c);
  void NothingToTry(Case* c);
  void Reweigh(Case* c);
  void ShowWeighed(Case* c);
  void Recommend(Case* c, std::string_view state);
  void Withdraw(Case* c);
  void Move(Case* c, IncidentState to, std::string reason, const Json& evidence = Json::object());
  void Escalate(Case* c, std::string reason);
  void Settle(Case* c);
  void Close(Case* c, IncidentState state, std::string outcome, std::string reason);
  Incident& RowOf(const Case& c) { return *book_.FindIncident(c.incident_id); }
  int32_t RunsUnderWay() const;
  int32_t RunsOnRelationOf(const Case& c) const;

  // ---- engine_explain.cc ----
  void Explain(Case* c);

  // ---- engine_attempts.cc ----
  void StartAttempt(Case* c, const Candidate& candidate, const std::string& mode, bool approved, uint64_t id_request);
  void Act(Case* c, std::vector<SnapshotItem> items);
  void IssueRound(Case* c);
  void AdvanceRun(Case* c);
  void AdvanceCapture(Case* c);
  void AdvanceActing(Case* c);
  void Verified(Case* c, const VerifyResult& result);
  void NextRound(Case* c);
  void UndoOrFinish(Case* c, const std::string& outcome, const std::string& why);
  void BeginUndo(Case* c);
  void Undone(Case* c, RollbackStatus status, const std::string& detail);
  void FinishAttempt(Case* c, const std::string& outcome, bool verified, const std::string& detail);
  void TryAgain(Case* c, const std::string& why);
  void Remember(const Attempt& attempt);
  void StopRuns();

  // ---- engine_snapshots.cc ----
  SnapshotRow& TakeSnapshot(SnapshotRow row, std::vector<SnapshotItem> items, std::span<const ExpectedValue> expected);
  std::vector<SnapshotNode> Nodes() const;
  int64_t AutomaticParent() const;
  void StartRollback(RollbackJob job, bool force);
  void AdvanceRollbacks();
  void RouteRollback(int64_t snapshot_id, std::vector<RollbackCommand> commands);
  void AnswerGoesOn(RollbackJob* job);
  void FinishRollback(RollbackJob* job);
  void HoldRollbacks();
  void DisownRollback(int64_t snapshot_id);
  void NoteRolledBack(int64_t snapshot_id);
  void AdvanceSnapshots();
  void StartCapture(int64_t key, SnapshotJob* job);
  void FinishCapture(SnapshotJob* job);
  void ExpireSnapshots();
  bool SnapshotInUse(int64_t snapshot_id) const;

  // ---- engine_requests.cc ----
  void HandleRequests();
  void HandleApprove(const hc_request& request);
  void HandleReject(const hc_request& request);
  void HandleExecute(const hc_request& request);
  void HandleSnapshot(const hc_request& request);
  void HandleRollback(const hc_request& request);
  void SetPaused(bool paused, std::string reason);
  void HandlePause(const hc_request& request);
  void HandleResume(const hc_request& request);
  void HandleResetBaseline(const hc_request& request);
  Refusal WhyNotActive(int64_t snapshot_id) const;
  Case* CaseForAction(uint64_t id_request, int64_t incident_id);
  void AuditConsent(const hc_request& request, const Case& c, const std::string& remedy, const std::string& outcome);
  void RunApproved(Case* c, const Candidate& candidate, const hc_request& request, const std::string& mode, hc_mode at_least);
  void AnswerStarted(Case* c);
  void AnswerFailed(Case* c, const std::string& why);
  void Answer(const Reply& reply) { outbox_.Answer(reply); }

  hc_limits limits_{};
  uint64_t seed_ = 0;

  // What the engine knows.
  Thresholds thresholds_;
  Policies policies_;
  std::vector<Exemption> exemptions_;
  std::string config_fault_;
  DetectorGrades grades_;
  MetricBank bank_;
  Forecaster forecaster_;
  ResourceWatch watch_;
  FailureMatchers matchers_;
  Diagnoser diagnoser_;
  MetricLinks links_;
  Ledger ledger_;
  std::map<std::string, std::map<std::string, RemedyRecord>> history_;  // component/failure -> remedy
  Book book_;
  StatusBoard status_;
  Cases cases_;
  std::map<std::string, int64_t> by_fingerprint_;
  std::map<std::string, int64_t> quiet_;  // fingerprint healed a moment ago -> until (mono)
  std::map<int64_t, RollbackJob> rollbacks_;  // by snapshot
  std::map<int64_t, SnapshotJob> snapshots_;
  int64_t next_job_ = 1;
  std::set<int64_t> rolled_back_;             // the newest ones, to tell from expired
  std::map<uint64_t, CommandOwner> owners_;
  uint64_t next_command_ = 0;
  std::deque<Command> bulk_;  // wait for their turn
  uint64_t bulk_running_ = 0;
  bool stepped_ = false;
  bool foreign_ = false;
  bool restored_ = false;
  bool paused_ = false;
  std::string pause_reason_;
  bool incident_limit_logged_ = false;
  int64_t last_mono_ = 0;

  // Of the step under way.
  const hc_observation* observation_ = nullptr;
  hc_settings settings_{};  // paused as the requests of this step left it
  int64_t now_ = 0;
  int64_t mono_ = 0;
  std::vector<Match> matches_;
  int64_t look_again_us_ = -1;
  Outbox outbox_;
};

}  // namespace heal

#endif  // HEAL_CORE_ENGINE_H_
