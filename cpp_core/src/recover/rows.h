// rows.h: row images: what the journal keeps and the tables show. The keys of
// an image are the columns of its table (control/pg_heal--*.sql), and reading
// one back gives the value it was made from.

#ifndef HEAL_CORE_RECOVER_ROWS_H_
#define HEAL_CORE_RECOVER_ROWS_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "predict/forecaster.h"
#include "recover/incident.h"
#include "recover/snapshot_row.h"

namespace heal {

// A row of heal.anomalies. Append only: never read back.
struct AnomalyRow {
  int64_t id = 0;
  int64_t observed_at = 0;
  std::string category, metric, component;
  double value = 0;
  double score = 0;
  std::string method, shape, direction;
  double confidence = 0;
  int64_t incident_id = 0;  // 0: none
  int64_t onset_at = 0;     // the first odd sample of the burst
};

std::string RowText(const Incident& row);
std::string RowText(const Transition& row);
std::string RowText(const Attempt& row);
std::string RowText(const Recommendation& row);
std::string RowText(const SnapshotRow& row);
std::string RowText(const SnapshotItemRow& row);
std::string RowText(const AnomalyRow& row);
std::string RowText(const AuditEntry& row);
std::string RowText(const Prediction& row);

// These throw std::invalid_argument, naming the table and the column, when the
// text is no image of the table: a missing or mistyped column, an unknown
// state, a bad timestamp. Columns that are not known are ignored: a newer
// version may have added them.
Incident ParseIncident(std::string_view json);
Attempt ParseAttempt(std::string_view json);
Recommendation ParseRecommendation(std::string_view json);
SnapshotRow ParseSnapshot(std::string_view json);
SnapshotItemRow ParseSnapshotItem(std::string_view json);
Prediction ParsePrediction(std::string_view json);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_ROWS_H_
