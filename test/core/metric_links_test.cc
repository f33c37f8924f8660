// Nodes that a user tied to a metric: an anomaly of the metric is evidence.

#include "diagnose/metric_links.h"

#include <algorithm>
#include <vector>

#include "engine_fixture.h"

namespace heal {
namespace {

bool IsPresent(const Match& match, const std::string& node) {
  return std::ranges::any_of(match.evidence,
                             [&node](const Evidence& e) { return e.node == node && e.truth == Truth::kPresent; });
}

class MetricLinksTest : public ::testing::Test {
 protected:
  MetricLinksTest() {
    config_.nodes = nodes_.data();
    config_.n_nodes = static_cast<uint32_t>(nodes_.size());
    links_.SetGraph(&config_);
  }

  bool Seen(const std::string& node) const {
    Match match;
    links_.AddEvidence(&match);
    return IsPresent(match, node);
  }

  std::vector<hc_causal_node> nodes_ = {{"batch_job", "root_cause", "workload", 0.1, "queue_length"},
                                        {"other_job", "root_cause", "workload", 0.1, ""},
                                        {"write_burst", "root_cause", "workload", 0.1, "wal_bytes"}};
  hc_config config_{};
  MetricLinks links_;
};

TEST_F(MetricLinksTest, AnAnomalyIsEvidenceForTwoTicks) {
  links_.Tick();
  EXPECT_FALSE(Seen("batch_job"));
  links_.Note("queue_length");
  EXPECT_TRUE(Seen("batch_job"));
  EXPECT_FALSE(Seen("other_job"));
  links_.Tick();
  EXPECT_TRUE(Seen("batch_job"));
  links_.Tick();
  EXPECT_FALSE(Seen("batch_job"));
}

TEST_F(MetricLinksTest, ShippedNodesAreLeftToTheMatchers) {
  links_.Tick();
  links_.Note("wal_bytes");
  EXPECT_FALSE(Seen("write_burst"));
}

TEST_F(MetricLinksTest, WhatAMatcherSaysStands) {
  links_.Tick();
  links_.Note("queue_length");
  Match match;
  match.evidence.push_back({"batch_job", Truth::kAbsent, "seen"});
  links_.AddEvidence(&match);
  EXPECT_EQ(match.evidence.size(), 1u);
}

TEST_F(MetricLinksTest, ANewGraphForgetsTheOldLinks) {
  links_.Tick();
  links_.Note("queue_length");
  links_.SetGraph(nullptr);
  EXPECT_FALSE(Seen("batch_job"));
}

// The whole way: a metric leaves its baseline while a failure is diagnosed.
class LinkedEngineTest : public EngineTest {};

TEST_F(LinkedEngineTest, AnAnomalyNamesTheCause) {
  std::vector<hc_causal_node> nodes = {{"batch_job", "root_cause", "workload", 0.02, "temp_files"},
                                       {"idle_client", "root_cause", "sessions", 0.2, ""},
                                       {"stale_statistics", "symptom", "statistics", 0.001, ""}};
  std::vector<hc_causal_edge> edges = {{"batch_job", "stale_statistics", "direct_cause", 1, 0.9, 0},
                                       {"idle_client", "stale_statistics", "direct_cause", 1, 0.9, 0}};
  hc_config config{};
  config.nodes = nodes.data();
  config.n_nodes = 3;
  config.edges = edges.data();
  config.n_edges = 2;
  shell_.config = &config;
  shell_.settings.mode = HC_MODE_OBSERVE;
  double files = 0;
  for (int i = 0; i < 60; ++i) {
    world().metric(HC_M_TEMP_FILES) = files += 10 + i % 3;
    shell_.Step();
  }
  hc_table& table = world().AddTable(7, "orders", 100000, 0, 60000);
  table.last_analyze = world().Ago(86400);
  table.flags = HC_TABLE_AUTOVACUUM_OFF;
  bool named = false;
  for (int i = 0; i < 8; ++i) {
    world().metric(HC_M_TEMP_FILES) = files += 50000;
    world().Inspect();
    shell_.Step();
    for (const Row& row : shell_.Rows(HC_T_INCIDENTS)) named |= row["root_cause"] == "batch_job";
  }
  EXPECT_FALSE(shell_.Rows(HC_T_ANOMALIES).empty());
  EXPECT_TRUE(named);
}

}  // namespace
}  // namespace heal
