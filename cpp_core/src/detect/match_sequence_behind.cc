// Q06 sequence_behind: a sequence will give values that its column has already.

#include <algorithm>
#include <string>

#include "detect/matcher.h"
#include "detect/object_tracker.h"

namespace heal {
namespace {

constexpr char kType[] = "sequence_behind";

struct Suspect {
  bool seen = false;
  int looks = 0;
  int64_t since = 0;
  Match match;
  bool raised = false;
};

class SequenceBehindMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void LookAt(const MatchInput& input, const Look& look, const hc_behind& fact);

  ObjectTracker<Suspect> suspects_;
};

std::string Plain(std::string_view quoted) {
  std::string plain;
  for (const char c : quoted) {
    if (c != '"') plain += c;
  }
  return plain;
}

Match Describe(const MatchInput& input, const hc_behind& fact) {
  const std::string name = Plain(fact.sequence);
  const std::string column = Plain(fact.table) + "." + Plain(fact.column);
  const std::string text =
      Text("sequence %s gives %lld next, the largest %s is %lld", name.c_str(), static_cast<long long>(fact.next_value),
           column.c_str(), static_cast<long long>(fact.largest));
  Match match = NewMatch(kType, Text("%u/%u", fact.database_oid, fact.sequence_oid), name + " behind " + column, text);
  match.database = fact.database;
  match.database_oid = fact.database_oid;
  match.relation_oid = fact.sequence_oid;
  const double gap = static_cast<double>(fact.collision) - static_cast<double>(fact.next_value);
  const bool near = gap < input.thresholds.Get(kType, "near");
  // Nobody may be asking it: rows are given their keys by the application.
  if (fact.used == 0 || !near) match.severity = "info";
  AddEvidence(&match, "sequence_behind_column", true, text);
  AddEvidence(&match, "sequence_in_use", fact.used != 0,
              fact.used != 0 ? "the sequence has given values" : "the sequence was never asked for a value");
  match.params["relation"] = fact.sequence;
  match.params["table"] = fact.table;
  match.params["column"] = fact.column;
  match.values["next_value"] = static_cast<double>(fact.next_value);
  match.values["largest"] = static_cast<double>(fact.largest);
  match.values["collision_in"] = gap;
  match.values["unused"] = fact.used == 0 || !near ? 1 : 0;
  return match;
}

void SequenceBehindMatcher::LookAt(const MatchInput& input, const Look& look, const hc_behind& fact) {
  Suspect* suspect = suspects_.Find(fact.database_oid, fact.sequence_oid);
  if (suspect == nullptr) {
    suspect = suspects_.Add(fact.database_oid, fact.sequence_oid);
    if (suspect == nullptr) return;
    suspect->since = look.inspected_at;
  }
  suspect->seen = true;
  suspect->looks = std::min(suspect->looks + 1, 1 << 20);
  suspect->raised = suspect->looks >= input.thresholds.Get(kType, "samples");
  if (!suspect->raised) return;
  suspect->match = Describe(input, fact);
  suspect->match.since_us = suspect->since;
}

void SequenceBehindMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  if (!input.looks.empty() || !input.forgotten.empty()) {
    suspects_.BeginLooks();
    for (uint32_t i = 0; i < input.observation.n_behind; ++i) {
      const hc_behind& fact = input.observation.behind[i];
      const Look* look = input.FindLook(fact.database_oid);
      if (look != nullptr) LookAt(input, *look, fact);
    }
    suspects_.EndLooks(input);
  }
  for (const auto& [key, suspect] : suspects_.states()) {
    if (suspect.raised) out->push_back(suspect.match);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeSequenceBehindMatcher() { return std::make_unique<SequenceBehindMatcher>(); }

}  // namespace heal
