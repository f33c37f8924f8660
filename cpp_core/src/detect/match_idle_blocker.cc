// P01 idle_in_transaction_blocker: a session idle in its transaction is the
// root of a lock wait.

#include <algorithm>
#include <map>
#include <string>
#include <tuple>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "idle_in_transaction_blocker";
constexpr size_t kMost = 32;  // more blockers at once are not told apart

// What makes it the same trouble from step to step.
using Key = std::tuple<int32_t, int64_t, int64_t>;

Key KeyOf(const hc_session& session) {
  return {session.id.pid, session.id.backend_start, session.id.xact_start};
}

struct Blocked {
  std::vector<uint32_t> victims;
  uint32_t depth = 0;
  int64_t longest_us = 0;
  bool behind_ddl = false;    // a waiting DDL with a queue was left out
  uint32_t relation_oid = 0;  // of the longest waiter
  const char* what = "";
};

class IdleBlockerMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  std::map<Key, Match> held_;
};

// Everybody who waits because of this session. A waiting DDL statement with a
// queue behind it, and whoever only waits because of that statement, belongs to
// ddl_lock_queue: cancelling the statement frees them and costs nothing.
Blocked FindBlocked(const MatchInput& input, uint32_t root) {
  Blocked blocked;
  const double queue = input.thresholds.Get("ddl_lock_queue", "queue");
  const auto keep = [&](const WaitGraph::Party& party) {
    if (party.session != nullptr) {
      if ((party.session->flags & HC_SESSION_OWN) != 0) return false;
      if (party.session->kind == HC_BACKEND_AUTOVACUUM_WORKER) return false;
    }
    const bool heads_queue =
        IsWaitingDdl(party) && QueuedBehind(input.observation, *party.lock, party.position) >= queue;
    blocked.behind_ddl |= heads_queue;
    return !heads_queue;
  };
  for (const WaitGraph::Reached& reached : input.graph->Victims(root, keep)) {
    const WaitGraph::Party& party = input.graph->party(reached.party);
    blocked.victims.push_back(reached.party);
    blocked.depth = std::max(blocked.depth, reached.depth);
    const int64_t waited = input.clock.AgeUs(party.request->wait_start);
    if (waited >= blocked.longest_us) {
      blocked.longest_us = waited;
      blocked.relation_oid = party.lock->relation_oid;
      blocked.what = party.lock->name;
    }
  }
  return blocked;
}

Match Describe(const MatchInput& input, const hc_session& session, const Blocked& blocked, double idle_s) {
  const double waited_s = static_cast<double>(blocked.longest_us) / 1e6;
  const size_t waiters = blocked.victims.size();
  Match match =
      NewMatch(kType,
               Text("%d/%lld/%lld", session.id.pid, static_cast<long long>(session.id.backend_start),
                    static_cast<long long>(session.id.xact_start)),
               Text("pid %d (%s@%s)", session.id.pid, session.role, session.database),
               Text("process %d is idle in transaction for %.0f s and blocks %zu "
                    "sessions, the longest for %.0f s",
                    session.id.pid, idle_s, waiters, waited_s));
  match.database = session.database;
  match.database_oid = session.database_oid;
  match.relation_oid = blocked.relation_oid;
  AddEvidence(
      &match, "lock_waiters", true,
      Text("%zu sessions wait for locks, the longest for %.0f s on %s", waiters, waited_s, blocked.what));
  AddHolderEvidence(input, blocked.victims, &match);
  AddEvidence(&match, "ddl_heads_lock_queue", blocked.behind_ddl,
              blocked.behind_ddl ? "a waiting ACCESS EXCLUSIVE request has a queue of its own"
                                 : "no waiting ACCESS EXCLUSIVE request heads a queue");
  match.targets.push_back(MakeTarget(session, HC_GUARD_IDLE_IN_TRANSACTION, 0));
  match.params["pid"] = std::to_string(session.id.pid);
  match.params["role"] = session.role;
  match.params["database"] = session.database;
  match.params["application"] = session.application;
  match.params["client_addr"] = session.client_addr;
  match.params["last_statement"] = session.query;
  match.values["waiters"] = static_cast<double>(waiters);
  match.values["longest_wait_s"] = waited_s;
  match.values["idle_s"] = idle_s;
  match.values["depth"] = blocked.depth;
  match.values["xid_age"] = session.xid_age;
  return match;
}

// Since when both limits are exceeded.
int64_t Since(const MatchInput& input, const Blocked& blocked, double idle_s) {
  const double over_idle = idle_s - input.thresholds.Get(kType, "idle_s");
  const double over_wait =
      static_cast<double>(blocked.longest_us) / 1e6 - input.thresholds.Get(kType, "wait_s");
  const double over = std::max(0.0, std::min(over_idle, over_wait));
  return input.clock.now_us() - static_cast<int64_t>(over * 1e6);
}

bool DeeperFirst(const Match& a, const Match& b) {
  const auto value = [](const Match& m, const char* name) { return m.values.at(name); };
  if (value(a, "depth") != value(b, "depth")) {
    return value(a, "depth") > value(b, "depth");
  }
  if (value(a, "waiters") != value(b, "waiters")) {
    return value(a, "waiters") > value(b, "waiters");
  }
  return a.since_us < b.since_us;
}

void IdleBlockerMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  if (input.graph == nullptr) {
    for (const auto& [key, match] : held_) out->push_back(HeldUnknown(match));
    return;
  }
  std::map<Key, Match> now;
  for (const uint32_t root : input.graph->roots()) {
    if (now.size() == kMost) break;
    const hc_session* session = input.graph->party(root).session;
    if (session == nullptr || session->kind != HC_BACKEND_CLIENT || (session->flags & HC_SESSION_OWN) != 0 ||
        !IsIdleInTransaction(*session)) {
      continue;
    }
    const double idle_s = input.clock.AgeSeconds(session->id.state_change);
    if (!(idle_s >= input.thresholds.Get(kType, "idle_s"))) continue;
    const Blocked blocked = FindBlocked(input, root);
    if (blocked.victims.empty()) continue;
    const auto before = held_.find(KeyOf(*session));
    const double limit = input.thresholds.Get(kType, before == held_.end() ? "wait_s" : "clear_wait_s");
    if (!(static_cast<double>(blocked.longest_us) / 1e6 >= limit)) continue;
    Match match = Describe(input, *session, blocked, idle_s);
    match.since_us = before == held_.end() ? Since(input, blocked, idle_s) : before->second.since_us;
    now.emplace(KeyOf(*session), std::move(match));
  }
  held_ = std::move(now);
  std::vector<Match> found;
  for (const auto& [key, match] : held_) found.push_back(match);
  std::sort(found.begin(), found.end(), DeeperFirst);
  out->insert(out->end(), found.begin(), found.end());
}

}  // namespace

std::unique_ptr<Matcher> MakeIdleBlockerMatcher() { return std::make_unique<IdleBlockerMatcher>(); }

}  // namespace heal
