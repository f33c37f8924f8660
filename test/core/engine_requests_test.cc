// Requests from SQL: every answer and every refusal, with its SQLSTATE.

#include "engine_fixture.h"

namespace heal {
namespace {

class RequestTest : public EngineTest {
 protected:
  RequestTest() {
    world().inspections.assign(1, {World::kDatabase, "shop", world().now, 1});
    shell_.run = [this](const Sent& s) { return Run(s); };
  }

  // A database with one setting and one index, both changeable.
  Reported Run(const Sent& s) {
    if (s.command.kind == HC_CMD_CAPTURE) {
      Row items = Row::array();
      if (s.command.database_oid == 0 && s.items.find("indexes") == std::string::npos)
        items.push_back(Item("server_setting", 0, "", "work_mem", setting_));
      if (s.command.database_oid == World::kDatabase)
        items.push_back(Item("index", World::kDatabase, "public.i", "", index_));
      return {HC_OUT_DONE, items.dump(), "", ""};
    }
    if (s.sql.find("SET work_mem to 1MB") != std::string::npos) setting_ = "1MB";
    return {};
  }
  static Row Item(const char* kind, uint32_t database, const char* object, const char* name, const std::string& value) {
    return {{"kind", kind},   {"database", ""}, {"database_oid", database},
            {"object", object}, {"name", name},   {"value", value.empty() ? Row(nullptr) : Row(value)},
            {"restore_sql", std::string("SET ") + name + " to " + value}, {"reset_sql", ""}};
  }

  Answered Ask(hc_request_kind kind, int64_t id = 0, const char* text = "", int flag = 0, const char* component = "") {
    return shell_.Answer(shell_.Ask(kind, id, text, flag, component));
  }
  void ExpectRefused(const Answered& answer, const char* sqlstate) {
    EXPECT_EQ(answer.sqlstate, sqlstate) << answer.message;
    EXPECT_FALSE(answer.message.empty());
    EXPECT_FALSE(answer.hint.empty());
    EXPECT_EQ(answer.message.back() == '.', false) << "no full stop: " << answer.message;
  }

  std::string setting_ = "1MB", index_ = "CREATE INDEX i ON public.t (a)";
};

TEST_F(RequestTest, UnknownIdsAreInvalidParameters) {
  ExpectRefused(Ask(HC_REQ_APPROVE, 99), "22023");
  ExpectRefused(Ask(HC_REQ_REJECT, 99, "no"), "22023");
  ExpectRefused(Ask(HC_REQ_EXECUTE, 99, "analyze_table"), "22023");
  ExpectRefused(Ask(HC_REQ_EXECUTE, 1, "no_such_remedy"), "22023");
  ExpectRefused(Ask(HC_REQ_ROLLBACK, 99), "22023");
  ExpectRefused(Ask(HC_REQ_ROLLBACK, -1), "22023");
  ExpectRefused(Ask(HC_REQ_SNAPSHOT, 99, "child"), "22023");
  ExpectRefused(Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "nonsense"), "22023");
}

TEST_F(RequestTest, SnapshotAndRollBackOfOwnChange) {
  Answered answer = Ask(HC_REQ_SNAPSHOT, 0, "before my change");
  ASSERT_EQ(answer.sqlstate, "00000") << answer.message << answer.detail;
  const int64_t id = answer.json["snapshot_id"];
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["items"], 2);
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["taken_by"], "dba");
  setting_ = "64MB";
  answer = Ask(HC_REQ_ROLLBACK, id);
  ASSERT_EQ(answer.sqlstate, "00000") << answer.message << answer.detail;
  EXPECT_EQ(answer.json["status"], "success") << answer.json.dump(1);
  EXPECT_EQ(setting_, "1MB");
  ExpectRefused(Ask(HC_REQ_ROLLBACK, id), "55000");
}

TEST_F(RequestTest, SnapshotsNestToTheLimit) {
  const int64_t first = Ask(HC_REQ_SNAPSHOT, 0, "one", 0, "settings").json["snapshot_id"];
  const int64_t second = Ask(HC_REQ_SNAPSHOT, first, "two", 0, "settings").json["snapshot_id"];
  const int64_t third = Ask(HC_REQ_SNAPSHOT, second, "three", 0, "settings").json["snapshot_id"];
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["depth"], 3);
  ExpectRefused(Ask(HC_REQ_SNAPSHOT, third, "four", 0, "settings"), "54000");
  // The outermost takes the others with it.
  setting_ = "64MB";
  EXPECT_EQ(Ask(HC_REQ_ROLLBACK, first).json["status"], "success");
  for (const Row& row : shell_.Rows(HC_T_SNAPSHOTS)) EXPECT_EQ(row["state"], "rolled_back");
}

