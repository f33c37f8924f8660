// Q01 checksum_failure, Q02, Q03, Q05 constraint_violation_burst, Q06
// sequence_behind, Q07, Q08 distribution_drift, Q09 row_count_cliff.

#include <array>
#include <limits>
#include <random>

#include "detect/distribution.h"
#include "matchers_fixture.h"

namespace heal {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// ---- Q08 ----

hc_column_stats SoundColumn() {
  hc_column_stats c{};
  c.database_oid = World::kDatabase;
  c.relation_oid = 900;
  c.column_number = 2;
  c.database = "shop";
  c.schema = "public";
  c.table = "orders";
  c.column = "email";
  c.watched_at = 1000;
  c.analyzed_at = 2000;
  c.rows = 100000;
  c.sample_rows = 30000;
  c.distinct = 100000;
  std::fill(std::begin(c.deciles), std::end(c.deciles), kNaN);
  c.recent_rows = 4000;
  return c;
}

class DriftTest : public MatcherTest {
 protected:
  DriftTest() { world_.columns.push_back(SoundColumn()); }

  hc_column_stats& column() { return world_.columns[0]; }
  std::vector<Match> Look() {
    world_.Inspect();
    return Run("distribution_drift");
  }
  void Learn(int looks = 4) {
    for (int i = 0; i < looks; ++i) EXPECT_TRUE(Look().empty()) << i;
  }
  // A column of few values, drawn anew as ANALYZE does.
  void Categories(const std::array<double, 4>& shares, double sample, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::discrete_distribution<size_t> draw(shares.begin(), shares.end());
    std::array<double, 4> counts{};
    for (int i = 0; i < static_cast<int>(sample); ++i) counts[draw(random)] += 1;
    std::fill(std::begin(column().bins), std::end(column().bins), 0);
    for (size_t i = 0; i < 4; ++i) column().bins[i * 3] = counts[i] / sample;
    column().sample_rows = sample;
    column().rows = std::max(column().rows, sample);
    column().frequent = 1;
    column().distinct = 4;
    column().null_fraction = 0;
    column().recent_rows = kNaN;
  }
};

TEST_F(DriftTest, RisingNullsInTheStatisticsAreNamedWithBeforeAndAfter) {
  Learn();
  column().null_fraction = 0.43;
  column().recent_rows = kNaN;
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "null fraction of public.orders.email rose from 0.00 to 0.43");
  EXPECT_EQ(found[0].severity, "warning");
  EXPECT_EQ(found[0].component, "data");
  EXPECT_EQ(found[0].values.at("before"), 0);
  EXPECT_EQ(found[0].values.at("after"), 0.43);
  EXPECT_EQ(found[0].since_us, world_.now);
  EXPECT_EQ(TruthOf(found[0], "nulls_rose"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "newest_rows_differ"), Truth::kUnknown);
}

TEST_F(DriftTest, NullsInTheNewestRowsAreSeenBeforeAnalyze) {
  Learn();
  column().recent_nulls = 900;
  EXPECT_TRUE(Look().empty()) << "one look is not enough";
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "null fraction of public.orders.email rose from 0.00 to 0.23 in the newest rows");
  EXPECT_EQ(TruthOf(found[0], "newest_rows_differ"), Truth::kPresent);
}

TEST_F(DriftTest, ACreepingRiseDoesNotBecomeUsual) {
  Learn();
  bool raised = false;
  for (int i = 1; i <= 60 && !raised; ++i) {
    column().recent_nulls = 20 * i;
    raised = !Look().empty();
  }
  EXPECT_TRUE(raised);
}

TEST_F(DriftTest, AColumnFilledInLaterIsLeftAlone) {
  column().null_fraction = 0.01;
  column().recent_nulls = 3990;  // the newest are always open
  Learn(50);
  column().recent_nulls = 4000;
  EXPECT_TRUE(Look().empty());
  EXPECT_TRUE(Look().empty());
}

TEST_F(DriftTest, AClumpOfTheNullsTheTableHasAnywayIsLeftAlone) {
  column().null_fraction = 0.05;  // 5000 rows of 100000
  Learn();
  column().recent_nulls = 4000;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(Look().empty());
}

