#include "recover/requests.h"

namespace heal {
namespace {

struct RefusalDef {
  Refusal why;
  const char* sqlstate;
  const char* message;  // % stands for `what`
  const char* hint;
};

constexpr const char* kInvalid = "22023";       // invalid_parameter_value
constexpr const char* kNotInState = "55000";    // object_not_in_prerequisite_state
constexpr const char* kLimit = "54000";         // program_limit_exceeded

constexpr RefusalDef kRefusals[] = {
    {Refusal::kUnknownRecommendation, kInvalid, "there is no recommendation %",
     "SELECT recommendation_id, remedy, state FROM heal_recommend() lists them."},
    {Refusal::kUnknownIncident, kInvalid, "there is no incident %",
     "SELECT incident_id, failure_type, subject FROM heal_incidents lists them."},
    {Refusal::kUnknownSnapshot, kInvalid, "there is no snapshot %",
     "SELECT snapshot_id, label, state FROM heal_snapshots lists them."},
    {Refusal::kUnknownRemedy, kInvalid, "there is no remedy \"%\"",
     "SELECT remedy FROM heal_recommend(incident_id) lists those that fit an incident."},
    {Refusal::kUnknownComponent, kInvalid, "there is nothing to capture for \"%\"",
     "Use settings, storage, indexes or roles, or leave the component out for everything."},
    {Refusal::kRemedyDoesNotFit, kInvalid, "remedy \"%\" is not for this incident",
     "SELECT remedy FROM heal_recommend(incident_id) lists those that fit."},
    {Refusal::kNotWaiting, kNotInState, "recommendation % is not waiting for a decision",
     "SELECT recommendation_id, state FROM heal_recommend() lists those that are."},
    {Refusal::kIncidentClosed, kNotInState, "incident % is closed",
     "SELECT incident_id FROM heal_incidents WHERE resolved_at IS NULL lists the open ones."},
    {Refusal::kSymptomGone, kNotInState, "the symptom of incident % is not there now",
     "The incident closes by itself when it stays away; nothing needs to be done."},
    {Refusal::kAttemptUnderWay, kNotInState, "a recovery attempt of incident % is under way",
     "Wait until it is finished; heal_history shows it."},
    {Refusal::kGateClosed, kNotInState, "remedy \"%\" must not run now",
     "heal_explain(incident_id) shows every safety rule and its answer."},
    {Refusal::kObserving, kNotInState, "pg_heal only observes here, \"%\" does not run",
     "Set pg_heal.mode to approve, or run heal_execute(incident_id, remedy)."},
    {Refusal::kPaused, kNotInState, "pg_heal is paused: %", "Run heal_resume() first."},
    {Refusal::kRollbackDisabled, kNotInState, "roll-back is disabled",
     "Set pg_heal.rollback_enabled to on and reload."},
    {Refusal::kSnapshotExpired, kNotInState, "snapshot % has expired",
     "Snapshots live for pg_heal.snapshot_retention; restore_sql in heal.snapshot_items can be run by hand."},
    {Refusal::kSnapshotRolledBack, kNotInState, "snapshot % has been rolled back already",
     "A roll-back is not rolled back; take a snapshot before it to keep a way back."},
    {Refusal::kSnapshotSuperseded, kNotInState, "snapshot % belongs to another server",
     "It came with a copy of the tables and is kept as history."},
    {Refusal::kSnapshotBusy, kNotInState, "snapshot % is in use by a recovery attempt or another roll-back",
     "Wait until that is finished; heal_snapshots shows its state."},
    {Refusal::kTooDeep, kLimit, "snapshots nest too deep under snapshot %",
     "Take it without a parent, or raise pg_heal.rollback_max_depth."},
    {Refusal::kTooLarge, kLimit, "the snapshot is too large: %",
     "Limit it to one component: settings, storage, indexes or roles."},
    {Refusal::kNotInspected, kNotInState, "the databases have not been inspected yet",
     "Try again in a minute, or take a snapshot of component settings or roles."},
    {Refusal::kCaptureFailed, kNotInState, "the before-image could not be taken",
     "Nothing was changed. Correct what the detail says and try again."},
    {Refusal::kActionFailed, kNotInState, "remedy \"%\" could not be started",
     "heal_history shows what happened; nothing is left half-done."},
    {Refusal::kBusy, kLimit, "too many requests are under way: %", "Wait until one is finished."},
    {Refusal::kUnknownMetric, kInvalid, "there is no metric \"%\"", "SELECT metric FROM heal_metrics lists them."},
};

std::string Complete(const char* message, std::string_view what) {
  std::string text;
  for (const char* c = message; *c != '\0'; ++c) {
    if (*c == '%')
      text += what;
    else
      text += *c;
  }
  return text;
}

}  // namespace

Reply Refuse(uint64_t id_request, Refusal why, std::string_view what, std::string detail) {
  Reply reply;
  reply.id_request = id_request;
  for (const RefusalDef& def : kRefusals) {
    if (def.why != why) continue;
    reply.sqlstate = def.sqlstate;
    reply.message = Complete(def.message, what);
    reply.hint = def.hint;
  }
  reply.detail = std::move(detail);
  return reply;
}

Reply Grant(uint64_t id_request, std::string message, std::string json) {
  Reply reply;
  reply.id_request = id_request;
  reply.message = std::move(message);
  reply.json = std::move(json);
  return reply;
}

}  // namespace heal
