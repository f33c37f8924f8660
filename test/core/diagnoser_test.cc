#include "diagnose/diagnoser.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core_error.h"
#include "diagnose/diagnose_json.h"

namespace heal {
namespace {

hc_settings Settings() {
  hc_settings settings{};
  settings.inference_min_confidence = 0.7;
  settings.inference_max_path_depth = 5;
  settings.inference_min_edge_probability = 0.3;
  settings.inference_multi_hop = 1;
  return settings;
}

// Evidence as words: "+node" present, "-node" absent, "?node" unknown.
Match MakeMatch(const std::string& failure, const std::vector<std::string>& words) {
  Match match;
  match.failure_type = failure;
  for (const std::string& word : words) {
    const Truth truth = word[0] == '+' ? Truth::kPresent : word[0] == '-' ? Truth::kAbsent : Truth::kUnknown;
    match.evidence.push_back({word.substr(1), truth, ""});
  }
  return match;
}

Diagnosis Examine(const std::string& failure, const std::vector<std::string>& words) {
  return Diagnoser().Diagnose(MakeMatch(failure, words), Settings(), hc_limits{});
}

std::string Ranking(const Diagnosis& diagnosis) {
  std::string text;
  for (const CausePosterior& cause : diagnosis.causes)
    text += cause.node + " " + std::to_string(cause.posterior) + "\n";
  return text;
}

void ExpectBest(const std::string& failure, const std::vector<std::string>& words, const std::string& cause) {
  const Diagnosis diagnosis = Examine(failure, words);
  SCOPED_TRACE(failure + "\n" + Ranking(diagnosis));
  ASSERT_NE(diagnosis.best(), nullptr);
  EXPECT_EQ(diagnosis.best()->node, cause);
  EXPECT_GE(diagnosis.best()->posterior, 0.7);
  EXPECT_FALSE(diagnosis.abstained);
  EXPECT_EQ(diagnosis.reason, "");
  ASSERT_FALSE(diagnosis.best()->chain.empty());
  EXPECT_EQ(diagnosis.best()->chain.front(), cause);
  EXPECT_EQ(diagnosis.best()->chain.back(), failure);
  EXPECT_GT(diagnosis.best()->chain_probability, 0.0);
}

// The cause is found, and without it the failure would not be expected.
void ExpectCause(const std::string& failure, const std::vector<std::string>& words,
                 const std::string& cause) {
  ExpectBest(failure, words, cause);
  const Diagnosis diagnosis = Examine(failure, words);
  SCOPED_TRACE(failure + "\n" + Ranking(diagnosis));
  ASSERT_NE(diagnosis.best(), nullptr);
  EXPECT_GT(diagnosis.best()->symptom_with, diagnosis.best()->symptom_without + 0.1);
  // The planner and the gates ask for 0.8.
  EXPECT_LT(diagnosis.best()->symptom_without, 0.7 * diagnosis.best()->symptom_with);
}

void ExpectAbstention(const std::string& failure, const std::vector<std::string>& words) {
  const Diagnosis diagnosis = Examine(failure, words);
  SCOPED_TRACE(failure + "\n" + Ranking(diagnosis));
  EXPECT_TRUE(diagnosis.abstained);
  EXPECT_NE(diagnosis.reason.find("below 0.70"), std::string::npos) << diagnosis.reason;
  EXPECT_FALSE(diagnosis.causes.empty());
}

using Words = std::vector<std::string>;

Words Plus(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// Every assignment of the given nodes to present, absent and unknown.
void ForEachTruth(const Words& nodes, const std::function<void(const Words&)>& run) {
  size_t n = 1;
  for (size_t i = 0; i < nodes.size(); ++i) n *= 3;
  for (size_t code = 0; code < n; ++code) {
    Words words;
    size_t rest = code;
    for (const std::string& node : nodes) {
      words.push_back("+-?"[rest % 3] + node);
      rest /= 3;
    }
    run(words);
  }
}

// ---- the seven failures ----

const Words kIdleHolder = {"+lock_waiters", "+holder_idle_in_transaction", "-ddl_heads_lock_queue",
                           "-holder_prepared_transaction", "-holder_active_statement"};

TEST(SevenFailures, IdleInTransactionBlocker) {
  const std::string failure = "idle_in_transaction_blocker";
  ExpectCause(failure, kIdleHolder, "idle_in_transaction_session");
  ExpectCause(failure, Plus(kIdleHolder, {"-holder_walsender", "-anti_wraparound_vacuum_holds_lock"}),
              "idle_in_transaction_session");
  ExpectCause(failure, Plus(kIdleHolder, {"+healer_acted_recently"}), "idle_in_transaction_session");
  ExpectCause(failure, Plus(kIdleHolder, {"-healer_acted_recently"}), "idle_in_transaction_session");
  ExpectAbstention(failure, {"+lock_waiters"});
  ExpectAbstention(failure, {});
  ExpectAbstention(failure, {"+lock_waiters", "-ddl_heads_lock_queue", "-holder_prepared_transaction"});
}

TEST(SevenFailures, DdlLockQueue) {
  const std::string failure = "ddl_lock_queue";
  const Words queue = {"+lock_waiters", "+ddl_heads_lock_queue"};
  ExpectCause(failure, queue, "ddl_without_lock_timeout");
  for (const char* holder :
       {"holder_idle_in_transaction", "holder_active_statement", "holder_prepared_transaction",
        "holder_walsender", "anti_wraparound_vacuum_holds_lock"}) {
    ExpectCause(failure, Plus(queue, {"+" + std::string(holder)}), "ddl_without_lock_timeout");
  }
  ExpectAbstention(failure, {"+lock_waiters"});
  ExpectAbstention(failure, {});
}

TEST(SevenFailures, StaleStatistics) {
  const std::string failure = "stale_statistics";
  const Words changed = {"+rows_changed_since_analyze", "-autovacuum_workers_busy"};
  ExpectCause(failure, Plus(changed, {"-autovacuum_disabled_on_table"}), "bulk_change_without_analyze");
  ExpectCause(failure, Plus(changed, {"-autovacuum_disabled_on_table", "-table_busy"}),
              "bulk_change_without_analyze");
  ExpectCause(failure, Plus(changed, {"+autovacuum_disabled_on_table"}), "autovacuum_off_for_table");
  ExpectCause(failure,
              {"+rows_changed_since_analyze", "+autovacuum_disabled_on_table", "+autovacuum_workers_busy"},
              "autovacuum_off_for_table");
  ExpectCause(failure,
              {"+rows_changed_since_analyze", "-autovacuum_disabled_on_table", "+autovacuum_workers_busy",
               "-table_busy"},
              "autovacuum_too_slow");
  ExpectAbstention(failure, {"+rows_changed_since_analyze"});
  ExpectAbstention(failure, {});
}

TEST(SevenFailures, CheckpointStorm) {
  const std::string failure = "checkpoint_storm";
  const Words requested = {"+requested_checkpoints_frequent"};
  const Words quiet = {"-wal_fills_max_wal_size", "-checkpoint_requests_by_hand", "-base_backup_running"};
  ExpectCause(
      failure,
      Plus(requested, {"+wal_fills_max_wal_size", "-checkpoint_requests_by_hand", "-base_backup_running"}),
      "max_wal_size_too_small");
  ExpectCause(
      failure,
      Plus(requested, {"-wal_fills_max_wal_size", "+checkpoint_requests_by_hand", "-base_backup_running"}),
      "manual_checkpoints");
  ExpectCause(
      failure,
      Plus(requested, {"-wal_fills_max_wal_size", "-checkpoint_requests_by_hand", "+base_backup_running"}),
      "base_backup");
  // With a backup running it is not max_wal_size that is named first.
  ExpectBest(failure, Plus(requested, {"+wal_fills_max_wal_size", "+base_backup_running"}), "base_backup");
  ExpectAbstention(failure, requested);
  ExpectAbstention(failure, Plus(requested, quiet));
  ExpectAbstention(failure, {});
}

const Words kHorizonMoves = {"-horizon_stuck", "-horizon_held_by_session", "-horizon_held_by_slot",
                             "-horizon_held_by_standby", "-horizon_held_by_prepared_transaction"};

TEST(SevenFailures, VacuumStarved) {
  const std::string failure = "vacuum_starved";
  const Words growing = Plus(kHorizonMoves, {"+dead_tuples_growing", "-table_busy"});
  ForEachTruth({"autovacuum_workers_busy"}, [&](const Words& busy) {
    ExpectCause(failure, Plus(Plus(growing, {"+autovacuum_disabled_on_table"}), busy),
                "autovacuum_off_for_table");
    ExpectCause(failure, Plus(Plus(growing, {"-autovacuum_disabled_on_table"}), busy), "autovacuum_too_slow");
  });
  ExpectAbstention(failure, growing);
  ExpectAbstention(failure, {"+dead_tuples_growing"});
  ExpectAbstention(failure, {});
  // Vacuum is not what helps while the horizon is held.
  ExpectCause(
      failure,
      {"+dead_tuples_growing", "+horizon_stuck", "+horizon_held_by_slot", "-horizon_held_by_session",
       "-horizon_held_by_standby", "-horizon_held_by_prepared_transaction", "-autovacuum_disabled_on_table"},
      "abandoned_slot");
}

TEST(SevenFailures, InvalidIndex) {
  const std::string failure = "invalid_index";
  ForEachTruth({"index_leftover_name"}, [&](const Words& name) {
    ExpectCause(failure, Plus({"+index_not_valid", "-index_build_running"}, name), "failed_concurrent_build");
    ExpectCause(failure, Plus({"+index_not_valid", "+index_build_running"}, name),
                "running_concurrent_build");
    ExpectAbstention(failure, Plus({"+index_not_valid"}, name));
  });
  ExpectAbstention(failure, {});
}

TEST(SevenFailures, ConnectionExhaustion) {
  const std::string failure = "connection_exhaustion";
  const Words low = {"+connection_slots_low"};
  ForEachTruth({"connections_refused"}, [&](const Words& refused) {
    ExpectCause(failure,
                Plus(Plus(low, refused), {"+idle_sessions_of_one_application",
                                          "-sessions_waiting_behind_locks", "-new_session_rate_high"}),
                "connection_leak");
    ExpectCause(failure,
                Plus(Plus(low, refused), {"-idle_sessions_of_one_application",
                                          "+sessions_waiting_behind_locks", "-new_session_rate_high"}),
                "lock_pileup");
    ExpectCause(failure,
                Plus(Plus(low, refused), {"-idle_sessions_of_one_application",
                                          "-sessions_waiting_behind_locks", "+new_session_rate_high"}),
                "reconnect_storm");
    ExpectAbstention(failure, Plus(low, refused));
    // The usual rate of new sessions is not known soon after a start.
    ExpectCause(failure,
                Plus(Plus(low, refused), {"+idle_sessions_of_one_application",
                                          "-sessions_waiting_behind_locks", "?new_session_rate_high"}),
                "connection_leak");
  });
  ExpectAbstention(failure, {});
}

// ---- look-alikes ----

TEST(LookAlikes, LockHolderDdlWaiterAndPreparedTransaction) {
  const Words holders = {"holder_idle_in_transaction",        "holder_active_statement",
                         "holder_prepared_transaction",       "holder_walsender",
                         "anti_wraparound_vacuum_holds_lock", "ddl_heads_lock_queue"};
  const Words causes = {"idle_in_transaction_session",   "long_running_statement",
                        "orphaned_prepared_transaction", "logical_decoding",
                        "anti_wraparound_vacuum",        "ddl_without_lock_timeout"};
  for (const char* failure : {"idle_in_transaction_blocker", "ddl_lock_queue"}) {
    for (size_t i = 0; i < holders.size(); ++i) {
      Words words = {"+lock_waiters"};
      for (size_t j = 0; j < holders.size(); ++j) words.push_back((i == j ? "+" : "-") + holders[j]);
      ExpectCause(failure, words, causes[i]);
      ExpectCause(failure, {"+lock_waiters", "+" + holders[i]}, causes[i]);
    }
  }
}

// Killing the holder of a queue headed by DDL is wrong: the DDL comes first
// whatever the failure is called.
TEST(LookAlikes, TheWaitingDdlComesBeforeTheIdleHolder) {
  ExpectBest("idle_in_transaction_blocker",
             {"+lock_waiters", "+holder_idle_in_transaction", "+ddl_heads_lock_queue",
              "-holder_prepared_transaction", "-holder_active_statement"},
             "ddl_without_lock_timeout");
}

TEST(LookAlikes, FourHoldersOfTheHorizon) {
  const Words held = {"horizon_held_by_session", "horizon_held_by_slot", "horizon_held_by_standby",
                      "horizon_held_by_prepared_transaction"};
  const Words causes = {"long_snapshot", "abandoned_slot", "standby_feedback",
                        "orphaned_prepared_transaction"};
  for (const char* failure : {"stale_snapshot", "vacuum_starved"}) {
    for (size_t i = 0; i < held.size(); ++i) {
      Words all = {"+horizon_stuck", "+dead_tuples_growing"};
      Words others = all;
      for (size_t j = 0; j < held.size(); ++j) {
        all.push_back((i == j ? "+" : "-") + held[j]);
        if (i != j) others.push_back("-" + held[j]);
      }
      ExpectCause(failure, all, causes[i]);
      ExpectCause(failure, {"+horizon_stuck", "+" + held[i]}, causes[i]);
      ExpectCause(failure, others, causes[i]);  // by elimination
    }
    ExpectAbstention(failure, {"+horizon_stuck"});
  }
}

TEST(LookAlikes, TheHealerIsAmongTheSuspects) {
  ExpectCause("idle_in_transaction_blocker",
              {"+lock_waiters", "-holder_idle_in_transaction", "-holder_active_statement",
               "-holder_prepared_transaction", "-holder_walsender", "-anti_wraparound_vacuum_holds_lock",
               "-ddl_heads_lock_queue", "+healer_acted_recently"},
              "healer_activity");
}

// ---- behaviour ----

TEST(Diagnoser, RanksOnlyCausesThatCanLeadToTheFailure) {
  const Diagnosis diagnosis =
      Examine("invalid_index", {"+index_not_valid", "-index_build_running", "+base_backup_running"});
  for (const CausePosterior& cause : diagnosis.causes) EXPECT_NE(cause.node, "base_backup");
  for (size_t i = 1; i < diagnosis.causes.size(); ++i) {
    EXPECT_GE(diagnosis.causes[i - 1].posterior, diagnosis.causes[i].posterior);
  }
  EXPECT_EQ(diagnosis.best()->component, "indexes");
  EXPECT_DOUBLE_EQ(diagnosis.best()->prior, 0.06);
}

TEST(Diagnoser, ChainsFollowTheSettings) {
  const Match match = MakeMatch("idle_in_transaction_blocker", kIdleHolder);
  const Diagnoser diagnoser;
  hc_settings settings = Settings();
  const Words expected = {"idle_in_transaction_session", "holder_idle_in_transaction", "lock_held",
                          "lock_waiters", "idle_in_transaction_blocker"};
  const Diagnosis full = diagnoser.Diagnose(match, settings, hc_limits{});
  EXPECT_EQ(full.best()->chain, expected);
  EXPECT_NEAR(full.best()->chain_probability, 0.95 * 0.9 * 0.9 * 0.9, 1e-12);
  settings.inference_max_path_depth = 3;
  EXPECT_TRUE(diagnoser.Diagnose(match, settings, hc_limits{}).best()->chain.empty());
  settings = Settings();
  settings.inference_multi_hop = 0;
  const Diagnosis direct = diagnoser.Diagnose(match, settings, hc_limits{});
  EXPECT_TRUE(direct.best()->chain.empty());
  EXPECT_EQ(direct.best()->node, "idle_in_transaction_session");
  EXPECT_EQ(diagnoser.Diagnose(MakeMatch("orphaned_prepared_xact", {}), settings, hc_limits{}).best()->chain,
            (Words{"orphaned_prepared_transaction", "orphaned_prepared_xact"}));
  settings = Settings();
  settings.inference_min_edge_probability = 0.91;  // cuts the symptom off
  const Diagnosis cut = diagnoser.Diagnose(match, settings, hc_limits{});
  EXPECT_TRUE(cut.abstained);
  EXPECT_TRUE(cut.causes.empty());
  EXPECT_NE(cut.reason.find("leads to the symptom"), std::string::npos);
}

TEST(Diagnoser, SaysWhatRemovingTheCauseWouldDo) {
  const Diagnosis diagnosis = Examine("idle_in_transaction_blocker", kIdleHolder);
  EXPECT_GT(diagnosis.best()->symptom_with, 0.6);
  EXPECT_LT(diagnosis.best()->symptom_without, 0.1);
  for (const CausePosterior& cause : diagnosis.causes)
    EXPECT_GE(cause.symptom_with, cause.symptom_without - 1e-12);
}

// do(x) computed by hand on cause -> fact -> symptom with a rival.
TEST(Diagnoser, RemovalDoesNotConditionOnWhatTheCauseBroughtAbout) {
  const std::vector<hc_causal_node> nodes = {{"cause", "root_cause", "locks", 0.2, ""},
                                             {"rival", "root_cause", "locks", 0.1, ""},
                                             {"fact", "mechanism", "locks", 0.01, ""},
                                             {"symptom", "symptom", "locks", 0.02, ""}};
  const std::vector<hc_causal_edge> edges = {{"cause", "fact", "direct_cause", 1.0, 0.9, 0.0},
                                             {"fact", "symptom", "direct_cause", 1.0, 0.8, 0.0},
                                             {"rival", "symptom", "direct_cause", 1.0, 0.5, 0.0}};
  hc_config config{};
  config.nodes = nodes.data();
  config.n_nodes = 4;
  config.edges = edges.data();
  config.n_edges = 3;
  Diagnoser diagnoser;
  diagnoser.SetGraph(&config);
  const Diagnosis diagnosis =
      diagnoser.Diagnose(MakeMatch("symptom", {"+fact", "-rival"}), Settings(), hc_limits{});
  ASSERT_EQ(diagnosis.best()->node, "cause");
  const double fact_with = 1 - 0.99 * 0.1;
  EXPECT_NEAR(diagnosis.best()->symptom_with, 1 - 0.98 * (1 - 0.8 * fact_with), 1e-12);
  EXPECT_NEAR(diagnosis.best()->symptom_without, 1 - 0.98 * (1 - 0.8 * 0.01), 1e-12);
}

TEST(Diagnoser, AbstainsBelowTheSettingOnly) {
  hc_settings settings = Settings();
  const Match match = MakeMatch("checkpoint_storm", {"+requested_checkpoints_frequent"});
  const Diagnoser diagnoser;
  const Diagnosis unsure = diagnoser.Diagnose(match, settings, hc_limits{});
  ASSERT_TRUE(unsure.abstained);
  EXPECT_EQ(unsure.reason.rfind("the most likely cause, max_wal_size_too_small, has probability 0.", 0), 0u)
      << unsure.reason;
  settings.inference_min_confidence = unsure.best()->posterior;
  EXPECT_FALSE(diagnoser.Diagnose(match, settings, hc_limits{}).abstained);
  settings.inference_min_confidence = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(diagnoser.Diagnose(match, settings, hc_limits{}).abstained);
}

TEST(Diagnoser, NotesEvidenceTheGraphLacks) {
  Words words = kIdleHolder;
  words.push_back("+moon_phase");
  words.push_back("-tide");
  const Diagnosis diagnosis = Examine("idle_in_transaction_blocker", words);
  EXPECT_FALSE(diagnosis.abstained);
  EXPECT_EQ(diagnosis.reason, "evidence about nodes the causal graph lacks was ignored: moon_phase, tide");
}

TEST(Diagnoser, AbstainsRatherThanThrow) {
  const Diagnosis unknown = Examine("no_such_failure", {});
  EXPECT_TRUE(unknown.abstained);
  EXPECT_EQ(unknown.reason, "the causal graph has no node \"no_such_failure\"");
  const Diagnosis contradiction = Examine("invalid_index", {"+index_not_valid", "-index_not_valid"});
  EXPECT_TRUE(contradiction.abstained);
  EXPECT_EQ(contradiction.reason, "evidence says of \"index_not_valid\" that it is present and absent");
  EXPECT_TRUE(Examine("invalid_index", {"-invalid_index"}).abstained);
  hc_limits limits{};
  limits.max_work = 2;
  const Diagnosis wide =
      Diagnoser().Diagnose(MakeMatch("connection_exhaustion", {"+connection_slots_low"}), Settings(), limits);
  EXPECT_TRUE(wide.abstained);
  EXPECT_NE(wide.reason.find("work limit"), std::string::npos) << wide.reason;
}

TEST(Diagnoser, CancellationGoesThrough) {
  hc_limits limits{};
  limits.poll = [](void*) { return 1; };
  EXPECT_THROW(Diagnoser().Diagnose(MakeMatch("connection_exhaustion", {}), Settings(), limits),
               CanceledError);
}

TEST(Diagnoser, KeepsItsGraphWhenTheNewOneIsRefused) {
  Diagnoser diagnoser;
  const hc_causal_node node = {"a", "nonsense", "locks", 0.1, ""};
  hc_config config{};
  config.nodes = &node;
  config.n_nodes = 1;
  EXPECT_THROW(diagnoser.SetGraph(&config), GraphError);
  EXPECT_FALSE(
      diagnoser.Diagnose(MakeMatch("idle_in_transaction_blocker", kIdleHolder), Settings(), hc_limits{})
          .abstained);
  EXPECT_THROW(diagnoser.SetGraph(nullptr, 5), LimitError);
  diagnoser.SetGraph(nullptr);
}

TEST(Diagnoser, IsDeterministic) {
  const Diagnosis a = Examine("connection_exhaustion", {"+connection_slots_low"});
  const Diagnosis b = Examine("connection_exhaustion", {"+connection_slots_low"});
  EXPECT_EQ(Ranking(a), Ranking(b));
}

// ---- JSON ----

nlohmann::json Json(const std::string& evidence) {
  return nlohmann::json::parse(DiagnoseJson(nullptr, Settings(), hc_limits{}, evidence));
}

TEST(DiagnoseJson, RanksAllRootCauses) {
  const nlohmann::json rows = Json(R"({"horizon_stuck": true, "horizon_held_by_slot": true,
                                       "horizon_held_by_session": false, "table_busy": null})");
  EXPECT_GE(rows.size(), 20u);
  const nlohmann::json& best = rows[0];
  EXPECT_EQ(best.size(), 5u);
  EXPECT_EQ(best["cause"], "abandoned_slot");
  EXPECT_EQ(best["component"], "replication");
  EXPECT_GE(best["posterior"].get<double>(), 0.7);
  EXPECT_EQ(best["chain"], nlohmann::json({"abandoned_slot", "horizon_held_by_slot", "horizon_stuck"}));
  EXPECT_NEAR(best["probability_chain"].get<double>(), 0.95 * 0.95, 1e-12);
  for (size_t i = 1; i < rows.size(); ++i) EXPECT_GE(rows[i - 1]["posterior"], rows[i]["posterior"]);
}

TEST(DiagnoseJson, ChainsRunToThePresentSymptom) {
  const nlohmann::json rows =
      Json(R"({"horizon_stuck": true, "horizon_held_by_slot": true, "stale_snapshot": true})");
  EXPECT_EQ(rows[0]["chain"].back(), "stale_snapshot");
}

TEST(DiagnoseJson, WithoutEvidenceCausesHaveTheirMarginals) {
  for (const nlohmann::json& row : Json("{}")) {
    if (row["cause"] == "abandoned_slot") {
      EXPECT_NEAR(row["posterior"].get<double>(), 0.03, 1e-12);
    }
    EXPECT_TRUE(row["chain"].empty());
  }
}

TEST(DiagnoseJson, RefusesBadEvidence) {
  const auto fault = [](const std::string& evidence) -> std::string {
    try {
      (void)DiagnoseJson(nullptr, Settings(), hc_limits{}, evidence);
    } catch (const EvidenceError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(fault("{"), "evidence is not valid JSON");
  EXPECT_EQ(fault(""), "evidence is not valid JSON");
  EXPECT_EQ(fault("[]"), "evidence is not a JSON object");
  EXPECT_EQ(fault("{\"moon_phase\": true}"), "causal graph has no node \"moon_phase\"");
  EXPECT_EQ(fault("{\"horizon_stuck\": 1}"), "evidence about \"horizon_stuck\" is not true, false or null");
  EXPECT_EQ(fault("{\"horizon_stuck\": true}"), "");
}

TEST(DiagnoseJson, HonoursTheLimits) {
  hc_limits limits{};
  limits.max_work = 2;
  EXPECT_THROW((void)DiagnoseJson(nullptr, Settings(), limits, "{}"), LimitError);
  limits = hc_limits{};
  limits.max_graph_nodes = 10;
  EXPECT_THROW((void)DiagnoseJson(nullptr, Settings(), limits, "{}"), LimitError);
  limits = hc_limits{};
  limits.poll = [](void*) { return 1; };
  EXPECT_THROW((void)DiagnoseJson(nullptr, Settings(), limits, "{}"), CanceledError);
  EXPECT_THROW((void)DiagnoseJson(nullptr, Settings(), hc_limits{}, std::string(2 << 20, ' ')), LimitError);
}

}  // namespace
}  // namespace heal
