// Q08 distribution_drift: what a watched column holds is not what it held.
//
// Two sources. The statistics of ANALYZE tell about the whole table, but come
// only after a tenth of it changed; the last blocks of the table tell at the
// next inspection what is written now. Neither is believed alone where it may
// be everyday life: the newest rows of a column that is filled in later are
// always NULL, and so the newest rows are compared with the newest rows of
// before, and their NULLs must be more than the statistics know of in the whole
// table.
//
// The state a column is compared with, its baseline, is kept through restarts.
// A state that lasted accept_s is the new baseline, and so is what is found
// when somebody watches the column again.

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <stdexcept>
#include <string>

#include "detect/distribution.h"
#include "detect/matcher.h"
#include "json_text.h"

namespace heal {
namespace {

constexpr char kType[] = "distribution_drift";
constexpr size_t kMostColumns = 512;
// Looks at the newest rows before it is known what is usual in them.
constexpr int kLearnLooks = 3;
constexpr double kDayS = 86400;

// Database, schema, table, column: names outlive a table made anew.
using Key = std::array<std::string, 4>;

// What is different, in words and numbers.
struct Finding {
  const char* node = "";
  std::string text;  // "null fraction of public.t.c rose from 0.00 to 0.43"
  double before = 0;
  double after = 0;
};

struct Column {
  int64_t id = 0;
  bool seen = false;
  bool stored = false;  // as it is now
  uint32_t database_oid = 0;
  uint32_t relation_oid = 0;
  int64_t watched_at = 0;
  Distribution baseline;
  int64_t baseline_at = 0;
  Distribution latest;
  double usual_index = 0;  // largest stability index between states without a drift
  double usual_shift = 0;  // the same of the distance of the deciles
  // Newest rows: the highest share of NULLs that is usual, and of the day.
  double recent_usual = 0;
  double recent_today = 0;
  int64_t day_began = 0;
  int recent_looks = 0;
  double recent_rows = 0;
  double recent_nulls = 0;
  int recent_over = 0;
  int64_t drift_since = 0;
  bool raised = false;
  Match match;

  double RecentShare() const { return recent_rows > 0 ? recent_nulls / recent_rows : 0; }
};

std::string NameOf(const Key& key) { return key[1] + "." + key[2] + "." + key[3]; }

class DistributionDriftMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;
  void Restore(const hc_record& record) override;
  void TakeRecords(std::vector<MatcherRecord>* out) override;

 private:
  Column* ColumnOf(const Key& key, const hc_column_stats& facts, const Look& look);
  void LookAt(const MatchInput& input, const Look& look, const hc_column_stats& facts);
  void NoteRecent(const MatchInput& input, const hc_column_stats& facts, Column* column);
  void NoDrift(const MatchInput& input, const Look& look, const Distribution& before, Column* column);
  void ForgetUnseen(const MatchInput& input);

