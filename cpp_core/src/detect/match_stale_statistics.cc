// P07 stale_statistics: many rows changed since the last analyze, and analyze
// does not come.

#include <algorithm>
#include <string>

#include "detect/matcher.h"
#include "detect/object_tracker.h"

namespace heal {
namespace {

constexpr char kType[] = "stale_statistics";

struct Suspect {
  bool seen = false;
  int looks = 0;
  int64_t changed = 0;
  int64_t last_analyze = 0;
  int64_t since = 0;
  bool raised = false;
  Match match;
};

class StaleStatisticsMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void LookAt(const MatchInput& input, const Look& look, const hc_table& table);

  ObjectTracker<Suspect> suspects_;
};

// Autovacuum neither counts nor analyzes for a partitioned parent: one that has
// never been analyzed is as stale as it has rows.
int64_t ChangedRows(const hc_table& table) {
  if ((table.flags & HC_TABLE_PARTITIONED) != 0 && table.last_analyze == 0) {
    return std::max(table.mod_since_analyze, table.live_tuples);
  }
  return table.mod_since_analyze;
}

Match Describe(const MatchInput& input, const hc_table& table, int64_t changed) {
  const std::string name = std::string(table.schema) + "." + table.name;
  Match match = NewMatch(
      kType, Text("%u/%u", table.database_oid, table.relation_oid), name,
      Text("%lld rows of %s changed since its last analyze, it has %lld", static_cast<long long>(changed),
           name.c_str(), static_cast<long long>(table.live_tuples)));
  match.database = table.database;
  match.database_oid = table.database_oid;
  match.relation_oid = table.relation_oid;
  AddEvidence(&match, "rows_changed_since_analyze", true,
              Text("%lld rows changed and did not become fewer between "
                   "inspections",
                   static_cast<long long>(changed)));
  const bool parent = (table.flags & HC_TABLE_PARTITIONED) != 0;
  const bool off = (table.flags & HC_TABLE_AUTOVACUUM_OFF) != 0;
  AddEvidence(&match, "autovacuum_disabled_on_table", parent || off,
              parent ? "autovacuum never analyzes a partitioned table itself"
              : off  ? "the table's options switch autovacuum off"
                     : "autovacuum is not switched off for the table");
  AddAutovacuumEvidence(input, &match);
  const bool busy = (table.flags & HC_TABLE_BUSY) != 0;
  AddEvidence(&match, "table_busy", busy,
              busy ? "maintenance runs on the table" : "no maintenance runs on the table");
  match.params["relation"] = table.qualified;
  match.params["schema"] = table.schema;
  match.params["table"] = table.name;
  match.params["owner"] = table.owner;
  match.values["changed_rows"] = static_cast<double>(changed);
  match.values["live_rows"] = static_cast<double>(table.live_tuples);
  match.values["bytes"] = static_cast<double>(table.bytes);
  match.values["partitioned"] = parent ? 1 : 0;
  match.values["last_analyze"] = static_cast<double>(table.last_analyze);
  match.values["too_large"] =
      static_cast<double>(table.bytes) > input.thresholds.Get(kType, "max_bytes") ? 1 : 0;
  return match;
}

void StaleStatisticsMatcher::LookAt(const MatchInput& input, const Look& look, const hc_table& table) {
  if ((table.flags & (HC_TABLE_SYSTEM | HC_TABLE_TEMPORARY)) != 0) return;
  const Thresholds& limits = input.thresholds;
  const int64_t changed = ChangedRows(table);
  const double live = static_cast<double>(table.live_tuples);
  const auto above = [&](const char* share) {
    return static_cast<double>(changed) >
           std::max(limits.Get(kType, "min_rows"), limits.Get(kType, share) * live);
  };
  Suspect* suspect = suspects_.Find(table.database_oid, table.relation_oid);
  // Fewer changed rows: it was analyzed, truncated or its counters were reset.
  const bool fresh =
      suspect != nullptr && (changed < suspect->changed || table.last_analyze != suspect->last_analyze);
  const bool over = above(suspect != nullptr && suspect->raised && !fresh ? "clear_share" : "share");
  if (!over) {
    if (suspect != nullptr) {
      suspects_.Forget(table.database_oid, table.relation_oid);
    }
    return;
  }
  if (suspect == nullptr) {
    suspect = suspects_.Add(table.database_oid, table.relation_oid);
    if (suspect == nullptr) return;
  }
  if (fresh || suspect->looks == 0) {
    *suspect = Suspect();
    suspect->since = look.inspected_at;
  }
  suspect->seen = true;
  suspect->changed = changed;
  suspect->last_analyze = table.last_analyze;
  suspect->looks = std::min(suspect->looks + 1, 1 << 20);
  const bool busy = (table.flags & HC_TABLE_BUSY) != 0;
  if (suspect->looks >= limits.Get(kType, "samples") && !busy) {
    suspect->raised = true;
  }
  if (!suspect->raised) return;
  suspect->match = Describe(input, table, changed);
  suspect->match.since_us = suspect->since;
}

void StaleStatisticsMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  suspects_.BeginLooks();
  for (uint32_t i = 0; i < input.observation.n_tables; ++i) {
    const hc_table& table = input.observation.tables[i];
    const Look* look = input.FindLook(table.database_oid);
    if (look != nullptr) LookAt(input, *look, table);
  }
  suspects_.EndLooks(input);
  for (const auto& [key, suspect] : suspects_.states()) {
    if (suspect.raised) out->push_back(suspect.match);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeStaleStatisticsMatcher() { return std::make_unique<StaleStatisticsMatcher>(); }

}  // namespace heal
