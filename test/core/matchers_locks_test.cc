// P01 idle_in_transaction_blocker and P02 ddl_lock_queue.

#include "matchers_fixture.h"

namespace heal {
namespace {

constexpr char kIdle[] = "idle_in_transaction_blocker";
constexpr char kDdl[] = "ddl_lock_queue";

class LockMatcherTest : public MatcherTest {
 protected:
  // Process 1 idles in a transaction and blocks process 2 on a row.
  void IdleBlocker(double idle_s, double wait_s) {
    world_.AddSession(1, HC_STATE_IDLE_IN_TRANSACTION, idle_s);
    world_.AddWaiting(2, wait_s);
    world_.AddLock(HC_LOCK_TRANSACTION, 0, "transaction 77", {{1, kExclusive}}, {{2, kShare, wait_s}});
  }
  // Process 1 reads t, process 2 wants to alter it, 3.. want to read it.
  void DdlQueue(double ddl_s, int readers, hc_session_state holder_state) {
    world_.AddSession(1, holder_state, 300);
    world_.AddWaiting(2, ddl_s).query = "ALTER TABLE t ADD COLUMN x int";
    std::vector<World::Waiter> queue{{2, kAccessExclusive, ddl_s}};
    for (int i = 0; i < readers; ++i) {
      world_.AddWaiting(3 + i, ddl_s / 2);
      queue.push_back({3 + i, kAccessShare, ddl_s / 2});
    }
    world_.AddLock(HC_LOCK_RELATION, 42, "public.t", {{1, kAccessShare}}, queue);
  }
};

TEST_F(LockMatcherTest, IdleBlockerIsFound) {
  IdleBlocker(75, 12);
  const std::vector<Match> found = Run(kIdle);
  ASSERT_EQ(found.size(), 1u);
  const Match& match = found[0];
  EXPECT_EQ(match.component, "locks");
  EXPECT_EQ(match.category, "performance");
  EXPECT_EQ(match.subject, "pid 1 (app@shop)");
  EXPECT_FALSE(match.certain);  // a signal wants two looks
  ASSERT_EQ(match.targets.size(), 1u);
  EXPECT_EQ(match.targets[0].id.pid, 1);
  EXPECT_EQ(match.targets[0].id.state_change, world_.Ago(75));
  EXPECT_EQ(match.targets[0].guard, HC_GUARD_IDLE_IN_TRANSACTION);
  EXPECT_EQ(TruthOf(match, kIdle), Truth::kPresent);
  EXPECT_EQ(TruthOf(match, "holder_idle_in_transaction"), Truth::kPresent);
  EXPECT_EQ(TruthOf(match, "holder_active_statement"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(match, "holder_prepared_transaction"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(match, "ddl_heads_lock_queue"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(match, "healer_acted_recently"), Truth::kAbsent);
  EXPECT_EQ(match.since_us, world_.Ago(2));  // the wait passed its limit last
}

TEST_F(LockMatcherTest, AbortedTransactionCounts) {
  IdleBlocker(75, 12);
  world_.sessions[0].state = HC_STATE_IDLE_IN_TRANSACTION_ABORTED;
  EXPECT_EQ(Run(kIdle).size(), 1u);
}

TEST_F(LockMatcherTest, YoungIdleOrYoungWaitIsNoFailure) {
  IdleBlocker(59, 58);
  EXPECT_TRUE(Run(kIdle).empty());
  world_.sessions.clear();
  world_.ClearLocks();
  IdleBlocker(300, 9);
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, WaitWithoutStartIsYoung) {
  IdleBlocker(300, -1);
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, NobodyBlockedIsNoFailure) {
  world_.AddSession(1, HC_STATE_IDLE_IN_TRANSACTION, 90000);
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, OthersAreNotBlamed) {
  IdleBlocker(300, 200);
  world_.sessions[0].state = HC_STATE_ACTIVE;
  EXPECT_TRUE(Run(kIdle).empty()) << "active statement";
  world_.sessions[0].state = HC_STATE_IDLE;  // session-level advisory lock
  EXPECT_TRUE(Run(kIdle).empty()) << "idle outside a transaction";
  world_.sessions[0].state = HC_STATE_IDLE_IN_TRANSACTION;
  world_.sessions[0].kind = HC_BACKEND_WALSENDER;
  EXPECT_TRUE(Run(kIdle).empty()) << "walsender";
  world_.sessions[0].kind = HC_BACKEND_CLIENT;
  world_.sessions[0].flags = HC_SESSION_OWN;
  EXPECT_TRUE(Run(kIdle).empty()) << "our own session";
}

TEST_F(LockMatcherTest, PreparedTransactionIsNoTarget) {
  world_.AddSession(1, HC_STATE_IDLE_IN_TRANSACTION, 300);
  world_.AddWaiting(2, 200);
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "transaction 77", {{0, kExclusive, "gid 1"}}, {{2, kShare, 200}});
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, PreparedTransactionBesideIsEvidence) {
  world_.AddSession(1, HC_STATE_IDLE_IN_TRANSACTION, 300);
  world_.AddWaiting(2, 200);
  world_.AddLock(HC_LOCK_RELATION, 42, "public.t", {{0, kRowExclusive, "gid 1"}, {1, kRowExclusive}},
                 {{2, kShare, 200}});
  const std::vector<Match> found = Run(kIdle);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "holder_prepared_transaction"), Truth::kPresent);
}

TEST_F(LockMatcherTest, DeepestRootComesFirst) {
  IdleBlocker(75, 12);
  world_.AddSession(11, HC_STATE_IDLE_IN_TRANSACTION, 75);
  world_.AddWaiting(12, 12);
  world_.AddWaiting(13, 12);
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "transaction 78", {{11, kExclusive}}, {{12, kShare, 12}});
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "transaction 79", {{12, kExclusive}}, {{13, kShare, 12}});
  const std::vector<Match> found = Run(kIdle);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].targets[0].id.pid, 11);
  EXPECT_EQ(found[0].values.at("waiters"), 2);
  EXPECT_EQ(found[0].values.at("depth"), 2);
  EXPECT_NE(found[0].fingerprint, found[1].fingerprint);
}

