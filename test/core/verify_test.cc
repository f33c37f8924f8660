#include "recover/verify.h"

#include <cmath>

#include <gtest/gtest.h>

namespace heal {
namespace {

constexpr int64_t kSecond = 1000000;
constexpr int64_t kActed = 1000 * kSecond;
constexpr RetryPolicy kRetry = {3, 2 * kSecond, 60 * kSecond};

// One observation that a test edits between looks.
struct World {
  hc_observation observation{};
  hc_server server{};
  std::vector<double> metrics = std::vector<double>(HC_METRIC_COUNT, std::nan(""));
  std::vector<hc_session> sessions;
  std::vector<hc_lock> locks;
  std::vector<hc_lock_holder> holders;
  std::vector<hc_lock_waiter> waiters;
  std::vector<hc_table> tables;
  std::vector<hc_index> indexes;
  std::vector<hc_inspection> inspections;
  std::vector<hc_outcome> outcomes;
  std::vector<std::string> texts;
  std::map<std::string, double> limits;
  int32_t commands = 1;

  World() {
    observation.now_us = kActed;
    observation.sessions_known = observation.locks_known = 1;
    observation.full_tick = 1;
    texts.reserve(16);
  }

  void AddSession(int32_t pid, uint32_t flags = 0) {
    hc_session session{};
    session.id = {pid, 1, 5, 0, 0};
    session.flags = flags;
    sessions.push_back(session);
  }

  // pid holds the lock of a relation, others wait in this order.
  void AddLock(int32_t holder, std::vector<int32_t> queue) {
    hc_lock lock{};
    lock.kind = HC_LOCK_RELATION;
    lock.database_oid = 5;
    lock.relation_oid = 16384;
    lock.name = "public.t";
    lock.first_holder = static_cast<uint32_t>(holders.size());
    lock.n_holders = 1;
    holders.push_back({holder, 1u << 8, ""});
    lock.first_waiter = static_cast<uint32_t>(waiters.size());
    lock.n_waiters = static_cast<uint32_t>(queue.size());
    for (const int32_t pid : queue) waiters.push_back({pid, 1, 900 * kSecond});
    locks.push_back(lock);
  }

  void ClearLocks() {
    locks.clear();
    holders.clear();
    waiters.clear();
  }

  void Done(const char* json = "", hc_outcome_status status = HC_OUT_DONE) {
    texts.emplace_back(json);
    outcomes.push_back({1, status, "", "a message", texts.back().c_str(), 1});
  }

  const hc_observation& Look() {
    observation.server = &server;
    observation.metrics = metrics.data();
    const auto slice = [](const auto& from, auto* to, uint32_t* n) {
      *to = from.data();
      *n = static_cast<uint32_t>(from.size());
    };
    slice(sessions, &observation.sessions, &observation.n_sessions);
    slice(locks, &observation.locks, &observation.n_locks);
    slice(holders, &observation.lock_holders, &observation.n_lock_holders);
    slice(waiters, &observation.lock_waiters, &observation.n_lock_waiters);
    slice(tables, &observation.tables, &observation.n_tables);
    slice(indexes, &observation.indexes, &observation.n_indexes);
    slice(inspections, &observation.inspections, &observation.n_inspections);
    return observation;
  }

  VerifyResult Judge(VerifyBaseline* baseline) {
    VerifyInput input;
    input.observation = &Look();
    input.outcomes = outcomes;
    input.commands = commands;
    input.threshold = [this](std::string_view, std::string_view name) {
      const auto found = limits.find(std::string(name));
      return found == limits.end() ? std::nan("") : found->second;
    };
    return heal::Judge(input, baseline);
  }

