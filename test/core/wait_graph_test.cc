// Who waits for whom: roots, victims, cycles, and linear work.

#include "detect/wait_graph.h"

#include "matchers_fixture.h"

namespace heal {
namespace {

class WaitGraphTest : public ::testing::Test {
 protected:
  static std::vector<int32_t> Pids(const WaitGraph& graph, const std::vector<uint32_t>& parties) {
    std::vector<int32_t> pids;
    for (const uint32_t party : parties) pids.push_back(graph.party(party).pid);
    std::sort(pids.begin(), pids.end());
    return pids;
  }
  static std::vector<int32_t> VictimPids(const WaitGraph& graph, int32_t pid,
                                         const WaitGraph::Filter& keep = {}) {
    std::vector<uint32_t> parties;
    for (const auto& reached : graph.Victims(graph.Find(pid), keep)) {
      parties.push_back(reached.party);
    }
    return Pids(graph, parties);
  }
  using Pids_ = std::vector<int32_t>;

  World world_;
};

TEST(LockModes, ConflictTableOfPostgres) {
  // The documentation's table, explicit locking: who conflicts with whom.
  const char* const rows[] = {"",         "       X", "      XX", "    XXXX", "   XXXXX",
                              "  XX XXX", "  XXXXXX", " XXXXXXX", "XXXXXXXX"};
  for (int a = 1; a <= kLockModes; ++a) {
    for (int b = 1; b <= kLockModes; ++b) {
      EXPECT_EQ((ConflictsOf(a) & ModeBit(b)) != 0, rows[a][b - 1] == 'X') << a << " and " << b;
    }
  }
  EXPECT_EQ(ConflictsOf(0), 0u);
  EXPECT_EQ(ConflictsOf(9), 0u);
}

TEST_F(WaitGraphTest, HardBlock) {
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "x", {{1, kExclusive}}, {{2, kShare, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(Pids(graph, graph.roots()), (Pids_{1}));
  EXPECT_EQ(VictimPids(graph, 1), (Pids_{2}));
  EXPECT_EQ(VictimPids(graph, 2), (Pids_{}));
  EXPECT_EQ(graph.Find(99), WaitGraph::kNone);
}

TEST_F(WaitGraphTest, CompatibleHoldersBlockNobody) {
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{1, kAccessShare}, {2, kRowExclusive}}, {{3, kShare, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(Pids(graph, graph.roots()), (Pids_{2}));
  EXPECT_EQ(graph.Find(1), WaitGraph::kNone);
}

TEST_F(WaitGraphTest, QueueBlocksSoftly) {
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{1, kAccessShare}},
                 {{2, kAccessExclusive, 5}, {3, kAccessShare, 4}, {4, kAccessShare, 3}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(VictimPids(graph, 1), (Pids_{2, 3, 4}));
  EXPECT_EQ(VictimPids(graph, 2), (Pids_{3, 4}));
  EXPECT_EQ(VictimPids(graph, 3), (Pids_{})) << "readers do not block readers";
  const auto victims = graph.Victims(graph.Find(1));
  EXPECT_EQ(victims.front().depth, 1u);
  EXPECT_EQ(victims.back().depth, 2u);
}

TEST_F(WaitGraphTest, OneWriterBehindManyReadersWaitsForAllOfThem) {
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{1, kAccessExclusive}},
                 {{2, kAccessShare, 5},
                  {3, kAccessShare, 5},
                  {4, kRowShare, 5},
                  {5, kExclusive, 5},
                  {6, kAccessExclusive, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(VictimPids(graph, 2), (Pids_{6}));
  EXPECT_EQ(VictimPids(graph, 3), (Pids_{6}));
  EXPECT_EQ(VictimPids(graph, 4), (Pids_{5, 6}));
}

TEST_F(WaitGraphTest, ChainsReachTheirRoot) {
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "a", {{1, kExclusive}}, {{2, kShare, 5}});
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "b", {{2, kExclusive}}, {{3, kShare, 5}});
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "c", {{9, kExclusive}}, {{8, kShare, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(Pids(graph, graph.roots()), (Pids_{1, 9}));
  EXPECT_EQ(Pids(graph, graph.RootsOf({graph.Find(3)})), (Pids_{1}));
  EXPECT_EQ(graph.Victims(graph.Find(1)).back().depth, 2u);
}

TEST_F(WaitGraphTest, FilterCutsWhatIsBehind) {
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{1, kAccessShare}},
                 {{2, kAccessExclusive, 5}, {3, kAccessShare, 4}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(VictimPids(graph, 1, [](const WaitGraph::Party& p) { return p.pid != 2; }), (Pids_{}));
}

TEST_F(WaitGraphTest, CyclesHaveNoRootAndEnd) {
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "a", {{1, kExclusive}}, {{2, kShare, 5}});
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "b", {{2, kExclusive}}, {{1, kShare, 5}, {3, kShare, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_TRUE(graph.roots().empty());
  EXPECT_TRUE(graph.RootsOf({graph.Find(3)}).empty());
  EXPECT_EQ(VictimPids(graph, 1), (Pids_{2, 3}));
}

TEST_F(WaitGraphTest, LockUpgradeDoesNotBlockItself) {
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{1, kShare}, {2, kAccessShare}}, {{1, kAccessExclusive, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(Pids(graph, graph.roots()), (Pids_{2}));
  EXPECT_EQ(VictimPids(graph, 1), (Pids_{}));
}

TEST_F(WaitGraphTest, PreparedTransactionsAreParties) {
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "a", {{0, kExclusive, "one"}}, {{2, kShare, 5}});
  world_.AddLock(HC_LOCK_TRANSACTION, 0, "b", {{0, kExclusive, "two"}}, {{3, kShare, 5}});
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{0, kRowExclusive, "one"}}, {{4, kShare, 5}});
  const WaitGraph graph(world_.Observe());
  ASSERT_EQ(graph.roots().size(), 2u);
  EXPECT_STREQ(graph.party(graph.roots()[0]).gid, "one");
  EXPECT_STREQ(graph.party(graph.roots()[1]).gid, "two");
  EXPECT_EQ(graph.Victims(graph.roots()[0]).size(), 2u);
  EXPECT_EQ(graph.Victims(graph.roots()[1]).size(), 1u);
  EXPECT_EQ(graph.Find(0), WaitGraph::kNone);
}

TEST_F(WaitGraphTest, ParallelWorkersStandForTheirLeader) {
  world_.AddSession(10, HC_STATE_ACTIVE, 5);
  world_.AddSession(11, HC_STATE_ACTIVE, 5).leader_pid = 10;
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{10, kExclusive}}, {{11, kShare, 5}, {12, kShare, 5}});
  const WaitGraph graph(world_.Observe());
  EXPECT_EQ(graph.Find(11), WaitGraph::kNone);
  EXPECT_EQ(VictimPids(graph, 10), (Pids_{12}));
}

TEST_F(WaitGraphTest, BrokenSlicesAreCut) {
  world_.AddLock(HC_LOCK_RELATION, 1, "t", {{1, kExclusive}}, {{2, 77, 5}});
  world_.locks[0].n_waiters = 1000;
  world_.locks[0].n_holders = 1000;
  world_.locks.push_back(world_.locks[0]);
  world_.locks[1].first_waiter = 4000000000U;
  world_.locks[1].n_waiters = 4000000000U;
  const WaitGraph graph(world_.Observe());
  EXPECT_TRUE(graph.roots().empty());
}

// Work of a graph in which n sessions wait in one queue behind n holders.
uint64_t Work(int n, bool mixed) {
  World world;
  std::vector<World::Holder> holding;
  std::vector<World::Waiter> waiting;
  for (int i = 0; i < n; ++i) {
    holding.push_back({1 + i, kAccessShare});
    world.AddSession(1 + i, HC_STATE_IDLE_IN_TRANSACTION, 100);
    world.AddWaiting(100000 + i, 50);
    const int mode = mixed && i % 3 == 1 ? kAccessShare : kAccessExclusive;
    waiting.push_back({100000 + i, mode, 50});
  }
  world.AddLock(HC_LOCK_RELATION, 1, "t", holding, waiting);
  const hc_observation observation = world.Observe();
  const WaitGraph graph(observation);
  EXPECT_EQ(graph.Victims(graph.Find(1)).size(), static_cast<size_t>(n));
  EXPECT_EQ(graph.RootsOf({graph.Find(100000 + n - 1)}).size(), static_cast<size_t>(n));
  return graph.operations();
}

TEST_F(WaitGraphTest, WorkIsLinear) {
  for (const bool mixed : {false, true}) {
    const uint64_t small = Work(300, mixed);
    const uint64_t large = Work(3000, mixed);
    EXPECT_LT(small, 300u * 60u);
    EXPECT_LT(static_cast<double>(large) / static_cast<double>(small), 10.5) << small << " and " << large;
  }
}

}  // namespace
}  // namespace heal
