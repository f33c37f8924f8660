#include "recover/rollback.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

namespace heal {
namespace {

constexpr int64_t kSecond = 1000000;

SnapshotItem Item(const char* name, std::optional<std::string> value, uint32_t database = 0) {
  SnapshotItem item;
  item.kind = database == 0 ? "server_setting" : "storage_option";
  item.database = database == 0 ? "" : "shop";
  item.database_oid = database;
  item.object = database == 0 ? "" : "public.t";
  item.name = name;
  item.value = std::move(value);
  item.restore_sql = std::string("restore ") + name;
  item.reset_sql = std::string("reset ") + name;
  return item;
}

// Plays the server: holds the items as they are, runs "restore x" and "reset x".
class RollbackTest : public ::testing::Test {
 protected:
  std::map<ItemKey, SnapshotItem> world;
  std::map<std::string, SnapshotItem> images;  // what "restore x" brings back
  std::set<std::string> broken;                // statements that fail
  std::set<std::string> lazy;                  // statements that do nothing
  std::vector<std::string> ran;
  int captures = 0;
  bool captures_fail = false;
  int64_t now = 1000 * kSecond;
  RollbackOptions options;

  void Set(const SnapshotItem& item) { world[item.key()] = item; }

  std::string RunStatement(const std::string& statement) {
    ran.push_back(statement);
    if (broken.count(statement) != 0) return "permission denied";
    if (lazy.count(statement) != 0) return "";
    for (auto& [key, item] : world) {
      if (statement == "restore " + key.name) item.value = images.at(key.name).value;
      if (statement == "reset " + key.name) item.value.reset();
    }
    return "";
  }

  std::string RunAll(std::string sql) {
    while (!sql.empty()) {
      const size_t end = sql.find(";\n");
      const std::string error = RunStatement(sql.substr(0, end));
      if (!error.empty()) return error;
      sql = end == std::string::npos ? "" : sql.substr(end + 2);
    }
    return "";
  }

  std::vector<RollbackCommand> Run(Rollback* rollback, const RollbackCommand& command) {
    hc_outcome outcome{};
    outcome.sqlstate = outcome.json = "";
    std::string text, json;
    if (command.kind == HC_CMD_CAPTURE) {
      ++captures;
      std::vector<SnapshotItem> items;
      for (const auto& [key, item] : world)
        if (key.database_oid == command.database_oid) items.push_back(item);
      json = ItemsJson(items);
      outcome.json = json.c_str();
      outcome.status = captures_fail ? HC_OUT_FAILED : HC_OUT_DONE;
      text = "out of memory";
    } else {
      text = RunAll(command.sql);
      outcome.status = text.empty() ? HC_OUT_DONE : HC_OUT_FAILED;
    }
    outcome.message = text.c_str();
    return rollback->OnOutcome(command.token, outcome, now);
  }

  void Drive(Rollback* rollback) {
    std::vector<RollbackCommand> queue = rollback->Start(now);
    for (int step = 0; step < 1000 && !rollback->done(); ++step) {
      if (queue.empty()) {
        now += kSecond;
        queue = rollback->Tick(now);
        continue;
      }
      const RollbackCommand command = queue.front();
      queue.erase(queue.begin());
      for (RollbackCommand& more : Run(rollback, command)) queue.push_back(std::move(more));
    }
    EXPECT_TRUE(rollback->done());
  }

  // An automatic snapshot of items, whose world is as given.
  Rollback Automatic(std::vector<SnapshotItem> items) {
    for (const SnapshotItem& item : items) images[item.name] = item;
    return Rollback(options, {{1, false, std::move(items)}}, {});
  }

  static std::string StatusOf(const Rollback& rollback, const std::string& name) {
    for (const RollbackItem& item : rollback.items())
      if (item.item.name == name) return item.status;
    return "absent";
  }
};

TEST_F(RollbackTest, RestoresResetsAndLeavesAlone) {
  Set(Item("a", "2"));
  Set(Item("b", "9"));
  Set(Item("c", "5", 7));
  Rollback rollback = Automatic({Item("a", "1"), Item("b", std::nullopt), Item("c", "5", 7)});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kSuccess) << rollback.detail();
  EXPECT_EQ(StatusOf(rollback, "a"), "restored");
  EXPECT_EQ(StatusOf(rollback, "b"), "reset");
  EXPECT_EQ(StatusOf(rollback, "c"), "unchanged");
  EXPECT_EQ(ran, (std::vector<std::string>{"restore a", "reset b"}));
  EXPECT_EQ(captures, 4) << "two databases, before and after";
}

TEST_F(RollbackTest, TellsWhileItBuildsAnIndex) {
  SnapshotItem index = Item("i", "CREATE INDEX i ON t (v)", 7);
  index.kind = "index";
  SnapshotItem gone = index;
  gone.value.reset();
  Set(gone);
  Rollback rollback = Automatic({index});
  std::vector<RollbackCommand> commands = rollback.Start(now);
  ASSERT_EQ(commands.size(), 1u);
  EXPECT_FALSE(rollback.BuildsIndex()) << "it only looks";
  commands = Run(&rollback, commands[0]);
  ASSERT_EQ(commands.size(), 1u);
  EXPECT_TRUE(rollback.BuildsIndex());
  ASSERT_EQ(rollback.Outlook().size(), 1u);
  EXPECT_EQ(rollback.Outlook()[0].status, "pending");
  commands = Run(&rollback, commands[0]);
  EXPECT_FALSE(rollback.BuildsIndex()) << "it is built";
}

TEST_F(RollbackTest, NothingToDoIsSuccess) {
  Set(Item("a", "1"));
  Rollback rollback = Automatic({Item("a", "1")});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kSuccess);
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(captures, 1);
}

