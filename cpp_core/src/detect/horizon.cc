#include "detect/horizon.h"

#include <algorithm>

namespace heal {
namespace {

constexpr size_t kMost = 4096;

constexpr const char* kNodes[] = {"horizon_held_by_session", "horizon_held_by_slot",
                                  "horizon_held_by_standby", "horizon_held_by_prepared_transaction"};
constexpr const char* kNames[] = {"session", "replication slot", "standby", "prepared transaction"};

// A lazy or anti-wraparound vacuum does not hold back the horizon of another.
bool IsVacuum(const hc_session& session) {
  return session.kind == HC_BACKEND_AUTOVACUUM_WORKER || StartsWith(session.query, "vacuum");
}

}  // namespace

void HorizonHolders::Note(const MatchInput& input, const std::string& key, Holder holder) {
  if (holder.age == 0) return;
  const auto known = holders_.find(key);
  if (known == holders_.end() && holders_.size() >= kMost) return;
  const bool moved = known == holders_.end() || holder.age < known->second.age;
  holder.stuck_since = moved ? input.observation.mono_us : known->second.stuck_since;
  holder.seen = true;
  holders_[key] = std::move(holder);
}

void HorizonHolders::NoteSessions(const MatchInput& input) {
  const hc_observation& observation = input.observation;
  for (uint32_t i = 0; i < observation.n_sessions; ++i) {
    const hc_session& session = observation.sessions[i];
    const uint32_t age = std::max(session.xid_age, session.xmin_age);
    if (age == 0 || session.leader_pid != 0 || IsVacuum(session) || session.kind == HC_BACKEND_WALSENDER ||
        (session.flags & HC_SESSION_OWN) != 0) {
      continue;
    }
    Holder holder;
    holder.source = kSession;
    holder.name = Text("process %d", session.id.pid);
    holder.database_oid = session.database_oid;
    holder.age = age;
    Note(input, Text("s/%d/%lld", session.id.pid, static_cast<long long>(session.id.xact_start)),
         std::move(holder));
  }
}

void HorizonHolders::Observe(const MatchInput& input) {
  const hc_observation& observation = input.observation;
  sessions_known_ = observation.sessions_known != 0;
  for (auto& [key, holder] : holders_) {
    // Sessions that could not be read may still be there.
    holder.seen = holder.source == kSession && !sessions_known_;
  }
  if (sessions_known_) NoteSessions(input);
  for (uint32_t i = 0; i < observation.n_slots; ++i) {
    const hc_slot& slot = observation.slots[i];
    if (slot.lost != 0) continue;
    Holder holder;
    // The xmin of a physical slot in use is its standby's feedback.
    holder.source = slot.logical == 0 && slot.active != 0 ? kStandby : kSlot;
    holder.name = slot.name;
    holder.age = slot.xmin_age;
    Note(input, Text("l/%s", slot.name), std::move(holder));
  }
  for (uint32_t i = 0; i < observation.n_standbys; ++i) {
    const hc_standby& standby = observation.standbys[i];
    Holder holder;
    holder.source = kStandby;
    holder.name = standby.application;
    holder.age = standby.xmin_age;
    Note(input, Text("w/%d", standby.pid), std::move(holder));
  }
  for (uint32_t i = 0; i < observation.n_prepared; ++i) {
    const hc_prepared& prepared = observation.prepared[i];
    Holder holder;
    holder.source = kPrepared;
    holder.name = prepared.gid;
    holder.database = prepared.database;
    holder.age = prepared.xid_age;
    Note(input, Text("p/%s", prepared.gid), std::move(holder));
  }
  std::erase_if(holders_, [](const auto& entry) { return !entry.second.seen; });
}

void HorizonHolders::AddEvidence(uint32_t database_oid, int64_t since_mono, Match* match) const {
  const Holder* oldest[kSources] = {};
  uint32_t age = 0;
  for (const auto& [key, holder] : holders_) {
    const bool concerns = (holder.database_oid == 0 || holder.database_oid == database_oid) &&
                          (holder.database.empty() || holder.database == match->database);
    if (!concerns || holder.stuck_since > since_mono) continue;
    const Holder*& best = oldest[holder.source];
    if (best == nullptr || holder.age > best->age) best = &holder;
    age = std::max(age, holder.age);
  }
  heal::AddEvidence(match, "horizon_stuck", age != 0,
                    age != 0 ? Text("the oldest xmin in use is %u transactions old and does "
                                    "not move",
                                    age)
                             : "nothing holds back the removal of dead rows");
  for (size_t source = 0; source < kSources; ++source) {
    const Holder* holder = oldest[source];
    // Within a tenth of the oldest: ending only the other would not help.
    if (holder != nullptr && holder->age >= age - age / 10) {
      heal::AddEvidence(
          match, kNodes[source], true,
          Text("%s %s holds an xmin %u transactions old", kNames[source], holder->name.c_str(), holder->age));
    } else if (source == kSession && !sessions_known_) {
      heal::AddEvidence(match, kNodes[source], Truth::kUnknown, "the sessions are unknown");
    } else {
      heal::AddEvidence(match, kNodes[source], false,
                        holder == nullptr
                            ? Text("no %s holds the horizon", kNames[source])
                            : Text("%s %s holds less than others", kNames[source], holder->name.c_str()));
    }
  }
  match->values["horizon_age"] = age;
}

}  // namespace heal
