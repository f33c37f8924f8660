// The closed loop over faults treated by statements: P07, P11, P12, P15, with
// before-images, roll-back, retry and escalation.

#include "engine_fixture.h"

namespace heal {
namespace {

constexpr double kMiB = 1024 * 1024;

class SqlEngineTest : public EngineTest {
 protected:
  // Looks of the inspectors until an incident is there, at most n.
  void InspectUntilOpen(int n = 6) {
    for (int i = 0; i < n && shell_.open == 0; ++i) {
      world().Inspect();
      shell_.Step();
    }
    ASSERT_EQ(shell_.open, 1);
  }
  // Goes on, with an inspection every minute.
  void SettleInspected(int n = 30) {
    for (int i = 0; i < n && shell_.open > 0; ++i) {
      shell_.Step(0.2);
      shell_.Step(0.2);
      if (i % 3 == 2) {
        world().Inspect();
        shell_.Step();
      }
    }
  }

  void StaleTable() {
    hc_table& table = world().AddTable(7, "orders", 100000, 0, 60000);
    table.last_analyze = world().Ago(86400);
    table.qualified = "\"Sch\".\"Or\"\"ders\"";
    table.flags = HC_TABLE_AUTOVACUUM_OFF;
    world().metric(HC_M_AUTOVACUUM_WORKERS) = 0;
    shell_.run = [this](const Sent& s) {
      if (s.command.kind != HC_CMD_SQL) return Reported{};
      world().tables[0].last_analyze = world().now + 1;
      world().tables[0].mod_since_analyze = 0;
      const Row probe = {{"last_analyze_us", world().now + 1}, {"n_mod_since_analyze", 0}};
      return Reported{HC_OUT_DONE, probe.dump(), "", ""};
    };
  }

  void DeadIndex(uint32_t flags = 0) {
    world().AddTable(900, "orders", 1000);
    world().AddIndex(55, "public.i").flags = flags;
    shell_.run = [this](const Sent& s) {
      if (s.command.kind == HC_CMD_CAPTURE)
        return Reported{HC_OUT_DONE, world().indexes.empty() ? "[]" : IndexItems(), "", ""};
      if (s.sql.find("DROP INDEX CONCURRENTLY") != std::string::npos) {
        world().indexes.clear();
        return Reported{HC_OUT_DONE, R"({"gone": true})", "", ""};
      }
      return Reported{};
    };
  }
  static constexpr const char* kDefinition = "CREATE INDEX i ON public.orders USING btree (a)";
  static std::string IndexItems() {
    const Row item = {{"kind", "index"},       {"database", "shop"},    {"database_oid", World::kDatabase},
                       {"object", "public.i"},  {"name", ""},            {"value", kDefinition},
                       {"restore_sql", kDefinition}, {"reset_sql", ""}};
    return Row::array({item}).dump();
  }

  // P11: the setting is a real one that ALTER SYSTEM changes and rolls back.
  void CheckpointStorm(bool helps) {
    helps_ = helps;
    world().server().max_wal_size_mb = 1024;
    world().metric(HC_M_CHECKPOINTS_TIMED) = 100;
    world().metric(HC_M_CHECKPOINTS_REQUESTED) = 50;
    world().metric(HC_M_LOG_CHECKPOINTS_TOO_FREQUENT) = 0;
    world().metric(HC_M_WAL_BYTES) = 1e12;
    shell_.run = [this](const Sent& s) {
      if (s.command.kind == HC_CMD_CAPTURE) return Reported{HC_OUT_DONE, SettingItems(), "", ""};
      if (s.command.kind != HC_CMD_SQL) return Reported{};
      const size_t at = s.sql.find("max_wal_size = '");
      file_ = at == std::string::npos ? "" : s.sql.substr(at + 16, s.sql.find('\'', at + 16) - at - 16);
      world().server().max_wal_size_mb = file_.empty() ? 1024 : std::stoll(file_);
      const Row probe = {{"setting_mb", world().server().max_wal_size_mb},
                          {"pending_restart", false},
                          {"file_setting", file_},
                          {"file_error", ""}};
      return Reported{HC_OUT_DONE, probe.dump(), "", ""};
    };
  }
  std::string SettingItems() const {
    Row item = {{"kind", "server_setting"}, {"database", ""}, {"database_oid", 0}, {"object", ""},
                 {"name", "max_wal_size"}, {"value", file_.empty() ? Row(nullptr) : Row(file_)},
                 {"restore_sql", file_.empty() ? "" : "ALTER SYSTEM SET max_wal_size = '" + file_ + "';\nSELECT pg_reload_conf()"},
                 {"reset_sql", "ALTER SYSTEM RESET max_wal_size;\nSELECT pg_reload_conf()"}};
    return Row::array({item}).dump();
  }
  void Tick() {
    const bool storm = !helps_ || world().server().max_wal_size_mb <= 1024;
    world().metric(HC_M_CHECKPOINTS_REQUESTED) += storm ? 1 : 0;
    world().metric(HC_M_WAL_BYTES) += 600 * kMiB;
    shell_.Step(10);
  }

