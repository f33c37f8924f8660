// matchers.h: known failures, matched on facts.

#ifndef HEAL_CORE_DETECT_MATCHERS_H_
#define HEAL_CORE_DETECT_MATCHERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/failures.h"
#include "detect/matcher.h"
#include "detect/wall_clock.h"
#include "heal_core/observation.h"
#include "model.h"

namespace heal {

// Something a policy row exempts: scope is role, application or database.
struct Exemption {
  std::string scope;
  std::string subject;
};

// All matchers and what they remember from step to step.
//
// Run returns a Match in every step in which the definition of a failure holds,
// with hysteresis: it is raised at one limit and held down to a lower one. A
// match that can no longer be judged because its facts are unknown is held as
// it was, without targets (values["unknown"] = 1). Order: by failure, then
// worst first. An exempt session is never a target; the match itself stays.
class FailureMatchers {
 public:
  FailureMatchers();
  ~FailureMatchers();
  FailureMatchers(const FailureMatchers&) = delete;
  FailureMatchers& operator=(const FailureMatchers&) = delete;

  // Requires: observations in the order of mono_us.
  // Cost: linear in the facts; the lock graph is built once.
  std::vector<Match> Run(const hc_observation& observation, const Thresholds& thresholds,
                         const std::vector<Exemption>& exempt = {});

  // What matchers keep through restarts: rows of the tables, before the first
  // Run, and the rows that changed in the last one.
  void Restore(const hc_record& record);
  std::vector<MatcherRecord> TakeRecords();

  // The healer acted on this trouble: when it begins again within five minutes,
  // the action is a candidate cause (evidence healer_acted_recently).
  void NoteOwnAction(std::string_view fingerprint, int64_t now_us);

 private:
  struct Seen {
    int64_t inspected_at;  // as last reported
    int64_t mono_us;       // when it was first reported
    int64_t gap_us;        // between the last two looks
    bool forgotten;        // and what was known with it
  };

  void FindLooks(const hc_observation& observation, MatchInput* input);
  void AddOwnActions(int64_t now_us, std::vector<Match>* matches);

  WallClock clock_;
  std::vector<std::unique_ptr<Matcher>> matchers_;
  std::map<uint32_t, Seen> seen_;               // by database
  std::map<std::string, int64_t> own_actions_;  // fingerprint -> time
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_MATCHERS_H_
