#include "recover/rollback.h"

#include <algorithm>
#include <set>
#include <utility>

namespace heal {
namespace {

constexpr int64_t kMillis = 1000;
constexpr int64_t kFirstDelayUs = 1000000;
constexpr int64_t kLeastTimeoutMs = 100;

// One image of all snapshots: what came first is what is gone back to.
std::vector<SnapshotItem> Merge(const std::vector<RollbackImage>& newest_first) {
  std::vector<SnapshotItem> merged;
  std::map<ItemKey, size_t> places;
  for (const RollbackImage& image : newest_first) {
    for (const SnapshotItem& item : image.items) {
      const auto [place, fresh] = places.emplace(item.key(), merged.size());
      if (fresh) {
        merged.push_back(item);
        continue;
      }
      SnapshotItem& kept = merged[place->second];
      SnapshotItem older = item;
      // Drift is told from the latest value we set. Going back to a snapshot
      // taken by hand means everything since, whoever changed it.
      older.has_expected = !image.by_hand && kept.has_expected;
      older.expected = kept.expected;
      kept = std::move(older);
    }
  }
  return merged;
}

std::string ErrorOf(const hc_outcome& outcome) {
  switch (outcome.status) {
    case HC_OUT_DONE:
      return "";
    case HC_OUT_REFUSED:
      return "refused: " + std::string(outcome.message);
    case HC_OUT_LOST:
      return "the process that ran it died";
    case HC_OUT_FAILED:
      break;
  }
  const std::string message = outcome.message;
  return message.empty() ? std::string("failed with SQLSTATE ") + outcome.sqlstate : message;
}

bool IsUndo(const ItemDiff& diff) {
  return (diff.needed == ItemNeed::kRestore || diff.needed == ItemNeed::kReset) && !diff.sql.empty();
}

}  // namespace

const char* RollbackStatusName(RollbackStatus status) {
  constexpr const char* kNames[] = {"in_progress", "success", "partial", "failed", "verification_failed"};
  return kNames[static_cast<int>(status)];
}

const char* RollbackStateName(RollbackState state) {
  constexpr const char* kNames[] = {"idle", "capture_now", "undo", "capture_again", "waiting", "done"};
  return kNames[static_cast<int>(state)];
}

// ---- the tree of snapshots ----

std::vector<int64_t> NestedSnapshots(std::span<const SnapshotNode> all, int64_t root) {
  std::vector<SnapshotNode> nested;
  std::set<int64_t> inside;
  // Each pass adds one level; a cycle in bad data ends with the passes.
  for (bool grown = true; grown;) {
    grown = false;
    for (const SnapshotNode& node : all) {
      const bool belongs =
          node.snapshot_id == root || (node.parent_id != 0 && inside.count(node.parent_id) != 0);
      if (!belongs || !inside.insert(node.snapshot_id).second) continue;
      nested.push_back(node);
      grown = true;
    }
  }
  if (inside.count(root) == 0) return {};
  std::sort(nested.begin(), nested.end(), [](const SnapshotNode& a, const SnapshotNode& b) {
    return std::pair(a.taken_at_us, a.snapshot_id) > std::pair(b.taken_at_us, b.snapshot_id);
  });
  // The root is the oldest whatever the clock said.
  std::stable_partition(nested.begin(), nested.end(),
                        [&](const SnapshotNode& n) { return n.snapshot_id != root; });
  std::vector<int64_t> ids;
  for (const SnapshotNode& node : nested) ids.push_back(node.snapshot_id);
  return ids;
}

int32_t NestedDepth(std::span<const SnapshotNode> all, int64_t parent, int32_t max_depth) {
  int32_t depth = 1;
  while (parent != 0) {
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const SnapshotNode& n) { return n.snapshot_id == parent; });
    if (found == all.end()) throw SnapshotError("snapshot " + std::to_string(parent) + " does not exist");
    if (++depth > max_depth)
      throw SnapshotError("snapshots cannot be nested deeper than " + std::to_string(max_depth));
    parent = found->parent_id;
  }
  return depth;
}

RollbackOptions RollbackOptionsFor(const hc_settings& settings, bool force) {
  RollbackOptions options;
  options.force = force;
  options.max_attempts = std::max(1, settings.rollback_max_attempts);
  options.timeout_us = int64_t{settings.rollback_timeout_ms} * kMillis;
  options.verify = settings.rollback_verify != 0;
  return options;
}

// ---- the state machine ----

struct Rollback::Step {
  RollbackState from;
  Event event;
  RollbackState to;
};