  std::map<Key, Column> columns_;
  int64_t next_id_ = 1;
};

// ---- judging ----

// A limit, lower once the failure is raised.
double Limit(const MatchInput& input, const Column& column, const char* raise, const char* clear) {
  return input.thresholds.Get(kType, column.raised ? clear : raise);
}

bool NullsRose(const MatchInput& input, const std::string& name, const Column& c, Finding* finding) {
  const double rise = c.latest.nulls - c.baseline.nulls;
  const double z = ProportionZ(c.baseline.nulls, c.baseline.sample, c.latest.nulls, c.latest.sample);
  if (!(rise >= Limit(input, c, "null_rise", "clear_null_rise")) || !(z >= input.thresholds.Get(kType, "z"))) return false;
  *finding = {"nulls_rose",
              Text("null fraction of %s rose from %.2f to %.2f", name.c_str(), c.baseline.nulls, c.latest.nulls),
              c.baseline.nulls, c.latest.nulls};
  return true;
}

// More NULLs in the newest rows than ever there, and than the whole table is known to have.
bool NewestNull(const MatchInput& input, const Column& c, double* usual) {
  if (c.recent_looks < kLearnLooks || c.recent_rows < input.thresholds.Get(kType, "min_recent_rows")) return false;
  *usual = std::max(c.recent_usual, c.baseline.nulls);
  const double rise = c.RecentShare() - *usual;
  return rise >= Limit(input, c, "recent_rise", "clear_recent_rise") &&
         ProportionZ(*usual, c.recent_rows, c.RecentShare(), c.recent_rows) >= input.thresholds.Get(kType, "z") &&
         c.recent_nulls > c.baseline.rows * c.baseline.nulls;
}

bool CategoriesChanged(const MatchInput& input, const std::string& name, const Column& c, Finding* finding) {
  if (c.baseline.frequent < 0.9 * (1 - c.baseline.nulls) || c.latest.nulls > 0.99) return false;
  const double index = StabilityIndex(c.baseline, c.latest);
  const double limit = Limit(input, c, "index", "clear_index");
  if (!(index >= limit) || index < ChanceIndex(c.baseline, c.latest) || index < 2 * c.usual_index) return false;
  *finding = {"values_differ",
              Text("values of %s are distributed differently: stability index %.2f, usual is up to %.2f", name.c_str(),
                   index, c.usual_index),
              c.usual_index, index};
  return true;
}

bool DistinctChanged(const MatchInput& input, const std::string& name, const Column& c, Finding* finding) {
  if (std::max(c.baseline.distinct, c.latest.distinct) < 50) return false;
  const double factor = DistinctFactor(c.baseline, c.latest);
  if (!(factor >= Limit(input, c, "distinct_factor", "clear_distinct_factor"))) return false;
  *finding = {"values_differ",
              Text("different values of %s %s from %.0f to %.0f", name.c_str(),
                   c.latest.distinct < c.baseline.distinct ? "fell" : "rose", c.baseline.distinct, c.latest.distinct),
              c.baseline.distinct, c.latest.distinct};
  return true;
}

bool NumbersShifted(const MatchInput& input, const std::string& name, const Column& c, Finding* finding) {
  const auto rest = [](const Distribution& d) { return 1 - d.nulls - d.frequent; };
  if (rest(c.baseline) < 0.5 || rest(c.latest) < 0.5) return false;
  const double distance = DecileDistance(c.baseline, c.latest);
  if (!(distance >= Limit(input, c, "shift", "clear_shift")) || distance < 2 * c.usual_shift) return false;
  *finding = {"values_differ",
              Text("numbers in %s moved: distance of the distributions %.2f, usual is up to %.2f", name.c_str(),
                   distance, c.usual_shift),
              c.usual_shift, distance};
  return true;
}

bool Judge(const MatchInput& input, const std::string& name, Column* c, Finding* finding) {
  double usual = 0;
  const bool newest = NewestNull(input, *c, &usual);
  c->recent_over = newest ? std::min(c->recent_over + 1, 1 << 20) : 0;
  const bool judged = c->baseline.known() && c->latest.known() &&
                      std::min(c->baseline.sample, c->latest.sample) >= input.thresholds.Get(kType, "min_rows");
  if (judged && NullsRose(input, name, *c, finding)) return true;
  if (c->recent_over >= input.thresholds.Get(kType, "samples")) {
    *finding = {"nulls_rose",
                Text("null fraction of %s rose from %.2f to %.2f in the newest rows", name.c_str(), usual, c->RecentShare()),
                usual, c->RecentShare()};
    return true;
  }
  return judged && (CategoriesChanged(input, name, *c, finding) || DistinctChanged(input, name, *c, finding) ||
                    NumbersShifted(input, name, *c, finding));
}

Match Describe(const MatchInput& input, const Key& key, const Column& c, const Finding& finding) {
  const std::string name = NameOf(key);
  const std::string text = c.raised ? c.match.subject : finding.text;  // stable while it lasts
  Match match = NewMatch(kType, key[0] + "/" + name, text, finding.text);
  match.database = key[0];
  match.database_oid = c.database_oid;
  match.relation_oid = c.relation_oid;
  match.since_us = c.drift_since;
  const bool nulls = std::string_view(finding.node) == "nulls_rose";
  AddEvidence(&match, "nulls_rose", nulls, nulls ? finding.text : "the null fraction is as usual");
  AddEvidence(&match, "values_differ", !nulls, nulls ? "not judged: NULLs rose" : finding.text);
  if (c.recent_rows < input.thresholds.Get(kType, "min_recent_rows")) {
    AddEvidence(&match, "newest_rows_differ", Truth::kUnknown, "the newest rows were not looked at");
  } else {
    AddEvidence(&match, "newest_rows_differ", c.recent_over > 0,
                Text("%.2f of the newest %.0f rows of %s are NULL, usual is up to %.2f", c.RecentShare(), c.recent_rows,
                     name.c_str(), c.recent_usual));
  }
  const bool both = c.baseline.known() && c.latest.known();
  const double growth = both ? c.latest.rows / c.baseline.rows : 1;
  AddEvidence(&match, "table_grew_at_once", growth >= 1.5,
              both ? Text("the table had %.0f rows and has %.0f", c.baseline.rows, c.latest.rows)
                   : std::string("the table was not analyzed twice"));
  match.params["schema"] = key[1];
  match.params["table"] = key[2];
  match.params["column"] = key[3];
  match.params["first_seen"] = TimestampText(c.drift_since);
  match.values["before"] = finding.before;
  match.values["after"] = finding.after;
  match.values["null_fraction_before"] = c.baseline.nulls;
  match.values["null_fraction_after"] = c.latest.nulls;
  match.values["recent_null_fraction"] = c.RecentShare();
  return match;
}

// ---- what is remembered ----

Column* DistributionDriftMatcher::ColumnOf(const Key& key, const hc_column_stats& facts, const Look& look) {
  auto found = columns_.find(key);
  if (found != columns_.end() && found->second.watched_at != facts.watched_at) {
    // Watched anew: what is there now is right.
    const int64_t id = found->second.id;
    found->second = Column();
    found->second.id = id;
    found->second.watched_at = facts.watched_at;
    found->second.day_began = look.inspected_at;
  } else if (found == columns_.end()) {
    if (columns_.size() >= kMostColumns) return nullptr;
    found = columns_.emplace(key, Column()).first;
    found->second.id = next_id_++;
    found->second.watched_at = facts.watched_at;
    found->second.day_began = look.inspected_at;
  }
  found->second.seen = true;
  found->second.database_oid = facts.database_oid;
  found->second.relation_oid = facts.relation_oid;
  return &found->second;
}

// Shares of one day become usual when the day is over: a share that creeps up
// within hours must not move what it is compared with.
void DistributionDriftMatcher::NoteRecent(const MatchInput& input, const hc_column_stats& facts, Column* c) {
  c->recent_rows = c->recent_nulls = 0;
  if (!std::isfinite(facts.recent_rows) || !std::isfinite(facts.recent_nulls) || facts.recent_rows <= 0 ||
      facts.recent_nulls < 0 || facts.recent_nulls > facts.recent_rows)
    return;
  c->recent_rows = facts.recent_rows;
  c->recent_nulls = facts.recent_nulls;
  if (c->recent_rows < input.thresholds.Get(kType, "min_recent_rows")) return;
  if (c->recent_looks < kLearnLooks) {
    ++c->recent_looks;
    c->recent_usual = std::max(c->recent_usual, c->RecentShare());
    c->stored = false;
  }
}

void DistributionDriftMatcher::NoDrift(const MatchInput& input, const Look& look, const Distribution& before, Column* c) {
  c->drift_since = 0;
  if (c->recent_over == 0) c->recent_today = std::max(c->recent_today, c->RecentShare());
  if (input.clock.AgeSeconds(c->day_began) >= kDayS) {
    c->recent_usual = std::max(c->recent_usual, c->recent_today);
    c->recent_today = 0;
    c->day_began = look.inspected_at;
    c->stored = false;
  }
  if (before.known() && c->latest.known() && !(before == c->latest)) {
    c->usual_index = std::max(c->usual_index, StabilityIndex(before, c->latest));
    c->usual_shift = std::max(c->usual_shift, DecileDistance(before, c->latest));
    c->stored = false;
  }
  if (c->latest.known() && input.clock.AgeSeconds(c->baseline_at) >= input.thresholds.Get(kType, "accept_s")) {
    c->baseline = c->latest;
    c->baseline_at = look.inspected_at;
    c->stored = false;
  }
}

void DistributionDriftMatcher::LookAt(const MatchInput& input, const Look& look, const hc_column_stats& facts) {
  const Key key{facts.database, facts.schema, facts.table, facts.column};
  Column* c = ColumnOf(key, facts, look);
  if (c == nullptr) return;
  const Distribution before = c->latest;
  const Distribution now = DistributionOf(facts);
  if (now.known()) c->latest = now;
  if (!c->baseline.known() && now.known()) {
    c->baseline = now;
    c->baseline_at = look.inspected_at;
    c->stored = false;
  }
  NoteRecent(input, facts, c);

  Finding finding;
  bool drift = Judge(input, NameOf(key), c, &finding);
  if (drift && c->drift_since != 0 &&
      input.clock.AgeSeconds(c->drift_since) >= input.thresholds.Get(kType, "accept_s")) {
    // It has lasted: this is how the column is now.
    if (c->latest.known()) c->baseline = c->latest;
    c->baseline_at = look.inspected_at;
    c->recent_usual = std::max(c->recent_usual, c->RecentShare());
    c->recent_over = 0;
    c->stored = drift = false;
  }
  if (!drift) {
    if (c->drift_since != 0) c->stored = false;
    NoDrift(input, look, before, c);
    c->raised = false;
    return;
  }
  if (c->drift_since == 0) {
    c->drift_since = look.inspected_at;
    c->stored = false;
  }
  c->match = Describe(input, key, *c, finding);
  c->raised = true;
}

// Not watched any more, or its table has gone.
void DistributionDriftMatcher::ForgetUnseen(const MatchInput& input) {
  std::erase_if(columns_, [&](const auto& entry) {
    const Column& c = entry.second;
    const Look* look = input.FindLook(c.database_oid);
    return look != nullptr && look->complete && !c.seen;
  });
}

void DistributionDriftMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  if (!input.looks.empty()) {
    for (auto& [key, column] : columns_) column.seen = false;
    for (uint32_t i = 0; i < input.observation.n_columns; ++i) {
      const hc_column_stats& facts = input.observation.columns[i];
      const Look* look = input.FindLook(facts.database_oid);
      if (look != nullptr) LookAt(input, *look, facts);
    }
    ForgetUnseen(input);
  }
  for (const auto& [key, column] : columns_) {
    if (column.raised) out->push_back(column.match);
  }
}

