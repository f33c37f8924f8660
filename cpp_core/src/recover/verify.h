// verify.h: did the target recover? Judged on the very sessions, table, index
// or setting that was acted upon, from a baseline taken at the action.
//
// Use: MakeBaseline at the observation that led to the action, keep it with the
// attempt (BaselineJson, ParseBaseline survive a restart); afterwards Judge with
// each observation until the verdict is not kNotYet.

#ifndef HEAL_CORE_RECOVER_VERIFY_H_
#define HEAL_CORE_RECOVER_VERIFY_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model.h"
#include "plan/planner.h"
#include "recover/retry.h"

namespace heal {

enum class VerifyVerdict { kHealed, kNotYet, kNoEffect, kWorse, kUnverified };
const char* VerdictName(VerifyVerdict verdict);  // healed not_yet no_effect worse unverified

// A wait for a lock that the action should end.
struct Victim {
  int32_t pid = 0;
  int64_t wait_start = 0;  // 0 unknown
  int32_t lock_kind = 0;   // hc_lock_kind
  uint32_t database_oid = 0;
  uint32_t relation_oid = 0;
  std::string lock_name;
};

struct VerifyBaseline {
  std::string failure_type, remedy, fingerprint;
  uint32_t database_oid = 0;
  uint32_t relation_oid = 0;
  uint32_t index_oid = 0;
  int64_t acted_at_us = 0;
  int64_t deadline_us = 0;
  std::vector<hc_session_identity> signalled;
  std::vector<Victim> victims;
  std::map<std::string, double> values;  // numbers before the action; Judge adds what it must remember
};

VerifyBaseline MakeBaseline(const Match& match, const Candidate& candidate, const RetryPolicy& retry,
                            const hc_observation& observation);

// Another round of the same attempt: its sessions and victims are judged too.
void AddRound(const Candidate& candidate, const hc_observation& observation, VerifyBaseline* baseline);

std::string BaselineJson(const VerifyBaseline& baseline);
// Throws std::invalid_argument when json is not a baseline.
VerifyBaseline ParseBaseline(std::string_view json);

// Threshold of a failure: Thresholds::Get. May return NaN for an unknown name;
// the default of the definition is taken then.
using ThresholdLookup = std::function<double(std::string_view failure, std::string_view name)>;

struct VerifyInput {
  const hc_observation* observation = nullptr;  // required
  std::span<const Match> matches;               // of this observation
  // Outcomes of the attempt's commands known so far. Strings need to live during the call only.
  std::span<const hc_outcome> outcomes;
  int32_t commands = 0;  // commands of the attempt; more than outcomes: some still run
  ThresholdLookup threshold;
};

struct VerifyResult {
  VerifyVerdict verdict = VerifyVerdict::kNotYet;
  std::string reason;
  bool another_round = false;  // this round worked, the target needs a further one
  int64_t look_again_us = -1;  // when a look is worthwhile before the next tick, -1 none
};

// baseline->values may gain entries. The time to verify begins when the last
// command has finished; while one runs the verdict is kNotYet (its statement
// timeout bounds that), afterwards it is so only until the deadline.
VerifyResult Judge(const VerifyInput& input, VerifyBaseline* baseline);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_VERIFY_H_
