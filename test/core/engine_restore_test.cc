// Crashes: the engine dies after any step and comes back from its rows. Nothing
// that acted acts a second time, nothing open is lost.

#include "engine_fixture.h"

namespace heal {
namespace {

class RestoreTest : public EngineTest {
 protected:
  int CountKind(hc_command_kind kind) const {
    return static_cast<int>(std::count_if(shell_.sent.begin(), shell_.sent.end(),
                                          [kind](const Sent& s) { return s.command.kind == kind; }));
  }
};

// The whole life of an incident, with a crash after step n, for every n.
TEST_F(RestoreTest, ACrashAfterAnyStepRepeatsNoSignal) {
  for (int crash_at = 0; crash_at < 8; ++crash_at) {
    shell_.~Shell();
    new (&shell_) Shell();
    IdleBlocker();
    for (int i = 0; i < 40 && (i <= crash_at || shell_.open > 0); ++i) {
      shell_.Step(0.2);
      if (i == crash_at) shell_.Crash();
    }
    EXPECT_EQ(shell_.open, 0) << "crash after step " << crash_at;
    EXPECT_EQ(CountKind(HC_CMD_TERMINATE), 1) << "crash after step " << crash_at;
    EXPECT_EQ(shell_.State(), "resolved") << "crash after step " << crash_at;
    EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u) << "crash after step " << crash_at;
  }
}

// The signal had no effect and nobody knows: verified on the target, undone or
// escalated, but not sent again by the restart itself.
TEST_F(RestoreTest, UnknownOutcomeIsVerified) {
  IdleBlocker();
  shell_.run = [](const Sent&) { return Reported{}; };
  shell_.deliver = false;
  while (shell_.Acts().empty()) shell_.Step(0.2);
  shell_.Crash();
  shell_.Step(0.2);
  EXPECT_EQ(shell_.State(), "verifying");
  EXPECT_EQ(shell_.Last(HC_T_ATTEMPTS)["state"], "verifying");
  EXPECT_EQ(shell_.Acts().size(), 1u);
}

TEST_F(RestoreTest, ACaptureThatWasCutShortDidNothing) {
  world().AddTable(900, "orders", 1000);
  world().AddIndex(55, "public.i");
  shell_.deliver = false;
  for (int i = 0; i < 8 && CountKind(HC_CMD_CAPTURE) == 0; ++i) {
    world().Inspect();
    shell_.Step();
  }
  ASSERT_EQ(CountKind(HC_CMD_CAPTURE), 1);
  shell_.Crash();
  shell_.Step();
  const Row attempt = shell_.Rows(HC_T_ATTEMPTS)[0];
  EXPECT_EQ(attempt["outcome"], "failed");
  EXPECT_TRUE(attempt["snapshot_id"].is_null());
  EXPECT_TRUE(shell_.Acts().empty());
  EXPECT_EQ(shell_.State(), "planned");
}

TEST_F(RestoreTest, LostBaselineIsUnverifiedAndEscalated) {
  IdleBlocker();
  shell_.deliver = false;
  shell_.run = [](const Sent&) { return Reported{}; };
  while (shell_.Acts().empty()) shell_.Step(0.2);
  for (auto& [table, id, json] : shell_.journal) {
    if (table != HC_T_INCIDENTS) continue;
    Row row = Row::parse(json);
    row["explanation"] = Row::object();
    json = row.dump();
  }
  shell_.Crash();
  shell_.Step();
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_EQ(shell_.Last(HC_T_ATTEMPTS)["outcome"], "unverified");
  EXPECT_EQ(shell_.Acts().size(), 1u);
}

TEST_F(RestoreTest, ForeignRowsAreHistory) {
  IdleBlocker();
  shell_.settings.mode = HC_MODE_APPROVE;
  shell_.run = [](const Sent&) { return Reported{HC_OUT_DONE, "[]", "", ""}; };
  shell_.Ask(HC_REQ_SNAPSHOT, 0, "mine", 0, "settings");
  for (int i = 0; i < 4; ++i) shell_.Step();
  ASSERT_EQ(shell_.State(), "awaiting_approval");
  world().sessions.clear();
  world().ClearLocks();
  shell_.settings.mode = HC_MODE_AUTO;
  shell_.Crash(true);
  shell_.Step();
  EXPECT_EQ(shell_.State(), "cancelled");
  EXPECT_EQ(shell_.open, 0);
  EXPECT_EQ(shell_.Last(HC_T_RECOMMENDATIONS)["state"], "withdrawn");
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["state"], "superseded");
  EXPECT_TRUE(shell_.Acts().empty());
  EXPECT_EQ(shell_.Path().back(), "cancelled");
  const Answered answer = shell_.Answer(shell_.Ask(HC_REQ_ROLLBACK, 1));
  EXPECT_EQ(answer.sqlstate, "55000");
}