  // Verdict after some seconds.
  VerifyVerdict After(int64_t seconds, VerifyBaseline* baseline) {
    observation.now_us = kActed + seconds * kSecond;
    return Judge(baseline).verdict;
  }
};

VerifyBaseline Baseline(World* world, const char* failure, std::vector<int32_t> pids = {},
                        std::map<std::string, double> values = {}) {
  Match match;
  match.failure_type = failure;
  match.database_oid = 5;
  match.relation_oid = 16384;
  match.values = std::move(values);
  Candidate candidate;
  candidate.verify_ms = 5000;
  for (const int32_t pid : pids) {
    Target target;
    target.id = {pid, 1, 5, 0, 0};
    candidate.targets.push_back(target);
  }
  return MakeBaseline(match, candidate, kRetry, world->Look());
}

// ---- in general ----

TEST(Verify, WaitsForRunningCommands) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "stale_statistics");
  EXPECT_EQ(w.After(600, &baseline), VerifyVerdict::kNotYet) << "a long ANALYZE is not late";
  w.Done();
  EXPECT_EQ(w.After(601, &baseline), VerifyVerdict::kNotYet);
  EXPECT_EQ(w.After(662, &baseline), VerifyVerdict::kUnverified) << "the time began when it finished";
}

TEST(Verify, WhatWasNotDoneHadNoEffect) {
  for (const hc_outcome_status status : {HC_OUT_FAILED, HC_OUT_REFUSED}) {
    World w;
    VerifyBaseline baseline = Baseline(&w, "invalid_index");
    w.Done("", status);
    EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNoEffect);
  }
}

TEST(Verify, ALostCommandIsJudgedByFacts) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "stale_statistics");
  w.Done("", HC_OUT_LOST);
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
}

TEST(Verify, UnknownFailuresAreUnverified) {
  World w;
  w.commands = 0;
  VerifyBaseline baseline = Baseline(&w, "runaway_query");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kUnverified);
}

TEST(Verify, BaselineSurvivesItsTextForm) {
  World w;
  w.AddSession(10);
  w.AddLock(10, {20, 21});
  const VerifyBaseline baseline = Baseline(&w, "idle_in_transaction_blocker", {10}, {{"waiters", 2}});
  const VerifyBaseline again = ParseBaseline(BaselineJson(baseline));
  EXPECT_EQ(BaselineJson(again), BaselineJson(baseline));
  EXPECT_EQ(again.victims.size(), 2u);
  EXPECT_EQ(again.signalled.at(0).pid, 10);
  for (const char* bad : {"", "[]", "{}", "{\"failure_type\":1}"})
    EXPECT_THROW(ParseBaseline(bad), std::invalid_argument) << bad;
}

// ---- P01 ----

TEST(VerifyIdleBlocker, HealedWhenSessionAndWaitsAreGone) {
  World w;
  w.AddSession(10);
  w.AddLock(10, {20, 21});
  VerifyBaseline baseline = Baseline(&w, "idle_in_transaction_blocker", {10});
  w.Done();
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet) << "session still there";
  w.sessions.clear();
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kNotYet) << "still waiting";
  w.ClearLocks();
  w.AddLock(20, {21});
  EXPECT_EQ(w.After(3, &baseline), VerifyVerdict::kNotYet) << "one still waits on that lock";
  w.ClearLocks();
  w.AddLock(20, {22});
  EXPECT_EQ(w.After(4, &baseline), VerifyVerdict::kHealed) << "others may wait";
}

TEST(VerifyIdleBlocker, NoEffectAtTheDeadline) {
  World w;
  w.AddSession(10);
  w.AddLock(10, {20});
  VerifyBaseline baseline = Baseline(&w, "idle_in_transaction_blocker", {10});
  w.Done();
  w.After(0, &baseline);
  EXPECT_EQ(w.After(60, &baseline), VerifyVerdict::kNoEffect);
}

TEST(VerifyIdleBlocker, TooLittleEvidenceIsNoSuccess) {
  World w;
  w.AddSession(10);
  VerifyBaseline baseline = Baseline(&w, "idle_in_transaction_blocker", {10});
  w.sessions.clear();
  w.Done();
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
  EXPECT_EQ(w.After(61, &baseline), VerifyVerdict::kUnverified) << "nobody was seen waiting";
  World blind;
  blind.AddSession(10);
  blind.AddLock(10, {20});
  baseline = Baseline(&blind, "idle_in_transaction_blocker", {10});
  blind.Done();
  blind.sessions.clear();
  blind.ClearLocks();
  blind.observation.locks_known = 0;
  blind.After(1, &baseline);
  EXPECT_EQ(blind.After(61, &baseline), VerifyVerdict::kUnverified) << "unknown is not empty";
}

