// rollback.h: undoing what was changed since a snapshot.
//
//   idle -> capture_now -> undo -> capture_again -> done
//                ^  |        |           |
//                |  v        v           v
//                +- waiting (something is not back, attempts are left)
//
// Each state asks for commands; the owner runs them, hands every outcome back
// and calls Tick. Commands carry tokens, not ids: tokens are unique within one
// roll-back, a lost roll-back is simply started anew (all steps are idempotent,
// they bring items to a stated image).

#ifndef HEAL_CORE_RECOVER_ROLLBACK_H_
#define HEAL_CORE_RECOVER_ROLLBACK_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heal_core/decisions.h"
#include "recover/snapshot.h"

namespace heal {

enum class RollbackStatus { kInProgress, kSuccess, kPartial, kFailed, kVerificationFailed };
const char* RollbackStatusName(
    RollbackStatus status);  // in_progress success partial failed verification_failed

enum class RollbackState { kIdle, kCaptureNow, kUndo, kCaptureAgain, kWaiting, kDone };
const char* RollbackStateName(RollbackState state);

// One snapshot as far as roll-back needs it.
struct RollbackImage {
  int64_t snapshot_id = 0;
  bool by_hand = false;  // items that came later are looked at too
  std::vector<SnapshotItem> items;
};

// A snapshot in the tree of snapshots.
struct SnapshotNode {
  int64_t snapshot_id = 0;
  int64_t parent_id = 0;  // 0 none
  int64_t taken_at_us = 0;
};

// root and everything nested in it, newest first. Empty when root is unknown.
std::vector<int64_t> NestedSnapshots(std::span<const SnapshotNode> all, int64_t root);
// Depth of a new child of parent (a root has depth 1); throws SnapshotError
// when parent is unknown or max_depth would be exceeded.
int32_t NestedDepth(std::span<const SnapshotNode> all, int64_t parent, int32_t max_depth);

struct RollbackOptions {
  bool force = false;
  int32_t max_attempts = 3;
  int64_t timeout_us = 30000000;  // of the whole roll-back
  bool verify = true;
  int32_t lock_timeout_ms = 1000;
};
RollbackOptions RollbackOptionsFor(const hc_settings& settings, bool force);

struct RollbackCommand {
  uint32_t token = 0;
  hc_command_kind kind = HC_CMD_CAPTURE;  // or HC_CMD_SQL
  uint32_t database_oid = 0;
  std::string items;  // CAPTURE
  std::string sql;    // SQL
  int32_t lock_timeout_ms = 0;
  int32_t statement_timeout_ms = 0;
};

struct RollbackItem {
  SnapshotItem item;
  // restored reset unchanged kept skipped failed verification_failed pending
  std::string status;
  std::string detail;
};

class Rollback {
 public:
  // images: newest first (NestedSnapshots). requests show the state of now; none:
  // RecaptureRequests of the items, which is right for automatic snapshots.
  Rollback(const RollbackOptions& options, std::vector<RollbackImage> images,
           std::vector<CaptureRequest> requests);

  // First commands. Once.
  std::vector<RollbackCommand> Start(int64_t now_us);
  // Outcome of the command with that token; unknown tokens are ignored.
  std::vector<RollbackCommand> OnOutcome(uint32_t token, const hc_outcome& outcome, int64_t now_us);
  // Time passes: timeouts, and the next attempt after a delay.
  std::vector<RollbackCommand> Tick(int64_t now_us);
  // Stop now (pause, shutdown): what is not proven restored is reported so.
  void Abandon(std::string_view why);

  bool done() const { return state_ == RollbackState::kDone; }
  // An index is being built again: that takes time, and waits for every
  // transaction of its database that began earlier.
  bool BuildsIndex() const;
  RollbackState state() const { return state_; }
  RollbackStatus status() const { return status_; }
  const std::string& detail() const { return detail_; }
  int32_t attempt() const { return attempt_; }
  std::vector<int64_t> snapshots() const;  // ids, newest first
  const std::vector<RollbackItem>& items() const { return items_; }
  // While it undoes: what is known of each item.
  std::vector<RollbackItem> Outlook() const;

 private:
  enum class Event { kBegin, kFinished, kSettled, kBroken, kRetry, kGiveUp };
  struct Step;
  static const Step kSteps[];
  struct Pending {
    hc_command_kind kind;
    std::vector<size_t> diffs;  // positions in diffs_, for SQL
  };

  std::vector<RollbackCommand> Fire(Event event, int64_t now_us);
  std::vector<RollbackCommand> Enter(RollbackState state, int64_t now_us);
  std::vector<RollbackCommand> CaptureCommands(int64_t now_us);
  std::vector<RollbackCommand> UndoCommands(int64_t now_us);
  RollbackCommand NewCommand(hc_command_kind kind, uint32_t database_oid, int64_t now_us);
  RollbackCommand UndoCommand(const std::vector<size_t>& diffs, int64_t now_us);
  Event PhaseResult();
  Event AfterCaptureNow();
  Event AfterUndo();
  Event AfterCaptureAgain();
  void TakeCapture(const hc_outcome& outcome);
  void TakeUndo(const Pending& pending, const hc_outcome& outcome);
  void Compare();
  RollbackItem JudgeItem(const ItemDiff& diff) const;
  bool JudgeItems();
  void AddVanished();
  void DropPending();
  void SettleUnjudged();
  void Finish();
  int64_t LeftMs(int64_t now_us) const;

  RollbackOptions options_;
  std::vector<RollbackImage> images_;
  std::vector<CaptureRequest> requests_;
  std::vector<SnapshotItem> before_;
  bool by_hand_ = false;

  RollbackState state_ = RollbackState::kIdle;
  RollbackStatus status_ = RollbackStatus::kInProgress;
  std::string detail_;
  int32_t attempt_ = 0;
  int64_t started_us_ = 0;
  int64_t resume_us_ = 0;
  uint32_t next_token_ = 1;
  std::string error_;  // of the phase, "" none

  std::map<uint32_t, Pending> pending_;
  std::vector<SnapshotItem> now_;
  std::vector<ItemDiff> diffs_;
  struct Undone {
    std::string status;  // what was asked for: restored, reset
    SnapshotItem item;
  };
  std::map<ItemKey, Undone> undone_;
  std::map<ItemKey, std::string> failures_;  // error of the last undo of an item
  std::vector<RollbackItem> items_;
};

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_ROLLBACK_H_