TEST_F(RestoreTest, OscillationIsRememberedAcrossRestarts) {
  for (int round = 0; round < 4; ++round) {
    IdleBlocker();
    for (int i = 0; i < 40 && (i < 3 || shell_.open > 0) && shell_.State() != "escalated"; ++i) shell_.Step();
    if (shell_.State() == "escalated") break;
    world().sessions.clear();
    world().ClearLocks();
    for (int i = 0; i < 3; ++i) shell_.Step(700);
    shell_.Crash();
  }
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_EQ(CountKind(HC_CMD_TERMINATE), 3);
}

TEST_F(RestoreTest, IdsContinue) {
  IdleBlocker();
  shell_.Step();
  shell_.Settle();
  world().sessions.clear();
  world().ClearLocks();
  shell_.Crash();
  shell_.Step(700);
  IdleBlocker();
  shell_.Step();
  shell_.Settle();
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 2u);
  EXPECT_EQ(shell_.Rows(HC_T_ATTEMPTS).size(), 2u);
  EXPECT_EQ(shell_.Last(HC_T_INCIDENTS)["incident_id"], 2);
}

TEST_F(RestoreTest, RowsInAnyOrder) {
  IdleBlocker();
  while (shell_.Acts().empty()) shell_.Step(0.2);
  std::map<std::pair<int, int64_t>, std::string> newest;
  for (const auto& [table, id, json] : shell_.journal) newest[{table, id}] = json;
  shell_.journal.clear();
  for (auto it = newest.rbegin(); it != newest.rend(); ++it)
    shell_.journal.emplace_back(static_cast<hc_table_kind>(it->first.first), it->first.second, it->second);
  shell_.Crash();
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved");
  EXPECT_EQ(CountKind(HC_CMD_TERMINATE), 1);
}

TEST_F(RestoreTest, GarbageIsRefused) {
  Engine engine(hc_limits{}, 1);
  const hc_record bad[] = {{HC_T_INCIDENTS, 1, "{}"}, {HC_T_INCIDENTS, 1, "nonsense"}, {HC_T_COUNT, 1, "{}"},
                           {HC_T_ATTEMPTS, 0, "{}"},  {HC_T_SNAPSHOTS, 1, "[]"},       {HC_T_INCIDENTS, 1, nullptr}};
  for (const hc_record& record : bad) EXPECT_THROW(engine.Restore({&record, 1}, false), std::invalid_argument);
}

// P11: a crash in every step of an action that is undone; ALTER SYSTEM is never
// repeated for the same attempt, and in the end the setting is what it was.
TEST_F(RestoreTest, ACrashAfterAnyStepOfARollBack) {
  for (int crash_at = 11; crash_at < 24; ++crash_at) {
    shell_.~Shell();
    new (&shell_) Shell();
    world().server().wal_disk_total_bytes = int64_t{200} << 30;
    world().server().max_wal_size_mb = 1024;
    shell_.settings.max_retries = 1;
    world().metric(HC_M_CHECKPOINTS_TIMED) = 100;
    world().metric(HC_M_CHECKPOINTS_REQUESTED) = 50;
    world().metric(HC_M_LOG_CHECKPOINTS_TOO_FREQUENT) = 0;
    world().metric(HC_M_WAL_BYTES) = 1e12;
    std::string file;
    int raised = 0;
    shell_.run = [&](const Sent& s) {
      if (s.command.kind == HC_CMD_CAPTURE) {
        const Row item = {{"kind", "server_setting"}, {"database", ""}, {"database_oid", 0}, {"object", ""},
                           {"name", "max_wal_size"},   {"value", file.empty() ? Row(nullptr) : Row(file)},
                           {"restore_sql", ""},        {"reset_sql", "ALTER SYSTEM RESET max_wal_size"}};
        return Reported{HC_OUT_DONE, Row::array({item}).dump(), "", ""};
      }
      const size_t at = s.sql.find("max_wal_size = '");
      if (at != std::string::npos) ++raised;
      file = at == std::string::npos ? "" : s.sql.substr(at + 16, s.sql.find('\'', at + 16) - at - 16);
      world().server().max_wal_size_mb = file.empty() ? 1024 : std::stoll(file);
      return Reported{HC_OUT_DONE, Row{{"setting_mb", world().server().max_wal_size_mb}}.dump(), "", ""};
    };
    for (int i = 0; i < 200 && shell_.State() != "escalated"; ++i) {
      world().metric(HC_M_CHECKPOINTS_REQUESTED) += 1;
      world().metric(HC_M_WAL_BYTES) += 600.0 * 1024 * 1024;
      shell_.Step(10);
      if (i == crash_at) shell_.Crash();
    }
    EXPECT_EQ(shell_.State(), "escalated") << "crash after step " << crash_at;
    EXPECT_EQ(raised, static_cast<int>(shell_.Rows(HC_T_SNAPSHOTS).size())) << "crash after step " << crash_at;
    EXPECT_EQ(world().server().max_wal_size_mb, 1024) << "crash after step " << crash_at;
  }
}

}  // namespace
}  // namespace heal