TEST(VerifyIdleBlocker, APidUsedAgainIsAnotherSession) {
  World w;
  w.AddSession(10);
  w.AddLock(10, {20});
  VerifyBaseline baseline = Baseline(&w, "idle_in_transaction_blocker", {10});
  w.Done();
  w.ClearLocks();
  w.sessions[0].id.backend_start = 2;
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kHealed);
}

// ---- P02 ----

TEST(VerifyDdlQueue, HealedWhenTheQueueIsGone) {
  World w;
  w.AddSession(30, HC_SESSION_LOCK_WAIT);
  w.AddLock(10, {30, 40, 41, 42});
  VerifyBaseline baseline = Baseline(&w, "ddl_lock_queue", {30});
  EXPECT_EQ(baseline.victims.size(), 3u) << "the command itself is no victim";
  w.Done();
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
  w.ClearLocks();
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kNotYet) << "it still waits";
  w.sessions[0].flags = 0;
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kHealed) << "the session itself stays";
}

TEST(VerifyDdlQueue, WhoStoodBeforeItIsNoVictim) {
  World w;
  w.AddSession(30, HC_SESSION_LOCK_WAIT);
  w.AddLock(10, {29, 30, 40});
  EXPECT_EQ(Baseline(&w, "ddl_lock_queue", {30}).victims.size(), 1u);
}

// ---- P07 ----

TEST(VerifyStatistics, TheProbeTells) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "stale_statistics", {}, {{"last_analyze", 5}});
  w.Done(R"({"n_mod_since_analyze":0,"last_analyze":"2000-01-01","last_analyze_us":1000000500})");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kHealed);
}

TEST(VerifyStatistics, AnOldAnalyzeIsNoEffect) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "stale_statistics");
  w.Done(R"({"n_mod_since_analyze":60000,"last_analyze_us":999000000})");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
  EXPECT_EQ(w.After(61, &baseline), VerifyVerdict::kNoEffect);
}

TEST(VerifyStatistics, AfterARestartTheInspectorTells) {
  World w;
  hc_table table{};
  table.database_oid = 5;
  table.relation_oid = 16384;
  table.mod_since_analyze = 60000;
  w.tables.push_back(table);
  VerifyBaseline baseline = ParseBaseline(BaselineJson(Baseline(&w, "stale_statistics")));
  w.commands = 0;
  w.tables[0].last_analyze = kActed + kSecond;
  w.tables[0].mod_since_analyze = 3;
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kNotYet) << "facts older than the action";
  w.inspections.push_back({5, "shop", kActed + 2 * kSecond, 1});
  EXPECT_EQ(w.After(3, &baseline), VerifyVerdict::kHealed);
}

// ---- P11 ----

class VerifyCheckpoints : public ::testing::Test {
 protected:
  World w;
  VerifyBaseline baseline;

  // Ten requested checkpoints in 100 MB of WAL, 1 MB/s: a cycle is 10 MB, 10 s.
  void SetUp() override {
    w.metrics[HC_M_CHECKPOINTS_REQUESTED] = 10;
    w.metrics[HC_M_CHECKPOINTS_TIMED] = 0;
    w.metrics[HC_M_WAL_BYTES] = 0;
    baseline = Baseline(&w, "checkpoint_storm", {},
                        {{"wal_mb", 100}, {"requested", 10}, {"wal_mb_per_s", 1}, {"value", 128}});
    w.server.max_wal_size_mb = 128;
    w.Done();
    EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
  }

  VerifyVerdict Later(int64_t seconds, double requested, double timed, double wal_mb) {
    w.metrics[HC_M_CHECKPOINTS_REQUESTED] = 10 + requested;
    w.metrics[HC_M_CHECKPOINTS_TIMED] = timed;
    w.metrics[HC_M_WAL_BYTES] = wal_mb * 1024 * 1024;
    return w.After(seconds, &baseline);
  }
};

TEST_F(VerifyCheckpoints, HealedAfterThreeCalmCycles) {
  EXPECT_EQ(Later(20, 0, 0, 20), VerifyVerdict::kNotYet);
  EXPECT_EQ(Later(31, 1, 0, 30), VerifyVerdict::kHealed) << "one was under way";
}