const Rollback::Step Rollback::kSteps[] = {
    {RollbackState::kIdle, Event::kBegin, RollbackState::kCaptureNow},
    {RollbackState::kCaptureNow, Event::kFinished, RollbackState::kUndo},
    {RollbackState::kCaptureNow, Event::kSettled, RollbackState::kDone},
    {RollbackState::kCaptureNow, Event::kBroken, RollbackState::kWaiting},
    {RollbackState::kUndo, Event::kFinished, RollbackState::kCaptureAgain},
    {RollbackState::kUndo, Event::kSettled, RollbackState::kDone},
    {RollbackState::kUndo, Event::kBroken, RollbackState::kWaiting},
    {RollbackState::kCaptureAgain, Event::kSettled, RollbackState::kDone},
    {RollbackState::kCaptureAgain, Event::kBroken, RollbackState::kWaiting},
    {RollbackState::kWaiting, Event::kRetry, RollbackState::kCaptureNow},
    {RollbackState::kIdle, Event::kGiveUp, RollbackState::kDone},
    {RollbackState::kCaptureNow, Event::kGiveUp, RollbackState::kDone},
    {RollbackState::kUndo, Event::kGiveUp, RollbackState::kDone},
    {RollbackState::kCaptureAgain, Event::kGiveUp, RollbackState::kDone},
    {RollbackState::kWaiting, Event::kGiveUp, RollbackState::kDone},
};

Rollback::Rollback(const RollbackOptions& options, std::vector<RollbackImage> images,
                   std::vector<CaptureRequest> requests)
    : options_(options), images_(std::move(images)), requests_(std::move(requests)), before_(Merge(images_)) {
  by_hand_ =
      std::any_of(images_.begin(), images_.end(), [](const RollbackImage& image) { return image.by_hand; });
  if (requests_.empty()) requests_ = RecaptureRequests(before_);
}

std::vector<RollbackCommand> Rollback::Start(int64_t now_us) {
  if (state_ != RollbackState::kIdle) return {};
  started_us_ = now_us;
  return Fire(Event::kBegin, now_us);
}

std::vector<RollbackCommand> Rollback::OnOutcome(uint32_t token, const hc_outcome& outcome, int64_t now_us) {
  const auto found = pending_.find(token);
  if (found == pending_.end() || done()) return {};
  const Pending pending = std::move(found->second);
  pending_.erase(found);
  if (pending.kind == HC_CMD_CAPTURE)
    TakeCapture(outcome);
  else
    TakeUndo(pending, outcome);
  if (!pending_.empty()) return {};
  return Fire(PhaseResult(), now_us);
}

std::vector<RollbackCommand> Rollback::Tick(int64_t now_us) {
  if (done() || state_ == RollbackState::kIdle) return {};
  if (now_us - started_us_ >= options_.timeout_us) {
    error_ = "not finished within " + std::to_string(options_.timeout_us / kMillis) + " ms";
    return Fire(Event::kGiveUp, now_us);
  }
  if (state_ == RollbackState::kWaiting && now_us >= resume_us_) return Fire(Event::kRetry, now_us);
  return {};
}

void Rollback::Abandon(std::string_view why) {
  if (done()) return;
  error_ = why;
  Fire(Event::kGiveUp, started_us_);
}

bool Rollback::BuildsIndex() const {
  for (const auto& [token, pending] : pending_)
    for (const size_t diff : pending.diffs)
      if (diffs_[diff].item.kind == "index" && diffs_[diff].needed == ItemNeed::kRestore) return true;
  return false;
}

std::vector<int64_t> Rollback::snapshots() const {
  std::vector<int64_t> ids;
  for (const RollbackImage& image : images_) ids.push_back(image.snapshot_id);
  return ids;
}

std::vector<RollbackItem> Rollback::Outlook() const {
  std::vector<RollbackItem> items;
  for (const ItemDiff& diff : diffs_)
    items.push_back(IsUndo(diff) ? RollbackItem{diff.item, "pending", "is being undone"} : JudgeItem(diff));
  return items;
}

std::vector<RollbackCommand> Rollback::Fire(Event event, int64_t now_us) {
  if (event == Event::kBroken && attempt_ >= options_.max_attempts) event = Event::kGiveUp;
  for (const Step& step : kSteps)
    if (step.from == state_ && step.event == event) return Enter(step.to, now_us);
  return {};
}