TEST_F(RequestTest, SnapshotsExpire) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "short-lived", 0, "settings").json["snapshot_id"];
  shell_.Step(3700);
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["state"], "expired");
  ExpectRefused(Ask(HC_REQ_ROLLBACK, id), "55000");
  ExpectRefused(Ask(HC_REQ_SNAPSHOT, id, "child", 0, "settings"), "55000");
}

TEST_F(RequestTest, FailedCaptureLeavesNothing) {
  shell_.run = [](const Sent&) { return Reported{HC_OUT_FAILED, "", "permission denied", "42501"}; };
  const Answered answer = Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "settings");
  ExpectRefused(answer, "55000");
  EXPECT_EQ(answer.detail, "permission denied");
  EXPECT_TRUE(shell_.Rows(HC_T_SNAPSHOTS).empty());
}

TEST_F(RequestTest, TooLargeASnapshotIsRefused) {
  shell_.run = [](const Sent&) {
    Row items = Row::array();
    for (int i = 0; i < 10001; ++i)
      items.push_back(Item("server_setting", 0, "", ("s" + std::to_string(i)).c_str(), "on"));
    return Reported{HC_OUT_DONE, items.dump(), "", ""};
  };
  ExpectRefused(Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "settings"), "54000");
  EXPECT_TRUE(shell_.Rows(HC_T_SNAPSHOTS).empty());
}

TEST_F(RequestTest, SnapshotWaitsForTheFirstInspection) {
  world().inspections.clear();
  const uint64_t id = shell_.Ask(HC_REQ_SNAPSHOT, 0, "x");
  shell_.Step();
  EXPECT_TRUE(shell_.answers.empty());
  world().inspections.assign(1, {World::kDatabase, "shop", world().now, 1});
  EXPECT_EQ(shell_.Answer(id).sqlstate, "00000");
}

TEST_F(RequestTest, SnapshotWithoutInspectionIsRefusedInTheEnd) {
  world().inspections.clear();
  const uint64_t id = shell_.Ask(HC_REQ_SNAPSHOT, 0, "x");
  for (int i = 0; i < 20; ++i) shell_.Step();
  ExpectRefused(shell_.Answer(id), "55000");
}

TEST_F(RequestTest, AnUnfinishedRollBackCanBeRepeated) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "x").json["snapshot_id"];
  setting_ = "64MB";
  index_ = "CREATE INDEX i ON public.t (b)";
  EXPECT_EQ(Ask(HC_REQ_ROLLBACK, id).json["status"], "partial") << "the name of the index is taken";
  EXPECT_EQ(setting_, "1MB");
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["state"], "active");
  index_ = "CREATE INDEX i ON public.t (a)";
  EXPECT_EQ(Ask(HC_REQ_ROLLBACK, id).json["status"], "success");
  ExpectRefused(Ask(HC_REQ_ROLLBACK, id), "55000");
  const Answered child = Ask(HC_REQ_SNAPSHOT, id, "child", 0, "settings");
  ExpectRefused(child, "55000");
  EXPECT_NE(child.message.find("rolled back"), std::string::npos) << child.message;
}

// Few action slots: however many databases, others get their turn.
TEST_F(RequestTest, ManyDatabasesAreReadOneAtATime) {
  world().inspections.clear();
  for (uint32_t oid = 1; oid <= 20; ++oid) world().inspections.push_back({oid, "shop", world().now, 1});
  shell_.deliver = false;
  shell_.Ask(HC_REQ_SNAPSHOT, 0, "x");
  for (int i = 0; i < 5; ++i) shell_.Step(0.1);
  EXPECT_EQ(shell_.sent.size(), 1u);
  // A process that never answers does not hold the others up for ever.
  shell_.deliver = true;
  shell_.Step(61);
  EXPECT_EQ(Ask(HC_REQ_SNAPSHOT, 0, "y", 0, "settings").sqlstate, "00000");
}

TEST_F(RequestTest, WhatWaitsForItsTurnIsDroppedByAPause) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "x").json["snapshot_id"];
  setting_ = "64MB";
  shell_.deliver = false;
  const uint64_t rollback = shell_.Ask(HC_REQ_ROLLBACK, id);
  shell_.Step(0.1);
  shell_.sent.clear();
  shell_.Ask(HC_REQ_PAUSE, 0, "stop");
  EXPECT_EQ(shell_.Answer(rollback).json["status"], "failed");
  shell_.Ask(HC_REQ_RESUME);
  for (int i = 0; i < 5; ++i) shell_.Step(0.1);
  EXPECT_TRUE(shell_.sent.empty());
  EXPECT_EQ(setting_, "64MB");
}

TEST_F(RequestTest, ASnapshotCannotBeTakenBelowOneThatIsRolledBack) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "settings").json["snapshot_id"];
  shell_.deliver = false;
  shell_.Ask(HC_REQ_ROLLBACK, id);
  ExpectRefused(Ask(HC_REQ_SNAPSHOT, id, "child", 0, "settings"), "55000");
}