// ---- rows of heal.column_generations ----

template <size_t n>
Json Numbers(const std::array<double, n>& values) {
  Json list = Json::array();
  for (const double value : values) list.push_back(value);
  return list;
}

template <size_t n>
void ReadNumbers(const Json& list, std::array<double, n>* values) {
  if (!list.is_array() || list.size() != n) throw std::invalid_argument("wrong number of elements");
  for (size_t i = 0; i < n; ++i) {
    const Json& value = list.elements()[i];
    (*values)[i] = value.is_null() ? std::nan("") : value.number();
  }
}

std::string RowOf(const Key& key, const Column& c) {
  return JsonText({{"generation_id", c.id},
                   {"database", key[0]},
                   {"schema_name", key[1]},
                   {"table_name", key[2]},
                   {"column_name", key[3]},
                   {"watched_at", TimestampText(c.watched_at)},
                   {"baseline_at", TimestampJson(c.baseline_at)},
                   {"table_rows", c.baseline.rows},
                   {"sample_rows", c.baseline.sample},
                   {"null_fraction", c.baseline.nulls},
                   {"distinct_values", c.baseline.distinct},
                   {"frequent_share", c.baseline.frequent},
                   {"bins", Numbers(c.baseline.bins)},
                   {"deciles", Numbers(c.baseline.deciles)},
                   {"usual_index", c.usual_index},
                   {"usual_shift", c.usual_shift},
                   {"recent_null_fraction", c.recent_usual},
                   {"recent_looks", c.recent_looks},
                   {"drift_since", TimestampJson(c.drift_since)}});
}

