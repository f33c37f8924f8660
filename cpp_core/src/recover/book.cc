#include "recover/book.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace heal {
namespace {

// Bookkeeping of a map node and of short strings, roughly.
constexpr size_t kRowOverhead = 512;

template <typename... Strings>
size_t TextBytes(const Strings&... texts) {
  return (texts.capacity() + ...);
}

size_t BytesOf(const Incident& row) {
  return kRowOverhead + TextBytes(row.subject, row.fingerprint, row.explanation);
}
size_t BytesOf(const Attempt& row) {
  return kRowOverhead + TextBytes(row.subject, row.action, row.sql, row.undo_sql, row.detail);
}
size_t BytesOf(const Recommendation& row) {
  return kRowOverhead + TextBytes(row.action, row.sql, row.undo_sql, row.reason);
}
size_t BytesOf(const SnapshotRow& row) { return kRowOverhead + TextBytes(row.label); }
size_t BytesOf(const SnapshotItemRow& row) {
  const SnapshotItem& item = row.item;
  return kRowOverhead + TextBytes(item.object, item.name, item.restore_sql, item.reset_sql, row.detail) +
         (item.value ? item.value->capacity() : 0);
}

template <typename Row>
size_t BytesOf(const std::map<int64_t, Row>& rows) {
  size_t sum = 0;
  for (const auto& [id, row] : rows) sum += BytesOf(row);
  return sum;
}

bool SnapshotLive(const SnapshotRow& row) {
  return row.state == "active" || row.rollback_status == "in_progress";
}

template <typename Rows, typename Keep>
void EraseUnless(Rows* rows, Keep keep) {
  for (auto it = rows->begin(); it != rows->end();) it = keep(it->second) ? std::next(it) : rows->erase(it);
}

}  // namespace

void Book::Load(std::span<const hc_record> records) {
  Book loaded = *this;
  for (const hc_record& record : records) loaded.LoadRow(record);
  *this = std::move(loaded);
}

void Book::LoadRow(const hc_record& record) {
  const auto next = [&record](int64_t* counter) {
    if (record.id <= 0 || record.id == INT64_MAX) throw std::invalid_argument("a record has no valid id");
    *counter = std::max(*counter, record.id + 1);
  };
  const auto same = [&record](int64_t id) {
    if (id != record.id) throw std::invalid_argument("the id of a record is not that of its row");
  };
  switch (record.table) {
    case HC_T_INCIDENTS: {
      Incident row = ParseIncident(record.json);
      same(row.id);
      next(&next_incident_);
      incidents_.insert_or_assign(row.id, std::move(row));
      return;
    }
    case HC_T_ATTEMPTS: {
      Attempt row = ParseAttempt(record.json);
      same(row.id);
      next(&next_attempt_);
      attempts_.insert_or_assign(row.id, std::move(row));
      return;
    }
    case HC_T_RECOMMENDATIONS: {
      Recommendation row = ParseRecommendation(record.json);
      same(row.id);
      next(&next_recommendation_);
      recommendations_.insert_or_assign(row.id, std::move(row));
      return;
    }
    case HC_T_SNAPSHOTS: {
      SnapshotRow row = ParseSnapshot(record.json);
      same(row.id);
      next(&next_snapshot_);
      snapshots_.insert_or_assign(row.id, std::move(row));
      return;
    }
    case HC_T_SNAPSHOT_ITEMS: {
      SnapshotItemRow row = ParseSnapshotItem(record.json);
      same(row.id);
      next(&next_item_);
      items_by_snapshot_.emplace(row.snapshot_id, row.id);
      items_.insert_or_assign(row.id, std::move(row));
      return;
    }
    case HC_T_TRANSITIONS:
      return next(&next_transition_);
    case HC_T_ANOMALIES:
      return next(&next_anomaly_);
    case HC_T_AUDIT:
      return next(&next_audit_);
    case HC_T_PREDICTIONS: {
      const Prediction row = ParsePrediction(record.json);
      same(static_cast<int64_t>(row.id));
      loaded_predictions_.insert_or_assign(record.id, row);
      return;
    }
    case HC_T_COLUMN_GENERATIONS:
      return;  // of a matcher
    case HC_T_COUNT:
      break;
  }
  throw std::invalid_argument("a record names no known table");
}

Incident& Book::Add(Incident row) {
  row.id = next_incident_++;
  changed_incidents_.insert(row.id);
  return incidents_.insert_or_assign(row.id, std::move(row)).first->second;
}

Attempt& Book::Add(Attempt row) {
  row.id = next_attempt_++;
  changed_attempts_.insert(row.id);
  return attempts_.insert_or_assign(row.id, std::move(row)).first->second;
}