TEST_F(DriftTest, AlwaysHalfNullIsLeftAlone) {
  column().null_fraction = 0.5;
  column().recent_nulls = 2000;
  Learn();
  for (const double nulls : {0.497, 0.503, 0.51, 0.49}) {
    column().null_fraction = nulls;
    column().recent_nulls = nulls * 4100;
    EXPECT_TRUE(Look().empty()) << nulls;
  }
}

TEST_F(DriftTest, SamplingNoiseOfASmallTableIsLeftAlone) {
  column().rows = column().sample_rows = 120;
  column().recent_rows = 120;
  column().null_fraction = 0.02;
  column().recent_nulls = 2;
  Learn();
  for (const double nulls : {0.05, 0.3, 0.0, 0.4}) {
    column().null_fraction = nulls;
    column().recent_nulls = nulls * 120;
    EXPECT_TRUE(Look().empty()) << nulls;
  }
}

TEST_F(DriftTest, SamplingNoiseOfManyAnalyzesIsLeftAlone) {
  for (const double sample : {1000.0, 3000.0, 30000.0})
    for (uint64_t seed = 0; seed < 300; ++seed) {
      Categories({0.7, 0.2, 0.09, 0.01}, sample, seed);
      EXPECT_TRUE(Look().empty()) << sample << " " << seed;
    }
}

TEST_F(DriftTest, ALowLimitMakesNoAlarmOfChance) {
  ASSERT_TRUE(thresholds_.Set("distribution_drift", "index", 0.01));
  ASSERT_TRUE(thresholds_.Set("distribution_drift", "min_rows", 10));
  column().rows = 200;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    FailureMatchers fresh;
    for (uint64_t draw = 0; draw < 2; ++draw) {
      Categories({0.4, 0.3, 0.2, 0.1}, 200, 2 * seed + draw);
      world_.Inspect();
      EXPECT_TRUE(fresh.Run(world_.Observe(), thresholds_).empty()) << seed;
    }
  }
}

TEST_F(DriftTest, OtherSharesOfTheSameValuesAreADrift) {
  Categories({0.7, 0.2, 0.09, 0.01}, 30000, 1);
  Learn();
  Categories({0.2, 0.7, 0.05, 0.05}, 30000, 2);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "values_differ"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "nulls_rose"), Truth::kAbsent);
}

TEST_F(DriftTest, AValueThatReplacesAllOthersIsADrift) {
  Learn();
  column().distinct = 3;  // of 100000: a constant is written
  ASSERT_EQ(Look().size(), 1u);
}

TEST_F(DriftTest, ABulkLoadOfTheSameKindIsLeftAlone) {
  Learn();
  column().rows *= 3;
  column().distinct *= 3;
  EXPECT_TRUE(Look().empty());
  Categories({0.7, 0.2, 0.09, 0.01}, 30000, 1);
}

TEST_F(DriftTest, ATripledTableWithTheSameCategoriesIsLeftAlone) {
  Categories({0.7, 0.2, 0.09, 0.01}, 30000, 1);
  Learn();
  column().rows *= 300;
  EXPECT_TRUE(Look().empty());
}

TEST_F(DriftTest, NumbersThatMovedAreADriftAndThoseThatWiggleAreNot) {
  const auto numbers = [&](double from, double step) {
    for (int i = 0; i < HC_COLUMN_DECILES; ++i) column().deciles[i] = from + step * i;
  };
  numbers(10, 10);
  Learn();
  for (int i = 0; i < 20; ++i) {
    numbers(10 + 0.3 * (i % 5), 10 - 0.1 * (i % 3));
    EXPECT_TRUE(Look().empty()) << i;
  }
  numbers(1000, 1000);  // cents instead of euros
  ASSERT_EQ(Look().size(), 1u);
}

TEST_F(DriftTest, WatchingAgainAcceptsWhatIsThere) {
  Learn();
  column().null_fraction = 0.43;
  ASSERT_EQ(Look().size(), 1u);
  ++column().watched_at;
  EXPECT_TRUE(Look().empty());
  EXPECT_TRUE(Look().empty());
  column().null_fraction = 0.8;
  EXPECT_EQ(Look().size(), 1u);
}

TEST_F(DriftTest, WhatLastsAWeekIsAccepted) {
  Learn();
  column().null_fraction = 0.43;
  column().recent_nulls = 1700;
  ASSERT_EQ(Look().size(), 1u);
  world_.Advance(6.9 * 86400);
  EXPECT_EQ(Look().size(), 1u);
  world_.Advance(0.2 * 86400);
  EXPECT_TRUE(Look().empty());
  EXPECT_TRUE(Look().empty());
}

