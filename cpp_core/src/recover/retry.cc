#include "recover/retry.h"

#include <algorithm>

namespace heal {
namespace {

constexpr int64_t kMillis = 1000;

struct Defaults {
  int32_t attempts, delay_ms, timeout_ms;
};

constexpr Defaults kConservative = {2, 5000, 120000};
constexpr Defaults kBalanced = {3, 2000, 60000};
constexpr Defaults kAggressive = {5, 1000, 30000};

const Defaults& DefaultsFor(hc_policy policy) {
  if (policy == HC_POLICY_CONSERVATIVE) return kConservative;
  return policy == HC_POLICY_AGGRESSIVE ? kAggressive : kBalanced;
}

}  // namespace

RetryPolicy RetryPolicyFor(const hc_settings& settings) {
  const Defaults& defaults = DefaultsFor(settings.policy);
  const auto pick = [](int32_t set, int32_t otherwise) { return set >= 0 ? set : otherwise; };
  return {pick(settings.max_retries, defaults.attempts),
          pick(settings.retry_delay_ms, defaults.delay_ms) * kMillis,
          pick(settings.recovery_timeout_ms, defaults.timeout_ms) * kMillis};
}

int64_t BackoffUs(const RetryPolicy& policy, int32_t failed_attempt) {
  const int64_t longest = std::max(policy.delay_us, policy.recovery_timeout_us);
  int64_t delay = policy.delay_us;
  for (int32_t i = 1; i < failed_attempt && delay < longest; ++i) delay *= 2;
  return std::min(delay, longest);
}

bool MayRetry(const RetryPolicy& policy, int32_t attempts_made) {
  return attempts_made < policy.max_attempts;
}

}  // namespace heal