int64_t TimeOf(const Json& row, const char* column) {
  const Json& value = row.at(column);
  return value.is_null() ? 0 : ParseTimestamp(value.text());
}

// A row that cannot be understood is left out: its column is learnt again.
void DistributionDriftMatcher::Restore(const hc_record& record) {
  if (record.table != HC_T_COLUMN_GENERATIONS) return;
  next_id_ = std::max(next_id_, record.id + 1);
  try {
    const Json row = ParseJson(record.json, "column_generations");
    Column c;
    c.id = record.id;
    c.watched_at = TimeOf(row, "watched_at");
    c.baseline_at = c.day_began = TimeOf(row, "baseline_at");
    c.baseline.rows = row.at("table_rows").number();
    c.baseline.sample = row.at("sample_rows").number();
    c.baseline.nulls = row.at("null_fraction").number();
    c.baseline.distinct = row.at("distinct_values").number();
    c.baseline.frequent = row.at("frequent_share").number();
    ReadNumbers(row.at("bins"), &c.baseline.bins);
    ReadNumbers(row.at("deciles"), &c.baseline.deciles);
    c.usual_index = row.at("usual_index").number();
    c.usual_shift = row.at("usual_shift").number();
    c.recent_usual = row.at("recent_null_fraction").number();
    c.recent_looks = static_cast<int>(std::clamp<int64_t>(row.at("recent_looks").integer(), 0, kLearnLooks));
    c.drift_since = TimeOf(row, "drift_since");
    c.stored = true;
    const Key key{row.at("database").text(), row.at("schema_name").text(), row.at("table_name").text(),
                  row.at("column_name").text()};
    if (columns_.size() < kMostColumns) columns_.insert_or_assign(key, std::move(c));
  } catch (const std::invalid_argument&) {
  }
}

void DistributionDriftMatcher::TakeRecords(std::vector<MatcherRecord>* out) {
  for (auto& [key, column] : columns_) {
    if (column.stored || !column.seen) continue;
    column.stored = true;
    out->push_back({HC_T_COLUMN_GENERATIONS, column.id, RowOf(key, column)});
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeDistributionDriftMatcher() { return std::make_unique<DistributionDriftMatcher>(); }

}  // namespace heal
