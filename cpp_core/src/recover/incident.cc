#include "recover/incident.h"

#include <array>

namespace heal {
namespace {

using S = IncidentState;

constexpr std::array<std::string_view, kIncidentStates> kStateNames = {
    "detected",     "diagnosed", "planned",   "awaiting_approval", "executing", "verifying",
    "rolling_back", "resolved",  "escalated", "closed_itself",     "cancelled",
};

constexpr std::array<std::string_view, 4> kAttemptStateNames = {"started", "verifying", "rolling_back",
                                                                "finished"};

struct Arc {
  S from, to;
};

// Life cycle of design section 5. Added to its drawing: an operator may execute
// a remedy on an escalated incident, new evidence may make an escalated one
// treatable, and a verification that cannot judge escalates without a roll-back.
constexpr Arc kArcs[] = {
    {S::kDetected, S::kDiagnosed},
    {S::kDetected, S::kClosedItself},
    {S::kDetected, S::kCancelled},
    {S::kDetected, S::kEscalated},
    {S::kDiagnosed, S::kPlanned},
    {S::kDiagnosed, S::kEscalated},
    {S::kDiagnosed, S::kClosedItself},
    {S::kDiagnosed, S::kCancelled},
    {S::kPlanned, S::kDiagnosed},  // the evidence changed: weigh it again
    {S::kPlanned, S::kAwaitingApproval},
    {S::kPlanned, S::kExecuting},
    {S::kPlanned, S::kEscalated},
    {S::kPlanned, S::kClosedItself},
    {S::kPlanned, S::kCancelled},
    {S::kAwaitingApproval, S::kPlanned},
    {S::kAwaitingApproval, S::kDiagnosed},
    {S::kAwaitingApproval, S::kExecuting},
    {S::kAwaitingApproval, S::kEscalated},
    {S::kAwaitingApproval, S::kClosedItself},
    {S::kAwaitingApproval, S::kCancelled},
    {S::kExecuting, S::kVerifying},
    {S::kExecuting, S::kRollingBack},
    {S::kExecuting, S::kPlanned},
    {S::kExecuting, S::kEscalated},
    {S::kExecuting, S::kClosedItself},
    {S::kExecuting, S::kCancelled},
    {S::kVerifying, S::kResolved},
    {S::kVerifying, S::kRollingBack},
    {S::kVerifying, S::kPlanned},
    {S::kVerifying, S::kEscalated},
    {S::kVerifying, S::kCancelled},
    {S::kRollingBack, S::kPlanned},
    {S::kRollingBack, S::kEscalated},
    {S::kRollingBack, S::kCancelled},
    {S::kEscalated, S::kDiagnosed},  // never acted upon, and the evidence changed
    {S::kEscalated, S::kExecuting},
    {S::kEscalated, S::kCancelled},
};

}  // namespace

std::string_view StateName(IncidentState state) { return kStateNames[static_cast<size_t>(state)]; }

std::optional<IncidentState> StateFromName(std::string_view name) {
  for (size_t i = 0; i < kStateNames.size(); ++i)
    if (kStateNames[i] == name) return static_cast<IncidentState>(i);
  return std::nullopt;
}

bool TransitionAllowed(IncidentState from, IncidentState to) {
  for (const Arc& arc : kArcs)
    if (arc.from == from && arc.to == to) return true;
  return false;
}

bool IsFinal(IncidentState state) {
  return state == S::kResolved || state == S::kClosedItself || state == S::kCancelled;
}

bool IsActing(IncidentState state) {
  return state == S::kExecuting || state == S::kVerifying || state == S::kRollingBack;
}

std::string_view AttemptStateName(AttemptState state) {
  return kAttemptStateNames[static_cast<size_t>(state)];
}

std::optional<AttemptState> AttemptStateFromName(std::string_view name) {
  for (size_t i = 0; i < kAttemptStateNames.size(); ++i)
    if (kAttemptStateNames[i] == name) return static_cast<AttemptState>(i);
  return std::nullopt;
}

}  // namespace heal
