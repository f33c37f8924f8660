// P07 stale_statistics, P12 vacuum_starved and P15 invalid_index.

#include "matchers_fixture.h"

namespace heal {
namespace {

constexpr char kStale[] = "stale_statistics";
constexpr char kStarved[] = "vacuum_starved";
constexpr char kInvalid[] = "invalid_index";

class TableMatcherTest : public MatcherTest {
 protected:
  std::vector<Match> Look(const std::string& type, int complete = 1) {
    world_.Inspect(complete);
    return Run(type);
  }
  // Dead rows of the first table rise over three inspections.
  std::vector<Match> Starve() {
    world_.tables[0].dead_tuples = 30000;
    EXPECT_TRUE(Look(kStarved).empty());
    world_.tables[0].dead_tuples = 40000;
    EXPECT_TRUE(Look(kStarved).empty());
    world_.tables[0].dead_tuples = 50000;
    return Look(kStarved);
  }
};

// ---- P07 ----

TEST_F(TableMatcherTest, StaleStatisticsNeedTwoInspections) {
  world_.AddTable(7, "orders", 100000, 0, 60000).qualified = "\"S\".\"Or\"";
  EXPECT_TRUE(Look(kStale).empty());
  EXPECT_TRUE(Run(kStale).empty()) << "the same inspection twice";
  const int64_t first = world_.now;
  const std::vector<Match> found = Look(kStale);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "public.orders");
  EXPECT_EQ(found[0].component, "statistics");
  EXPECT_EQ(found[0].params.at("relation"), "\"S\".\"Or\"");
  EXPECT_EQ(found[0].since_us, first);
  EXPECT_EQ(found[0].database, "shop");
  EXPECT_EQ(found[0].relation_oid, 7u);
  EXPECT_EQ(found[0].values.at("too_large"), 0);
  EXPECT_EQ(TruthOf(found[0], "rows_changed_since_analyze"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "autovacuum_disabled_on_table"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(found[0], "autovacuum_workers_busy"), Truth::kUnknown);
}

TEST_F(TableMatcherTest, AutovacuumEvidence) {
  world_.AddTable(7, "orders", 100000, 0, 60000).flags = HC_TABLE_AUTOVACUUM_OFF;
  world_.metric(HC_M_AUTOVACUUM_WORKERS) = 3;
  Look(kStale);
  const std::vector<Match> found = Look(kStale);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "autovacuum_disabled_on_table"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "autovacuum_workers_busy"), Truth::kPresent);
}

TEST_F(TableMatcherTest, StaleStatisticsLimits) {
  world_.AddTable(7, "few", 10, 0, 50000);
  world_.AddTable(8, "small_share", 10000000, 0, 1000000);
  world_.AddTable(9, "system", 10, 0, 90000).flags = HC_TABLE_SYSTEM;
  world_.AddTable(10, "temporary", 10, 0, 90000).flags = HC_TABLE_TEMPORARY;
  world_.AddTable(11, "busy", 10, 0, 90000).flags = HC_TABLE_BUSY;
  Look(kStale);
  EXPECT_TRUE(Look(kStale).empty());
}

TEST_F(TableMatcherTest, AnalyzeInBetweenStartsOver) {
  world_.AddTable(7, "orders", 100000, 0, 90000);
  Look(kStale);
  world_.tables[0].mod_since_analyze = 60000;  // fewer: it was analyzed
  EXPECT_TRUE(Look(kStale).empty());
  EXPECT_EQ(Look(kStale).size(), 1u);
  world_.tables[0].mod_since_analyze = 70000;
  world_.tables[0].last_analyze = world_.now;
  EXPECT_TRUE(Look(kStale).empty()) << "a new analyze, many changes since";
}

TEST_F(TableMatcherTest, StaleStatisticsAreHeldDownToTheClearLimit) {
  world_.AddTable(7, "orders", 600000, 0, 70000);
  Look(kStale);
  ASSERT_EQ(Look(kStale).size(), 1u);
  world_.tables[0].live_tuples = 1000000;  // 7 % now
  EXPECT_EQ(Look(kStale).size(), 1u);
  world_.tables[0].live_tuples = 2000000;  // 3.5 %
  EXPECT_TRUE(Look(kStale).empty());
}

