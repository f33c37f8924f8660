#include "plan/planner.h"

#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "plan/wal_size.h"

namespace heal {
namespace {

hc_server Server() {
  hc_server server{};
  server.max_wal_size_mb = 64;
  server.checkpoint_timeout_s = 300;
  server.wal_disk_free_bytes = int64_t{100} << 30;
  server.wal_disk_total_bytes = int64_t{200} << 30;
  return server;
}

Diagnosis Because(const char* cause, double posterior = 0.9) {
  Diagnosis diagnosis;
  diagnosis.abstained = false;
  CausePosterior row;
  row.node = cause;
  row.posterior = posterior;
  row.symptom_with = 0.95;
  row.symptom_without = 0.05;
  diagnosis.causes.push_back(row);
  return diagnosis;
}

Match TableMatch(const char* failure) {
  Match match;
  match.failure_type = failure;
  match.subject = "Sales.Odd table";
  match.database = "shop";
  match.database_oid = 5;
  match.relation_oid = 16384;
  match.params["relation"] = "\"Sales\".\"Odd table\"";
  return match;
}

Match IndexMatch() {
  Match match;
  match.failure_type = "invalid_index";
  match.subject = "public.t_idx";
  match.database = "shop";
  match.relation_oid = 17000;
  match.params = {{"index", "public.t_idx"},
                  {"index_oid", "17000"},
                  {"table", "public.t"},
                  {"table_oid", "16384"},
                  {"definition", "CREATE INDEX t_idx ON public.t USING btree (a)"}};
  return match;
}

Match SessionMatch(const char* failure, int sessions) {
  Match match;
  match.failure_type = failure;
  match.subject = "app crm";
  for (int i = 0; i < sessions; ++i) {
    Target target;
    target.id.pid = 100 + i;
    match.targets.push_back(target);
  }
  return match;
}

Candidate First(const Match& match, const Diagnosis& diagnosis, const PlanContext& context = {}) {
  const auto candidates = Plan(match, diagnosis, context);
  EXPECT_FALSE(candidates.empty());
  return candidates.empty() ? Candidate{} : candidates.front();
}

void Present(Match* match, const char* node) { match->evidence.push_back({node, Truth::kPresent, "seen"}); }

// ---- the table ----

TEST(Remedies, RowsAreConsistent) {
  std::set<std::string_view> names;
  for (const RemedyDef& remedy : Remedies()) {
    EXPECT_TRUE(names.insert(remedy.name).second) << remedy.name;
    EXPECT_FALSE(remedy.failures.empty()) << remedy.name;
    EXPECT_FALSE(remedy.causes.empty()) << remedy.name;
    EXPECT_NE(remedy.verification, "") << remedy.name;
    EXPECT_TRUE(remedy.risk == "A1" || remedy.risk == "A2") << remedy.name;
    EXPECT_NE(remedy.harmless, remedy.reversible) << remedy.name;
    EXPECT_EQ(remedy.reversible, !remedy.capture.empty()) << remedy.name;
    EXPECT_EQ(remedy.reversible, !remedy.undo_sql.empty()) << remedy.name;
    EXPECT_LT(remedy.lock_mode, 8) << remedy.name;
    EXPECT_GE(remedy.per_round, 1) << remedy.name;
    const bool sql = remedy.kind == HC_CMD_SQL;
    EXPECT_EQ(sql, !remedy.sql.empty() && !remedy.guard_sql.empty() && !remedy.probe_sql.empty())
        << remedy.name;
    EXPECT_EQ(sql, remedy.lock_timeout_ms > 0 && remedy.statement_timeout_ms > 0) << remedy.name;
    EXPECT_EQ(FindRemedy(remedy.name), &remedy);
  }
  EXPECT_EQ(names.size(), 9u);
  EXPECT_EQ(FindRemedy("reboot"), nullptr);
}

TEST(Remedies, ParametersAreChecked) {
  const struct {
    ParamType type;
    const char* value;
    bool good;
  } cases[] = {{ParamType::kIdentifier, "public.t", true},
               {ParamType::kIdentifier, "\"Odd \"\"name\"\"\".t$1", true},
               {ParamType::kIdentifier, "\"a.b\"", true},
               {ParamType::kIdentifier, "\"new\nline\"", true},
               {ParamType::kIdentifier, "", false},
               {ParamType::kIdentifier, "\"\"", false},
               {ParamType::kIdentifier, "t; DROP TABLE u", false},
               {ParamType::kIdentifier, "Public", false},
               {ParamType::kIdentifier, "\"t", false},
               {ParamType::kIdentifier, "\"t\"u", false},
               {ParamType::kIdentifier, "t.", false},
               {ParamType::kIdentifier, "a.b.c.d", false},
               {ParamType::kIdentifier, "\"x;\nDROP TABLE u\"", false},
               {ParamType::kInteger, "128", true},
               {ParamType::kInteger, "-1", false},
               {ParamType::kInteger, "1 MB", false},
               {ParamType::kInteger, "1e3", false},
               {ParamType::kInteger, "99999999999999999999", false},
               {ParamType::kNumber, "0.02", true},
               {ParamType::kNumber, "-0.02", false},
               {ParamType::kNumber, "nan", false},
               {ParamType::kNumber, "inf", false},
               {ParamType::kNumber, "0.02); DROP", false},
               {ParamType::kOid, "4294967295", true},
               {ParamType::kOid, "4294967296", false},
               {ParamType::kOid, "0", false},
               {ParamType::kBoolean, "true", true},
               {ParamType::kBoolean, "yes", false},
               {ParamType::kKeywords, "autovacuum_enabled = true, ", true},
               {ParamType::kKeywords, "a) b", false},
               {ParamType::kIndexDef, "CREATE UNIQUE INDEX i ON t (a)", true},
               {ParamType::kIndexDef, "CREATE INDEX i ON t (a);\nDROP TABLE t", false},
               {ParamType::kIndexDef, "DROP TABLE t", false}};
  for (const auto& c : cases) {
    const ParamDef def{"p", c.type, true, ""};
    if (c.good)
      EXPECT_EQ(CheckedParam(def, c.value), c.value);
    else
      EXPECT_THROW(CheckedParam(def, c.value), TemplateError) << c.value;
  }
}

TEST(Remedies, TemplatesQuoteLiterals) {
  const RemedyDef& remedy = *FindRemedy("analyze_table");
  const std::map<std::string, std::string> params = {{"relation", "\"it's \\ odd\""}, {"relation_oid", "5"}};
  EXPECT_EQ(FillTemplate(remedy, "f({relation!}, {relation_oid}) {\"json\"}", params),
            "f( E'\"it''s \\\\ odd\"', 5) {\"json\"}");
  EXPECT_THROW(FillTemplate(remedy, "{unknown}", params), TemplateError);
  EXPECT_THROW(FillTemplate(remedy, "{relation}", {}), TemplateError);
}

// ---- one candidate per failure ----

TEST(Planner, AnalyzeTable) {
  const Candidate c = First(TableMatch("stale_statistics"), Because("bulk_change_without_analyze"));
  EXPECT_EQ(c.remedy, "analyze_table");
  EXPECT_EQ(c.sql, "ANALYZE \"Sales\".\"Odd table\"");
  EXPECT_EQ(c.refused_because, "");
  EXPECT_TRUE(c.as_owner);
  EXPECT_EQ(c.relation_oid, 16384u);
  EXPECT_EQ(c.database_oid, 5u);
  EXPECT_NE(c.guard_sql.find("16384"), std::string::npos);
  EXPECT_EQ(c.object, "shop/Sales.Odd table");
  EXPECT_EQ(c.action, "gather statistics of Sales.Odd table");
}

TEST(Planner, LargeTablesAreAskedFor) {
  Match match = TableMatch("stale_statistics");
  match.values["too_large"] = 1;
  EXPECT_EQ(First(match, Because("bulk_change_without_analyze")).risk, "A3");
}

TEST(Planner, VacuumThenOptions) {
  const auto candidates = Plan(TableMatch("vacuum_starved"), Because("autovacuum_too_slow"), {});
  ASSERT_EQ(candidates.size(), 2u);
  EXPECT_EQ(candidates[0].remedy, "vacuum_table");
  EXPECT_NE(candidates[0].sql.find("VACUUM (TRUNCATE FALSE) \"Sales\".\"Odd table\""), std::string::npos);
  EXPECT_EQ(candidates[1].remedy, "set_autovacuum_options");
  EXPECT_EQ(candidates[1].risk, "A2");
  EXPECT_EQ(candidates[1].sql,
            "ALTER TABLE \"Sales\".\"Odd table\" SET (autovacuum_vacuum_scale_factor = 0.02, "
            "autovacuum_vacuum_cost_limit = 1000)");
  EXPECT_EQ(candidates[1].expected.size(), 2u);
}

TEST(Planner, AutovacuumSwitchedOffByItsUserIsAskedFor) {
  Match match = TableMatch("vacuum_starved");
  Present(&match, "autovacuum_disabled_on_table");
  const auto candidates = Plan(match, Because("autovacuum_off_for_table"), {});
  ASSERT_EQ(candidates.size(), 2u);
  EXPECT_EQ(candidates[0].risk, "A1") << "a vacuum by hand leaves the option alone";
  EXPECT_EQ(candidates[1].risk, "A3");
  EXPECT_NE(candidates[1].sql.find("autovacuum_enabled = true"), std::string::npos);
  EXPECT_NE(candidates[1].undo_sql.find("RESET (autovacuum_enabled"), std::string::npos);
}

TEST(Planner, VacuumCannotHelpWhileTheHorizonIsHeld) {
  for (const char* node : {"horizon_held_by_session", "horizon_held_by_slot", "horizon_held_by_standby",
                           "horizon_held_by_prepared_transaction"}) {
    Match match = TableMatch("vacuum_starved");
    Present(&match, node);
    for (const Candidate& c : Plan(match, Because("autovacuum_too_slow"), {}))
      EXPECT_NE(c.refused_because, "") << node << c.remedy;
  }
}

TEST(Planner, RaiseMaxWalSize) {
  const hc_server server = Server();
  PlanContext context;
  context.server = &server;
  Match match;
  match.failure_type = "checkpoint_storm";
  match.subject = "max_wal_size";
  const Candidate c = First(match, Because("max_wal_size_too_small"), context);
  EXPECT_EQ(c.sql, "ALTER SYSTEM SET max_wal_size = '128MB';\nSELECT pg_catalog.pg_reload_conf()");
  EXPECT_EQ(c.undo_sql, "ALTER SYSTEM SET max_wal_size = '64MB';\nSELECT pg_catalog.pg_reload_conf()");
  EXPECT_EQ(c.capture_items, R"([{"kind":"server_setting","name":"max_wal_size"}])");
  EXPECT_EQ(c.action, "raise max_wal_size from 64 MB to 128 MB");
  EXPECT_EQ(c.disk_bytes, int64_t{64} << 20);
  ASSERT_EQ(c.expected.size(), 1u);
  EXPECT_EQ(c.expected[0].value, "128MB");
}

TEST(Planner, NoRoomNoReachNoServer) {
  hc_server server = Server();
  PlanContext context;
  Match match;
  match.failure_type = "checkpoint_storm";
  EXPECT_NE(First(match, Because("max_wal_size_too_small"), context).refused_because, "");
  context.server = &server;
  server.max_wal_size_file = 1;
  EXPECT_NE(First(match, Because("max_wal_size_too_small"), context).refused_because, "");
  server = Server();
  server.wal_disk_free_bytes = int64_t{100} << 20;
  EXPECT_EQ(First(match, Because("max_wal_size_too_small"), context).refused_because,
            "the WAL volume has no room for a larger max_wal_size");
  server.wal_disk_free_bytes = -1;
  EXPECT_EQ(First(match, Because("max_wal_size_too_small"), context).refused_because,
            "the free space of the WAL volume is unknown");
}

TEST(WalSize, Steps) {
  const hc_server server = Server();
  EXPECT_EQ(NextWalSize(server, 0, 0, 0.2).value_mb, 128);
  EXPECT_EQ(NextWalSize(server, 0, 1, 0.2).value_mb, 256) << "a step that was rolled back was too small";
  EXPECT_EQ(NextWalSize(server, 1e6, 0, 0.2).value_mb, 1024)
      << "1 MB/s fills 544 MB in a checkpoint interval";
  EXPECT_EQ(NextWalSize(server, 1e9, 0, 0.2).value_mb, 64 * kMaxWalGrowth);
  EXPECT_EQ(NextWalSize(server, 1e9, 0, 0.001).value_mb, 102) << "0.1 % of 100 GB";
  hc_server full = Server();
  full.wal_disk_free_bytes = int64_t{30} << 30;
  EXPECT_NE(NextWalSize(full, 0, 0, 0.2).refused_because, "") << "15 % of the volume stay free";
  EXPECT_NE(NextWalSize(server, 0, 0, 0).refused_because, "");
  EXPECT_NE(NextWalSize(hc_server{}, 0, 0, 0.2).refused_because, "");
}

TEST(Planner, DropInvalidIndex) {
  const Candidate c = First(IndexMatch(), Because("failed_concurrent_build"));
  EXPECT_EQ(c.sql, "DROP INDEX CONCURRENTLY public.t_idx");
  EXPECT_EQ(c.undo_sql, "CREATE INDEX t_idx ON public.t USING btree (a)");
  EXPECT_EQ(c.capture_items, R"([{"kind":"index","index_oid":17000}])");
  EXPECT_EQ(c.relation_oid, 16384u) << "the owner is the table's";
  EXPECT_EQ(c.values.at("index_oid"), 17000);
  EXPECT_EQ(c.risk, "A2");
  EXPECT_EQ(c.refused_because, "");
}

TEST(Planner, UniqueIndexesAreAskedForLeftoversAreNot) {
  Match match = IndexMatch();
  match.values["unique"] = 1;
  EXPECT_EQ(First(match, Because("failed_concurrent_build")).risk, "A3");
  match.values["leftover"] = 1;
  EXPECT_EQ(First(match, Because("failed_concurrent_build")).risk, "A2");
}

TEST(Planner, IndexesInUseAreLeftAlone) {
  Match match = IndexMatch();
  match.values["constraint"] = 1;
  EXPECT_NE(First(match, Because("failed_concurrent_build")).refused_because, "");
  match = IndexMatch();
  Present(&match, "index_build_running");
  EXPECT_NE(First(match, Because("failed_concurrent_build")).refused_because, "");
}

TEST(Planner, SessionsPerRound) {
  EXPECT_EQ(SessionsPerRound(0), 1);
  EXPECT_EQ(SessionsPerRound(39), 1);
  EXPECT_EQ(SessionsPerRound(40), 2);
  EXPECT_EQ(SessionsPerRound(1000), 3);
  PlanContext context;
  context.sessions = 1000;
  const Candidate leak = First(SessionMatch("connection_exhaustion", 9), Because("connection_leak"), context);
  EXPECT_EQ(leak.targets.size(), 3u);
  EXPECT_EQ(leak.kind, HC_CMD_TERMINATE);
  const Candidate blocker =
      First(SessionMatch("idle_in_transaction_blocker", 9), Because("idle_in_transaction_session"), context);
  ASSERT_EQ(blocker.targets.size(), 1u) << "one per round";
  EXPECT_EQ(blocker.targets[0].id.pid, 100) << "worst first";
  EXPECT_EQ(blocker.sql, "SELECT pg_catalog.pg_terminate_backend(100)");
  const Candidate none = First(SessionMatch("connection_exhaustion", 0), Because("connection_leak"), context);
  EXPECT_NE(none.refused_because, "");
}

TEST(Planner, WaitingDdlIsCancelledWhoeverHolds) {
  for (const char* cause : {"ddl_without_lock_timeout", "long_running_statement",
                            "idle_in_transaction_session", "anti_wraparound_vacuum"}) {
    const Candidate c = First(SessionMatch("ddl_lock_queue", 1), Because(cause));
    EXPECT_EQ(c.remedy, "cancel_waiting_ddl") << cause;
    EXPECT_EQ(c.kind, HC_CMD_CANCEL);
    EXPECT_EQ(c.risk, "A1");
  }
}

// ---- causes and ranking ----

TEST(Planner, OnlyLikelyNamedCausesAreActedUpon) {
  const Match match = SessionMatch("connection_exhaustion", 3);
  EXPECT_TRUE(Plan(match, Because("connection_leak", 0.69), {}).empty());
  EXPECT_TRUE(Plan(match, Because("reconnect_storm"), {}).empty());
  EXPECT_TRUE(Plan(match, Because("connection_leak", std::nan("")), {}).empty());
  Diagnosis unsure = Because("connection_leak");
  unsure.abstained = true;
  EXPECT_TRUE(Plan(match, unsure, {}).empty());
}

TEST(Planner, WhatCannotHelpIsRefused) {
  Diagnosis diagnosis = Because("connection_leak");
  diagnosis.causes[0].symptom_without = 0.9;
  EXPECT_EQ(First(SessionMatch("connection_exhaustion", 3), diagnosis).refused_because,
            "the symptom would hardly go if connection_leak went");
}

TEST(Planner, UnseenFactsAreNotActedUpon) {
  Match match = TableMatch("stale_statistics");
  match.values["unknown"] = 1;
  EXPECT_NE(First(match, Because("bulk_change_without_analyze")).refused_because, "");
}

TEST(Planner, AMalformedNameNeverBecomesSql) {
  Match match = TableMatch("stale_statistics");
  match.params["relation"] = "t; DROP TABLE u";
  const Candidate c = First(match, Because("bulk_change_without_analyze"));
  EXPECT_EQ(c.refused_because, "parameter \"relation\" is not a quoted name");
  EXPECT_EQ(c.sql + c.guard_sql + c.probe_sql + c.capture_items, "");
}

TEST(Planner, TheProvenRemedyGoesFirst) {
  PlanContext context;
  context.proven = "set_autovacuum_options";
  context.history["set_autovacuum_options"] = {16, 16};
  const auto candidates = Plan(TableMatch("vacuum_starved"), Because("autovacuum_too_slow"), context);
  EXPECT_EQ(candidates[0].remedy, "set_autovacuum_options");
  EXPECT_DOUBLE_EQ(candidates[0].expected_success, (16 + 4 * 0.7) / 20);
}

TEST(Planner, WhatFailedInThisIncidentGoesLast) {
  PlanContext context;
  context.proven = "vacuum_table";
  context.attempts = {{"vacuum_table", "failed"}};
  auto candidates = Plan(TableMatch("vacuum_starved"), Because("autovacuum_too_slow"), context);
  EXPECT_EQ(candidates[0].remedy, "set_autovacuum_options");
  EXPECT_EQ(candidates[1].refused_because, "");
  context.attempts = {{"vacuum_table", "no_effect"}};
  candidates = Plan(TableMatch("vacuum_starved"), Because("autovacuum_too_slow"), context);
  EXPECT_EQ(candidates[1].refused_because, "") << "harmless maintenance gets a second go";
  context.attempts = {{"vacuum_table", "no_effect"}, {"vacuum_table", "no_effect"}};
  candidates = Plan(TableMatch("vacuum_starved"), Because("autovacuum_too_slow"), context);
  EXPECT_EQ(candidates[1].refused_because, "it had no effect in this incident");
}

TEST(Planner, ByName) {
  const Match match = TableMatch("vacuum_starved");
  const auto named = PlanNamed(match, Diagnosis{}, {}, "set_autovacuum_options");
  ASSERT_TRUE(named);
  EXPECT_EQ(named->refused_because, "");
  EXPECT_FALSE(PlanNamed(match, Diagnosis{}, {}, "analyze_table")) << "not for this failure";
  EXPECT_FALSE(PlanNamed(match, Diagnosis{}, {}, "reboot"));
}

}  // namespace
}  // namespace heal
