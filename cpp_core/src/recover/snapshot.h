// snapshot.h: before-images as values: parse, print, compare.
//
// An item is named by (kind, database_oid, object, name). value is its image,
// nullopt when it did not exist; of an index its definition, marked when it was
// not valid. Item lists arrive from action workers and from
// tables and are treated as hostile: every field is checked, sizes are bounded.

#ifndef HEAL_CORE_RECOVER_SNAPSHOT_H_
#define HEAL_CORE_RECOVER_SNAPSHOT_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "plan/planner.h"

namespace heal {

// Text is not a list of snapshot items. what() says which item and field.
class SnapshotError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

struct ItemKey {
  std::string kind;  // server_setting role_setting storage_option index
  uint32_t database_oid = 0;
  std::string object;
  std::string name;
  auto operator<=>(const ItemKey&) const = default;
};

struct SnapshotItem {
  std::string kind;
  std::string database;
  uint32_t database_oid = 0;
  std::string object;
  std::string name;
  std::optional<std::string> value;
  std::string restore_sql;
  std::string reset_sql;
  // What our own action made of it, where known: then a third value is drift,
  // somebody else's change. Never set in a snapshot taken by hand.
  bool has_expected = false;
  std::optional<std::string> expected;

  ItemKey key() const { return {kind, database_oid, object, name}; }
  std::string Label() const;  // "storage_option public.t autovacuum_enabled in shop"
};

inline constexpr size_t kMaxSnapshotItems = 100000;
inline constexpr size_t kMaxSnapshotBytes = size_t{64} << 20;

// Throws SnapshotError.
std::vector<SnapshotItem> ParseItems(std::string_view json);
// The inverse; expected is written as key "expected" only where it is known.
std::string ItemsJson(std::span<const SnapshotItem> items);

// Set expected of the items a candidate is going to change.
void SetExpected(std::span<const ExpectedValue> expected, std::vector<SnapshotItem>* items);

enum class ItemNeed {
  kNone,     // is as it was
  kRestore,  // differs: restore_sql of the before-image
  kReset,    // did not exist then: reset_sql
  kKept,     // came later and is kept
  kDrift     // changed by somebody else: not overwritten
};
const char* ItemNeedName(ItemNeed need);

struct ItemDiff {
  SnapshotItem item;  // the before-image; for something that came later its image now
  std::optional<std::string> now;
  ItemNeed needed = ItemNeed::kNone;
  std::string sql;  // "" when nothing is to be done
};

struct DiffOptions {
  bool force = false;        // overwrite drift, drop indexes that came later or took the name of one
  bool only_listed = false;  // before names all items meant (automatic snapshots); others are not looked at
};

// Items of before in their order, then those only in now, by key.
std::vector<ItemDiff> Diff(std::span<const SnapshotItem> before, std::span<const SnapshotItem> now,
                           const DiffOptions& options);

// A request for HC_CMD_CAPTURE in one database.
struct CaptureRequest {
  uint32_t database_oid = 0;
  std::string items;  // JSON array
};

// Requests that show the listed items again, whatever became of their objects.
std::vector<CaptureRequest> RecaptureRequests(std::span<const SnapshotItem> items);

// One request per database.
std::vector<CaptureRequest> MergeRequests(std::span<const CaptureRequest> requests);

// Requests of a snapshot by hand: everything, or one component (settings,
// storage, indexes, roles; "" all), in these databases (0: pg_heal.database).
// Throws SnapshotError for an unknown component.
std::vector<CaptureRequest> ManualRequests(std::string_view component, std::span<const uint32_t> databases);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_SNAPSHOT_H_