TEST_F(LockMatcherTest, HeldWhileSomebodyWaits) {
  IdleBlocker(75, 12);
  const std::vector<Match> first = Run(kIdle);
  ASSERT_EQ(first.size(), 1u);
  world_.Advance(1);
  world_.waiters[0].wait_start = world_.Ago(0.5);  // a new waiter came
  const std::vector<Match> second = Run(kIdle);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].fingerprint, first[0].fingerprint);
  EXPECT_EQ(second[0].since_us, first[0].since_us);
  world_.ClearLocks();
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, UnknownFactsNeitherMakeNorClear) {
  world_.sessions_known = 0;
  IdleBlocker(75, 12);
  EXPECT_TRUE(Run(kIdle).empty());
  world_.sessions_known = 1;
  EXPECT_EQ(Run(kIdle).size(), 1u);
  const World before = world_;
  world_.sessions.clear();
  world_.ClearLocks();
  world_.locks_known = 0;
  const std::vector<Match> held = Run(kIdle);
  ASSERT_EQ(held.size(), 1u);
  EXPECT_TRUE(held[0].targets.empty());
  EXPECT_EQ(held[0].values.at("unknown"), 1);
  world_.locks_known = 1;
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, ClockJumpMakesNoFailure) {
  IdleBlocker(2, 1);
  EXPECT_TRUE(Run(kIdle).empty());
  world_.Advance(1);
  world_.now += 3600 * World::kSecond;
  EXPECT_TRUE(Run(kIdle).empty());
  // Real time still counts.
  world_.Advance(70);
  EXPECT_EQ(Run(kIdle).size(), 1u);
}

TEST_F(LockMatcherTest, BackwardClockJumpMakesNoFailure) {
  IdleBlocker(2, 1);
  EXPECT_TRUE(Run(kIdle).empty());
  world_.Advance(1);
  world_.now -= 3600 * World::kSecond;
  EXPECT_TRUE(Run(kIdle).empty());
  world_.Advance(1);
  world_.now += 3600 * World::kSecond;
  EXPECT_TRUE(Run(kIdle).empty());
  world_.Advance(70);
  EXPECT_EQ(Run(kIdle).size(), 1u);
}

TEST_F(LockMatcherTest, ExemptRoleIsNoTarget) {
  IdleBlocker(75, 12);
  exempt_ = {{"role", "app"}};
  const std::vector<Match> found = Run(kIdle);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_TRUE(found[0].targets.empty());
}

TEST_F(LockMatcherTest, OwnActionIsEvidenceForFiveMinutes) {
  IdleBlocker(75, 12);
  const std::vector<Match> first = Run(kIdle);
  ASSERT_EQ(first.size(), 1u);
  ASSERT_EQ(first[0].since_us, world_.Ago(2));
  matchers_.NoteOwnAction(first[0].fingerprint, world_.Ago(3));
  world_.Advance(296);
  EXPECT_EQ(TruthOf(Run(kIdle)[0], "healer_acted_recently"), Truth::kPresent);
  world_.Advance(2);
  EXPECT_EQ(TruthOf(Run(kIdle)[0], "healer_acted_recently"), Truth::kAbsent);
}

