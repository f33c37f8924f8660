// Before-images: taken by hand, rolled back by hand or by a failed attempt,
// expired.

#include <algorithm>

#include "engine.h"

namespace heal {
namespace {

constexpr size_t kMaxManualItems = 10'000;
constexpr size_t kMaxManualBytes = size_t{2} << 20;
// All live snapshots together take at most this share of max_bytes.
constexpr size_t kSnapshotShare = 2;
constexpr int64_t kInspectionWaitUs = 15'000'000;
constexpr int64_t kCaptureTimeoutUs = 60'000'000;
constexpr int64_t kRollbackLookUs = 100'000;
// A small index is there sooner.
constexpr int64_t kBuildPatienceUs = 300'000;
constexpr size_t kRolledBackKept = 1000;

size_t ItemBytes(const std::vector<SnapshotItem>& items) {
  size_t sum = 0;
  for (const SnapshotItem& item : items)
    sum += item.object.size() + item.name.size() + item.restore_sql.size() + item.reset_sql.size() +
           (item.value ? item.value->size() : 0);
  return sum;
}

// Cluster-wide items show up in the capture of every database.
void DropDuplicates(std::vector<SnapshotItem>* items) {
  std::set<ItemKey> seen;
  std::erase_if(*items, [&seen](const SnapshotItem& item) { return !seen.insert(item.key()).second; });
}

Json ItemsOf(const std::vector<RollbackItem>& items) {
  Json list = Json::array();
  for (const RollbackItem& item : items)
    list.push_back({{"item", item.item.Label()}, {"status", item.status}, {"detail", item.detail}});
  return list;
}

bool NeedsInspection(const std::string& component) {
  return component.empty() || component == "storage" || component == "indexes";
}

}  // namespace

// ---- rows ----

SnapshotRow& Engine::TakeSnapshot(SnapshotRow row, std::vector<SnapshotItem> items,
                                  std::span<const ExpectedValue> expected) {
  // By hand nothing is expected: every difference is to be undone.
  if (!expected.empty()) SetExpected(expected, &items);
  row.taken_at = now_;
  row.expires_at = now_ + settings().snapshot_retention_ms * 1000;
  row.items = static_cast<int>(items.size());
  const SnapshotRow* parent = row.parent_id == 0 ? nullptr : book_.FindSnapshot(row.parent_id);
  row.depth = parent == nullptr ? 1 : parent->depth + 1;
  SnapshotRow& taken = book_.Add(std::move(row));
  for (SnapshotItem& item : items) book_.Add(SnapshotItemRow{0, taken.id, std::move(item), "", ""});
  return taken;
}

std::vector<SnapshotNode> Engine::Nodes() const {
  std::vector<SnapshotNode> nodes;
  for (const auto& [id, row] : book_.snapshots()) nodes.push_back({id, row.parent_id, row.taken_at});
  return nodes;
}

// What happens within the life of a snapshot by hand is undone with it: the
// newest such snapshot is the parent, or the nearest one above it that still
// has room below.
int64_t Engine::AutomaticParent() const {
  const std::map<int64_t, SnapshotRow>& all = book_.snapshots();
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    const SnapshotRow* row = &it->second;
    if (!row->by_hand() || row->state != "active" || row->expires_at <= now_ || rollbacks_.contains(row->id)) continue;
    while (row != nullptr && row->depth >= settings().rollback_max_depth) {
      const auto parent = all.find(row->parent_id);
      row = parent == all.end() ? nullptr : &parent->second;
    }
    return row == nullptr ? 0 : row->id;
  }
  return 0;
}

bool Engine::SnapshotInUse(int64_t snapshot_id) const {
  if (rollbacks_.contains(snapshot_id)) return true;
  for (const auto& [id, job] : rollbacks_) {
    if (job.rollback == nullptr) continue;
    const std::vector<int64_t> ids = job.rollback->snapshots();
    if (std::find(ids.begin(), ids.end(), snapshot_id) != ids.end()) return true;
  }
  for (const auto& [id, c] : cases_) {
    if (!c.run) continue;
    const Attempt* attempt = const_cast<Engine*>(this)->book_.FindAttempt(c.run->attempt_id);
    if (attempt != nullptr && attempt->snapshot_id == snapshot_id) return true;
  }
  return false;
}

