// Q01 checksum_failure: pages were read whose checksum is not that of their
// contents. One is enough.

#include <map>
#include <string>

#include "detect/matcher.h"
#include "json_text.h"

namespace heal {
namespace {

constexpr char kType[] = "checksum_failure";
constexpr size_t kMostDatabases = 10000;

struct Database {
  int64_t failures = 0;
  bool shown = false;
  Match match;
};

class ChecksumFailureMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void Note(const hc_checksum& fact);
  void NoteMessages(const MatchInput& input);

  std::map<uint32_t, Database> databases_;
  std::map<std::string, std::string> messages_;  // newest about damaged data, by database
};

// Which block of which file, as the server said.
void ChecksumFailureMatcher::NoteMessages(const MatchInput& input) {
  for (uint32_t i = 0; i < input.observation.n_violations; ++i) {
    const hc_violation& violation = input.observation.violations[i];
    if (std::string_view(violation.sqlstate) != "XX001" || messages_.size() >= kMostDatabases) continue;
    messages_[violation.database] = violation.constraint;
  }
}

void ChecksumFailureMatcher::Note(const hc_checksum& fact) {
  const auto found = databases_.find(fact.database_oid);
  if (found == databases_.end() && databases_.size() >= kMostDatabases) return;
  Database& database = databases_[fact.database_oid];
  // Failures of long ago that nobody has seen since the statistics began.
  const bool news = fact.failures > database.failures;
  database.failures = fact.failures;
  if (!news) return;
  const std::string name = fact.database_oid == 0 ? "the shared catalogs" : std::string("database ") + fact.database;
  const std::string when = fact.last_at > 0 ? TimestampText(fact.last_at) : "an unknown time";
  const std::string why = Text("%lld pages with a wrong checksum in %s, the last at %s",
                               static_cast<long long>(fact.failures), name.c_str(), when.c_str());
  Match match = NewMatch(kType, Text("%u", fact.database_oid), name, why);
  match.database = fact.database;
  match.certain = true;
  match.since_us = fact.last_at;
  const auto message = messages_.find(fact.database);
  AddEvidence(&match, "page_checksum_wrong", true, message == messages_.end() ? why : why + ": " + message->second);
  match.values["failures"] = static_cast<double>(fact.failures);
  match.values["last_at"] = static_cast<double>(fact.last_at);
  database.match = std::move(match);
  database.shown = true;
}

void ChecksumFailureMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  NoteMessages(input);
  for (uint32_t i = 0; i < input.observation.n_checksums; ++i) Note(input.observation.checksums[i]);
  const double shown_s = input.thresholds.Get(kType, "shown_s");
  for (auto& [oid, database] : databases_) {
    if (database.shown && input.clock.AgeSeconds(database.match.since_us) > shown_s) database.shown = false;
    if (database.shown) out->push_back(database.match);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeChecksumFailureMatcher() { return std::make_unique<ChecksumFailureMatcher>(); }

}  // namespace heal
