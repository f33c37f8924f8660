// Q05 constraint_violation_burst: a constraint refuses rows far more often than
// it usually does. An application that uses a unique constraint as its question
// "is it there already?" does so all day: what is usual is learnt per constraint.

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "constraint_violation_burst";
constexpr size_t kMostConstraints = 256;
// What was usual is forgotten slowly: half of it in a day.
constexpr double kHalfLifeS = 86400;

// Database, SQLSTATE, schema, table, constraint.
using Key = std::array<std::string, 5>;

struct Constraint {
  uint64_t count = 0;  // as last seen
  double window = 0;   // refusals in the window under way
  double usual = 0;    // most in a window, fading
  int64_t window_began = 0;  // monotonic
  int64_t since = 0;         // wall clock
  int64_t since_mono = 0;
  double worst = 0;
  bool raised = false;
  Match match;
};

class ConstraintBurstMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void Count(const MatchInput& input, const hc_violation& violation);
  void Judge(const MatchInput& input, const Key& key, Constraint* constraint);
  void EndWindow(const MatchInput& input, Constraint* constraint);

  std::map<Key, Constraint> constraints_;
  int64_t began_mono_ = -1;  // of this matcher
  bool counted_ = false;     // the totals at the beginning are known
};

const char* WhatOf(const std::string& sqlstate) {
  if (sqlstate == "23505") return "unique violations";
  if (sqlstate == "23503") return "foreign key violations";
  if (sqlstate == "23502") return "NULLs refused";
  if (sqlstate == "23514") return "check violations";
  if (sqlstate == "23P01") return "exclusion violations";
  return "integrity violations";
}

double SecondsSince(const MatchInput& input, int64_t mono) {
  return static_cast<double>(input.observation.mono_us - mono) / 1e6;
}

void ConstraintBurstMatcher::Count(const MatchInput& input, const hc_violation& v) {
  if (std::string_view(v.sqlstate).substr(0, 2) != "23") return;
  const Key key{v.database, v.sqlstate, v.schema, v.table, v.constraint};
  auto found = constraints_.find(key);
  const bool fresh = found == constraints_.end();
  if (fresh) {
    if (constraints_.size() >= kMostConstraints) return;
    found = constraints_.emplace(key, Constraint()).first;
    found->second.window_began = input.observation.mono_us;
    // Totals of before the first look are no news.
    found->second.count = counted_ ? 0 : v.count;
  }
  Constraint& c = found->second;
  // Its place was given away and it came back: it counts from zero.
  const uint64_t since = v.count >= c.count ? v.count - c.count : v.count;
  c.count = v.count;
  c.window += static_cast<double>(std::min<uint64_t>(since, 1000000000));
}

Match Describe(const MatchInput& input, const Key& key, const Constraint& c) {
  const std::string table = key[2].empty() ? key[3] : key[2] + "." + key[3];
  const std::string name = key[4].empty() ? table : key[4] + " on " + table;
  const double window_s = input.thresholds.Get(kType, "window_s");
  const std::string subject = Text("%s of %s (SQLSTATE %s)", WhatOf(key[1]), name.c_str(), key[1].c_str());
  const std::string why = Text("%.0f %s of %s within %.0f s, usual is up to %.0f", c.worst, WhatOf(key[1]),
                               name.c_str(), window_s, c.usual);
  Match match = NewMatch(kType, key[0] + "/" + key[1] + "/" + table + "/" + key[4], subject, why);
  match.database = key[0];
  match.since_us = c.since;
  AddEvidence(&match, "constraint_errors_frequent", true, why);
  bool behind = false;
  for (uint32_t i = 0; i < input.observation.n_behind && !behind; ++i) {
    const hc_behind& fact = input.observation.behind[i];
    behind = key[0] == fact.database && key[1] == "23505" && Contains(fact.table, key[3]);
  }
  AddEvidence(&match, "sequence_behind_column", behind,
              behind ? "a sequence that fills the table is behind its column" : "no sequence of the table is known to be behind");
  match.params["sqlstate"] = key[1];
  match.params["table"] = table;
  match.params["constraint"] = key[4];
  match.values["count"] = c.worst;
  match.values["usual"] = c.usual;
  return match;
}

// What lasts becomes usual; so does what is seen while everything is new.
void ConstraintBurstMatcher::EndWindow(const MatchInput& input, Constraint* c) {
  const double faded = c->usual * std::exp2(-SecondsSince(input, c->window_began) / kHalfLifeS);
  const bool lasting = c->raised && SecondsSince(input, c->since_mono) >= input.thresholds.Get(kType, "accept_s");
  const bool over = c->raised && !(c->window >= input.thresholds.Get(kType, "clear_count"));
  if (!c->raised || lasting) c->usual = std::max(faded, c->window);
  if (lasting || over) c->raised = false;
  if (!c->raised) c->worst = 0;
  c->window = 0;
  c->window_began = input.observation.mono_us;
}

void ConstraintBurstMatcher::Judge(const MatchInput& input, const Key& key, Constraint* c) {
  const Thresholds& limits = input.thresholds;
  const bool learning = SecondsSince(input, began_mono_) < limits.Get(kType, "learn_s");
  const bool burst = c->window >= limits.Get(kType, "count") && c->window >= limits.Get(kType, "factor") * c->usual;
  if (burst && !learning) {
    if (!c->raised) {
      c->since = input.observation.now_us;
      c->since_mono = input.observation.mono_us;
      c->raised = true;
    }
    c->worst = std::max(c->worst, c->window);
    c->match = Describe(input, key, *c);
  }
  if (SecondsSince(input, c->window_began) >= limits.Get(kType, "window_s")) EndWindow(input, c);
}

void ConstraintBurstMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  if (began_mono_ < 0) began_mono_ = observation.mono_us;
  for (uint32_t i = 0; i < observation.n_violations; ++i) Count(input, observation.violations[i]);
  counted_ = true;
  for (auto& [key, constraint] : constraints_) {
    Judge(input, key, &constraint);
    if (constraint.raised) out->push_back(constraint.match);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeConstraintBurstMatcher() { return std::make_unique<ConstraintBurstMatcher>(); }

}  // namespace heal
