// The closed loop over faults of sessions and locks: P01, P02, R04.

#include "engine_fixture.h"

namespace heal {
namespace {

TEST_F(EngineTest, HealthyServerIsLeftAlone) {
  world().AddSession(100, HC_STATE_ACTIVE, 5);
  for (int i = 0; i < 5; ++i) shell_.Step();
  EXPECT_TRUE(shell_.journal.empty());
  EXPECT_TRUE(shell_.sent.empty());
  EXPECT_EQ(shell_.look_again_us, -1);
  EXPECT_EQ(shell_.Component("locks")["state"], "healthy");
  EXPECT_EQ(shell_.Component("healer")["state"], "healthy");
}

TEST_F(EngineTest, IdleBlockerIsHealedInAuto) {
  IdleBlocker();
  shell_.Step();
  shell_.Settle();
  EXPECT_EQ(shell_.Path(),
            (Path{"detected", "diagnosed", "planned", "executing", "verifying", "resolved"}));
  ASSERT_EQ(shell_.Acts().size(), 1u);
  EXPECT_EQ(shell_.Acts()[0].command.target.pid, 100);
  const Row incident = shell_.Last(HC_T_INCIDENTS);
  EXPECT_EQ(incident["outcome"], "healed");
  EXPECT_EQ(incident["remedy"], "terminate_idle_blocker");
  EXPECT_EQ(incident["root_cause"], "idle_in_transaction_session");
  EXPECT_FALSE(incident["recovery_ms"].is_null());
  const Row attempt = shell_.Last(HC_T_ATTEMPTS);
  EXPECT_EQ(attempt["outcome"], "healed");
  EXPECT_EQ(attempt["verified"], true);
  EXPECT_EQ(attempt["mode"], "auto");
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["items"], 0);
  EXPECT_EQ(attempt["snapshot_id"], shell_.Last(HC_T_SNAPSHOTS)["snapshot_id"]);
  EXPECT_GT(shell_.Component("locks")["recovered"], 0);
  EXPECT_EQ(shell_.Component("locks")["state"], "healthy");
}

TEST_F(EngineTest, TheCommandLeavesWithItsRows) {
  DdlQueue();
  shell_.Step();
  while (shell_.Acts().empty()) shell_.Step(0.05);
  // The rows of the very step that issued the command are in the journal.
  EXPECT_EQ(shell_.State(), "executing");
  EXPECT_EQ(shell_.Last(HC_T_ATTEMPTS)["state"], "started");
  EXPECT_FALSE(shell_.Last(HC_T_ATTEMPTS)["snapshot_id"].is_null());
  EXPECT_EQ(shell_.Last(HC_T_AUDIT)["outcome"], "started");
}

TEST_F(EngineTest, DdlQueueIsCancelledNotTheHolder) {
  DdlQueue();
  shell_.Step();
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved");
  ASSERT_EQ(shell_.Acts().size(), 1u);
  EXPECT_EQ(shell_.Acts()[0].command.kind, HC_CMD_CANCEL);
  EXPECT_EQ(shell_.Acts()[0].command.target.pid, 300);
  EXPECT_EQ(shell_.Acts()[0].command.guard, HC_GUARD_WAITING_LOCK);
}

TEST_F(EngineTest, ObserveOnlyRecommends) {
  shell_.settings.mode = HC_MODE_OBSERVE;
  IdleBlocker();
  for (int i = 0; i < 6; ++i) shell_.Step();
  EXPECT_TRUE(shell_.Acts().empty());
  EXPECT_EQ(shell_.State(), "planned");
  ASSERT_EQ(shell_.Rows(HC_T_RECOMMENDATIONS).size(), 1u);
  EXPECT_EQ(shell_.Last(HC_T_RECOMMENDATIONS)["state"], "open");
  EXPECT_EQ(shell_.Component("locks")["state"], "degraded");
  const size_t before = shell_.journal.size();
  for (int i = 0; i < 5; ++i) shell_.Step();
  EXPECT_EQ(shell_.journal.size(), before) << "nothing is written while nothing changes";
  // The symptom goes: two looks, then it closes and withdraws.
  world().ClearLocks();
  RemoveSession(100);
  shell_.Step();
  EXPECT_EQ(shell_.open, 1);
  shell_.Step();
  EXPECT_EQ(shell_.State(), "closed_itself");
  EXPECT_EQ(shell_.Last(HC_T_RECOMMENDATIONS)["state"], "withdrawn");
  EXPECT_EQ(shell_.open, 0);
}

TEST_F(EngineTest, ApproveActsAfterApproval) {
  shell_.settings.mode = HC_MODE_APPROVE;
  IdleBlocker();
  for (int i = 0; i < 4; ++i) shell_.Step();
  EXPECT_TRUE(shell_.Acts().empty());
  EXPECT_EQ(shell_.State(), "awaiting_approval");
  const Row waiting = shell_.Last(HC_T_RECOMMENDATIONS);
  EXPECT_EQ(waiting["state"], "waiting");
  const uint64_t id = shell_.Ask(HC_REQ_APPROVE, waiting["recommendation_id"]);
  shell_.Step();
  const Answered answer = shell_.Answer(id);
  EXPECT_EQ(answer.sqlstate, "00000") << answer.message << answer.detail;
  EXPECT_EQ(answer.json["state"], "executing");
  EXPECT_EQ(shell_.Last(HC_T_RECOMMENDATIONS)["state"], "executed");
  EXPECT_EQ(shell_.Last(HC_T_RECOMMENDATIONS)["decided_by"], "dba");
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved");
  EXPECT_EQ(shell_.Last(HC_T_ATTEMPTS)["mode"], "approve");
}

TEST_F(EngineTest, LimitedActsOnLowRiskOnly) {
  shell_.settings.mode = HC_MODE_LIMITED;
  IdleBlocker();  // A2: asks
  for (int i = 0; i < 4; ++i) shell_.Step();
  EXPECT_EQ(shell_.State(), "awaiting_approval");
  EXPECT_TRUE(shell_.Acts().empty());
}

TEST_F(EngineTest, LimitedCancelsDdl) {
  shell_.settings.mode = HC_MODE_LIMITED;
  DdlQueue();  // A1: acts
  shell_.Step();
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved");
}

TEST_F(EngineTest, RefusedSignalIsTriedAgainAndThenEscalated) {
  IdleBlocker();
  shell_.run = [](const Sent&) { return Reported{HC_OUT_REFUSED, "", "the session is not the same any more", ""}; };
  shell_.Step();
  for (int i = 0; i < 200 && shell_.State() != "escalated"; ++i) shell_.Step(0.5);
  EXPECT_EQ(shell_.State(), "escalated");
  for (const Row& row : shell_.Rows(HC_T_ATTEMPTS)) EXPECT_EQ(row["outcome"], "failed");
  EXPECT_LE(shell_.Acts().size(), 3u);
  const Row explanation = shell_.Last(HC_T_INCIDENTS)["explanation"];
  for (const char* key : {"evidence", "causes", "candidates", "tried", "transitions"})
    EXPECT_TRUE(explanation.contains(key)) << key;
  // It stays with a person until the symptom has gone, then frees its place.
  const size_t acts = shell_.Acts().size();
  for (int i = 0; i < 10; ++i) shell_.Step();
  EXPECT_EQ(shell_.Acts().size(), acts);
  EXPECT_EQ(shell_.open, 1);
  world().ClearLocks();
  RemoveSession(100);
  shell_.Step();
  shell_.Step();
  EXPECT_EQ(shell_.open, 0);
  EXPECT_EQ(shell_.Last(HC_T_INCIDENTS)["outcome"], "escalated");
}

TEST_F(EngineTest, ATerminatedSessionThatStaysIsNotSuccess) {
  IdleBlocker();
  shell_.run = [](const Sent&) { return Reported{}; };
  shell_.Step();
  for (int i = 0; i < 300 && shell_.State() != "escalated"; ++i) shell_.Step();
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_EQ(shell_.Rows(HC_T_ATTEMPTS)[0]["outcome"], "no_effect");
}

TEST_F(EngineTest, LeakIsEndedInRounds) {
  world().server().max_connections = 22;
  world().metric(HC_M_LOG_TOO_MANY_CONNECTIONS) = 0;
  world().metric(HC_M_SESSIONS_NEW) = 100;
  auto used = [this] { world().metric(HC_M_CONNECTIONS_USED) = static_cast<double>(world().sessions.size()) / 22; };
  for (int pid = 100; pid < 104; ++pid) world().AddSession(pid, HC_STATE_IDLE, 1);
  used();
  for (int i = 0; i < 60; ++i) shell_.Step();
  for (int pid = 104; pid < 119; ++pid) world().AddSession(pid, HC_STATE_IDLE, 600);
  used();
  std::map<int64_t, int> ended;  // by step
  shell_.run = [&](const Sent& s) {
    if (s.command.kind != HC_CMD_TERMINATE) return Reported{};
    ++ended[world().mono];
    RemoveSession(s.command.target.pid);
    used();
    return Reported{};
  };
  shell_.Step();
  shell_.Settle(400);
  EXPECT_EQ(shell_.State(), "resolved");
  ASSERT_EQ(shell_.Rows(HC_T_ATTEMPTS).size(), 1u) << "rounds are one attempt";
  EXPECT_GE(ended.size(), 2u);
  int64_t last = 0;
  for (const auto& [at, n] : ended) {
    EXPECT_LE(n, 3) << "at most three in one round";
    EXPECT_GE(at - last, 200000) << "rounds keep their distance";
    last = at;
  }
  EXPECT_LT(world().sessions.size(), 17u);
  EXPECT_GE(world().sessions.size(), 12u) << "no more than needed";
}

TEST_F(EngineTest, UnknownFactsAreNotTheEndOfASymptom) {
  shell_.settings.mode = HC_MODE_OBSERVE;
  IdleBlocker();
  for (int i = 0; i < 4; ++i) shell_.Step();
  world().locks_known = 0;
  world().ClearLocks();
  for (int i = 0; i < 10; ++i) shell_.Step();
  EXPECT_EQ(shell_.open, 1);
  EXPECT_EQ(shell_.Component("locks")["state"], "unknown");
}

TEST_F(EngineTest, PauseStopsEverythingAndSaysSo) {
  IdleBlocker();
  const uint64_t pause = shell_.Ask(HC_REQ_PAUSE, 0, "maintenance");
  shell_.Step();
  EXPECT_EQ(shell_.Answer(pause).sqlstate, "00000");
  EXPECT_EQ(shell_.paused, 1);
  for (int i = 0; i < 5; ++i) shell_.Step();
  EXPECT_TRUE(shell_.Acts().empty());
  const std::string detail = shell_.Component("healer")["detail"];
  EXPECT_NE(detail.find("paused"), std::string::npos);
  EXPECT_NE(detail.find("maintenance"), std::string::npos);
  const uint64_t execute = shell_.Ask(HC_REQ_EXECUTE, 1, "terminate_idle_blocker");
  EXPECT_EQ(shell_.Answer(execute).sqlstate, "55000");
  shell_.Ask(HC_REQ_RESUME);
  shell_.Step();
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved");
}

TEST_F(EngineTest, CrashedHealerOnlyObserves) {
  world().server().flags = HC_SERVER_HEALER_CRASHED;
  IdleBlocker();
  for (int i = 0; i < 5; ++i) shell_.Step();
  EXPECT_TRUE(shell_.Acts().empty());
  EXPECT_EQ(shell_.Component("healer")["state"], "degraded");
}

TEST_F(EngineTest, OscillationEscalates) {
  for (int round = 0; round < 4; ++round) {
    IdleBlocker();
    for (int i = 0; i < 40 && (i < 3 || shell_.open > 0) && shell_.State() != "escalated"; ++i) shell_.Step();
    if (shell_.State() == "escalated") break;
    world().sessions.clear();
    world().ClearLocks();
    for (int i = 0; i < 3; ++i) shell_.Step(700);
  }
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_EQ(shell_.Acts().size(), 3u);
}

TEST_F(EngineTest, OpenIncidentsAreBounded) {
  shell_.limits.max_incidents = 1;
  shell_.settings.mode = HC_MODE_OBSERVE;
  shell_.Start();
  IdleBlocker();
  world().AddSession(101, HC_STATE_IDLE_IN_TRANSACTION, 120);
  world().AddWaiting(201, 20);
  world().AddLock(HC_LOCK_RELATION, 78, "public.other", {{101, 8}}, {{201, 1, 20}});
  for (int i = 0; i < 3; ++i) shell_.Step();
  EXPECT_EQ(shell_.open, 1);
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u);
}

