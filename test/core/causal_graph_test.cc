#include "catalogue/causal_graph.h"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core_error.h"
#include "diagnose/graph.h"

namespace heal {
namespace {

// A configuration whose rows a test edits.
struct Tables {
  std::vector<hc_causal_node> nodes = {{"a", "root_cause", "locks", 0.1, ""},
                                       {"b", "mechanism", "locks", 0.05, ""},
                                       {"c", "symptom", "locks", 0.05, ""}};
  std::vector<hc_causal_edge> edges = {{"a", "b", "direct_cause", 1.0, 0.9, 0.0},
                                       {"b", "c", "contributing", 0.8, 0.5, 0.0}};

  hc_config config() const {
    hc_config config{};
    config.nodes = nodes.data();
    config.n_nodes = static_cast<uint32_t>(nodes.size());
    config.edges = edges.data();
    config.n_edges = static_cast<uint32_t>(edges.size());
    return config;
  }

  std::string Fault(uint32_t max_nodes = 0) const {
    const hc_config rows = config();
    try {
      CausalGraph graph(&rows, max_nodes);
    } catch (const GraphError& error) {
      return error.what();
    }
    return "";
  }
};

TEST(CausalGraph, TakesTheRowsOfTheTables) {
  Tables tables;
  const hc_config rows = tables.config();
  const CausalGraph graph(&rows);
  ASSERT_EQ(graph.size(), 3);
  EXPECT_EQ(graph.Find("b"), 1);
  EXPECT_EQ(graph.Find("nowhere"), -1);
  EXPECT_EQ(graph.root_causes(), (std::vector<int>{0}));
  EXPECT_EQ(graph.node(2).kind, NodeKind::kSymptom);
  const Network network = graph.MakeNetwork(0.0);
  EXPECT_DOUBLE_EQ(network.leak(0), 0.1);
  EXPECT_DOUBLE_EQ(network.causes(1)[0].strength, 0.9);
  EXPECT_DOUBLE_EQ(network.causes(2)[0].strength, 0.4);
}

TEST(CausalGraph, EdgeTypesHaveTheirWeights) {
  EXPECT_DOUBLE_EQ(EdgeTypeWeight("direct_cause").value(), 1.0);
  EXPECT_DOUBLE_EQ(EdgeTypeWeight("contributing").value(), 0.8);
  EXPECT_DOUBLE_EQ(EdgeTypeWeight("correlation").value(), 0.5);
  EXPECT_FALSE(EdgeTypeWeight("magic"));
  Tables tables;
  tables.edges[0].edge_type = "correlation";
  tables.edges[0].weight = 0.0;  // not given
  tables.edges[1].weight = 0.25;
  const hc_config rows = tables.config();
  const Network network = CausalGraph(&rows).MakeNetwork(0.0);
  EXPECT_DOUBLE_EQ(network.causes(1)[0].strength, 0.45);
  EXPECT_DOUBLE_EQ(network.causes(2)[0].strength, 0.125);
}

TEST(CausalGraph, DropsWeakEdges) {
  Tables tables;
  const hc_config rows = tables.config();
  const CausalGraph graph(&rows);
  EXPECT_EQ(graph.MakeNetwork(0.4).causes(2).size(), 1u);
  EXPECT_EQ(graph.MakeNetwork(0.41).causes(2).size(), 0u);
  EXPECT_EQ(graph.MakeNetwork(0.41).causes(1).size(), 1u);
  EXPECT_EQ(graph.MakeNetwork(std::numeric_limits<double>::quiet_NaN()).causes(1).size(), 0u);
}

TEST(CausalGraph, NamesTheCycle) {
  Tables tables;
  tables.edges.push_back({"c", "a", "direct_cause", 1.0, 0.5, 0.0});
  EXPECT_EQ(tables.Fault(), "causal graph has a cycle: a -> b -> c -> a");
  tables.edges.back() = {"b", "b", "direct_cause", 1.0, 0.5, 0.0};
  EXPECT_EQ(tables.Fault(), "causal graph has a cycle: b -> b");
}

TEST(CausalGraph, NamesTheFaultOfARow) {
  const auto with = [](auto&& edit) {
    Tables tables;
    edit(&tables);
    return tables.Fault();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(with([](Tables*) {}), "");
  EXPECT_EQ(with([](Tables* t) { t->nodes[1].node = "a"; }), "causal node \"a\" is there twice");
  EXPECT_EQ(with([](Tables* t) { t->nodes[1].node = ""; }), "causal node has an empty name");
  EXPECT_EQ(with([](Tables* t) { t->nodes[1].kind = "ghost"; }),
            "causal node \"b\" has the unknown kind \"ghost\"");
  for (double prior : {0.0, 1.0, -0.5, 2.0, nan}) {
    EXPECT_EQ(with([=](Tables* t) { t->nodes[0].prior = prior; }),
              "prior of causal node \"a\" is not between 0 and 1");
  }
  for (double p : {0.0, 1.0, -0.5, 2.0, nan}) {
    EXPECT_EQ(with([=](Tables* t) { t->edges[0].probability = p; }),
              "probability of causal edge \"a\" -> \"b\" is not between 0 and 1");
  }
  for (double weight : {-1.0, 1.5, nan}) {
    EXPECT_EQ(with([=](Tables* t) { t->edges[0].weight = weight; }),
              "causal edge \"a\" -> \"b\" has a weight that is not between 0 and 1");
  }
  EXPECT_EQ(with([](Tables* t) { t->edges[0].cause = "x"; }),
            "causal edge \"x\" -> \"b\" starts at an unknown node");
  EXPECT_EQ(with([](Tables* t) { t->edges[0].effect = "x"; }),
            "causal edge \"a\" -> \"x\" leads to an unknown node");
  EXPECT_EQ(with([](Tables* t) { t->edges[0].edge_type = "fate"; }),
            "causal edge \"a\" -> \"b\" has the unknown type \"fate\"");
  EXPECT_EQ(with([](Tables* t) { t->edges.push_back(t->edges[0]); }),
            "causal edge \"a\" -> \"b\" is there twice");
}

TEST(CausalGraph, HasALimit) {
  Tables tables;
  const hc_config rows = tables.config();
  EXPECT_NO_THROW(CausalGraph(&rows, 3));
  EXPECT_THROW(CausalGraph(&rows, 2), LimitError);
  EXPECT_THROW(CausalGraph(nullptr, 10), LimitError);
  tables.edges.assign(3 * CausalGraph::kMaxEdgesPerNode + 1, tables.edges[0]);
  const hc_config many = tables.config();
  EXPECT_THROW(CausalGraph(&many, 3), LimitError);
}

TEST(CausalGraph, LongChainsDoNotExhaustTheStack) {
  std::vector<std::string> names;
  for (int i = 0; i < 4096; ++i) names.push_back("n" + std::to_string(i));
  Tables tables;
  tables.nodes.clear();
  tables.edges.clear();
  for (const std::string& name : names)
    tables.nodes.push_back({name.c_str(), "root_cause", "locks", 0.1, ""});
  for (size_t i = 0; i + 1 < names.size(); ++i) {
    tables.edges.push_back({names[i].c_str(), names[i + 1].c_str(), "direct_cause", 1.0, 0.5, 0.0});
  }
  EXPECT_EQ(tables.Fault(), "");
  tables.edges.push_back({names.back().c_str(), names.front().c_str(), "direct_cause", 1.0, 0.5, 0.0});
  EXPECT_EQ(tables.Fault().rfind("causal graph has a cycle: n0 -> n1 -> ", 0), 0u);
}

TEST(CausalGraph, WithoutNodesItIsTheShippedOne) {
  const hc_config empty{};
  EXPECT_EQ(CausalGraph(&empty).size(), CausalGraph(nullptr).size());
  EXPECT_EQ(CausalGraph(nullptr).size(), static_cast<int>(CausalNodes().size()));
}

// ---- the shipped graph ----

const std::set<std::string> kComponents = {"sessions",     "locks",     "connections", "workload",
                                           "checkpointer", "wal",       "archiver",    "replication",
                                           "transactions", "storage",   "vacuum",      "statistics",
                                           "indexes",      "sequences", "security",    "host",
                                           "healer",       "data"};

const std::set<std::string>& MetricNames() {
  static const std::set<std::string> names = {
#define HC_METRIC(id, name, component, category, unit, kind, bad, description) name,
#include "heal_core/metrics.def"
#undef HC_METRIC
  };
  return names;
}

TEST(ShippedGraph, IsValidAndLargeEnough) {
  const CausalGraph graph(nullptr);
  EXPECT_GE(graph.size(), 40);
  EXPECT_LE(graph.size(), 200);
  for (const NodeDef& def : CausalNodes()) {
    EXPECT_TRUE(kComponents.count(def.component)) << def.node;
    EXPECT_GT(std::string(def.description).size(), 10u) << def.node;
    EXPECT_TRUE(*def.metric == '\0' || MetricNames().count(def.metric)) << def.node << " " << def.metric;
  }
}

TEST(ShippedGraph, EveryEdgeCountsWithTheDefaultSettings) {
  EXPECT_EQ(CausalGraph(nullptr).MakeNetwork(0.3).size(), static_cast<int>(CausalNodes().size()));
  std::map<std::string, int> types;
  for (const EdgeDef& def : CausalEdges()) {
    EXPECT_GE(def.probability * EdgeTypeWeight(def.edge_type).value(), 0.3)
        << def.cause << " -> " << def.effect;
    ++types[def.edge_type];
  }
  EXPECT_EQ(types.size(), 3u);
}

TEST(ShippedGraph, EveryNodeIsConnectedAsItsKindSays) {
  std::set<std::string> causes, effects;
  for (const EdgeDef& def : CausalEdges()) {
    causes.insert(def.cause);
    effects.insert(def.effect);
  }
  for (const NodeDef& def : CausalNodes()) {
    if (std::string(def.kind) == "root_cause") {
      EXPECT_TRUE(causes.count(def.node)) << def.node;
    } else {
      EXPECT_TRUE(effects.count(def.node)) << def.node;
    }
  }
}

TEST(ShippedGraph, HasTheNodesTheOtherStagesUse) {
  const CausalGraph graph(nullptr);
  const std::map<NodeKind, std::vector<std::string>> expected = {
      {NodeKind::kSymptom,
       {"idle_in_transaction_blocker", "ddl_lock_queue", "stale_statistics", "checkpoint_storm",
        "vacuum_starved", "invalid_index", "connection_exhaustion"}},
      {NodeKind::kMechanism,
       {"lock_waiters",
        "holder_idle_in_transaction",
        "holder_active_statement",
        "holder_prepared_transaction",
        "holder_walsender",
        "anti_wraparound_vacuum_holds_lock",
        "ddl_heads_lock_queue",
        "connection_slots_low",
        "connections_refused",
        "idle_sessions_of_one_application",
        "sessions_waiting_behind_locks",
        "new_session_rate_high",
        "rows_changed_since_analyze",
        "autovacuum_disabled_on_table",
        "autovacuum_workers_busy",
        "table_busy",
        "requested_checkpoints_frequent",
        "wal_fills_max_wal_size",
        "checkpoint_requests_by_hand",
        "base_backup_running",
        "dead_tuples_growing",
        "horizon_stuck",
        "horizon_held_by_session",
        "horizon_held_by_slot",
        "horizon_held_by_standby",
        "horizon_held_by_prepared_transaction",
        "index_not_valid",
        "index_build_running",
        "index_leftover_name",
        "healer_acted_recently"}},
      {NodeKind::kRootCause,
       {"idle_in_transaction_session",
        "long_running_statement",
        "ddl_without_lock_timeout",
        "orphaned_prepared_transaction",
        "anti_wraparound_vacuum",
        "connection_leak",
        "reconnect_storm",
        "lock_pileup",
        "bulk_change_without_analyze",
        "autovacuum_off_for_table",
        "autovacuum_too_slow",
        "max_wal_size_too_small",
        "manual_checkpoints",
        "base_backup",
        "failed_concurrent_build",
        "running_concurrent_build",
        "long_snapshot",
        "abandoned_slot",
        "standby_feedback",
        "healer_activity"}}};
  for (const auto& [kind, names] : expected) {
    for (const std::string& name : names) {
      const int id = graph.Find(name);
      ASSERT_GE(id, 0) << name;
      EXPECT_EQ(graph.node(id).kind, kind) << name;
    }
  }
}

}  // namespace
}  // namespace heal