Recommendation& Book::Add(Recommendation row) {
  row.id = next_recommendation_++;
  changed_recommendations_.insert(row.id);
  return recommendations_.insert_or_assign(row.id, std::move(row)).first->second;
}

SnapshotRow& Book::Add(SnapshotRow row) {
  row.id = next_snapshot_++;
  changed_snapshots_.insert(row.id);
  return snapshots_.insert_or_assign(row.id, std::move(row)).first->second;
}

SnapshotItemRow& Book::Add(SnapshotItemRow row) {
  row.id = next_item_++;
  changed_items_.insert(row.id);
  items_by_snapshot_.emplace(row.snapshot_id, row.id);
  return items_.insert_or_assign(row.id, std::move(row)).first->second;
}

Transition Book::Append(Transition row) {
  row.id = next_transition_++;
  transitions_.push_back(row);
  return row;
}

void Book::Append(AnomalyRow row) {
  row.id = next_anomaly_++;
  anomalies_.push_back(std::move(row));
}

void Book::Append(AuditEntry row) {
  row.id = next_audit_++;
  audit_.push_back(std::move(row));
}

std::vector<SnapshotItemRow*> Book::ItemsOf(int64_t snapshot_id) {
  std::vector<SnapshotItemRow*> found;
  for (auto it = items_by_snapshot_.lower_bound({snapshot_id, 0});
       it != items_by_snapshot_.end() && it->first == snapshot_id; ++it)
    found.push_back(&items_.at(it->second));
  return found;
}

size_t Book::CountItems(int64_t snapshot_id) const {
  const auto first = items_by_snapshot_.lower_bound({snapshot_id, 0});
  const auto last = items_by_snapshot_.lower_bound({snapshot_id + 1, 0});
  return static_cast<size_t>(std::distance(first, last));
}

template <typename Row>
void Book::FlushTable(hc_table_kind table, const std::map<int64_t, Row>& rows, std::set<int64_t>* changed,
                      Outbox* out) {
  for (int64_t id : *changed)
    if (const auto found = rows.find(id); found != rows.end()) out->Record(table, id, RowText(found->second));
  changed->clear();
}

// A snapshot comes before the attempt that refers to it and before its
// incident says "executing": a journal cut short in the middle never shows an
// action without its before-image.
void Book::Flush(Outbox* out) {
  FlushTable(HC_T_SNAPSHOTS, snapshots_, &changed_snapshots_, out);
  FlushTable(HC_T_SNAPSHOT_ITEMS, items_, &changed_items_, out);
  FlushTable(HC_T_ATTEMPTS, attempts_, &changed_attempts_, out);
  FlushTable(HC_T_INCIDENTS, incidents_, &changed_incidents_, out);
  for (const Transition& row : transitions_) out->Record(HC_T_TRANSITIONS, row.id, RowText(row));
  FlushTable(HC_T_RECOMMENDATIONS, recommendations_, &changed_recommendations_, out);
  for (const AnomalyRow& row : anomalies_) out->Record(HC_T_ANOMALIES, row.id, RowText(row));
  for (const AuditEntry& row : audit_) out->Record(HC_T_AUDIT, row.id, RowText(row));
  for (const Prediction& row : predictions_)
    out->Record(HC_T_PREDICTIONS, static_cast<int64_t>(row.id), RowText(row));
  predictions_.clear();
  transitions_.clear();
  anomalies_.clear();
  audit_.clear();
  DropClosed();
}

bool Book::Live(int64_t incident_id) const {
  const auto found = incidents_.find(incident_id);
  return found != incidents_.end() && found->second.open();
}

void Book::DropClosed() {
  EraseUnless(&incidents_, [](const Incident& row) { return row.open(); });
  EraseUnless(&attempts_, [this](const Attempt& row) { return Live(row.incident_id); });
  EraseUnless(&recommendations_, [this](const Recommendation& row) { return Live(row.incident_id); });
  EraseUnless(&snapshots_, SnapshotLive);
  for (auto it = items_by_snapshot_.begin(); it != items_by_snapshot_.end();) {
    if (snapshots_.contains(it->first)) {
      ++it;
      continue;
    }
    items_.erase(it->second);
    it = items_by_snapshot_.erase(it);
  }
}

size_t Book::SnapshotBytes() const { return BytesOf(snapshots_) + BytesOf(items_); }

size_t Book::Bytes() const {
  return BytesOf(incidents_) + BytesOf(attempts_) + BytesOf(recommendations_) + SnapshotBytes();
}

}  // namespace heal
