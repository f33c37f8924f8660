// The catalogue as data: complete, consistent, changeable within its ranges.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <string>

#include "catalogue/failures.h"
#include "catalogue/metrics.h"

namespace heal {
namespace {

TEST(Metrics, EveryMetricIsDescribed) {
  ASSERT_EQ(Metrics().size(), static_cast<size_t>(HC_METRIC_COUNT));
  const std::set<std::string> categories{"performance", "security", "data_quality", "resource"};
  std::set<std::string> names;
  for (size_t i = 0; i < Metrics().size(); ++i) {
    const MetricDef& metric = Metrics()[i];
    EXPECT_EQ(static_cast<size_t>(metric.id), i) << metric.name;
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_EQ(categories.count(metric.category), 1u) << metric.name;
    EXPECT_NE(metric.description[0], '\0') << metric.name;
    EXPECT_NE(metric.unit[0], '\0') << metric.name;
  }
}

TEST(Metrics, AreFoundByName) {
  const MetricDef* metric = FindMetric("deadlocks");
  ASSERT_NE(metric, nullptr);
  EXPECT_EQ(metric->id, HC_M_DEADLOCKS);
  EXPECT_STREQ(metric->component, "locks");
  EXPECT_STREQ(MetricKindName(metric->kind), "counter");
  EXPECT_STREQ(BadDirectionName(metric->bad), "up");
  EXPECT_EQ(FindMetric("no such metric"), nullptr);
}

TEST(Failures, AllAreThere) {
  const char* const expected[][2] = {{"P01", "idle_in_transaction_blocker"},
                                     {"P02", "ddl_lock_queue"},
                                     {"P07", "stale_statistics"},
                                     {"P11", "checkpoint_storm"},
                                     {"P12", "vacuum_starved"},
                                     {"P15", "invalid_index"},
                                     {"R04", "connection_exhaustion"},
                                     {"R01", "xid_wraparound"},
                                     {"R03", "multixact_exhaustion"},
                                     {"R05", "disk_full"},
                                     {"R06", "slot_wal_retention"},
                                     {"R08", "temp_file_explosion"},
                                     {"R11", "sequence_exhaustion"},
                                     {"S01", "brute_force"},
                                     {"S02", "privilege_escalation"},
                                     {"S03", "server_file_access"},
                                     {"S04", "bulk_exfiltration"},
                                     {"S05", "injection_probing"},
                                     {"S06", "destructive_statement"},
                                     {"S08", "setting_tampering"},
                                     {"Q01", "checksum_failure"},
                                     {"Q02", "index_corruption"},
                                     {"Q05", "constraint_violation_burst"},
                                     {"Q06", "sequence_behind"},
                                     {"Q07", "unvalidated_constraint"},
                                     {"Q08", "distribution_drift"},
                                     {"Q09", "row_count_cliff"}};
  ASSERT_EQ(Failures().size(), 28u);  // Q03 has nothing to set
  for (const auto& [id, type] : expected) {
    const FailureDef* failure = FindFailure(id);
    ASSERT_NE(failure, nullptr) << id;
    EXPECT_STREQ(failure->type, type);
    EXPECT_EQ(FindFailure(type), failure);
    EXPECT_FALSE(failure->thresholds.empty());
    EXPECT_NE(failure->never[0], '\0');
  }
  EXPECT_EQ(FindFailure("P99"), nullptr);
}

TEST(Failures, DefaultsAreInTheirRange) {
  for (const FailureDef& failure : Failures()) {
    std::set<std::string> names;
    for (const ThresholdDef& threshold : failure.thresholds) {
      EXPECT_TRUE(names.insert(threshold.name).second) << threshold.name;
      EXPECT_GE(threshold.default_value, threshold.lowest) << threshold.name;
      EXPECT_LE(threshold.default_value, threshold.highest) << threshold.name;
    }
  }
}

TEST(Thresholds, BalancedDefaults) {
  const Thresholds limits;
  EXPECT_EQ(limits.Get("P01", "idle_s"), 60);
  EXPECT_EQ(limits.Get("P01", "wait_s"), 10);
  EXPECT_EQ(limits.Get("P02", "wait_s"), 2);
  EXPECT_EQ(limits.Get("P02", "queue"), 3);
  EXPECT_EQ(limits.Get("P02", "migration_grace_s"), 2);
  EXPECT_EQ(limits.Get("P07", "min_rows"), 50000);
  EXPECT_EQ(limits.Get("P07", "share"), 0.1);
  EXPECT_EQ(limits.Get("P11", "requested_share"), 0.3);
  EXPECT_EQ(limits.Get("P11", "clear_share"), 0.1);
  EXPECT_EQ(limits.Get("P11", "max_wal_disk_share"), 0.2);
  EXPECT_EQ(limits.Get("P12", "dead_share"), 0.2);
  EXPECT_EQ(limits.Get("P12", "dead_rows"), 1000000);
  EXPECT_EQ(limits.Get("P12", "samples"), 3);
  EXPECT_EQ(limits.Get("P12", "clear_share"), 0.1);
  EXPECT_EQ(limits.Get("P15", "samples"), 2);
  EXPECT_EQ(limits.Get("R04", "used"), 0.85);
  EXPECT_EQ(limits.Get("R04", "clear"), 0.75);
  EXPECT_EQ(limits.Get("R04", "quiet_s"), 60);
}

TEST(Thresholds, CanBeChangedWithinTheirRange) {
  Thresholds limits;
  EXPECT_TRUE(limits.Set("connection_exhaustion", "used", 0.5));
  EXPECT_EQ(limits.Get("R04", "used"), 0.5);
  EXPECT_EQ(limits.Get("P01", "idle_s"), 60) << "only the one named";
  EXPECT_FALSE(limits.Set("R04", "used", 1.5));
  EXPECT_FALSE(limits.Set("R04", "used", std::nan("")));
  EXPECT_FALSE(limits.Set("R04", "used", std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(limits.Set("R04", "wait_s", 1));
  EXPECT_FALSE(limits.Set("nonsense", "used", 1));
  EXPECT_EQ(limits.Get("R04", "used"), 0.5);
  EXPECT_TRUE(std::isnan(limits.Get("R04", "wait_s")));
  limits.Reset();
  EXPECT_EQ(limits.Get("R04", "used"), 0.85);
}

TEST(Thresholds, ALimitThatClearsIsAtMostTheOneThatRaises) {
  Thresholds limits;
  EXPECT_EQ(limits.Get("connection_exhaustion", "clear"), 0.75);
  ASSERT_TRUE(limits.Set("connection_exhaustion", "used", 0.5));
  EXPECT_EQ(limits.Get("connection_exhaustion", "clear"), 0.5);
  ASSERT_TRUE(limits.Set("connection_exhaustion", "clear", 0.4));
  EXPECT_EQ(limits.Get("connection_exhaustion", "clear"), 0.4);
  int pairs = 0;
  for (const FailureDef& failure : Failures()) {
    for (const ThresholdDef& limit : failure.thresholds) {
      if (limit.raised_by == nullptr) continue;
      ++pairs;
      EXPECT_FALSE(std::isnan(limits.Get(failure.type, limit.raised_by))) << failure.type << " " << limit.name;
    }
  }
  EXPECT_EQ(pairs, 20);
}

}  // namespace
}  // namespace heal
