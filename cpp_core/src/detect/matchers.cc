#include "detect/matchers.h"

#include <algorithm>

namespace heal {
namespace {

constexpr int64_t kOwnActionUs = 300000000;
// Facts of a database nobody looked at for this long are worth nothing: it was
// dropped, or its inspections fail.
constexpr int64_t kForgetUs = 3600000000;
constexpr size_t kMostDatabases = 10000;
constexpr size_t kMostOwnActions = 1024;

bool IsExempt(const Target& target, const std::vector<Exemption>& exempt) {
  return std::any_of(exempt.begin(), exempt.end(), [&](const Exemption& exemption) {
    if (exemption.scope == "role") return exemption.subject == target.role;
    if (exemption.scope == "application") {
      return exemption.subject == target.application;
    }
    return exemption.scope == "database" && exemption.subject == target.database;
  });
}

}  // namespace

FailureMatchers::FailureMatchers() {
  matchers_.push_back(MakeIdleBlockerMatcher());
  matchers_.push_back(MakeDdlQueueMatcher());
  matchers_.push_back(MakeStaleStatisticsMatcher());
  matchers_.push_back(MakeCheckpointStormMatcher());
  matchers_.push_back(MakeVacuumStarvedMatcher());
  matchers_.push_back(MakeInvalidIndexMatcher());
  matchers_.push_back(MakeConnectionExhaustionMatcher());
  matchers_.push_back(MakeExhaustionMatcher());
  matchers_.push_back(MakeBruteForceMatcher());
  matchers_.push_back(MakePrivilegedActMatcher());
  matchers_.push_back(MakeExfiltrationMatcher());
  matchers_.push_back(MakeProbingMatcher());
  matchers_.push_back(MakeDestructiveMatcher());
  matchers_.push_back(MakeSettingTamperingMatcher());
  matchers_.push_back(MakeChecksumFailureMatcher());
  matchers_.push_back(MakeDataFaultMatcher());
  matchers_.push_back(MakeConstraintBurstMatcher());
  matchers_.push_back(MakeSequenceBehindMatcher());
  matchers_.push_back(MakeDistributionDriftMatcher());
  matchers_.push_back(MakeRowCountCliffMatcher());
}

FailureMatchers::~FailureMatchers() = default;

// A look is new when inspected_at differs from the one reported before.
void FailureMatchers::FindLooks(const hc_observation& observation, MatchInput* input) {
  for (uint32_t i = 0; i < observation.n_inspections; ++i) {
    const hc_inspection& inspection = observation.inspections[i];
    const auto known = seen_.find(inspection.database_oid);
    if (known == seen_.end()) {
      if (seen_.size() >= kMostDatabases) continue;
      seen_[inspection.database_oid] = {inspection.inspected_at, observation.mono_us, 0, false};
    } else {
      Seen& seen = known->second;
      if (seen.inspected_at == inspection.inspected_at) continue;
      seen = {inspection.inspected_at, observation.mono_us, observation.mono_us - seen.mono_us, false};
    }
    input->looks.push_back({inspection.database_oid, inspection.inspected_at, inspection.complete != 0});
  }
  std::sort(input->looks.begin(), input->looks.end(),
            [](const Look& a, const Look& b) { return a.database_oid < b.database_oid; });
  for (auto& [database, seen] : seen_) {
    const int64_t limit = std::max(kForgetUs, 3 * seen.gap_us);
    const bool old = observation.mono_us - seen.mono_us > limit;
    if (old && !seen.forgotten) input->forgotten.push_back(database);
    seen.forgotten = old;
  }
}

std::vector<Match> FailureMatchers::Run(const hc_observation& observation, const Thresholds& thresholds,
                                        const std::vector<Exemption>& exempt) {
  clock_.Observe(observation.now_us, observation.mono_us);
  MatchInput input{observation, thresholds, clock_, nullptr, {}, {}};
  std::unique_ptr<WaitGraph> graph;
  if (observation.locks_known != 0 && observation.sessions_known != 0) {
    graph = std::make_unique<WaitGraph>(observation);
    input.graph = graph.get();
  }
  FindLooks(observation, &input);

  std::vector<Match> matches;
  for (const std::unique_ptr<Matcher>& matcher : matchers_) {
    matcher->Run(input, &matches);
  }
  for (Match& match : matches) {
    std::erase_if(match.targets, [&](const Target& target) { return IsExempt(target, exempt); });
  }
  AddOwnActions(observation.now_us, &matches);
  return matches;
}

void FailureMatchers::Restore(const hc_record& record) {
  for (const std::unique_ptr<Matcher>& matcher : matchers_) matcher->Restore(record);
}

std::vector<MatcherRecord> FailureMatchers::TakeRecords() {
  std::vector<MatcherRecord> records;
  for (const std::unique_ptr<Matcher>& matcher : matchers_) matcher->TakeRecords(&records);
  return records;
}

void FailureMatchers::NoteOwnAction(std::string_view fingerprint, int64_t now_us) {
  if (own_actions_.size() >= kMostOwnActions) {
    own_actions_.erase(own_actions_.begin());
  }
  own_actions_[std::string(fingerprint)] = now_us;
}

void FailureMatchers::AddOwnActions(int64_t now_us, std::vector<Match>* matches) {
  std::erase_if(own_actions_, [&](const auto& entry) {
    return clock_.AgeUs(entry.second) >= kOwnActionUs || entry.second > now_us;
  });
  for (Match& match : *matches) {
    const auto acted = own_actions_.find(match.fingerprint);
    const bool recent = acted != own_actions_.end();
    // What was there before the action is not its effect.
    const bool before = recent && match.since_us < acted->second;
    AddEvidence(&match, "healer_acted_recently", recent && !before,
                before   ? "this is older than what pg_heal did about it"
                : recent ? Text("pg_heal acted on this %.0f s ago", clock_.AgeSeconds(acted->second))
                         : "pg_heal did not act on this in the last 5 minutes");
  }
}

}  // namespace heal
