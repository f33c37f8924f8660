// retry.h: how often and when an incident is tried again.

#ifndef HEAL_CORE_RECOVER_RETRY_H_
#define HEAL_CORE_RECOVER_RETRY_H_

#include <cstdint>

#include "heal_core/observation.h"

namespace heal {

struct RetryPolicy {
  int32_t max_attempts;         // recovery attempts of one incident
  int64_t delay_us;             // before the second attempt; doubles with each further one
  int64_t recovery_timeout_us;  // of one attempt, and the longest delay
};

// Explicit settings, else the defaults of the policy:
// aggressive 5, 1 s, 30 s; balanced 3, 2 s, 60 s; conservative 2, 5 s, 120 s.
RetryPolicy RetryPolicyFor(const hc_settings& settings);

// Delay after attempt number failed_attempt (1 for the first).
int64_t BackoffUs(const RetryPolicy& policy, int32_t failed_attempt);

bool MayRetry(const RetryPolicy& policy, int32_t attempts_made);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_RETRY_H_
