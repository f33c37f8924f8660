// P02 ddl_lock_queue: a waiting ACCESS EXCLUSIVE request holds up weaker
// requests that would be granted without it.

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "detect/lock_modes.h"
#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "ddl_lock_queue";

using Key = std::pair<uint32_t, uint32_t>;  // database, relation

// Names by which migration tools connect.
constexpr std::string_view kMigrationTools[] = {
    "migrat", "flyway", "liquibase", "alembic", "sqitch", "rails db",
};

class DdlQueueMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  struct Request {
    uint32_t party;
    uint32_t behind;
    double waited_s;
    bool migration;
  };

  std::vector<Request> FindRequests(const MatchInput& input, const hc_lock& lock) const;
  bool Judge(const MatchInput& input, const hc_lock& lock, Match* match) const;

  std::map<Key, Match> held_;
};

bool IsMigration(const MatchInput& input, const hc_session& session) {
  const hc_server* server = input.observation.server;
  if (server != nullptr && (server->flags & HC_SERVER_MIGRATION) != 0) {
    return true;
  }
  return std::any_of(std::begin(kMigrationTools), std::end(kMigrationTools), [&](std::string_view tool) {
    return Contains(session.application, tool) || Contains(session.role, tool);
  });
}

// The clients' ACCESS EXCLUSIVE requests in this queue, in its order.
std::vector<DdlQueueMatcher::Request> DdlQueueMatcher::FindRequests(const MatchInput& input,
                                                                    const hc_lock& lock) const {
  std::vector<Request> requests;
  const hc_observation& observation = input.observation;
  for (uint32_t i = 0; i < lock.n_waiters; ++i) {
    if (lock.first_waiter + i >= observation.n_lock_waiters) break;
    const hc_lock_waiter& waiter = observation.lock_waiters[lock.first_waiter + i];
    if (waiter.mode != kAccessExclusive) continue;
    const uint32_t index = input.graph->Find(waiter.pid);
    if (index == WaitGraph::kNone) continue;
    const WaitGraph::Party& party = input.graph->party(index);
    if (!IsWaitingDdl(party) || party.lock != &lock) continue;
    if ((party.session->flags & HC_SESSION_OWN) != 0) continue;
    requests.push_back({index, QueuedBehind(observation, lock, i), input.clock.AgeSeconds(waiter.wait_start),
                        IsMigration(input, *party.session)});
  }
  return requests;
}

bool DdlQueueMatcher::Judge(const MatchInput& input, const hc_lock& lock, Match* match) const {
  const std::vector<Request> requests = FindRequests(input, lock);
  if (requests.empty()) return false;
  const Thresholds& limits = input.thresholds;
  const auto before = held_.find({lock.database_oid, lock.relation_oid});
  const bool held = before != held_.end();
  const Request& head = requests.front();
  const double wait_s =
      limits.Get(kType, "wait_s") + (head.migration ? limits.Get(kType, "migration_grace_s") : 0);
  if (!(head.behind >= limits.Get(kType, held ? "clear_queue" : "queue"))) {
    return false;
  }
  if (!held && !(head.waited_s >= wait_s)) return false;

  const WaitGraph::Party& party = input.graph->party(head.party);
  const hc_session& session = *party.session;
  *match = NewMatch(kType, Text("%u/%u", lock.database_oid, lock.relation_oid), lock.name,
                    Text("process %d waits for ACCESS EXCLUSIVE on %s for %.1f s and %u "
                         "sessions are queued behind it",
                         session.id.pid, lock.name, head.waited_s, head.behind));
  match->database = session.database;
  match->database_oid = lock.database_oid;
  match->relation_oid = lock.relation_oid;
  match->since_us = held ? before->second.since_us
                         : input.clock.now_us() - static_cast<int64_t>((head.waited_s - wait_s) * 1e6);
  AddEvidence(match, "ddl_heads_lock_queue", true,
              Text("process %d (%s) heads the queue of %s", session.id.pid, session.query, lock.name));
  AddEvidence(match, "lock_waiters", true, Text("%u sessions are queued behind it", head.behind));
  AddHolderEvidence(input, {head.party}, match);
  for (const Request& request : requests) {
    match->targets.push_back(
        MakeTarget(*input.graph->party(request.party).session, HC_GUARD_WAITING_LOCK, lock.relation_oid));
  }
  match->params["relation"] = lock.name;
  match->params["pid"] = std::to_string(session.id.pid);
  match->params["role"] = session.role;
  match->params["application"] = session.application;
  match->params["statement"] = session.query;
  match->values["waiters"] = head.behind;
  match->values["longest_wait_s"] = head.waited_s;
  match->values["migration"] = head.migration ? 1 : 0;
  return true;
}

void DdlQueueMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  if (input.graph == nullptr) {
    for (const auto& [key, match] : held_) out->push_back(HeldUnknown(match));
    return;
  }
  std::map<Key, Match> now;
  for (uint32_t i = 0; i < input.observation.n_locks; ++i) {
    const hc_lock& lock = input.observation.locks[i];
    if (lock.kind != HC_LOCK_RELATION) continue;
    Match match;
    if (Judge(input, lock, &match)) {
      now.emplace(Key{lock.database_oid, lock.relation_oid}, std::move(match));
    }
  }
  held_ = std::move(now);
  for (const auto& [key, match] : held_) out->push_back(match);
}

}  // namespace

std::unique_ptr<Matcher> MakeDdlQueueMatcher() { return std::make_unique<DdlQueueMatcher>(); }

}  // namespace heal
