#include "recover/retry.h"

#include <gtest/gtest.h>

namespace heal {
namespace {

hc_settings Settings(hc_policy policy) {
  hc_settings settings{};
  settings.policy = policy;
  settings.max_retries = settings.retry_delay_ms = settings.recovery_timeout_ms = -1;
  return settings;
}

TEST(Retry, DefaultsOfThePolicies) {
  const struct {
    hc_policy policy;
    int32_t attempts;
    int64_t delay_us, timeout_us;
  } cases[] = {{HC_POLICY_AGGRESSIVE, 5, 1000000, 30000000},
               {HC_POLICY_BALANCED, 3, 2000000, 60000000},
               {HC_POLICY_CONSERVATIVE, 2, 5000000, 120000000}};
  for (const auto& c : cases) {
    const RetryPolicy policy = RetryPolicyFor(Settings(c.policy));
    EXPECT_EQ(policy.max_attempts, c.attempts) << c.policy;
    EXPECT_EQ(policy.delay_us, c.delay_us) << c.policy;
    EXPECT_EQ(policy.recovery_timeout_us, c.timeout_us) << c.policy;
  }
}

TEST(Retry, ExplicitSettingsWin) {
  hc_settings settings = Settings(HC_POLICY_BALANCED);
  settings.max_retries = 0;
  settings.retry_delay_ms = 10;
  const RetryPolicy policy = RetryPolicyFor(settings);
  EXPECT_FALSE(MayRetry(policy, 0));
  EXPECT_EQ(policy.delay_us, 10000);
  EXPECT_EQ(policy.recovery_timeout_us, 60000000);
}

TEST(Retry, DelayDoublesUpToTheTimeout) {
  const RetryPolicy policy = RetryPolicyFor(Settings(HC_POLICY_BALANCED));
  EXPECT_EQ(BackoffUs(policy, 1), 2000000);
  EXPECT_EQ(BackoffUs(policy, 2), 4000000);
  EXPECT_EQ(BackoffUs(policy, 3), 8000000);
  EXPECT_EQ(BackoffUs(policy, 100), 60000000);
  EXPECT_EQ(BackoffUs({3, 0, 60000000}, 5), 0);
}

TEST(Retry, CountsAttempts) {
  const RetryPolicy policy = RetryPolicyFor(Settings(HC_POLICY_CONSERVATIVE));
  EXPECT_TRUE(MayRetry(policy, 1));
  EXPECT_FALSE(MayRetry(policy, 2));
}

}  // namespace
}  // namespace heal