std::vector<RollbackCommand> Rollback::Enter(RollbackState state, int64_t now_us) {
  state_ = state;
  switch (state) {
    case RollbackState::kCaptureNow:
      ++attempt_;
      failures_.clear();
      return CaptureCommands(now_us);
    case RollbackState::kUndo:
      return UndoCommands(now_us);
    case RollbackState::kCaptureAgain:
      return CaptureCommands(now_us);
    case RollbackState::kWaiting:
      resume_us_ = now_us + (kFirstDelayUs << std::min(attempt_ - 1, 5));
      return {};
    case RollbackState::kDone:
      DropPending();
      if (items_.empty()) SettleUnjudged();
      Finish();
      return {};
    case RollbackState::kIdle:
      break;
  }
  return {};
}

int64_t Rollback::LeftMs(int64_t now_us) const {
  return std::max(kLeastTimeoutMs, (started_us_ + options_.timeout_us - now_us) / kMillis);
}

RollbackCommand Rollback::NewCommand(hc_command_kind kind, uint32_t database_oid, int64_t now_us) {
  RollbackCommand command;
  command.token = next_token_++;
  command.kind = kind;
  command.database_oid = database_oid;
  command.statement_timeout_ms = static_cast<int32_t>(std::min<int64_t>(LeftMs(now_us), INT32_MAX));
  command.lock_timeout_ms = std::min(options_.lock_timeout_ms, command.statement_timeout_ms);
  return command;
}

std::vector<RollbackCommand> Rollback::CaptureCommands(int64_t now_us) {
  now_.clear();
  error_.clear();
  items_.clear();
  std::vector<RollbackCommand> commands;
  for (const CaptureRequest& request : requests_) {
    RollbackCommand command = NewCommand(HC_CMD_CAPTURE, request.database_oid, now_us);
    command.items = request.items;
    pending_.emplace(command.token, Pending{HC_CMD_CAPTURE, {}});
    commands.push_back(std::move(command));
  }
  // Nothing to look at, so nothing to undo.
  if (commands.empty()) return Fire(PhaseResult(), now_us);
  return commands;
}

std::vector<RollbackCommand> Rollback::UndoCommands(int64_t now_us) {
  error_.clear();
  std::map<uint32_t, std::vector<size_t>> databases;
  std::vector<RollbackCommand> commands;
  for (size_t i = 0; i < diffs_.size(); ++i) {
    if (!IsUndo(diffs_[i])) continue;
    undone_[diffs_[i].item.key()] = {diffs_[i].needed == ItemNeed::kRestore ? "restored" : "reset",
                                     diffs_[i].item};
    databases[diffs_[i].item.database_oid].push_back(i);
  }
  for (const auto& [database, diffs] : databases) {
    // One job per database at first; after a failure one per item, so that a
    // single bad item does not keep the others from coming back.
    if (attempt_ == 1) {
      commands.push_back(UndoCommand(diffs, now_us));
      continue;
    }
    for (const size_t diff : diffs) commands.push_back(UndoCommand({diff}, now_us));
  }
  return commands;
}

RollbackCommand Rollback::UndoCommand(const std::vector<size_t>& diffs, int64_t now_us) {
  RollbackCommand command = NewCommand(HC_CMD_SQL, diffs_[diffs.front()].item.database_oid, now_us);
  for (const size_t diff : diffs) command.sql += (command.sql.empty() ? "" : ";\n") + diffs_[diff].sql;
  pending_.emplace(command.token, Pending{HC_CMD_SQL, diffs});
  return command;
}

void Rollback::TakeCapture(const hc_outcome& outcome) {
  const std::string error = ErrorOf(outcome);
  if (!error.empty()) {
    error_ = error;
    return;
  }
  try {
    for (SnapshotItem& item : ParseItems(outcome.json)) now_.push_back(std::move(item));
  } catch (const SnapshotError& bad) {
    error_ = bad.what();
  }
}

void Rollback::TakeUndo(const Pending& pending, const hc_outcome& outcome) {
  const std::string error = ErrorOf(outcome);
  if (error.empty()) return;
  error_ = error;
  for (const size_t diff : pending.diffs) failures_[diffs_[diff].item.key()] = error;
}

// ---- judging ----

void Rollback::Compare() {
  DiffOptions options;
  options.force = options_.force;
  options.only_listed = !by_hand_;
  diffs_ = Diff(before_, now_, options);
}

Rollback::Event Rollback::PhaseResult() {
  switch (state_) {
    case RollbackState::kCaptureNow:
      return AfterCaptureNow();
    case RollbackState::kUndo:
      return AfterUndo();
    case RollbackState::kCaptureAgain:
      return AfterCaptureAgain();
    default:
      return Event::kGiveUp;
  }
}