  bool helps_ = true;
  std::string file_;
};

TEST_F(SqlEngineTest, StaleStatisticsAreAnalysed) {
  StaleTable();
  InspectUntilOpen();
  SettleInspected();
  EXPECT_EQ(shell_.State(), "resolved") << shell_.Last(HC_T_INCIDENTS).dump(1);
  ASSERT_EQ(shell_.Acts().size(), 1u);
  EXPECT_EQ(shell_.Acts()[0].sql, "ANALYZE \"Sch\".\"Or\"\"ders\"");
  EXPECT_EQ(shell_.Acts()[0].command.as_owner, 1);
  EXPECT_EQ(shell_.Acts()[0].command.database_oid, World::kDatabase);
}

TEST_F(SqlEngineTest, StarvedTableIsVacuumed) {
  hc_table& table = world().AddTable(7, "orders", 100000, 30000);
  table.flags = HC_TABLE_AUTOVACUUM_OFF;
  world().metric(HC_M_AUTOVACUUM_WORKERS) = 0;
  shell_.run = [this](const Sent& s) {
    if (s.command.kind != HC_CMD_SQL) return Reported{};
    world().tables[0].dead_tuples = 0;
    return Reported{HC_OUT_DONE, R"({"n_dead_tup": 0, "n_live_tup": 100000})", "", ""};
  };
  for (int i = 0; i < 6 && shell_.open == 0; ++i) {
    world().tables[0].dead_tuples += 10000;
    world().Inspect();
    shell_.Step();
  }
  ASSERT_EQ(shell_.open, 1);
  for (int i = 0; i < 4 && shell_.Acts().empty(); ++i) {
    world().tables[0].dead_tuples += 10000;
    world().Inspect();
    shell_.Step();
  }
  SettleInspected();
  EXPECT_EQ(shell_.State(), "resolved") << shell_.Last(HC_T_INCIDENTS).dump(1);
  ASSERT_EQ(shell_.Acts().size(), 1u);
  EXPECT_NE(shell_.Acts()[0].sql.find("VACUUM"), std::string::npos);
}

TEST_F(SqlEngineTest, InvalidIndexIsDroppedAfterItsDefinitionIsKept) {
  DeadIndex();
  InspectUntilOpen();
  SettleInspected();
  EXPECT_EQ(shell_.State(), "resolved") << shell_.Last(HC_T_INCIDENTS).dump(1);
  std::vector<hc_command_kind> kinds;
  for (const Sent& s : shell_.sent)
    if (s.command.kind != HC_CMD_INSPECT) kinds.push_back(s.command.kind);
  EXPECT_EQ(kinds, (std::vector<hc_command_kind>{HC_CMD_CAPTURE, HC_CMD_SQL}));
  const Row item = shell_.Last(HC_T_SNAPSHOT_ITEMS);
  EXPECT_EQ(item["restore_sql"], kDefinition);
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["items"], 1);
}

TEST_F(SqlEngineTest, UniqueIndexIsAskedFor) {
  DeadIndex(HC_INDEX_UNIQUE);
  InspectUntilOpen();
  SettleInspected(6);
  EXPECT_EQ(shell_.State(), "awaiting_approval");
  EXPECT_TRUE(shell_.Acts().empty());
}

TEST_F(SqlEngineTest, NoBeforeImageNoAction) {
  DeadIndex();
  shell_.run = [](const Sent& s) {
    return s.command.kind == HC_CMD_CAPTURE ? Reported{HC_OUT_FAILED, "", "permission denied", "42501"} : Reported{};
  };
  InspectUntilOpen();
  for (int i = 0; i < 60 && shell_.State() != "escalated"; ++i) {
    world().Inspect();
    shell_.Step();
  }
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_TRUE(shell_.Acts().empty());
  EXPECT_TRUE(shell_.Rows(HC_T_SNAPSHOTS).empty());
}

TEST_F(SqlEngineTest, CheckpointStormIsHealedAndStaysUndoable) {
  CheckpointStorm(true);
  for (int i = 0; i < 400 && (i < 10 || shell_.open > 0); ++i) Tick();
  EXPECT_EQ(shell_.State(), "resolved") << shell_.Last(HC_T_INCIDENTS).dump(1);
  EXPECT_GT(world().server().max_wal_size_mb, 1024);
  // By hand: back to what postgresql.auto.conf said, which was nothing.
  const int64_t snapshot = shell_.Last(HC_T_SNAPSHOTS)["snapshot_id"];
  Answered answer = shell_.Answer(shell_.Ask(HC_REQ_ROLLBACK, snapshot));
  EXPECT_EQ(answer.sqlstate, "00000") << answer.message << answer.detail;
  EXPECT_EQ(answer.json["status"], "success") << answer.json.dump();
  ASSERT_EQ(answer.json["items"].size(), 1u);
  EXPECT_EQ(answer.json["items"][0]["status"], "reset");
  EXPECT_EQ(world().server().max_wal_size_mb, 1024);
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["state"], "rolled_back");
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["rollback_status"], "success");
  // A roll-back is not rolled back.
  answer = shell_.Answer(shell_.Ask(HC_REQ_ROLLBACK, snapshot));
  EXPECT_EQ(answer.sqlstate, "55000");
}

