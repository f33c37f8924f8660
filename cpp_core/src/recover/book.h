// book.h: the rows the engine works on, in memory: open incidents with their
// attempts and recommendations, live snapshots. Knows which rows changed and
// hands their images out once per step.
//
// Bounded: rows of closed incidents and of expired snapshots are dropped after
// their last image was handed out.

#ifndef HEAL_CORE_RECOVER_BOOK_H_
#define HEAL_CORE_RECOVER_BOOK_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "heal_core/decisions.h"
#include "outbox.h"
#include "recover/incident.h"
#include "recover/rows.h"
#include "recover/snapshot_row.h"

namespace heal {

class Book {
 public:
  // Parses row images in any order, the newest of a key last. Throws
  // std::invalid_argument and leaves the book as it was.
  void Load(std::span<const hc_record> records);

  // New rows get the next id of their table and count as changed.
  Incident& Add(Incident row);
  Attempt& Add(Attempt row);
  Recommendation& Add(Recommendation row);
  SnapshotRow& Add(SnapshotRow row);
  SnapshotItemRow& Add(SnapshotItemRow row);
  // Append-only rows: handed out with this step, not kept.
  Transition Append(Transition row);
  void Append(AnomalyRow row);
  void Append(AuditEntry row);
  // As it is now; the forecaster keeps it and gives it its id.
  void Append(const Prediction& row) { predictions_.push_back(row); }

  // nullptr when it is not in memory.
  Incident* FindIncident(int64_t id) { return Find(&incidents_, id); }
  Attempt* FindAttempt(int64_t id) { return Find(&attempts_, id); }
  Recommendation* FindRecommendation(int64_t id) { return Find(&recommendations_, id); }
  SnapshotRow* FindSnapshot(int64_t id) { return Find(&snapshots_, id); }

  // The row's image is handed out at the end of this step.
  void Changed(const Incident& row) { changed_incidents_.insert(row.id); }
  void Changed(const Attempt& row) { changed_attempts_.insert(row.id); }
  void Changed(const Recommendation& row) { changed_recommendations_.insert(row.id); }
  void Changed(const SnapshotRow& row) { changed_snapshots_.insert(row.id); }
  void Changed(const SnapshotItemRow& row) { changed_items_.insert(row.id); }

  std::map<int64_t, Incident>& incidents() { return incidents_; }
  std::map<int64_t, Attempt>& attempts() { return attempts_; }
  std::map<int64_t, Recommendation>& recommendations() { return recommendations_; }
  std::map<int64_t, SnapshotRow>& snapshots() { return snapshots_; }
  const std::map<int64_t, SnapshotRow>& snapshots() const { return snapshots_; }

  std::vector<SnapshotItemRow*> ItemsOf(int64_t snapshot_id);
  // Number of item rows of one snapshot in memory.
  size_t CountItems(int64_t snapshot_id) const;

  // An id that has been given out once, in memory or not.
  bool WasIncident(int64_t id) const { return id > 0 && id < next_incident_; }
  bool WasRecommendation(int64_t id) const { return id > 0 && id < next_recommendation_; }
  bool WasSnapshot(int64_t id) const { return id > 0 && id < next_snapshot_; }

  // The predictions that were loaded, by id, once.
  std::map<int64_t, Prediction> TakePredictions() { return std::exchange(loaded_predictions_, {}); }

  // Hands out the image of every row that changed, then drops closed rows.
  void Flush(Outbox* out);
  // Drops closed rows without handing anything out (after Load).
  void DropClosed();

  // Estimate of the memory the rows take.
  size_t Bytes() const;
  size_t SnapshotBytes() const;

 private:
  template <typename Row>
  static Row* Find(std::map<int64_t, Row>* rows, int64_t id) {
    const auto found = rows->find(id);
    return found == rows->end() ? nullptr : &found->second;
  }
  template <typename Row>
  void FlushTable(hc_table_kind table, const std::map<int64_t, Row>& rows, std::set<int64_t>* changed,
                  Outbox* out);
  void LoadRow(const hc_record& record);
  bool Live(int64_t incident_id) const;

  std::map<int64_t, Incident> incidents_;
  std::map<int64_t, Attempt> attempts_;
  std::map<int64_t, Recommendation> recommendations_;
  std::map<int64_t, SnapshotRow> snapshots_;
  std::map<int64_t, SnapshotItemRow> items_;
  // Items are looked up by snapshot: (snapshot_id, item_id).
  std::set<std::pair<int64_t, int64_t>> items_by_snapshot_;

  std::set<int64_t> changed_incidents_, changed_attempts_, changed_recommendations_, changed_snapshots_,
      changed_items_;
  std::vector<Transition> transitions_;
  std::vector<AnomalyRow> anomalies_;
  std::vector<AuditEntry> audit_;
  std::vector<Prediction> predictions_;
  std::map<int64_t, Prediction> loaded_predictions_;

  int64_t next_incident_ = 1, next_transition_ = 1, next_attempt_ = 1, next_recommendation_ = 1,
          next_snapshot_ = 1, next_item_ = 1, next_anomaly_ = 1, next_audit_ = 1;
};

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_BOOK_H_