TEST_F(TableMatcherTest, PartitionedParentThatWasNeverAnalyzed) {
  world_.AddTable(7, "parent", 200000).flags = HC_TABLE_PARTITIONED;
  Look(kStale);
  const std::vector<Match> found = Look(kStale);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "autovacuum_disabled_on_table"), Truth::kPresent);
  world_.tables[0].last_analyze = world_.now;
  EXPECT_TRUE(Look(kStale).empty());
}

TEST_F(TableMatcherTest, LargeTablesSaySo) {
  world_.AddTable(7, "huge", 100, 0, 60000).bytes = int64_t{200} << 30;
  Look(kStale);
  const std::vector<Match> found = Look(kStale);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].values.at("too_large"), 1);
}

TEST_F(TableMatcherTest, OnlyACompleteLookClears) {
  world_.AddTable(7, "orders", 100000, 0, 60000);
  Look(kStale);
  ASSERT_EQ(Look(kStale).size(), 1u);
  world_.tables.clear();
  EXPECT_EQ(Look(kStale, 0).size(), 1u) << "incomplete";
  world_.inspections.clear();
  EXPECT_EQ(Run(kStale).size(), 1u) << "not inspected";
  EXPECT_TRUE(Look(kStale, 1).empty()) << "dropped";
}

TEST_F(TableMatcherTest, FactsOfALostDatabaseAreForgotten) {
  world_.AddTable(7, "orders", 100000, 0, 60000);
  Look(kStale);
  ASSERT_EQ(Look(kStale).size(), 1u);
  world_.inspections.clear();
  world_.tables.clear();
  world_.Advance(3500);
  EXPECT_EQ(Run(kStale).size(), 1u);
  world_.Advance(200);
  EXPECT_TRUE(Run(kStale).empty());
}

TEST_F(TableMatcherTest, StatisticsResetIsNoFailure) {
  world_.AddTable(7, "orders", 100000, 15000, 60000);
  world_.tables[0].bytes = 50 << 20;
  Look(kStale);
  world_.tables[0].mod_since_analyze = 0;
  world_.tables[0].live_tuples = 0;
  world_.tables[0].dead_tuples = 0;
  EXPECT_TRUE(Look(kStale).empty());
  // Counting from zero the live rows look few beside the new dead ones.
  for (int64_t dead = 11000; dead <= 15000; dead += 1000) {
    world_.tables[0].dead_tuples = dead;
    world_.tables[0].bytes = int64_t{1} << 30;
    EXPECT_TRUE(Look(kStarved).empty());
  }
}

// ---- P12 ----