TEST_F(DriftTest, ItEndsWhenTheColumnIsAsBefore) {
  Learn();
  column().null_fraction = 0.06;
  ASSERT_EQ(Look().size(), 1u);
  column().null_fraction = 0.04;
  EXPECT_EQ(Look().size(), 1u) << "not down to the clear limit";
  column().null_fraction = 0.01;
  EXPECT_TRUE(Look().empty());
}

TEST_F(DriftTest, TheBaselineSurvivesARestart) {
  Learn();
  std::vector<MatcherRecord> records = matchers_.TakeRecords();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].table, HC_T_COLUMN_GENERATIONS);
  EXPECT_EQ(records[0].json.find("@"), std::string::npos);

  FailureMatchers restarted;
  restarted.Restore({records[0].table, records[0].id, records[0].json.c_str()});
  column().null_fraction = 0.43;
  world_.Inspect();
  std::vector<Match> found = restarted.Run(world_.Observe(), thresholds_);
  ASSERT_EQ(found.size(), 1u) << "the first look after a restart knows what was before";
  EXPECT_EQ(found[0].values.at("before"), 0);
  EXPECT_TRUE(restarted.TakeRecords().size() == 1) << "since when is kept, too";
}

TEST_F(DriftTest, ARowThatMakesNoSenseIsLearntAgain) {
  for (const char* json : {"", "{}", "[]", "{\"watched_at\": 7}", "nonsense"}) {
    FailureMatchers restarted;
    restarted.Restore({HC_T_COLUMN_GENERATIONS, 3, json});
    world_.Inspect();
    EXPECT_TRUE(restarted.Run(world_.Observe(), thresholds_).empty());
    ASSERT_EQ(restarted.TakeRecords().size(), 1u) << json;
  }
}

TEST_F(DriftTest, HostileNumbersNeverAlarm) {
  Learn();
  const double hostile[] = {kNaN, -1, 2, 1e308, -1e308, std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::denorm_min()};
  for (const double a : hostile)
    for (const double b : hostile) {
      column() = SoundColumn();
      column().null_fraction = a;
      column().rows = b;
      column().bins[3] = a;
      column().recent_nulls = b;
      EXPECT_TRUE(Look().empty()) << a << " " << b;
      column() = SoundColumn();
      column().recent_rows = a;
      column().recent_nulls = b;
      column().deciles[4] = a;
      EXPECT_TRUE(Look().empty()) << a << " " << b;
    }
}

TEST_F(DriftTest, AFailedInspectionForgetsNothing) {
  Learn();
  column().null_fraction = 0.43;
  ASSERT_EQ(Look().size(), 1u);
  const hc_column_stats kept = column();
  world_.columns.clear();
  world_.Inspect(0);
  EXPECT_EQ(Run("distribution_drift").size(), 1u) << "not seen is not gone";
  world_.columns.push_back(kept);
  EXPECT_EQ(Look().size(), 1u);
  world_.columns.clear();
  EXPECT_TRUE(Look().empty()) << "not watched any more";
}

TEST(Distribution, TwoProportions) {
  // Fleiss 3.2: 60 of 100 against 40 of 100, pooled 0.5: 0.2 / sqrt(0.25 * 0.02).
  EXPECT_NEAR(ProportionZ(0.4, 100, 0.6, 100), 2.8284, 1e-4);
  EXPECT_EQ(ProportionZ(0, 100, 0, 100), 0);
  EXPECT_EQ(ProportionZ(kNaN, 100, 0.5, 100), 0);
  EXPECT_EQ(ProportionZ(0.1, 0, 0.5, 100), 0);
}

// ---- Q05 ----

class BurstTest : public MatcherTest {
 protected:
  BurstTest() {
    Set(0);
    Step();
    world_.Advance(1800);
    Step();
  }
  void Set(uint64_t count, const char* sqlstate = "23505") {
    world_.violations.assign(1, {World::kDatabase, "shop", sqlstate, "public", "orders", "orders_pkey", count});
  }
  std::vector<Match> Step(double seconds = 10) {
    world_.Advance(seconds);
    return Run("constraint_violation_burst");
  }
};