TEST_F(LockMatcherTest, OwnActionIsNoCauseOfWhatWasThereBefore) {
  IdleBlocker(75, 12);
  const std::vector<Match> first = Run(kIdle);
  ASSERT_EQ(first.size(), 1u);
  matchers_.NoteOwnAction(first[0].fingerprint, world_.now);
  world_.Advance(5);
  EXPECT_EQ(TruthOf(Run(kIdle)[0], "healer_acted_recently"), Truth::kAbsent);
}

TEST_F(LockMatcherTest, DdlQueueIsFoundAndHolderIsNotBlamed) {
  DdlQueue(15, 3, HC_STATE_IDLE_IN_TRANSACTION);
  const std::vector<Match> found = Run(kDdl);
  ASSERT_EQ(found.size(), 1u);
  const Match& match = found[0];
  EXPECT_EQ(match.subject, "public.t");
  EXPECT_EQ(match.severity, "critical");
  EXPECT_EQ(match.relation_oid, 42u);
  ASSERT_EQ(match.targets.size(), 1u);
  EXPECT_EQ(match.targets[0].id.pid, 2);
  EXPECT_EQ(match.targets[0].guard, HC_GUARD_WAITING_LOCK);
  EXPECT_EQ(match.targets[0].relation_oid, 42u);
  EXPECT_EQ(match.values.at("waiters"), 3);
  EXPECT_EQ(match.since_us, world_.Ago(13));
  EXPECT_EQ(TruthOf(match, "ddl_heads_lock_queue"), Truth::kPresent);
  EXPECT_EQ(TruthOf(match, "holder_idle_in_transaction"), Truth::kPresent);
  EXPECT_TRUE(Run(kIdle).empty());
}

TEST_F(LockMatcherTest, DdlWithoutAQueueIsTheIdleBlockersVictim) {
  DdlQueue(15, 2, HC_STATE_IDLE_IN_TRANSACTION);
  EXPECT_TRUE(Run(kDdl).empty());
  EXPECT_EQ(Run(kIdle).size(), 1u);
}

TEST_F(LockMatcherTest, AQueueThatGrowsPassesFromTheHolderToTheDdl) {
  DdlQueue(15, 3, HC_STATE_IDLE_IN_TRANSACTION);
  world_.locks[0].n_waiters = 3;
  ASSERT_EQ(Run(kIdle).size(), 1u);
  world_.locks[0].n_waiters = 4;
  EXPECT_TRUE(Run(kIdle).empty());
  EXPECT_EQ(Run(kDdl).size(), 1u);
}

TEST_F(LockMatcherTest, RowWaiterBesideADdlQueueStillCounts) {
  DdlQueue(15, 3, HC_STATE_IDLE_IN_TRANSACTION);
  world_.AddWaiting(90, 20);
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "transaction 77", {{1, kExclusive}}, {{90, kShare, 20}});
  const std::vector<Match> found = Run(kIdle);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].values.at("waiters"), 1);
  EXPECT_EQ(TruthOf(found[0], "ddl_heads_lock_queue"), Truth::kPresent);
}

TEST_F(LockMatcherTest, YoungDdlIsNoFailure) {
  DdlQueue(1.9, 9, HC_STATE_ACTIVE);
  EXPECT_TRUE(Run(kDdl).empty());
}

TEST_F(LockMatcherTest, HoldersAreToldApart) {
  DdlQueue(5, 3, HC_STATE_ACTIVE);
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "holder_active_statement"), Truth::kPresent);
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "holder_idle_in_transaction"), Truth::kAbsent);
  world_.sessions[0].kind = HC_BACKEND_AUTOVACUUM_WORKER;
  world_.sessions[0].flags = HC_SESSION_ANTI_WRAPAROUND;
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "anti_wraparound_vacuum_holds_lock"), Truth::kPresent);
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "holder_active_statement"), Truth::kAbsent);
  world_.sessions[0].flags = 0;
  world_.sessions[0].kind = HC_BACKEND_WALSENDER;
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "holder_walsender"), Truth::kPresent);
  world_.holders[0] = {0, ModeBit(kAccessShare), "gid"};
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "holder_prepared_transaction"), Truth::kPresent);
  world_.holders[0] = {777, ModeBit(kAccessShare), ""};
  EXPECT_EQ(TruthOf(Run(kDdl)[0], "holder_active_statement"), Truth::kUnknown);
}