TEST_F(SqlEngineTest, WhatDoesNotHelpIsUndoneTriedAgainAndEscalated) {
  CheckpointStorm(false);
  for (int i = 0; i < 2000 && shell_.State() != "escalated"; ++i) Tick();
  EXPECT_EQ(shell_.State(), "escalated") << shell_.Last(HC_T_INCIDENTS).dump(1);
  EXPECT_EQ(world().server().max_wal_size_mb, 1024) << "every change was undone";
  const std::vector<Row> attempts = shell_.Rows(HC_T_ATTEMPTS);
  ASSERT_GE(attempts.size(), 2u) << shell_.Last(HC_T_INCIDENTS).dump(1);
  for (const Row& attempt : attempts) EXPECT_EQ(attempt["outcome"], "rolled_back") << attempt.dump();
  const Path path = shell_.Path();
  EXPECT_EQ(std::count(path.begin(), path.end(), "rolling_back"), static_cast<long>(attempts.size()));
}

TEST_F(SqlEngineTest, FailedUndoIsEscalatedNotHidden) {
  CheckpointStorm(false);
  const auto works = shell_.run;
  shell_.run = [works](const Sent& s) {
    if (s.sql.find("RESET") != std::string::npos) return Reported{HC_OUT_FAILED, "", "disk full", "53100"};
    return works(s);
  };
  for (int i = 0; i < 2000 && shell_.State() != "escalated"; ++i) Tick();
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_EQ(shell_.Rows(HC_T_ATTEMPTS).size(), 1u);
  EXPECT_EQ(shell_.Last(HC_T_ATTEMPTS)["outcome"], "failed");
  EXPECT_NE(shell_.Last(HC_T_SNAPSHOTS)["rollback_status"], "success");
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["state"], "active") << "it may be tried again";
}

TEST_F(SqlEngineTest, PauseHoldsARollBackUntilResume) {
  CheckpointStorm(false);
  for (int i = 0; i < 2000 && shell_.State() != "verifying"; ++i) Tick();
  ASSERT_EQ(shell_.State(), "verifying");
  shell_.Ask(HC_REQ_PAUSE, 0, "hands off");
  const size_t acts = shell_.Acts().size();
  for (int i = 0; i < 60; ++i) Tick();
  EXPECT_EQ(shell_.Acts().size(), acts);
  EXPECT_EQ(shell_.State(), "verifying");
  EXPECT_GT(world().server().max_wal_size_mb, 1024);
  shell_.Ask(HC_REQ_RESUME);
  for (int i = 0; i < 60 && world().server().max_wal_size_mb > 1024; ++i) Tick();
  EXPECT_EQ(world().server().max_wal_size_mb, 1024);
}

TEST_F(SqlEngineTest, PauseInTheMiddleOfARollBack) {
  CheckpointStorm(false);
  for (int i = 0; i < 2000 && shell_.State() != "rolling_back"; ++i) Tick();
  ASSERT_EQ(shell_.State(), "rolling_back");
  shell_.Ask(HC_REQ_PAUSE, 0, "hands off");
  shell_.Step(0.1);
  const size_t sent = shell_.sent.size();
  for (int i = 0; i < 20; ++i) shell_.Step(1);
  EXPECT_EQ(shell_.sent.size(), sent) << "a pause stops roll-backs too";
  EXPECT_NE(shell_.Component("healer")["detail"].get<std::string>().find("roll-backs stopped: 1"), std::string::npos);
  shell_.Ask(HC_REQ_RESUME);
  for (int i = 0; i < 40 && world().server().max_wal_size_mb > 1024; ++i) shell_.Step(1);
  EXPECT_EQ(world().server().max_wal_size_mb, 1024);
}

TEST_F(SqlEngineTest, ARestartDoesNotForgetWhatAPersonChangedSince) {
  CheckpointStorm(true);
  for (int i = 0; i < 200 && shell_.State() != "resolved"; ++i) Tick();
  ASSERT_EQ(shell_.State(), "resolved");
  const int64_t id = shell_.Last(HC_T_SNAPSHOTS)["snapshot_id"];
  shell_.Crash();
  shell_.Step(10);
  file_ = "3000MB";  // by hand
  Answered answer = shell_.Answer(shell_.Ask(HC_REQ_ROLLBACK, id));
  EXPECT_EQ(answer.json["status"], "partial") << answer.json.dump(1);
  EXPECT_EQ(file_, "3000MB");
  answer = shell_.Answer(shell_.Ask(HC_REQ_ROLLBACK, id, "", 1));
  EXPECT_EQ(answer.json["status"], "success") << answer.json.dump(1);
  EXPECT_EQ(file_, "");
}

}  // namespace
}  // namespace heal