void Engine::ExpireSnapshots() {
  for (auto& [id, row] : book_.snapshots()) {
    if (row.state != "active" || row.expires_at > now_ || SnapshotInUse(id)) continue;
    row.state = "expired";
    book_.Changed(row);
  }
}

// ---- roll-back ----

void Engine::StartRollback(RollbackJob job, bool force) {
  const int64_t snapshot_id = job.snapshot_id;
  SnapshotRow& root = *book_.FindSnapshot(snapshot_id);
  root.rollback_status = "in_progress";
  book_.Changed(root);
  if (paused_) {
    job.held = true;
    rollbacks_.insert_or_assign(snapshot_id, std::move(job));
    return;
  }
  std::vector<RollbackImage> images;
  std::vector<SnapshotItem> listed;
  bool all_of_component = false;
  for (int64_t id : NestedSnapshots(Nodes(), snapshot_id)) {
    const SnapshotRow& row = *book_.FindSnapshot(id);
    if (row.state != "active") continue;
    RollbackImage image{id, row.by_hand(), {}};
    for (const SnapshotItemRow* item : book_.ItemsOf(id)) image.items.push_back(item->item);
    listed.insert(listed.end(), image.items.begin(), image.items.end());
    all_of_component |= id == snapshot_id && row.by_hand();
    images.push_back(std::move(image));
  }
  DropDuplicates(&listed);
  std::vector<CaptureRequest> requests = RecaptureRequests(listed);
  if (all_of_component) {
    // What came later is to be found too: the whole of what was captured.
    std::set<uint32_t> databases = {0};
    for (uint32_t i = 0; i < observation_->n_inspections; ++i) databases.insert(observation_->inspections[i].database_oid);
    if (!NeedsInspection(root.component)) databases = {0};
    const std::vector<uint32_t> list(databases.begin(), databases.end());
    for (CaptureRequest& request : ManualRequests(root.component, list)) requests.push_back(std::move(request));
    requests = MergeRequests(requests);
  }
  job.held = false;
  job.rollback = std::make_unique<Rollback>(RollbackOptionsFor(settings(), force), std::move(images), std::move(requests));
  Audit(job.actor, "rollback", "snapshot " + std::to_string(snapshot_id), "started",
        {{"snapshot_id", snapshot_id}, {"incident_id", job.incident_id}, {"force", force}});
  Rollback& rollback = *rollbacks_.insert_or_assign(snapshot_id, std::move(job)).first->second.rollback;
  RouteRollback(snapshot_id, rollback.Start(mono_));
}

void Engine::RouteRollback(int64_t snapshot_id, std::vector<RollbackCommand> commands) {
  const RollbackJob& job = rollbacks_.at(snapshot_id);
  for (RollbackCommand& wanted : commands) {
    Command command;
    command.kind = wanted.kind;
    command.incident_id = job.incident_id;
    command.database_oid = wanted.database_oid;
    command.items = std::move(wanted.items);
    command.sql = std::move(wanted.sql);
    command.lock_timeout_ms = wanted.lock_timeout_ms;
    command.statement_timeout_ms = wanted.statement_timeout_ms;
    if (const auto c = cases_.find(job.incident_id); c != cases_.end() && c->second.run)
      command.attempt_id = c->second.run->attempt_id;
    Issue(command, {Waiting::kRollback, snapshot_id, wanted.token});
  }
}