TEST_F(BurstTest, ABurstIsNamedWithConstraintAndSqlstate) {
  Set(49);
  EXPECT_TRUE(Step().empty());
  Set(50);
  const std::vector<Match> found = Step();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "unique violations of orders_pkey on public.orders (SQLSTATE 23505)");
  EXPECT_EQ(found[0].values.at("count"), 50);
  EXPECT_EQ(TruthOf(found[0], "sequence_behind_column"), Truth::kAbsent);
}

TEST_F(BurstTest, ItEndsWithAQuietWindow) {
  Set(80);
  ASSERT_EQ(Step().size(), 1u);
  bool over = false;
  for (int i = 0; i < 15 && !over; ++i) over = Step().empty();
  EXPECT_TRUE(over);
}

TEST_F(BurstTest, AnApplicationThatInsertsAndSeesIsLearnt) {
  FailureMatchers fresh;
  std::mt19937_64 random(1);
  uint64_t count = 0;
  for (int i = 0; i < 6 * 60 * 24; ++i) {
    world_.Advance(10);
    count += std::uniform_int_distribution<uint64_t>(0, 60)(random);
    Set(count);
    EXPECT_TRUE(fresh.Run(world_.Observe(), thresholds_).empty()) << i;
  }
  count += 4000;
  Set(count);
  world_.Advance(10);
  EXPECT_EQ(fresh.Run(world_.Observe(), thresholds_).size(), 1u) << "ten times the usual is news";
}

TEST_F(BurstTest, ANewHabitIsReportedOnce) {
  uint64_t count = 0;
  int raised = 0;
  bool before = false;
  for (int i = 0; i < 6 * 60 * 5; ++i) {
    Set(count += 20);
    const bool now = !Step().empty();
    raised += now && !before ? 1 : 0;
    before = now;
  }
  EXPECT_EQ(raised, 1);
  EXPECT_FALSE(before) << "after an hour it is usual";
}

TEST_F(BurstTest, CountersThatStartAgainAreNoBurst) {
  Set(40);
  EXPECT_TRUE(Step().empty());
  Set(3);
  EXPECT_TRUE(Step().empty());
  Set(UINT64_MAX);
  EXPECT_LE(Step().size(), 1u);
}

TEST_F(BurstTest, DamagedDataIsNoConstraint) {
  Set(5000, "XX001");
  EXPECT_TRUE(Step().empty());
}

TEST_F(BurstTest, ASequenceBehindIsNamedAsEvidence) {
  world_.behind.push_back({World::kDatabase, 70, 900, "shop", "public.orders_id_seq", "public.orders", "id", 5, 900, 5, 1});
  Set(60);
  const std::vector<Match> found = Step();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "sequence_behind_column"), Truth::kPresent);
}

// ---- Q06 ----

TEST_F(MatcherTest, ASequenceBehindIsAWarningOnlyWhenItIsInUseAndNear) {
  world_.behind.push_back({World::kDatabase, 70, 900, "shop", "public.orders_id_seq", "public.orders", "id", 5, 900, 5, 1});
  world_.Inspect();
  std::vector<Match> found = Run("sequence_behind");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "public.orders_id_seq behind public.orders.id");
  EXPECT_EQ(found[0].severity, "warning");
  world_.behind[0].used = 0;
  world_.Inspect();
  EXPECT_EQ(Run("sequence_behind").at(0).severity, "info");
  world_.behind[0].used = 1;
  world_.behind[0].collision = 5000000;
  world_.Inspect();
  EXPECT_EQ(Run("sequence_behind").at(0).severity, "info");
  world_.behind.clear();
  world_.Inspect();
  EXPECT_TRUE(Run("sequence_behind").empty());
}

// ---- Q09 ----

class CliffTest : public MatcherTest {
 protected:
  CliffTest() { world_.row_counts.push_back({World::kDatabase, 900, "shop", "public", "orders", 100000, 0}); }
  std::vector<Match> Look(int64_t rows, int64_t deleted = 0, double wait_s = 0) {
    world_.Advance(wait_s);
    world_.row_counts[0].live_tuples = rows;
    world_.row_counts[0].deleted = deleted;
    world_.Inspect();
    return Run("row_count_cliff");
  }
};

