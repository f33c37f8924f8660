// P12 vacuum_starved: the dead rows of a table rise from inspection to
// inspection.

#include <algorithm>
#include <string>

#include "detect/horizon.h"
#include "detect/matcher.h"
#include "detect/object_tracker.h"

namespace heal {
namespace {

constexpr char kType[] = "vacuum_starved";
// More heap than this per known row means that the row counts are too low.
constexpr int64_t kBytesPerRow = 2048;

struct Suspect {
  bool seen = false;
  int rises = 0;  // looks in a row with more dead rows than the one before
  int64_t rose_after_vacuum = -1;  // last_vacuum when they had risen often enough
  int64_t dead = 0;
  int64_t since = 0;
  int64_t last_look_mono = 0;  // the look before the present one
  int64_t look_mono = 0;
  bool raised = false;
  Match match;
};

class VacuumStarvedMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void LookAt(const MatchInput& input, const Look& look, const hc_table& table);

  ObjectTracker<Suspect> suspects_;
  HorizonHolders horizon_;
};

// The row count of the statistics, or more where the heap shows that they were
// reset and count from zero again.
double LiveRows(const hc_table& table) {
  const int64_t by_size = table.bytes / kBytesPerRow - table.dead_tuples;
  return static_cast<double>(std::max<int64_t>({table.live_tuples, by_size, 1}));
}

// grew: the dead rows rose, and no vacuum came since.
Match Describe(const MatchInput& input, const hc_table& table, int rises, bool grew) {
  const std::string name = std::string(table.schema) + "." + table.name;
  const double dead = static_cast<double>(table.dead_tuples);
  const double share = dead / LiveRows(table);
  Match match =
      NewMatch(kType, Text("%u/%u", table.database_oid, table.relation_oid), name,
               Text("%s has %.0f dead rows, %.0f %% of its live rows", name.c_str(), dead, 100 * share));
  match.database = table.database;
  match.database_oid = table.database_oid;
  match.relation_oid = table.relation_oid;
  AddEvidence(&match, "dead_tuples_growing", grew,
              rises > 1 ? Text("dead rows rose in %d inspections in a row", rises)
              : grew    ? "dead rows rose and were not vacuumed since"
                        : "dead rows did not rise since the last vacuum");
  const bool off = (table.flags & HC_TABLE_AUTOVACUUM_OFF) != 0;
  AddEvidence(
      &match, "autovacuum_disabled_on_table", off,
      off ? "the table's options switch autovacuum off" : "autovacuum is not switched off for the table");
  AddAutovacuumEvidence(input, &match);
  const bool busy = (table.flags & HC_TABLE_BUSY) != 0;
  AddEvidence(&match, "table_busy", busy,
              busy ? "maintenance runs on the table" : "no maintenance runs on the table");
  match.params["relation"] = table.qualified;
  match.params["schema"] = table.schema;
  match.params["table"] = table.name;
  match.params["owner"] = table.owner;
  match.params["reloptions"] = table.reloptions;
  match.values["dead_rows"] = dead;
  match.values["live_rows"] = static_cast<double>(table.live_tuples);
  match.values["dead_share"] = share;
  match.values["rises"] = rises;
  match.values["bytes"] = static_cast<double>(table.bytes);
  match.values["last_vacuum"] = static_cast<double>(table.last_vacuum);
  return match;
}

void VacuumStarvedMatcher::LookAt(const MatchInput& input, const Look& look, const hc_table& table) {
  if ((table.flags & (HC_TABLE_SYSTEM | HC_TABLE_TEMPORARY | HC_TABLE_PARTITIONED)) != 0) {
    return;
  }
  const Thresholds& limits = input.thresholds;
  const double dead = static_cast<double>(table.dead_tuples);
  Suspect* suspect = suspects_.Find(table.database_oid, table.relation_oid);
  const bool raised = suspect != nullptr && suspect->raised;
  const bool many = dead > limits.Get(kType, raised ? "clear_share" : "dead_share") * LiveRows(table) ||
                    dead > limits.Get(kType, raised ? "clear_rows" : "dead_rows");
  if (!many || !(dead >= limits.Get(kType, "min_dead_rows"))) {
    if (suspect != nullptr) {
      suspects_.Forget(table.database_oid, table.relation_oid);
    }
    return;
  }
  if (suspect == nullptr) {
    suspect = suspects_.Add(table.database_oid, table.relation_oid);
    if (suspect == nullptr) return;
  }
  const bool rises = table.dead_tuples > suspect->dead;
  if (!rises || suspect->rises == 0) {
    suspect->rises = 0;
    if (!suspect->raised) suspect->since = look.inspected_at;
  }
  suspect->seen = true;
  suspect->rises = std::min(suspect->rises + 1, 1 << 20);
  suspect->dead = table.dead_tuples;
  suspect->last_look_mono = suspect->look_mono != 0 ? suspect->look_mono : input.observation.mono_us;
  suspect->look_mono = input.observation.mono_us;
  const bool busy = (table.flags & HC_TABLE_BUSY) != 0;
  if (suspect->rises >= limits.Get(kType, "samples") && !busy) {
    suspect->raised = true;
    suspect->rose_after_vacuum = table.last_vacuum;
  }
  if (!suspect->raised) return;
  const bool grew = suspect->rises > 1 || table.last_vacuum == suspect->rose_after_vacuum;
  suspect->match = Describe(input, table, suspect->rises, grew);
  suspect->match.since_us = suspect->since;
}

void VacuumStarvedMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  horizon_.Observe(input);
  suspects_.BeginLooks();
  for (uint32_t i = 0; i < input.observation.n_tables; ++i) {
    const hc_table& table = input.observation.tables[i];
    const Look* look = input.FindLook(table.database_oid);
    if (look != nullptr) LookAt(input, *look, table);
  }
  suspects_.EndLooks(input);
  for (const auto& [key, suspect] : suspects_.states()) {
    if (!suspect.raised) continue;
    out->push_back(suspect.match);
    // The holders are read in every step, the tables are not.
    horizon_.AddEvidence(key.first, suspect.last_look_mono, &out->back());
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeVacuumStarvedMatcher() { return std::make_unique<VacuumStarvedMatcher>(); }

}  // namespace heal
