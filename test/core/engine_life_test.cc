// What happens to incidents when the ground under them goes: a worker that is
// ended in the middle, a database that is dropped, looks between ticks.

#include <cmath>

#include "engine_fixture.h"

namespace heal {
namespace {

class LifeEngineTest : public EngineTest {
 protected:
  void StaleTable() {
    hc_table& table = world().AddTable(7, "orders", 100000, 0, 60000);
    table.last_analyze = world().Ago(86400);
    table.flags = HC_TABLE_AUTOVACUUM_OFF;
    world().metric(HC_M_AUTOVACUUM_WORKERS) = 0;
  }

  void InspectUntilOpen(int n = 6) {
    for (int i = 0; i < n && shell_.open == 0; ++i) {
      world().Inspect();
      shell_.Step();
    }
    ASSERT_EQ(shell_.open, 1);
  }

  void SettleInspected(int n) {
    for (int i = 0; i < n && shell_.open > 0; ++i) {
      world().Inspect();
      for (int k = 0; k < 5; ++k) shell_.Step(2);
    }
  }
};

TEST_F(LifeEngineTest, AnActionThatWasCutShortIsTriedAgain) {
  StaleTable();
  int calls = 0;
  shell_.run = [&](const Sent& s) {
    if (s.command.kind != HC_CMD_SQL) return Reported{};
    if (++calls == 1) return Reported{HC_OUT_LOST, "", "terminated by the administrator", "57P01"};
    world().tables[0].last_analyze = world().now + 1;
    world().tables[0].mod_since_analyze = 0;
    const Row probe = {{"last_analyze_us", world().now + 1}, {"n_mod_since_analyze", 0}};
    return Reported{HC_OUT_DONE, probe.dump(), "", ""};
  };
  InspectUntilOpen();
  SettleInspected(30);
  EXPECT_EQ(shell_.State(), "resolved");
  const std::vector<Row> attempts = shell_.Rows(HC_T_ATTEMPTS);
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0]["outcome"], "failed");
  EXPECT_NE(attempts[0]["detail"].get<std::string>().find("57P01"), std::string::npos);
  EXPECT_EQ(attempts[1]["outcome"], "healed");
}

TEST_F(LifeEngineTest, WhatWasLostWithTheWorkerIsJudgedFirst) {
  StaleTable();
  int calls = 0;
  shell_.run = [&](const Sent& s) {
    if (s.command.kind == HC_CMD_SQL) ++calls;
    return Reported{};
  };
  shell_.deliver = false;
  InspectUntilOpen();
  for (int i = 0; i < 4 && calls == 0; ++i) {
    world().Inspect();
    shell_.Step();
  }
  ASSERT_EQ(calls, 1);
  shell_.Crash();
  shell_.deliver = true;
  for (int i = 0; i < 30; ++i) {
    world().Inspect();
    for (int k = 0; k < 5; ++k) shell_.Step(2);
  }
  const Path path = shell_.Path();
  const Path begins = {"detected", "diagnosed", "planned", "executing", "verifying", "planned"};
  ASSERT_GE(path.size(), begins.size());
  EXPECT_TRUE(std::equal(begins.begin(), begins.end(), path.begin())) << "verified before anything else";
  EXPECT_EQ(shell_.Rows(HC_T_ATTEMPTS)[0]["outcome"], "no_effect");
  EXPECT_EQ(calls, 2) << "harmless maintenance gets one more go";
  EXPECT_EQ(shell_.State(), "escalated");
}

TEST_F(LifeEngineTest, ADroppedDatabaseTakesItsIncidentAlong) {
  shell_.settings.mode = HC_MODE_OBSERVE;
  world().metric(HC_M_TABLES_STALE_STATISTICS) = 0;  // of the databases that remain
  StaleTable();
  InspectUntilOpen();
  // The shell shows it once more, as empty, and then no more.
  world().tables.clear();
  world().Inspect();
  shell_.Step();
  EXPECT_EQ(shell_.open, 1) << "one look is not enough";
  world().inspections.clear();
  for (int i = 0; i < 3; ++i) shell_.Step();
  EXPECT_EQ(shell_.State(), "closed_itself");
}

TEST_F(LifeEngineTest, AComponentThatOnlyTicksSeeStaysKnownBetweenThem) {
  for (const hc_metric_id id : {HC_M_AUTH_FAILURES, HC_M_LOG_PERMISSION_DENIED, HC_M_LOG_SYNTAX_OR_NAME})
    world().metric(id) = 0;
  shell_.Step();
  EXPECT_EQ(shell_.Component("security")["state"], "healthy");
  for (const hc_metric_id id : {HC_M_AUTH_FAILURES, HC_M_LOG_PERMISSION_DENIED, HC_M_LOG_SYNTAX_OR_NAME})
    world().metric(id) = std::nan("");
  world().full_tick = 0;
  shell_.Step(0.1);
  EXPECT_EQ(shell_.Component("security")["state"], "healthy");
  world().full_tick = 1;
  shell_.Step();
  EXPECT_EQ(shell_.Component("security")["state"], "unknown");
}

}  // namespace
}  // namespace heal