TEST_F(RequestTest, RollBackDisabled) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "settings").json["snapshot_id"];
  shell_.settings.rollback_enabled = 0;
  ExpectRefused(Ask(HC_REQ_ROLLBACK, id), "55000");
}

TEST_F(RequestTest, PausedRefusesActing) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "settings").json["snapshot_id"];
  EXPECT_EQ(Ask(HC_REQ_PAUSE, 0, "why not").json["paused"], true);
  ExpectRefused(Ask(HC_REQ_ROLLBACK, id), "55000");
  EXPECT_EQ(Ask(HC_REQ_RESUME).json["was_paused"], true);
  EXPECT_EQ(Ask(HC_REQ_ROLLBACK, id).sqlstate, "00000");
}

TEST_F(RequestTest, PauseStopsARollBackByHandAndAnswersIt) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "x", 0, "settings").json["snapshot_id"];
  setting_ = "64MB";
  shell_.deliver = false;
  const uint64_t rollback = shell_.Ask(HC_REQ_ROLLBACK, id);
  shell_.Step(0.1);
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["rollback_status"], "in_progress");
  ExpectRefused(Ask(HC_REQ_ROLLBACK, id), "55000");
  shell_.Ask(HC_REQ_PAUSE, 0, "stop");
  const Answered answer = shell_.Answer(rollback);
  EXPECT_EQ(answer.sqlstate, "00000");
  EXPECT_EQ(answer.json["status"], "failed") << answer.json.dump(1);
  EXPECT_EQ(setting_, "64MB");
}

TEST_F(RequestTest, RejectedRemedyIsNotProposedAgain) {
  shell_.settings.mode = HC_MODE_APPROVE;
  IdleBlocker();
  for (int i = 0; i < 3; ++i) shell_.Step();
  const int64_t id = shell_.Last(HC_T_RECOMMENDATIONS)["recommendation_id"];
  EXPECT_EQ(Ask(HC_REQ_REJECT, id, "it is mine").json["state"], "rejected");
  ExpectRefused(Ask(HC_REQ_APPROVE, id), "55000");
  for (int i = 0; i < 120; ++i) shell_.Step();
  EXPECT_EQ(shell_.Rows(HC_T_RECOMMENDATIONS).size(), 1u);
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_TRUE(shell_.Acts().empty());
}

TEST_F(RequestTest, ExecuteWorksInObserveMode) {
  shell_.settings.mode = HC_MODE_OBSERVE;
  IdleBlocker();
  for (int i = 0; i < 3; ++i) shell_.Step();
  ExpectRefused(Ask(HC_REQ_APPROVE, 1), "55000");
  ExpectRefused(Ask(HC_REQ_EXECUTE, 1, "analyze_table"), "22023");
  const Answered answer = Ask(HC_REQ_EXECUTE, 1, "terminate_idle_blocker");
  ASSERT_EQ(answer.sqlstate, "00000") << answer.message << answer.detail;
  EXPECT_EQ(answer.json["incident_id"], 1);
  shell_.Settle();
  EXPECT_EQ(shell_.State(), "resolved");
  EXPECT_EQ(shell_.Last(HC_T_ATTEMPTS)["mode"], "manual");
  ExpectRefused(Ask(HC_REQ_EXECUTE, 1, "terminate_idle_blocker"), "55000");
}

TEST_F(RequestTest, ConsentDoesNotOpenProtectedSessions) {
  shell_.settings.mode = HC_MODE_APPROVE;
  IdleBlocker();
  world().sessions[0].flags |= HC_SESSION_SUPERUSER;
  for (int i = 0; i < 3; ++i) shell_.Step();
  const Answered answer = Ask(HC_REQ_EXECUTE, 1, "terminate_idle_blocker");
  EXPECT_EQ(answer.sqlstate, "55000") << answer.message;
  EXPECT_TRUE(shell_.Acts().empty());
}

TEST_F(RequestTest, OwnSnapshotIsTheParentOfActions) {
  const int64_t id = Ask(HC_REQ_SNAPSHOT, 0, "before the deploy", 0, "settings").json["snapshot_id"];
  IdleBlocker();
  shell_.Step();
  shell_.Settle();
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["parent_id"], id);
  EXPECT_EQ(shell_.Last(HC_T_SNAPSHOTS)["depth"], 2);
}

TEST_F(RequestTest, EachRequestIsAudited) {
  Ask(HC_REQ_PAUSE, 0, "x");
  Ask(HC_REQ_RESUME);
  const std::vector<Row> rows = shell_.Rows(HC_T_AUDIT);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["actor"], "dba");
  EXPECT_EQ(rows[0]["action"], "pause");
  EXPECT_EQ(rows[1]["action"], "resume");
}

}  // namespace
}  // namespace heal