TEST_F(RollbackTest, OneCommandPerDatabaseThenOnePerItem) {
  Set(Item("a", "2"));
  Set(Item("b", "2"));
  broken.insert("restore a");
  options.max_attempts = 2;
  Rollback rollback = Automatic({Item("a", "1"), Item("b", "1")});
  Drive(&rollback);
  EXPECT_EQ(ran, (std::vector<std::string>{"restore a", "restore a", "restore b"}));
  EXPECT_EQ(rollback.status(), RollbackStatus::kPartial);
  EXPECT_EQ(StatusOf(rollback, "a"), "failed");
  EXPECT_EQ(StatusOf(rollback, "b"), "restored");
  EXPECT_EQ(rollback.attempt(), 2);
}

TEST_F(RollbackTest, FailsAfterAllAttempts) {
  Set(Item("a", "2"));
  broken.insert("restore a");
  Rollback rollback = Automatic({Item("a", "1")});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kFailed);
  EXPECT_EQ(rollback.attempt(), 3);
  EXPECT_NE(rollback.items()[0].detail.find("permission denied"), std::string::npos);
}

TEST_F(RollbackTest, DoneButNotBackIsVerificationFailed) {
  Set(Item("a", "2"));
  lazy.insert("restore a");
  Rollback rollback = Automatic({Item("a", "1")});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kVerificationFailed);
}

TEST_F(RollbackTest, WithoutVerificationTheCommandIsTrusted) {
  Set(Item("a", "2"));
  lazy.insert("restore a");
  options.verify = false;
  Rollback rollback = Automatic({Item("a", "1")});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kSuccess);
  EXPECT_EQ(rollback.items()[0].detail, "not verified");
  EXPECT_EQ(captures, 1);
}

TEST_F(RollbackTest, SomebodyElsesChangeIsSkippedUnlessForced) {
  SnapshotItem item = Item("a", "1");
  item.has_expected = true;
  item.expected = "2";
  Set(Item("a", "3"));
  Set(Item("b", "2"));
  Rollback careful = Automatic({item, Item("b", "1")});
  Drive(&careful);
  EXPECT_EQ(careful.status(), RollbackStatus::kPartial);
  EXPECT_EQ(StatusOf(careful, "a"), "skipped");
  EXPECT_EQ(StatusOf(careful, "b"), "restored");
  options.force = true;
  Rollback forced = Automatic({item});
  Drive(&forced);
  EXPECT_EQ(forced.status(), RollbackStatus::kSuccess);
}

TEST_F(RollbackTest, ByHandEverythingSinceIsUndone) {
  Set(Item("later", "x"));
  Rollback automatic(options, {{1, false, {}}}, {{0, "[]"}});
  Drive(&automatic);
  EXPECT_TRUE(ran.empty());
  Rollback by_hand(options, {{1, true, {}}}, ManualRequests("", std::vector<uint32_t>{0}));
  Drive(&by_hand);
  EXPECT_EQ(by_hand.status(), RollbackStatus::kSuccess);
  EXPECT_EQ(ran, (std::vector<std::string>{"reset later"}));
  EXPECT_EQ(StatusOf(by_hand, "later"), "reset") << "told, though it is in neither picture";
}

TEST_F(RollbackTest, AParentTakesItsChildrenWithIt) {
  SnapshotItem parent = Item("a", "1"), child = Item("a", "2"), own = Item("b", "1");
  child.has_expected = true;
  child.expected = "3";
  parent.has_expected = true;
  parent.expected = "2";
  Set(Item("a", "3"));  // what the child's action set
  Set(Item("b", "2"));
  images = {{"a", parent}, {"b", own}};
  Rollback rollback(options, {{2, false, {child, own}}, {1, false, {parent}}}, {});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kSuccess) << rollback.detail();
  EXPECT_EQ(world.at(parent.key()).value, "1");
  EXPECT_EQ(world.at(own.key()).value, "1");
  EXPECT_EQ(rollback.snapshots(), (std::vector<int64_t>{2, 1}));
}