TEST_F(VerifyCheckpoints, NoEffectWhenTheStormGoesOn) {
  EXPECT_EQ(Later(31, 3, 0, 30), VerifyVerdict::kNoEffect);
}

TEST_F(VerifyCheckpoints, WorseWhenThereAreMore) { EXPECT_EQ(Later(31, 9, 0, 30), VerifyVerdict::kWorse); }

TEST_F(VerifyCheckpoints, WithLessLoadOneCycleMustDo) {
  EXPECT_EQ(Later(31, 0, 0, 5), VerifyVerdict::kNotYet);
  EXPECT_EQ(Later(40, 0, 1, 12), VerifyVerdict::kHealed);
}

TEST_F(VerifyCheckpoints, WithoutLoadNothingIsProven) {
  EXPECT_EQ(Later(62, 0, 0, 1), VerifyVerdict::kUnverified);
}

TEST_F(VerifyCheckpoints, AShortBurstLeavesTimeToVerify) {
  baseline.values["wal_mb_per_s"] = 100;  // three cycles in 0.3 s
  EXPECT_EQ(Later(31, 0, 0, 5), VerifyVerdict::kNotYet);
  EXPECT_EQ(Later(40, 0, 0, 12), VerifyVerdict::kHealed);
}

TEST_F(VerifyCheckpoints, TheSettingMustTakeEffect) {
  w.server.max_wal_size_mb = 64;
  EXPECT_EQ(Later(5, 0, 0, 5), VerifyVerdict::kNotYet);
  EXPECT_EQ(Later(12, 0, 0, 12), VerifyVerdict::kNoEffect);
}

TEST_F(VerifyCheckpoints, ACounterResetStartsAnew) {
  EXPECT_EQ(Later(20, -10, 0, 20), VerifyVerdict::kNotYet);
  EXPECT_EQ(Later(31, -10, 0, 30), VerifyVerdict::kNotYet) << "three cycles from the reset";
  EXPECT_EQ(Later(52, -10, 0, 51), VerifyVerdict::kHealed);
}

TEST_F(VerifyCheckpoints, UnknownCountersAreUnverified) {
  w.metrics[HC_M_CHECKPOINTS_REQUESTED] = std::nan("");
  EXPECT_EQ(w.After(61, &baseline), VerifyVerdict::kUnverified);
}

// ---- P12 ----

TEST(VerifyVacuum, TheShareOfDeadRowsDecides) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "vacuum_starved", {}, {{"dead_share", 0.4}});
  w.Done(R"({"n_dead_tup":5,"n_live_tup":1000})");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kHealed);
  w.outcomes.clear();
  w.Done(R"({"n_dead_tup":300,"n_live_tup":1000})");
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kNotYet);
  EXPECT_EQ(w.After(62, &baseline), VerifyVerdict::kNoEffect);
  w.outcomes.clear();
  w.Done(R"({"n_dead_tup":600,"n_live_tup":1000})");
  EXPECT_EQ(w.After(63, &baseline), VerifyVerdict::kWorse);
  w.limits["clear_share"] = 0.7;
  EXPECT_EQ(w.After(64, &baseline), VerifyVerdict::kHealed);
}

TEST(VerifyVacuum, ALaterInspectionKnowsMore) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "vacuum_starved", {}, {{"dead_share", 0.4}});
  w.Done(R"({"effective":true,"n_dead_tup":400,"n_live_tup":1000})");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
  hc_table table{};
  table.database_oid = 5;
  table.relation_oid = 16384;
  table.live_tuples = 1000;
  w.tables.push_back(table);
  w.inspections.push_back({5, "shop", kActed + 30 * kSecond, 1});
  EXPECT_EQ(w.After(31, &baseline), VerifyVerdict::kHealed);
}

TEST(VerifyVacuum, OptionsMustBeInEffect) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "vacuum_starved");
  w.Done(R"({"effective":false,"n_dead_tup":0,"n_live_tup":1000})");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNoEffect);
}

// ---- P15 ----