TEST_F(TableMatcherTest, StarvedTableNeedsThreeRises) {
  world_.AddTable(7, "queue", 100000);
  const std::vector<Match> found = Starve();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].component, "vacuum");
  EXPECT_EQ(found[0].params.at("relation"), "public.queue");
  EXPECT_DOUBLE_EQ(found[0].values.at("dead_share"), 0.5);
  EXPECT_EQ(TruthOf(found[0], "dead_tuples_growing"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "horizon_stuck"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_slot"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(found[0], "table_busy"), Truth::kAbsent);
}

TEST_F(TableMatcherTest, StarvedTableIsHeldDownToTheClearLimit) {
  world_.AddTable(7, "queue", 100000);
  ASSERT_EQ(Starve().size(), 1u);
  world_.tables[0].dead_tuples = 15000;
  EXPECT_EQ(Look(kStarved).size(), 1u);
  world_.tables[0].dead_tuples = 10000;
  EXPECT_TRUE(Look(kStarved).empty());
}

TEST_F(TableMatcherTest, DeadRowsThatRoseCountUntilAVacuumComes) {
  world_.AddTable(7, "queue", 100000);
  ASSERT_EQ(Starve().size(), 1u);
  EXPECT_EQ(TruthOf(Look(kStarved)[0], "dead_tuples_growing"), Truth::kPresent);
  world_.tables[0].last_vacuum = world_.now;
  EXPECT_EQ(TruthOf(Look(kStarved)[0], "dead_tuples_growing"), Truth::kAbsent);
}

TEST_F(TableMatcherTest, ManyDeadRowsOfAHugeTable) {
  world_.AddTable(7, "huge", 100000000);
  for (int64_t dead : {1100000, 1200000}) {
    world_.tables[0].dead_tuples = dead;
    EXPECT_TRUE(Look(kStarved).empty());
  }
  world_.tables[0].dead_tuples = 1300000;
  EXPECT_EQ(Look(kStarved).size(), 1u);
  world_.tables[0].dead_tuples = 600000;
  EXPECT_EQ(Look(kStarved).size(), 1u);
  world_.tables[0].dead_tuples = 400000;
  EXPECT_TRUE(Look(kStarved).empty());
}

TEST_F(TableMatcherTest, NotStarved) {
  world_.AddTable(1, "without churn", 100000, 90000);
  world_.AddTable(2, "tiny", 100);
  world_.AddTable(3, "busy", 100000).flags = HC_TABLE_BUSY;
  world_.AddTable(4, "system", 100000).flags = HC_TABLE_SYSTEM;
  world_.AddTable(5, "vacuumed in between", 100000);
  for (int64_t i = 1; i <= 8; ++i) {
    world_.tables[1].dead_tuples = 1000 * i;
    world_.tables[2].dead_tuples = 20000 + 1000 * i;
    world_.tables[3].dead_tuples = 20000 + 1000 * i;
    world_.tables[4].dead_tuples = i % 2 == 0 ? 21000 : 30000 + 1000 * i;
    EXPECT_TRUE(Look(kStarved).empty()) << "inspection " << i;
  }
}

TEST_F(TableMatcherTest, HorizonHeldBySession) {
  world_.AddTable(7, "queue", 100000);
  world_.AddSession(1, HC_STATE_IDLE_IN_TRANSACTION, 600).xmin_age = 5000;
  const std::vector<Match> found = Starve();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_stuck"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_session"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_slot"), Truth::kAbsent);
  world_.sessions_known = 0;
  world_.sessions.clear();
  EXPECT_EQ(TruthOf(Run(kStarved)[0], "horizon_held_by_session"), Truth::kPresent);
}

TEST_F(TableMatcherTest, SessionsThatDoNotHoldTheHorizon) {
  world_.AddTable(7, "queue", 100000);
  world_.AddSession(1, HC_STATE_ACTIVE, 600).xmin_age = 5000;
  world_.sessions[0].query = "VACUUM other";
  world_.AddSession(2, HC_STATE_ACTIVE, 600).xmin_age = 5000;
  world_.sessions[1].database_oid = 99;
  world_.AddSession(3, HC_STATE_ACTIVE, 600).xmin_age = 5000;
  world_.sessions[2].kind = HC_BACKEND_AUTOVACUUM_WORKER;
  const std::vector<Match> found = Starve();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_stuck"), Truth::kAbsent);
}

TEST_F(TableMatcherTest, MovingHorizonIsNotStuck) {
  world_.AddTable(7, "queue", 100000);
  world_.AddSession(1, HC_STATE_ACTIVE, 600).xmin_age = 50;
  world_.tables[0].dead_tuples = 30000;
  Look(kStarved);
  world_.tables[0].dead_tuples = 40000;
  world_.sessions[0].xmin_age = 80;
  Look(kStarved);
  world_.tables[0].dead_tuples = 50000;
  world_.sessions[0].xmin_age = 30;  // a new snapshot
  const std::vector<Match> found = Look(kStarved);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_stuck"), Truth::kAbsent);
}

TEST_F(TableMatcherTest, HorizonHeldBySlotUnlessLost) {
  world_.AddTable(7, "queue", 100000);
  world_.slots.push_back({"old", 1, 0, 0, 0, 0, 5000, "shop"});
  std::vector<Match> found = Starve();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_slot"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_session"), Truth::kAbsent);
  world_.slots[0].lost = 1;
  found = Run(kStarved);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_slot"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(found[0], "horizon_stuck"), Truth::kAbsent);
}

TEST_F(TableMatcherTest, HorizonHeldByStandby) {
  world_.AddTable(7, "queue", 100000);
  world_.standbys.push_back({4, "standby1", "streaming", 0, 5000});
  world_.slots.push_back({"standby1", 0, 1, 0, 0, 0, 5000, ""});
  const std::vector<Match> found = Starve();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_standby"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_slot"), Truth::kAbsent);
}

