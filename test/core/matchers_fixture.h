// A small server to observe: what the matcher tests change from step to step.

#ifndef HEAL_TEST_CORE_MATCHERS_FIXTURE_H_
#define HEAL_TEST_CORE_MATCHERS_FIXTURE_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "detect/lock_modes.h"
#include "detect/matchers.h"

namespace heal {

class World {
 public:
  static constexpr int64_t kSecond = 1000000;
  static constexpr uint32_t kDatabase = 5;

  World() {
    metrics_.assign(HC_METRIC_COUNT, std::nan(""));
    server_.max_connections = 100;
    server_.autovacuum_max_workers = 3;
    server_.max_wal_size_mb = 1024;
    server_.checkpoint_timeout_s = 300;
    server_.wal_disk_free_bytes = int64_t{100} << 30;
  }

  int64_t Ago(double seconds) const { return now - static_cast<int64_t>(seconds * kSecond); }
  void Advance(double seconds) {
    now += static_cast<int64_t>(seconds * kSecond);
    mono += static_cast<int64_t>(seconds * kSecond);
  }
  const char* Keep(const std::string& text) {
    texts_.push_back(text);
    return texts_.back().c_str();
  }

  hc_session& AddSession(int32_t pid, hc_session_state state, double since_s) {
    hc_session session{};
    session.id = {pid, Ago(3600), state == HC_STATE_IDLE ? 0 : Ago(since_s), 0, Ago(since_s)};
    session.kind = HC_BACKEND_CLIENT;
    session.state = state;
    session.query_start = Ago(since_s);
    session.role_oid = 10;
    session.database_oid = kDatabase;
    session.role = "app";
    session.database = "shop";
    session.application = "web";
    session.client_addr = "10.0.0.1";
    session.query = "SELECT 1";
    sessions.push_back(session);
    return sessions.back();
  }
  // A session that waits for a lock.
  hc_session& AddWaiting(int32_t pid, double since_s) {
    hc_session& session = AddSession(pid, HC_STATE_ACTIVE, since_s);
    session.flags |= HC_SESSION_LOCK_WAIT;
    return session;
  }

  struct Holder {
    int32_t pid;
    int mode;
    const char* gid = "";
  };
  struct Waiter {
    int32_t pid;
    int mode;
    double since_s;
  };
  void AddLock(hc_lock_kind kind, uint32_t relation, const char* name, const std::vector<Holder>& holding,
               const std::vector<Waiter>& waiting) {
    hc_lock lock{};
    lock.kind = kind;
    lock.database_oid = kDatabase;
    lock.relation_oid = relation;
    lock.name = name;
    lock.first_holder = static_cast<uint32_t>(holders.size());
    lock.n_holders = static_cast<uint32_t>(holding.size());
    lock.first_waiter = static_cast<uint32_t>(waiters.size());
    lock.n_waiters = static_cast<uint32_t>(waiting.size());
    for (const Holder& h : holding) {
      holders.push_back({h.pid, ModeBit(h.mode), h.gid});
    }
    for (const Waiter& w : waiting) {
      waiters.push_back({w.pid, w.mode, w.since_s < 0 ? 0 : Ago(w.since_s)});
    }
    locks.push_back(lock);
  }
  void ClearLocks() {
    locks.clear();
    holders.clear();
    waiters.clear();
  }

  hc_table& AddTable(uint32_t oid, const char* name, int64_t live, int64_t dead = 0, int64_t changed = 0) {
    hc_table table{};
    table.database_oid = kDatabase;
    table.relation_oid = oid;
    table.database = "shop";
    table.schema = "public";
    table.name = name;
    table.qualified = Keep(std::string("public.") + name);
    table.owner = "owner";
    table.bytes = (live + dead) * 100;
    table.live_tuples = live;
    table.dead_tuples = dead;
    table.mod_since_analyze = changed;
    table.reloptions = "";
    tables.push_back(table);
    return tables.back();
  }
  hc_index& AddIndex(uint32_t oid, const char* name) {
    hc_index index{};
    index.database_oid = kDatabase;
    index.index_oid = oid;
    index.table_oid = 900;
    index.database = "shop";
    index.qualified = name;
    index.table_qualified = "public.orders";
    index.owner = "owner";
    index.definition = "CREATE INDEX i ON public.orders USING btree (a)";
    indexes.push_back(index);
    return indexes.back();
  }
  // A new look at the database, a minute after the one before.
  void Inspect(int complete = 1) {
    Advance(60);
    inspections.assign(1, {kDatabase, "shop", now, complete});
  }