TEST_F(CliffTest, RowsThatGoAtOnceAreNews) {
  EXPECT_TRUE(Look(100000).empty());
  EXPECT_TRUE(Look(101000, 0, 3 * 86400).empty());
  EXPECT_TRUE(Look(900, 100100).empty()) << "a second look must confirm it";
  const std::vector<Match> found = Look(950, 100100);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "rows of public.orders fell from 101000 to 950");
  EXPECT_EQ(TruthOf(found[0], "rows_deleted_singly"), Truth::kPresent);
  EXPECT_TRUE(Look(90000).empty()) << "they are back";
}

TEST_F(CliffTest, ATableEmptiedEveryDayIsRoutine) {
  for (int day = 0; day < 10; ++day) {
    EXPECT_TRUE(Look(100000 + 1000 * day, 0, 86400 / 2).empty()) << day;
    EXPECT_TRUE(Look(0, 0, 86400 / 2).empty()) << day;
    EXPECT_TRUE(Look(0).empty()) << day;
  }
}

TEST_F(CliffTest, ADeclaredMigrationIsLeftAlone) {
  EXPECT_TRUE(Look(100000).empty());
  EXPECT_TRUE(Look(100000, 0, 3 * 86400).empty());
  world_.server().flags |= HC_SERVER_MIGRATION;
  EXPECT_TRUE(Look(0).empty());
  EXPECT_TRUE(Look(0).empty());
}

TEST_F(CliffTest, ASmallTableOrAShareIsLeftAlone) {
  EXPECT_TRUE(Look(9000).empty());
  EXPECT_TRUE(Look(9000, 0, 3 * 86400).empty());
  EXPECT_TRUE(Look(0).empty());
  EXPECT_TRUE(Look(0).empty());
}

TEST_F(CliffTest, AReloadBetweenTwoLooksIsLeftAlone) {
  EXPECT_TRUE(Look(100000).empty());
  EXPECT_TRUE(Look(100000, 0, 3 * 86400).empty());
  EXPECT_TRUE(Look(20).empty());
  EXPECT_TRUE(Look(99000).empty());
}

TEST_F(CliffTest, ADroppedTableIsNoCliff) {
  EXPECT_TRUE(Look(100000).empty());
  EXPECT_TRUE(Look(100000, 0, 3 * 86400).empty());
  world_.row_counts.clear();
  world_.Inspect();
  EXPECT_TRUE(Run("row_count_cliff").empty());
}

// ---- Q01, Q02, Q03, Q07 ----

TEST_F(MatcherTest, AChecksumFailureIsCriticalAtOnce) {
  EXPECT_TRUE(Run("checksum_failure").empty());
  world_.checksums.push_back({World::kDatabase, "shop", 1, world_.Ago(2)});
  world_.violations.push_back({World::kDatabase, "shop", "XX001", "", "", "invalid page in block 3 of relation base/5/900", 1});
  const std::vector<Match> found = Run("checksum_failure");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, "critical");
  EXPECT_TRUE(found[0].certain);
  EXPECT_NE(found[0].evidence[1].why.find("block 3"), std::string::npos);
  world_.Advance(8 * 86400);
  EXPECT_TRUE(Run("checksum_failure").empty()) << "the same count again is no news";
}

TEST_F(MatcherTest, FaultsOfTheCatalogAreListed) {
  world_.faults.push_back({World::kDatabase, 71, HC_FAULT_NOT_VALID, "shop", "public.orders", "orders_fk", ""});
  world_.faults.push_back({World::kDatabase, 72, HC_FAULT_INDEX_DAMAGED, "shop", "public.orders", "orders_pkey", "item order invariant violated"});
  world_.faults.push_back({World::kDatabase, 5, HC_FAULT_COLLATION, "shop", "", "database shop", "2.28 recorded, 2.36 in use"});
  world_.Inspect();
  EXPECT_TRUE(Run("unvalidated_constraint").empty()) << "a migration may validate it in a moment";
  world_.Inspect();
  EXPECT_EQ(Run("index_corruption").at(0).subject, "orders_pkey on public.orders");
  world_.Inspect();
  EXPECT_EQ(Run("collation_mismatch").at(0).severity, "warning");
  world_.Advance(86400);
  world_.Inspect();
  const std::vector<Match> found = Run("unvalidated_constraint");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, "info");
  EXPECT_EQ(TruthOf(found[0], "constraint_triggers_disabled"), Truth::kAbsent);
  world_.faults.clear();
  world_.Inspect();
  EXPECT_TRUE(Run("unvalidated_constraint").empty());
}

}  // namespace
}  // namespace heal
