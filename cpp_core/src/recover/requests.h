// requests.h: answers to requests from SQL: one shape for success, one place
// for every refusal a user can meet.

#ifndef HEAL_CORE_RECOVER_REQUESTS_H_
#define HEAL_CORE_RECOVER_REQUESTS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "heal_core/observation.h"
#include "outbox.h"

namespace heal {

// Why a request is refused. The row of the table gives SQLSTATE, text and hint.
enum class Refusal {
  kUnknownRecommendation,
  kUnknownIncident,
  kUnknownSnapshot,
  kUnknownRemedy,
  kUnknownComponent,
  kRemedyDoesNotFit,
  kNotWaiting,        // the recommendation was decided before
  kIncidentClosed,
  kSymptomGone,
  kAttemptUnderWay,
  kGateClosed,        // a safety rule refuses
  kObserving,         // pg_heal.mode or a policy is observe
  kPaused,
  kRollbackDisabled,
  kSnapshotExpired,
  kSnapshotRolledBack,
  kSnapshotSuperseded,
  kSnapshotBusy,
  kTooDeep,
  kTooLarge,
  kNotInspected,
  kCaptureFailed,
  kActionFailed,
  kBusy,
  kUnknownMetric,
};

// `what` completes the message (a name or number), `detail` says more, "" none.
Reply Refuse(uint64_t id_request, Refusal why, std::string_view what, std::string detail = "");

Reply Grant(uint64_t id_request, std::string message, std::string json);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_REQUESTS_H_