  double& metric(hc_metric_id id) { return metrics_[id]; }
  hc_server& server() { return server_; }

  hc_observation Observe() {
    hc_observation o{};
    o.now_us = now;
    o.mono_us = mono;
    o.full_tick = full_tick;
    o.server = &server_;
    o.metrics = metrics_.data();
    o.sessions_known = sessions_known;
    o.locks_known = locks_known;
#define HEAL_LIST(array, field) \
  o.field = array.data();       \
  o.n_##field = static_cast<uint32_t>(array.size())
    HEAL_LIST(sessions, sessions);
    HEAL_LIST(locks, locks);
    HEAL_LIST(holders, lock_holders);
    HEAL_LIST(waiters, lock_waiters);
    HEAL_LIST(prepared, prepared);
    HEAL_LIST(slots, slots);
    HEAL_LIST(standbys, standbys);
    HEAL_LIST(inspections, inspections);
    HEAL_LIST(tables, tables);
    HEAL_LIST(indexes, indexes);
    HEAL_LIST(sequences, sequences);
    HEAL_LIST(logins, logins);
    HEAL_LIST(security_events, security_events);
    HEAL_LIST(clients, clients);
    HEAL_LIST(columns, columns);
    HEAL_LIST(row_counts, row_counts);
    HEAL_LIST(faults, faults);
    HEAL_LIST(behind, behind);
    HEAL_LIST(violations, violations);
    HEAL_LIST(checksums, checksums);
#undef HEAL_LIST
    return o;
  }

  int64_t now = int64_t{800000000} * kSecond;
  int64_t mono = int64_t{5000} * kSecond;
  int32_t full_tick = 1;
  int32_t sessions_known = 1;
  int32_t locks_known = 1;
  std::vector<hc_session> sessions;
  std::vector<hc_lock> locks;
  std::vector<hc_lock_holder> holders;
  std::vector<hc_lock_waiter> waiters;
  std::vector<hc_prepared> prepared;
  std::vector<hc_login> logins;
  std::vector<hc_security_event> security_events;
  std::vector<hc_client> clients;
  std::vector<hc_slot> slots;
  std::vector<hc_standby> standbys;
  std::vector<hc_inspection> inspections;
  std::vector<hc_table> tables;
  std::vector<hc_index> indexes;
  std::vector<hc_sequence> sequences;
  std::vector<hc_column_stats> columns;
  std::vector<hc_row_count> row_counts;
  std::vector<hc_fault> faults;
  std::vector<hc_behind> behind;
  std::vector<hc_violation> violations;
  std::vector<hc_checksum> checksums;

 private:
  std::vector<double> metrics_;
  hc_server server_{};
  std::deque<std::string> texts_;
};

class MatcherTest : public ::testing::Test {
 protected:
  // The matches of one failure in this step.
  std::vector<Match> Run(const std::string& type) {
    std::vector<Match> found;
    for (Match& match : matchers_.Run(world_.Observe(), thresholds_, exempt_)) {
      if (match.failure_type == type) found.push_back(std::move(match));
    }
    return found;
  }

  static Truth TruthOf(const Match& match, const std::string& node) {
    for (const Evidence& evidence : match.evidence) {
      if (evidence.node == node) return evidence.truth;
    }
    ADD_FAILURE() << "no evidence about " << node;
    return Truth::kUnknown;
  }

  World world_;
  Thresholds thresholds_;
  FailureMatchers matchers_;
  std::vector<Exemption> exempt_;
};

}  // namespace heal

#endif  // HEAL_TEST_CORE_MATCHERS_FIXTURE_H_
