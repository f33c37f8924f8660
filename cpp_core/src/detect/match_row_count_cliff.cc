// Q09 row_count_cliff: most rows of a large table have gone between two looks.
// A table that is emptied and filled again as a matter of routine falls like
// that every time: a fall is news only when the table has been watched for a
// while without one.

#include <algorithm>
#include <string>

#include "detect/matcher.h"
#include "detect/object_tracker.h"

namespace heal {
namespace {

constexpr char kType[] = "row_count_cliff";

struct Table {
  bool seen = false;
  int64_t first_seen = 0;
  int64_t rows = 0;  // of the last look before the fall
  int64_t deleted = 0;
  int64_t last_fall = 0;  // 0: never
  int64_t fell_from = 0;  // rows before the fall under way, 0 none
  int64_t since = 0;
  int looks = 0;  // below since the fall
  bool news = false;
  bool raised = false;
  Match match;
};

class RowCountCliffMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void LookAt(const MatchInput& input, const Look& look, const hc_row_count& row);

  ObjectTracker<Table> tables_;
};

Match Describe(const hc_row_count& row, const Table& table, bool deleted) {
  const std::string name = std::string(row.schema) + "." + row.table;
  const std::string text = Text("rows of %s fell from %lld to %lld", name.c_str(), static_cast<long long>(table.fell_from),
                                static_cast<long long>(row.live_tuples));
  Match match = NewMatch(kType, Text("%u/%u", row.database_oid, row.relation_oid), table.raised ? table.match.subject : text, text);
  match.database = row.database;
  match.database_oid = row.database_oid;
  match.relation_oid = row.relation_oid;
  match.since_us = table.since;
  AddEvidence(&match, "rows_gone", true, text);
  AddEvidence(&match, "rows_deleted_singly", deleted,
              deleted ? "the rows were deleted" : "the rows were not deleted one by one: the table was truncated or rewritten");
  match.values["before"] = static_cast<double>(table.fell_from);
  match.values["after"] = static_cast<double>(row.live_tuples);
  return match;
}

void RowCountCliffMatcher::LookAt(const MatchInput& input, const Look& look, const hc_row_count& row) {
  const Thresholds& limits = input.thresholds;
  if (row.live_tuples < 0) return;
  Table* table = tables_.Find(row.database_oid, row.relation_oid);
  if (table == nullptr) {
    table = tables_.Add(row.database_oid, row.relation_oid);
    if (table == nullptr) return;
    table->first_seen = look.inspected_at;
    table->rows = row.live_tuples;
    table->deleted = row.deleted;
    table->seen = true;
    return;
  }
  table->seen = true;
  const auto lost = [&](int64_t from, const char* share) {
    const double gone = static_cast<double>(from - row.live_tuples);
    return gone >= limits.Get(kType, "min_rows") && gone >= limits.Get(kType, share) * static_cast<double>(from);
  };
  if (table->fell_from == 0 && lost(table->rows, "share")) {
    const double quiet_s = input.clock.AgeSeconds(table->last_fall != 0 ? table->last_fall : table->first_seen);
    const hc_server* server = input.observation.server;
    const bool declared = server != nullptr && (server->flags & HC_SERVER_MIGRATION) != 0;
    table->news = !declared && quiet_s >= limits.Get(kType, "quiet_s");
    table->last_fall = table->since = look.inspected_at;
    table->fell_from = table->rows;
    table->looks = 0;
  } else if (table->fell_from != 0 && !lost(table->fell_from, "clear_share")) {
    // The rows are back.
    table->fell_from = 0;
    table->raised = false;
  } else if (table->fell_from != 0 && input.clock.AgeSeconds(table->since) >= limits.Get(kType, "accept_s")) {
    table->fell_from = 0;
    table->raised = false;
  }
  if (table->fell_from != 0) {
    table->looks = std::min(table->looks + 1, 1 << 20);
    if (table->news && table->looks >= limits.Get(kType, "samples")) {
      const double gone = static_cast<double>(table->fell_from - row.live_tuples);
      table->match = Describe(row, *table, static_cast<double>(row.deleted - table->deleted) >= 0.5 * gone);
      table->raised = true;
    }
    return;
  }
  table->rows = row.live_tuples;
  table->deleted = row.deleted;
}

void RowCountCliffMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  if (!input.looks.empty() || !input.forgotten.empty()) {
    tables_.BeginLooks();
    for (uint32_t i = 0; i < input.observation.n_row_counts; ++i) {
      const hc_row_count& row = input.observation.row_counts[i];
      const Look* look = input.FindLook(row.database_oid);
      if (look != nullptr) LookAt(input, *look, row);
    }
    tables_.EndLooks(input);
  }
  for (const auto& [key, table] : tables_.states()) {
    if (table.raised) out->push_back(table.match);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeRowCountCliffMatcher() { return std::make_unique<RowCountCliffMatcher>(); }

}  // namespace heal