void Engine::AdvanceRollbacks() {
  std::vector<int64_t> ids;
  for (const auto& [id, job] : rollbacks_) ids.push_back(id);
  for (int64_t id : ids) {
    RollbackJob& job = rollbacks_.at(id);
    if (job.held) {
      if (paused_) continue;
      RollbackJob again = std::move(job);
      rollbacks_.erase(id);
      StartRollback(std::move(again), false);
      continue;
    }
    if (!job.rollback->done()) RouteRollback(id, job.rollback->Tick(mono_));
    if (job.rollback->done()) {
      RollbackJob finished = std::move(job);
      rollbacks_.erase(id);
      DisownRollback(id);
      FinishRollback(&finished);
    } else {
      AnswerGoesOn(&job);
      Want(kRollbackLookUs);
    }
  }
}

// Building an index waits for the transaction that asks for it: whoever called
// heal_rollback must not be kept waiting in turn.
void Engine::AnswerGoesOn(RollbackJob* job) {
  if (job->id_request == 0 || !job->rollback->BuildsIndex()) return;
  if (job->building_since_mono < 0) job->building_since_mono = mono_;
  if (mono_ - job->building_since_mono < kBuildPatienceUs) return;
  const Json json = {{"snapshot_id", job->snapshot_id},
                     {"status", RollbackStatusName(RollbackStatus::kInProgress)},
                     {"detail", "an index is being built; heal_snapshots shows how it ends"},
                     {"items", ItemsOf(job->rollback->Outlook())}};
  Answer(Grant(job->id_request, "roll-back goes on", JsonText(json)));
  job->id_request = 0;
}

void Engine::FinishRollback(RollbackJob* job) {
  const Rollback& rollback = *job->rollback;
  const std::string status = RollbackStatusName(rollback.status());
  // Of anything less something is left, to be undone later or with force.
  const bool undone = rollback.status() == RollbackStatus::kSuccess;
  std::map<ItemKey, const RollbackItem*> results;
  for (const RollbackItem& item : rollback.items()) results[item.item.key()] = &item;
  for (int64_t id : rollback.snapshots()) {
    SnapshotRow* row = book_.FindSnapshot(id);
    if (row == nullptr) continue;
    row->rollback_status = status;
    if (undone) {
      row->state = "rolled_back";
      NoteRolledBack(id);
    }
    book_.Changed(*row);
    for (SnapshotItemRow* item : book_.ItemsOf(id)) {
      const auto result = results.find(item->item.key());
      if (result == results.end()) continue;
      item->status = result->second->status;
      item->detail = result->second->detail;
      book_.Changed(*item);
    }
  }
  Audit(job->actor, "rollback", "snapshot " + std::to_string(job->snapshot_id), status,
        {{"snapshot_id", job->snapshot_id}, {"incident_id", job->incident_id}, {"detail", rollback.detail()}});
  outbox_.Log(!undone, "roll-back of snapshot " + std::to_string(job->snapshot_id) + ": " + status);
  if (job->id_request != 0) {
    Json json = {{"snapshot_id", job->snapshot_id}, {"status", status}, {"detail", rollback.detail()}, {"items", ItemsOf(rollback.items())}};
    Answer(Grant(job->id_request, "snapshot rolled back", JsonText(json)));
  }
  if (const auto c = cases_.find(job->incident_id); c != cases_.end() && c->second.run)
    Undone(&c->second, rollback.status(), rollback.detail());
}

// Its commands: what waits is not run, what runs is not heard.
void Engine::DisownRollback(int64_t snapshot_id) {
  std::erase_if(owners_, [snapshot_id](const auto& owner) {
    return owner.second.kind == Waiting::kRollback && owner.second.key == snapshot_id;
  });
}

void Engine::NoteRolledBack(int64_t snapshot_id) {
  rolled_back_.insert(snapshot_id);
  if (rolled_back_.size() > kRolledBackKept) rolled_back_.erase(rolled_back_.begin());
}

