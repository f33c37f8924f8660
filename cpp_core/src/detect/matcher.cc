#include "detect/matcher.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "detect/lock_modes.h"

namespace heal {
namespace {

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool SameLetter(char a, char b) { return Lower(a) == Lower(b); }

std::string Name(const WaitGraph::Party& party) {
  if (party.pid == 0) return Text("prepared transaction %s", party.gid);
  return Text("process %d", party.pid);
}

}  // namespace

const Look* MatchInput::FindLook(uint32_t database_oid) const {
  const auto at = std::lower_bound(looks.begin(), looks.end(), database_oid,
                                   [](const Look& look, uint32_t oid) { return look.database_oid < oid; });
  return at != looks.end() && at->database_oid == database_oid ? &*at : nullptr;
}

std::string Text(const char* format, ...) {
  va_list args;
  va_start(args, format);
  char buffer[256];
  va_list again;
  va_copy(again, args);
  const int length = std::vsnprintf(buffer, sizeof buffer, format, args);
  va_end(args);
  std::string text;
  if (length >= 0 && static_cast<size_t>(length) < sizeof buffer) {
    text.assign(buffer, static_cast<size_t>(length));
  } else if (length >= 0) {
    text.resize(static_cast<size_t>(length));
    std::vsnprintf(text.data(), text.size() + 1, format, again);
  }
  va_end(again);
  return text;
}

Match NewMatch(std::string_view failure_type, const std::string& key, const std::string& subject,
               const std::string& why) {
  Match match;
  match.failure_type = failure_type;
  match.subject = subject;
  if (const FailureDef* def = FindFailure(failure_type)) {
    match.component = def->component;
    match.category = def->category;
    match.severity = def->severity;
  }
  match.fingerprint = match.component + "/" + match.failure_type + "/" + key;
  match.evidence.push_back({match.failure_type, Truth::kPresent, why});
  return match;
}

void AddEvidence(Match* match, const char* node, Truth truth, std::string why) {
  match->evidence.push_back({node, truth, std::move(why)});
}

void AddEvidence(Match* match, const char* node, bool present, std::string why) {
  AddEvidence(match, node, present ? Truth::kPresent : Truth::kAbsent, std::move(why));
}

Target MakeTarget(const hc_session& session, hc_signal_guard guard, uint32_t relation_oid) {
  Target target;
  target.id = session.id;
  target.guard = guard;
  target.relation_oid = relation_oid;
  target.role_oid = session.role_oid;
  target.role = session.role;
  target.database = session.database;
  target.application = session.application;
  target.client_addr = session.client_addr;
  target.kind = session.kind;
  target.flags = session.flags;
  return target;
}

bool IsIdleInTransaction(const hc_session& session) {
  return session.state == HC_STATE_IDLE_IN_TRANSACTION ||
         session.state == HC_STATE_IDLE_IN_TRANSACTION_ABORTED;
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(), SameLetter);
}

bool Contains(std::string_view text, std::string_view part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end(), SameLetter) != text.end();
}

bool IsWaitingDdl(const WaitGraph::Party& party) {
  return party.lock != nullptr && party.lock->kind == HC_LOCK_RELATION &&
         party.request->mode == kAccessExclusive && party.session != nullptr &&
         party.session->kind == HC_BACKEND_CLIENT;
}

uint32_t QueuedBehind(const hc_observation& observation, const hc_lock& lock, uint32_t position) {
  uint32_t granted = 0;
  for (uint32_t i = 0; i < lock.n_holders; ++i) {
    if (lock.first_holder + i >= observation.n_lock_holders) break;
    granted |= observation.lock_holders[lock.first_holder + i].mode_mask;
  }
  uint32_t behind = 0;
  for (uint32_t i = position + 1; i < lock.n_waiters; ++i) {
    if (lock.first_waiter + i >= observation.n_lock_waiters) break;
    const int mode = observation.lock_waiters[lock.first_waiter + i].mode;
    if (mode == kAccessExclusive || !IsLockMode(mode)) continue;
    if ((ConflictsOf(mode) & granted) == 0) ++behind;
  }
  return behind;
}

void AddHolderEvidence(const MatchInput& input, const std::vector<uint32_t>& waiters, Match* match) {
  struct Kind {
    const char* node;
    const char* what;
    uint32_t count = 0;
    std::string who;
    void Count(const std::string& name) {
      if (count++ == 0) who = name;
    }
  };
  Kind kinds[] = {
      {"holder_idle_in_transaction", "idle in transaction", 0, ""},
      {"holder_active_statement", "running a statement", 0, ""},
      {"holder_prepared_transaction", "prepared", 0, ""},
      {"holder_walsender", "a replication connection", 0, ""},
      {"anti_wraparound_vacuum_holds_lock", "an autovacuum to prevent wraparound", 0, ""},
  };
  bool unseen = false;  // a holder that is no known session: cannot tell
  for (const uint32_t index : input.graph->RootsOf(waiters)) {
    const WaitGraph::Party& root = input.graph->party(index);
    const std::string name = Name(root);
    if (root.pid == 0) {
      kinds[2].Count(name);
    } else if (root.session == nullptr) {
      unseen = true;
    } else if ((root.session->flags & HC_SESSION_ANTI_WRAPAROUND) != 0) {
      kinds[4].Count(name);
    } else if (root.session->kind == HC_BACKEND_WALSENDER) {
      kinds[3].Count(name);
    } else if (IsIdleInTransaction(*root.session)) {
      kinds[0].Count(name);
    } else if (root.session->state != HC_STATE_IDLE) {
      kinds[1].Count(name);
    }
  }
  for (const Kind& kind : kinds) {
    if (kind.count != 0) {
      AddEvidence(match, kind.node, true,
                  Text("%s at the root of the waiting sessions is %s", kind.who.c_str(), kind.what));
    } else if (unseen) {
      AddEvidence(match, kind.node, Truth::kUnknown, "a lock holder is not among the known sessions");
    } else {
      AddEvidence(match, kind.node, false, Text("no lock holder at the root is %s", kind.what));
    }
  }
}

void AddAutovacuumEvidence(const MatchInput& input, Match* match) {
  const double busy = input.observation.metrics != nullptr
                          ? input.observation.metrics[HC_M_AUTOVACUUM_WORKERS]
                          : std::nan("");
  const hc_server* server = input.observation.server;
  if (!std::isfinite(busy) || server == nullptr || server->autovacuum_max_workers <= 0) {
    AddEvidence(match, "autovacuum_workers_busy", Truth::kUnknown,
                "the number of running autovacuum workers is unknown");
    return;
  }
  AddEvidence(match, "autovacuum_workers_busy", busy >= server->autovacuum_max_workers,
              Text("%.0f of %d autovacuum workers are running", busy, server->autovacuum_max_workers));
}

Match HeldUnknown(const Match& match) {
  Match held = match;
  held.targets.clear();
  held.values["unknown"] = 1;
  return held;
}

}  // namespace heal
