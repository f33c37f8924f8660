// matcher.h: what every failure matcher is given, and what they share.

#ifndef HEAL_CORE_DETECT_MATCHER_H_
#define HEAL_CORE_DETECT_MATCHER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "catalogue/failures.h"
#include "detect/wait_graph.h"
#include "detect/wall_clock.h"
#include "heal_core/decisions.h"
#include "heal_core/observation.h"
#include "model.h"

namespace heal {

// A database the inspectors looked at since the last step.
struct Look {
  uint32_t database_oid;
  int64_t inspected_at;
  bool complete;  // what is not listed is gone
};

struct MatchInput {
  const hc_observation& observation;
  const Thresholds& thresholds;
  const WallClock& clock;
  // nullptr when locks or sessions are unknown: then nothing is judged by them.
  const WaitGraph* graph = nullptr;
  std::vector<Look> looks;          // by database_oid
  std::vector<uint32_t> forgotten;  // databases not looked at for too long

  const Look* FindLook(uint32_t database_oid) const;
};

// A row a matcher wants to be kept, and given back after a restart.
struct MatcherRecord {
  hc_table_kind table;
  int64_t id;
  std::string json;
};

class Matcher {
 public:
  virtual ~Matcher() = default;
  virtual void Run(const MatchInput& input, std::vector<Match>* out) = 0;
  // Takes back a row of its own table; others are not its business.
  virtual void Restore(const hc_record&) {}
  // Rows that changed in the last Run.
  virtual void TakeRecords(std::vector<MatcherRecord>*) {}
};

std::unique_ptr<Matcher> MakeIdleBlockerMatcher();           // P01
std::unique_ptr<Matcher> MakeDdlQueueMatcher();              // P02
std::unique_ptr<Matcher> MakeStaleStatisticsMatcher();       // P07
std::unique_ptr<Matcher> MakeCheckpointStormMatcher();       // P11
std::unique_ptr<Matcher> MakeVacuumStarvedMatcher();         // P12
std::unique_ptr<Matcher> MakeInvalidIndexMatcher();          // P15
std::unique_ptr<Matcher> MakeConnectionExhaustionMatcher();  // R04
std::unique_ptr<Matcher> MakeExhaustionMatcher();            // R01, R03, R05, R06, R08, R11
std::unique_ptr<Matcher> MakeBruteForceMatcher();            // S01
std::unique_ptr<Matcher> MakePrivilegedActMatcher();         // S02, S03
std::unique_ptr<Matcher> MakeExfiltrationMatcher();         // S04
std::unique_ptr<Matcher> MakeProbingMatcher();              // S05
std::unique_ptr<Matcher> MakeDestructiveMatcher();          // S06
std::unique_ptr<Matcher> MakeSettingTamperingMatcher();     // S08
std::unique_ptr<Matcher> MakeChecksumFailureMatcher();       // Q01
std::unique_ptr<Matcher> MakeDataFaultMatcher();             // Q02, Q03, Q07
std::unique_ptr<Matcher> MakeConstraintBurstMatcher();       // Q05
std::unique_ptr<Matcher> MakeSequenceBehindMatcher();        // Q06
std::unique_ptr<Matcher> MakeDistributionDriftMatcher();     // Q08
std::unique_ptr<Matcher> MakeRowCountCliffMatcher();         // Q09

// ---- shared by the matchers ----

// printf into a string.
std::string Text(const char* format, ...) __attribute__((format(printf, 1, 2)));

// A match with the catalogue's component, category and severity, the symptom
// as first evidence, and component/type/key as fingerprint.
Match NewMatch(std::string_view failure_type, const std::string& key, const std::string& subject,
               const std::string& why);

void AddEvidence(Match* match, const char* node, Truth truth, std::string why);
void AddEvidence(Match* match, const char* node, bool present, std::string why);

Target MakeTarget(const hc_session& session, hc_signal_guard guard, uint32_t relation_oid);

bool IsIdleInTransaction(const hc_session& session);

// Case-insensitive, ASCII.
bool StartsWith(std::string_view text, std::string_view prefix);
bool Contains(std::string_view text, std::string_view part);

// Requests of the queue behind position that the request there alone holds up:
// weaker than ACCESS EXCLUSIVE and compatible with all that is granted.
uint32_t QueuedBehind(const hc_observation& observation, const hc_lock& lock, uint32_t position);

// Is this party a client's waiting ACCESS EXCLUSIVE request on a relation?
bool IsWaitingDdl(const WaitGraph::Party& party);

// Who is at the root of these waiters: evidence for the holder_* nodes.
void AddHolderEvidence(const MatchInput& input, const std::vector<uint32_t>& waiters, Match* match);

// Are all autovacuum workers at work? Unknown where the metric is.
void AddAutovacuumEvidence(const MatchInput& input, Match* match);

// A match whose facts are unknown now, as it was, but with nobody to signal.
Match HeldUnknown(const Match& match);

}  // namespace heal

#endif  // HEAL_CORE_DETECT_MATCHER_H_