TEST_F(TableMatcherTest, HorizonHeldByPreparedTransaction) {
  world_.AddTable(7, "queue", 100000);
  world_.prepared.push_back({"gid", "app", "shop", world_.Ago(900), 5000});
  world_.AddSession(1, HC_STATE_IDLE_IN_TRANSACTION, 600).xmin_age = 100;
  const std::vector<Match> found = Starve();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_prepared_transaction"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "horizon_held_by_session"), Truth::kAbsent)
      << "a younger holder is not the cause";
  EXPECT_EQ(found[0].values.at("horizon_age"), 5000);
}

// ---- P15 ----

TEST_F(TableMatcherTest, InvalidIndexNeedsTwoInspections) {
  world_.AddIndex(70, "public.\"I\"");
  EXPECT_TRUE(Look(kInvalid).empty());
  EXPECT_TRUE(Run(kInvalid).empty()) << "the same inspection twice";
  const std::vector<Match> found = Look(kInvalid);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "public.I");
  EXPECT_EQ(found[0].params.at("index"), "public.\"I\"");
  EXPECT_EQ(found[0].params.at("table"), "public.orders");
  EXPECT_EQ(found[0].relation_oid, 70u);
  EXPECT_EQ(found[0].values.at("unique"), 0);
  EXPECT_EQ(TruthOf(found[0], "index_not_valid"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "index_build_running"), Truth::kAbsent);
  EXPECT_EQ(TruthOf(found[0], "index_leftover_name"), Truth::kAbsent);
  EXPECT_EQ(Run(kInvalid).size(), 1u) << "held between inspections";
}

TEST_F(TableMatcherTest, IndexesLeftAlone) {
  world_.AddIndex(70, "public.building").flags = HC_INDEX_BUILDING;
  world_.AddIndex(71, "public.partition").flags = HC_INDEX_PARTITION;
  world_.AddIndex(72, "pg_catalog.system").flags = HC_INDEX_SYSTEM;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(Look(kInvalid).empty());
}

TEST_F(TableMatcherTest, ABuildInBetweenStartsOver) {
  world_.AddIndex(70, "public.i");
  Look(kInvalid);
  world_.indexes[0].flags = HC_INDEX_BUILDING;
  EXPECT_TRUE(Look(kInvalid).empty());
  world_.indexes[0].flags = 0;
  EXPECT_TRUE(Look(kInvalid).empty());
  EXPECT_EQ(Look(kInvalid).size(), 1u);
}

TEST_F(TableMatcherTest, AStatementOnTheTableHoldsItBack) {
  world_.AddIndex(70, "public.i");
  Look(kInvalid);
  ASSERT_EQ(Look(kInvalid).size(), 1u);
  hc_session& session = world_.AddSession(1, HC_STATE_ACTIVE, 1);
  session.query = "  REINDEX TABLE CONCURRENTLY Orders";
  EXPECT_TRUE(Run(kInvalid).empty());
  session.query = "create index concurrently j on orders2 (a)";
  EXPECT_EQ(Run(kInvalid).size(), 1u) << "a live build beside it";
  session.query = "select * from orders";
  EXPECT_EQ(Run(kInvalid).size(), 1u);
}

TEST_F(TableMatcherTest, UniqueAndLeftoverAreTold) {
  world_.AddIndex(70, "public.u").flags = HC_INDEX_UNIQUE;
  world_.AddIndex(71, "public.i_ccnew").flags = HC_INDEX_LEFTOVER_NAME;
  Look(kInvalid);
  const std::vector<Match> found = Look(kInvalid);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].values.at("unique"), 1);
  EXPECT_EQ(found[1].values.at("leftover"), 1);
  EXPECT_EQ(TruthOf(found[1], "index_leftover_name"), Truth::kPresent);
}

TEST_F(TableMatcherTest, DroppedIndexClears) {
  world_.AddIndex(70, "public.i");
  Look(kInvalid);
  ASSERT_EQ(Look(kInvalid).size(), 1u);
  world_.indexes.clear();
  EXPECT_EQ(Look(kInvalid, 0).size(), 1u);
  EXPECT_TRUE(Look(kInvalid).empty());
}

}  // namespace
}  // namespace heal