// A pause stops roll-backs too. One by hand is answered with what is proven so
// far and is not taken up again; one of an attempt waits for heal_resume.
void Engine::HoldRollbacks() {
  std::vector<int64_t> ids;
  for (const auto& [id, job] : rollbacks_)
    if (!job.held) ids.push_back(id);
  for (int64_t id : ids) {
    RollbackJob job = std::move(rollbacks_.at(id));
    rollbacks_.erase(id);
    job.rollback->Abandon("pg_heal was paused");
    DisownRollback(id);
    if (job.incident_id == 0) {
      FinishRollback(&job);
      continue;
    }
    job.held = true;
    job.rollback.reset();
    rollbacks_.emplace(id, std::move(job));
  }
}

// ---- snapshots by hand ----

void Engine::AdvanceSnapshots() {
  for (auto it = snapshots_.begin(); it != snapshots_.end();) {
    SnapshotJob& job = it->second;
    const int64_t age = mono_ - job.since_mono;
    if (!job.started) {
      // Right after the start no database has been inspected yet: wait a moment.
      if (NeedsInspection(job.component) && observation_->n_inspections == 0 && age < kInspectionWaitUs) {
        ++it;
        continue;
      }
      StartCapture(it->first, &job);
    }
    if (age >= kCaptureTimeoutUs && job.failure.empty()) job.failure = "the processes that read it did not answer in time";
    if (!job.waiting.empty() && job.failure.empty()) {
      ++it;
      continue;
    }
    FinishCapture(&job);
    for (uint64_t id : job.waiting) owners_.erase(id);
    it = snapshots_.erase(it);
  }
}

void Engine::StartCapture(int64_t key, SnapshotJob* job) {
  job->started = true;
  std::set<uint32_t> databases = {0};
  if (NeedsInspection(job->component)) {
    if (observation_->n_inspections == 0) {
      Answer(Refuse(job->id_request, Refusal::kNotInspected, ""));
      job->id_request = 0;
      job->failure = "not inspected";
      return;
    }
    for (uint32_t i = 0; i < observation_->n_inspections; ++i) databases.insert(observation_->inspections[i].database_oid);
  }
  const std::vector<uint32_t> list(databases.begin(), databases.end());
  for (CaptureRequest& request : ManualRequests(job->component, list)) {
    Command command;
    command.kind = HC_CMD_CAPTURE;
    command.database_oid = request.database_oid;
    command.items = std::move(request.items);
    command.lock_timeout_ms = 1000;
    command.statement_timeout_ms = static_cast<int32_t>(kCaptureTimeoutUs / 1000);
    job->waiting.insert(Issue(command, {Waiting::kSnapshot, key, 0}));
  }
}

void Engine::FinishCapture(SnapshotJob* job) {
  if (job->id_request == 0) return;
  if (!job->failure.empty()) return Answer(Refuse(job->id_request, Refusal::kCaptureFailed, "", job->failure));
  DropDuplicates(&job->items);
  const size_t bytes = ItemBytes(job->items);
  if (job->items.size() > kMaxManualItems || bytes > kMaxManualBytes ||
      book_.SnapshotBytes() + bytes > limits_.max_bytes / kSnapshotShare)
    return Answer(Refuse(job->id_request, Refusal::kTooLarge,
                         std::to_string(job->items.size()) + " items, " + std::to_string(bytes) + " bytes"));
  if (job->parent_id != 0) {
    const SnapshotRow* parent = book_.FindSnapshot(job->parent_id);
    if (parent == nullptr || parent->state != "active")
      return Answer(Refuse(job->id_request, WhyNotActive(job->parent_id), std::to_string(job->parent_id)));
  }
  SnapshotRow row;
  row.parent_id = job->parent_id;
  row.label = job->label;
  row.component = job->component;
  row.taken_by = job->role;
  const SnapshotRow& taken = TakeSnapshot(std::move(row), std::move(job->items), {});
  Audit(job->role, "snapshot", job->label, "done", {{"snapshot_id", taken.id}, {"items", taken.items}});
  Answer(Grant(job->id_request, "snapshot taken", JsonText({{"snapshot_id", taken.id}, {"items", taken.items}})));
}

}  // namespace heal