TEST_F(EngineTest, SameInputsGiveTheSameBytes) {
  std::string bytes[2];
  for (std::string& run : bytes) {
    shell_.~Shell();
    new (&shell_) Shell();
    IdleBlocker();
    shell_.Ask(HC_REQ_SNAPSHOT, 0, "before", 0, "settings");
    shell_.Step();
    shell_.Settle();
    shell_.Crash();
    shell_.Step();
    run = shell_.bytes;
  }
  EXPECT_FALSE(bytes[0].empty());
  EXPECT_EQ(bytes[0], bytes[1]);
}

TEST_F(EngineTest, BrokenGraphOfAUserIsSaidAndSurvived) {
  hc_causal_node nodes[2] = {{"a", "root_cause", "locks", 0.1, ""}, {"b", "symptom", "locks", 0.1, ""}};
  hc_causal_edge edges[2] = {{"a", "b", "direct_cause", 1, 0.9, 0}, {"b", "a", "direct_cause", 1, 0.9, 0}};
  hc_config config{};
  config.nodes = nodes;
  config.n_nodes = 2;
  config.edges = edges;
  config.n_edges = 2;
  shell_.config = &config;
  IdleBlocker();
  shell_.Step();
  EXPECT_EQ(shell_.Component("healer")["state"], "degraded");
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved") << "the shipped graph is kept";
}

}  // namespace
}  // namespace heal