Rollback::Event Rollback::AfterCaptureNow() {
  if (!error_.empty()) return Event::kBroken;
  Compare();
  if (std::any_of(diffs_.begin(), diffs_.end(), IsUndo)) return Event::kFinished;
  JudgeItems();
  return Event::kSettled;
}

Rollback::Event Rollback::AfterUndo() {
  if (options_.verify) return Event::kFinished;
  SettleUnjudged();
  return failures_.empty() ? Event::kSettled : Event::kBroken;
}

Rollback::Event Rollback::AfterCaptureAgain() {
  if (!error_.empty()) return Event::kBroken;
  Compare();
  return JudgeItems() ? Event::kSettled : Event::kBroken;
}

RollbackItem Rollback::JudgeItem(const ItemDiff& diff) const {
  const auto undone = undone_.find(diff.item.key());
  const auto failure = failures_.find(diff.item.key());
  switch (diff.needed) {
    case ItemNeed::kNone:
      return undone == undone_.end() ? RollbackItem{diff.item, "unchanged", "is as it was"}
                                     : RollbackItem{diff.item, undone->second.status, "is as it was again"};
    case ItemNeed::kKept:
      return {diff.item, "kept", "came later and is kept"};
    case ItemNeed::kDrift:
      if (undone == undone_.end())
        return {diff.item, "skipped", "was changed by somebody else since; use force to overwrite it"};
      break;
    case ItemNeed::kRestore:
    case ItemNeed::kReset:
      break;
  }
  if (failure != failures_.end()) return {diff.item, "failed", failure->second};
  if (diff.sql.empty())
    return {diff.item, "failed", "cannot be undone automatically; heal.snapshot_items shows what it was"};
  return {diff.item, "verification_failed", "was undone but is not as it was"};
}

// True when another attempt would change nothing.
bool Rollback::JudgeItems() {
  items_.clear();
  for (const ItemDiff& diff : diffs_) items_.push_back(JudgeItem(diff));
  AddVanished();
  return std::none_of(diffs_.begin(), diffs_.end(), IsUndo);
}

// What came later and was removed is neither in the snapshot nor there now.
void Rollback::AddVanished() {
  std::set<ItemKey> listed;
  for (const ItemDiff& diff : diffs_) listed.insert(diff.item.key());
  for (const auto& [key, undone] : undone_)
    if (listed.count(key) == 0) items_.push_back({undone.item, undone.status, "came later and was removed"});
}

// Given up while commands run: what they did is not known.
void Rollback::DropPending() {
  for (const auto& [token, pending] : pending_)
    for (const size_t diff : pending.diffs) failures_.emplace(diffs_[diff].item.key(), error_);
  pending_.clear();
}

// Statuses without a look at the items after the undo.
void Rollback::SettleUnjudged() {
  items_.clear();
  for (const ItemDiff& diff : diffs_) {
    const auto undone = undone_.find(diff.item.key());
    if (!IsUndo(diff) || undone == undone_.end() || failures_.count(diff.item.key()) != 0)
      items_.push_back(JudgeItem(diff));
    else if (options_.verify)
      items_.push_back({diff.item, "verification_failed", error_});
    else
      items_.push_back({diff.item, undone->second.status, "not verified"});
  }
  if (!diffs_.empty()) return;
  for (const SnapshotItem& item : before_) items_.push_back({item, "failed", error_});
}

void Rollback::Finish() {
  std::map<std::string, int32_t> count;
  for (const RollbackItem& item : items_) ++count[item.status];
  const int32_t back = count["restored"] + count["reset"];
  const int32_t open = count["failed"] + count["skipped"];
  if (count["verification_failed"] > 0)
    status_ = RollbackStatus::kVerificationFailed;
  else if (count["failed"] > 0 && back == 0 && count["skipped"] == 0)
    status_ = RollbackStatus::kFailed;
  else
    status_ = open > 0 ? RollbackStatus::kPartial : RollbackStatus::kSuccess;
  detail_ = std::to_string(back) + " undone, " + std::to_string(count["unchanged"]) + " unchanged, " +
            std::to_string(count["kept"]) + " kept, " + std::to_string(count["skipped"]) + " skipped, " +
            std::to_string(count["failed"] + count["verification_failed"]) + " failed";
  if (!error_.empty() && status_ != RollbackStatus::kSuccess) detail_ += "; " + error_;
}

}  // namespace heal
