// snapshot_row.h: a row of heal.snapshots and of heal.snapshot_items.

#ifndef HEAL_CORE_RECOVER_SNAPSHOT_ROW_H_
#define HEAL_CORE_RECOVER_SNAPSHOT_ROW_H_

#include <cstdint>
#include <string>

#include "recover/snapshot.h"

namespace heal {

struct SnapshotRow {
  int64_t id = 0;
  int64_t parent_id = 0;    // 0: a root
  int64_t incident_id = 0;  // 0: taken by hand
  int depth = 1;
  std::string label, component, taken_by;
  int64_t taken_at = 0;
  int64_t expires_at = 0;
  int items = 0;
  std::string state = "active";  // active rolled_back expired superseded
  std::string rollback_status;   // "" never rolled back

  bool by_hand() const { return incident_id == 0; }
};

struct SnapshotItemRow {
  int64_t id = 0;
  int64_t snapshot_id = 0;
  SnapshotItem item;
  std::string status, detail;  // of the last roll-back, "" none
};

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_SNAPSHOT_ROW_H_