TEST_F(RollbackTest, CaptureFailureClaimsNothing) {
  Set(Item("a", "2"));
  captures_fail = true;
  Rollback rollback = Automatic({Item("a", "1")});
  Drive(&rollback);
  EXPECT_EQ(rollback.status(), RollbackStatus::kFailed);
  EXPECT_TRUE(ran.empty());
  EXPECT_EQ(StatusOf(rollback, "a"), "failed");
}

TEST_F(RollbackTest, HostileCaptureIsAFailure) {
  Rollback rollback = Automatic({Item("a", "1")});
  options.max_attempts = 1;
  const auto commands = rollback.Start(now);
  hc_outcome outcome{0, HC_OUT_DONE, "", "", "[{\"kind\":7}]", 0};
  rollback.OnOutcome(commands[0].token, outcome, now);
  EXPECT_EQ(rollback.state(), RollbackState::kWaiting);
}

TEST_F(RollbackTest, TimesOut) {
  Set(Item("a", "2"));
  Rollback rollback = Automatic({Item("a", "1")});
  auto commands = rollback.Start(now);
  EXPECT_EQ(rollback.status(), RollbackStatus::kInProgress);
  commands = Run(&rollback, commands[0]);
  ASSERT_EQ(commands.size(), 1u);
  EXPECT_EQ(rollback.state(), RollbackState::kUndo);
  EXPECT_TRUE(rollback.Tick(now + 29 * kSecond).empty());
  EXPECT_FALSE(rollback.done());
  rollback.Tick(now + 30 * kSecond);
  EXPECT_TRUE(rollback.done());
  EXPECT_EQ(rollback.status(), RollbackStatus::kFailed) << "what the running statement did is not known";
  EXPECT_TRUE(Run(&rollback, commands[0]).empty()) << "an outcome that comes too late changes nothing";
}

TEST_F(RollbackTest, Abandoned) {
  Set(Item("a", "2"));
  Rollback rollback = Automatic({Item("a", "1")});
  rollback.Start(now);
  rollback.Abandon("acting is paused");
  EXPECT_EQ(rollback.status(), RollbackStatus::kFailed);
  EXPECT_EQ(rollback.items()[0].detail, "acting is paused");
}

TEST_F(RollbackTest, LaterAttemptsWaitLonger) {
  Set(Item("a", "2"));
  broken.insert("restore a");
  Rollback rollback = Automatic({Item("a", "1")});
  auto commands = rollback.Start(now);
  while (!commands.empty()) commands = Run(&rollback, commands[0]);
  EXPECT_EQ(rollback.state(), RollbackState::kWaiting);
  EXPECT_TRUE(rollback.Tick(now + kSecond - 1).empty());
  EXPECT_FALSE(rollback.Tick(now + kSecond).empty());
}

TEST_F(RollbackTest, StatementsAreBounded) {
  Set(Item("a", "2"));
  Rollback rollback = Automatic({Item("a", "1")});
  auto commands = rollback.Start(now);
  commands = Run(&rollback, commands[0]);
  EXPECT_EQ(commands[0].lock_timeout_ms, 1000);
  EXPECT_GT(commands[0].statement_timeout_ms, 0);
  EXPECT_LE(commands[0].statement_timeout_ms, 30000);
}

TEST(SnapshotTree, NewestFirstRootLast) {
  const SnapshotNode all[] = {{1, 0, 10}, {2, 1, 20}, {3, 2, 30}, {4, 0, 40}, {5, 1, 25}};
  EXPECT_EQ(NestedSnapshots(all, 1), (std::vector<int64_t>{3, 5, 2, 1}));
  EXPECT_EQ(NestedSnapshots(all, 2), (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(NestedSnapshots(all, 9).empty());
}

TEST(SnapshotTree, DepthIsLimited) {
  const SnapshotNode all[] = {{1, 0, 10}, {2, 1, 20}, {3, 2, 30}, {8, 9, 40}, {9, 8, 50}};
  EXPECT_EQ(NestedDepth(all, 0, 3), 1);
  EXPECT_EQ(NestedDepth(all, 2, 3), 3);
  EXPECT_THROW(NestedDepth(all, 3, 3), SnapshotError);
  EXPECT_THROW(NestedDepth(all, 7, 3), SnapshotError) << "unknown parent";
  EXPECT_THROW(NestedDepth(all, 8, 3), SnapshotError) << "a cycle in bad data ends";
}

}  // namespace
}  // namespace heal