TEST_F(LockMatcherTest, GrantedDdlIsNoFailure) {
  world_.AddSession(2, HC_STATE_ACTIVE, 600).query = "ALTER TABLE t ...";
  std::vector<World::Waiter> queue;
  for (int i = 0; i < 9; ++i) {
    world_.AddWaiting(10 + i, 500);
    queue.push_back({10 + i, kAccessShare, 500});
  }
  world_.AddLock(HC_LOCK_RELATION, 42, "public.t", {{2, kAccessExclusive}}, queue);
  EXPECT_TRUE(Run(kDdl).empty());
  // A second DDL behind the granted one is not what the readers wait for.
  world_.ClearLocks();
  world_.AddWaiting(5, 600);
  queue.insert(queue.begin(), {5, kAccessExclusive, 600});
  world_.AddLock(HC_LOCK_RELATION, 42, "public.t", {{2, kAccessExclusive}}, queue);
  EXPECT_TRUE(Run(kDdl).empty());
}

TEST_F(LockMatcherTest, WaitersTheHolderBlocksAnywayDoNotCount) {
  DdlQueue(5, 3, HC_STATE_ACTIVE);
  world_.holders[0].mode_mask = ModeBit(kRowExclusive);
  for (size_t i = 1; i < world_.waiters.size(); ++i) {
    world_.waiters[i].mode = kShare;
  }
  EXPECT_TRUE(Run(kDdl).empty());
}

TEST_F(LockMatcherTest, ReadersAheadOfTheDdlDoNotCount) {
  DdlQueue(5, 3, HC_STATE_ACTIVE);
  std::swap(world_.waiters[0], world_.waiters[3]);
  EXPECT_TRUE(Run(kDdl).empty());
}

TEST_F(LockMatcherTest, OnlyClientsAreCancelled) {
  DdlQueue(5, 3, HC_STATE_ACTIVE);
  world_.sessions[1].kind = HC_BACKEND_BGWORKER;
  EXPECT_TRUE(Run(kDdl).empty());
  world_.sessions[1].kind = HC_BACKEND_CLIENT;
  world_.sessions[1].flags |= HC_SESSION_OWN;
  EXPECT_TRUE(Run(kDdl).empty());
}

TEST_F(LockMatcherTest, MigrationHasGrace) {
  DdlQueue(3, 3, HC_STATE_ACTIVE);
  world_.sessions[1].application = "Flyway";
  EXPECT_TRUE(Run(kDdl).empty());
  world_.sessions[1].application = "psql";
  world_.server().flags = HC_SERVER_MIGRATION;
  EXPECT_TRUE(Run(kDdl).empty());
  world_.Advance(1.5);
  const std::vector<Match> found = Run(kDdl);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].values.at("migration"), 1);
}

TEST_F(LockMatcherTest, DdlQueueIsHeldUntilNobodyIsQueued) {
  DdlQueue(5, 3, HC_STATE_ACTIVE);
  ASSERT_EQ(Run(kDdl).size(), 1u);
  world_.locks[0].n_waiters = 2;
  EXPECT_EQ(Run(kDdl).size(), 1u);
  world_.locks[0].n_waiters = 1;
  EXPECT_TRUE(Run(kDdl).empty());
  world_.locks[0].n_waiters = 2;
  EXPECT_TRUE(Run(kDdl).empty()) << "two sessions are too few to raise";
}

TEST_F(LockMatcherTest, SecondDdlIsTheNextTarget) {
  DdlQueue(5, 3, HC_STATE_ACTIVE);
  world_.AddWaiting(60, 4);
  world_.waiters.insert(world_.waiters.begin() + 1, {60, kAccessExclusive, world_.Ago(4)});
  world_.locks[0].n_waiters = 5;
  const std::vector<Match> found = Run(kDdl);
  ASSERT_EQ(found.size(), 1u);
  ASSERT_EQ(found[0].targets.size(), 2u);
  EXPECT_EQ(found[0].targets[0].id.pid, 2);
  EXPECT_EQ(found[0].targets[1].id.pid, 60);
}

TEST_F(LockMatcherTest, LimitsCanBeChanged) {
  IdleBlocker(3, 1.5);
  ASSERT_TRUE(thresholds_.Set(kIdle, "idle_s", 2));
  ASSERT_TRUE(thresholds_.Set(kIdle, "wait_s", 1));
  EXPECT_EQ(Run(kIdle).size(), 1u);
}

}  // namespace
}  // namespace heal