TEST(VerifyIndex, GoneByProbeOrInspection) {
  World w;
  VerifyBaseline baseline = Baseline(&w, "invalid_index", {}, {{"index_oid", 17000}});
  EXPECT_EQ(baseline.index_oid, 17000u);
  w.Done(R"({"gone":true})");
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kHealed);
  w.outcomes.clear();
  w.Done("", HC_OUT_LOST);
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet);
  w.inspections.push_back({5, "shop", kActed + kSecond, 0});
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kNotYet) << "an incomplete list proves nothing";
  w.inspections[0].complete = 1;
  EXPECT_EQ(w.After(2, &baseline), VerifyVerdict::kHealed);
  hc_index index{};
  index.database_oid = 5;
  index.index_oid = 17000;
  w.indexes.push_back(index);
  EXPECT_EQ(w.After(61, &baseline), VerifyVerdict::kNoEffect);
}

// ---- R04 ----

TEST(VerifyConnections, BelowTheLimitAndQuiet) {
  World w;
  w.AddSession(10);
  w.metrics[HC_M_CONNECTIONS_USED] = 0.95;
  w.metrics[HC_M_LOG_TOO_MANY_CONNECTIONS] = 100;
  w.limits["quiet_s"] = 5;
  VerifyBaseline baseline = Baseline(&w, "connection_exhaustion", {10}, {{"refused", 3}});
  w.Done();
  EXPECT_EQ(w.After(1, &baseline), VerifyVerdict::kNotYet) << "session still there";
  w.sessions.clear();
  const VerifyResult more = w.Judge(&baseline);
  EXPECT_EQ(more.verdict, VerifyVerdict::kNotYet);
  EXPECT_TRUE(more.another_round) << "this one is gone, more must go";
  w.metrics[HC_M_CONNECTIONS_USED] = 0.5;
  w.metrics[HC_M_LOG_TOO_MANY_CONNECTIONS] = 101;
  EXPECT_EQ(w.After(3, &baseline), VerifyVerdict::kNotYet) << "one was refused just now";
  EXPECT_EQ(w.After(7, &baseline), VerifyVerdict::kNotYet);
  EXPECT_EQ(w.After(8, &baseline), VerifyVerdict::kHealed);
}

TEST(VerifyConnections, NoEffectWhenTheyComeBack) {
  World w;
  w.AddSession(10);
  w.metrics[HC_M_CONNECTIONS_USED] = 0.9;
  w.metrics[HC_M_LOG_TOO_MANY_CONNECTIONS] = 0;
  VerifyBaseline baseline = Baseline(&w, "connection_exhaustion", {10});
  w.sessions.clear();
  w.Done();
  w.After(1, &baseline);
  w.observation.now_us = kActed + 62 * kSecond;
  const VerifyResult late = w.Judge(&baseline);
  EXPECT_EQ(late.verdict, VerifyVerdict::kNoEffect);
  EXPECT_FALSE(late.another_round);
}

TEST(VerifyConnections, AnotherRoundStartsTheTimeAnew) {
  World w;
  w.AddSession(10);
  w.AddSession(11);
  w.metrics[HC_M_CONNECTIONS_USED] = 0.9;
  w.metrics[HC_M_LOG_TOO_MANY_CONNECTIONS] = 0;
  VerifyBaseline baseline = Baseline(&w, "connection_exhaustion", {10});
  w.sessions.erase(w.sessions.begin());
  w.Done();
  w.After(50, &baseline);
  Candidate second;
  second.targets.resize(1);
  second.targets[0].id = {11, 1, 5, 0, 0};
  AddRound(second, w.Look(), &baseline);
  w.Done();
  w.commands = 2;
  EXPECT_EQ(w.After(100, &baseline), VerifyVerdict::kNotYet);
  EXPECT_EQ(w.After(161, &baseline), VerifyVerdict::kNoEffect);
}

TEST(VerifyConnections, UnknownMetricsAreUnverified) {
  World w;
  w.AddSession(10);
  VerifyBaseline baseline = Baseline(&w, "connection_exhaustion", {10});
  w.sessions.clear();
  w.Done();
  w.After(1, &baseline);
  EXPECT_EQ(w.After(62, &baseline), VerifyVerdict::kUnverified);
}

}  // namespace
}  // namespace heal
