#include "recover/gates.h"

#include <functional>
#include <set>

#include <gtest/gtest.h>

namespace heal {
namespace {

const Budget kBudget = BudgetFor(HC_POLICY_BALANCED);
constexpr int64_t kSecond = 1000000;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kNow = 1000 * kHour;

// A case in which everything is allowed. Tests spoil one thing at a time.
struct Case {
  hc_settings settings{};
  hc_server server{};
  std::vector<hc_policy_row> rows;
  Policies policies;
  Ledger ledger;
  Match match;
  Candidate candidate;
  GateContext context;

  Case() {
    settings.mode = HC_MODE_AUTO;
    settings.policy = HC_POLICY_BALANCED;
    settings.calm_period_ms = 600000;
    settings.confirm_samples = 2;
    settings.concurrent_recoveries = 2;
    server.started_at = kNow - 24 * kHour;
    server.wal_disk_free_bytes = int64_t{100} << 30;
    server.wal_disk_total_bytes = int64_t{200} << 30;
    match.component = "connections";
    match.database = "shop";
    match.params["relation"] = "public.t";
    candidate.remedy = "terminate_idle_leak";
    candidate.risk = "A2";
    candidate.kind = HC_CMD_TERMINATE;
    candidate.harmless = true;
    candidate.object = "app crm";
    candidate.verification = "connections are free";
    candidate.symptom_with = 0.9;
    candidate.symptom_without = 0.1;
    candidate.targets.push_back(Session());
    context.now_us = kNow;
    context.looks = 2;
    context.sessions = 100;
  }

  static Target Session() {
    Target target;
    target.id.pid = 4711;
    target.role = "app";
    target.database = "shop";
    target.application = "crm";
    return target;
  }

  void MakeSql() {
    candidate.kind = HC_CMD_SQL;
    candidate.targets.clear();
    candidate.lock_timeout_ms = 1000;
    candidate.statement_timeout_ms = 30000;
    candidate.probe_sql = "SELECT 1";
    candidate.lock_mode = 4;
  }

  GateVerdict Check(std::span<const GateDef> gates) {
    policies = Policies(rows);
    context.settings = &settings;
    context.server = &server;
    context.policies = &policies;
    context.ledger = &ledger;
    return CheckGates(candidate, match, context, gates);
  }
  GateVerdict Check() { return Check(Gates()); }
};

struct Spoil {
  const char* gate;
  GateVerdict::Decision decision;
  std::function<void(Case*)> spoil;
};

void Repeat(Case* c, int times, int64_t before_us, const char* remedy, const char* object, const char* role) {
  for (int i = 0; i < times; ++i)
    c->ledger.Note({c->context.now_us - before_us, 100 + i, remedy, object, {role}, 1});
}

// One case per rule that only this rule stops.
const std::vector<Spoil>& Spoils() {
  static const auto* spoils = new std::vector<Spoil>{
      {"pause", GateVerdict::kWait, [](Case* c) { c->settings.paused = 1; }},
      {"observe", GateVerdict::kRefuse,
       [](Case* c) {
         c->settings.mode = HC_MODE_OBSERVE;
         c->context.approved = true;
       }},
      {"autonomy", GateVerdict::kAsk, [](Case* c) { c->settings.mode = HC_MODE_APPROVE; }},
      {"critical", GateVerdict::kAsk,
       [](Case* c) {
         c->settings.mode = HC_MODE_LIMITED;
         c->candidate.risk = "A1";
         c->rows.push_back({"component", "connections", "critical", "on"});
       }},
      {"detector_precision", GateVerdict::kAsk, [](Case* c) { c->context.detector_demoted = true; }},
      {"risk_never", GateVerdict::kRefuse, [](Case* c) { c->candidate.risk = "A4"; }},
      {"risk_approval", GateVerdict::kAsk, [](Case* c) { c->candidate.risk = "A3"; }},
      {"forbidden", GateVerdict::kRefuse,
       [](Case* c) {
         c->rows.push_back({"server", "", "forbid", "terminate_idle_leak"});
       }},
      {"exempt", GateVerdict::kRefuse,
       [](Case* c) {
         c->rows.push_back({"role", "app", "exempt", "on"});
       }},
      {"window", GateVerdict::kWait,
       [](Case* c) {
         c->rows.push_back({"server", "", "window", "17:00-18:00"});
       }},  // now is 16:00
      {"protected_kind", GateVerdict::kRefuse,
       [](Case* c) { c->candidate.targets[0].kind = HC_BACKEND_WALSENDER; }},
      {"protected_replication", GateVerdict::kRefuse,
       [](Case* c) { c->candidate.targets[0].flags = HC_SESSION_REPLICATION; }},
      {"protected_own", GateVerdict::kRefuse,
       [](Case* c) { c->candidate.targets[0].flags = HC_SESSION_OWN; }},
      {"protected_maintenance", GateVerdict::kRefuse,
       [](Case* c) { c->candidate.targets[0].flags = HC_SESSION_MAINTENANCE; }},
      {"protected_application", GateVerdict::kRefuse,
       [](Case* c) { c->candidate.targets[0].application = "Nightly pg_dump"; }},
      {"protected_superuser", GateVerdict::kRefuse,
       [](Case* c) { c->candidate.targets[0].flags = HC_SESSION_SUPERUSER; }},
      {"two_looks", GateVerdict::kWait, [](Case* c) { c->context.looks = 1; }},
      {"budget_round", GateVerdict::kWait,
       [](Case* c) {
         c->context.sessions = 39;  // 5 % is 1
         c->candidate.targets.push_back(Case::Session());
       }},
      {"budget_minute", GateVerdict::kWait,
       [](Case* c) { Repeat(c, kBudget.per_minute, kSecond, "analyze_table", "x", "other"); }},
      {"budget_hour", GateVerdict::kWait,
       [](Case* c) { Repeat(c, kBudget.per_hour, kHour / 2, "analyze_table", "x", "other"); }},
      {"budget_object", GateVerdict::kWait,
       [](Case* c) { Repeat(c, kBudget.per_object_hour, kHour / 2, "analyze_table", "app crm", "other"); }},
      {"budget_role", GateVerdict::kWait,
       [](Case* c) { Repeat(c, kBudget.per_role_hour, kHour / 2, "analyze_table", "x", "app"); }},
      {"oscillation", GateVerdict::kEscalate,
       [](Case* c) { Repeat(c, 3, 48 * kHour, "terminate_idle_leak", "app crm", "app"); }},
      {"calm_period", GateVerdict::kWait, [](Case* c) { c->server.started_at = kNow - 599 * kSecond; }},
      {"server_crash", GateVerdict::kWait,
       [](Case* c) {
         c->server.started_at = kNow - 1199 * kSecond;
         c->server.flags = HC_SERVER_CRASH_RECOVERED;
       }},
      {"healer_crash", GateVerdict::kWait, [](Case* c) { c->server.flags = HC_SERVER_HEALER_CRASHED; }},
      {"base_backup", GateVerdict::kWait, [](Case* c) { c->server.flags = HC_SERVER_BASE_BACKUP; }},
      {"migration", GateVerdict::kWait, [](Case* c) { c->server.flags = HC_SERVER_MIGRATION; }},
      {"lock_timeout", GateVerdict::kRefuse,
       [](Case* c) {
         c->MakeSql();
         c->candidate.lock_timeout_ms = 0;
       }},
      {"access_exclusive", GateVerdict::kAsk,
       [](Case* c) {
         c->MakeSql();
         c->candidate.lock_mode = 8;
       }},
      {"disk", GateVerdict::kEscalate,
       [](Case* c) {
         c->MakeSql();
         c->candidate.disk_bytes = int64_t{36} << 30;  // 2 * 36 + 30 > 100
       }},
      {"concurrency", GateVerdict::kWait, [](Case* c) { c->context.running = 2; }},
      {"one_per_relation", GateVerdict::kWait, [](Case* c) { c->context.running_on_relation = 1; }},
      {"undo_first", GateVerdict::kRefuse,
       [](Case* c) {
         c->MakeSql();
         c->candidate.harmless = false;
         c->candidate.reversible = true;
         c->candidate.undo_sql = "ALTER SYSTEM RESET max_wal_size";
       }},
      {"verification", GateVerdict::kRefuse, [](Case* c) { c->candidate.verification.clear(); }},
      {"can_help", GateVerdict::kEscalate, [](Case* c) { c->candidate.symptom_without = 0.85; }},
  };
  return *spoils;
}

std::vector<GateDef> Without(std::string_view name) {
  std::vector<GateDef> rest;
  for (const GateDef& gate : Gates())
    if (gate.name != name) rest.push_back(gate);
  return rest;
}

TEST(Gates, ActsWhenNothingSpeaksAgainstIt) {
  Case c;
  const GateVerdict verdict = c.Check();
  EXPECT_EQ(verdict.decision, GateVerdict::kAct) << verdict.reason;
  EXPECT_EQ(verdict.gates.size(), Gates().size());
  for (const GateResult& gate : verdict.gates) {
    EXPECT_TRUE(gate.passed) << gate.name;
    EXPECT_NE(gate.reason, "") << gate.name;
  }
}

TEST(Gates, EveryRuleHasATest) {
  std::set<std::string_view> tested, shipped;
  for (const Spoil& spoil : Spoils()) tested.insert(spoil.gate);
  for (const GateDef& gate : Gates()) shipped.insert(gate.name);
  EXPECT_EQ(tested, shipped);
}

TEST(Gates, EveryRuleStopsItsCase) {
  for (const Spoil& spoil : Spoils()) {
    Case c;
    spoil.spoil(&c);
    const GateVerdict verdict = c.Check();
    EXPECT_EQ(verdict.decision, spoil.decision) << spoil.gate << ": " << verdict.reason;
    for (const GateResult& gate : verdict.gates) EXPECT_EQ(gate.passed, gate.name != spoil.gate) << gate.name;
  }
}

// Remove the row and its case acts: no other rule hides that it is gone.
TEST(Gates, EveryRuleIsNeeded) {
  for (const Spoil& spoil : Spoils()) {
    Case c;
    spoil.spoil(&c);
    EXPECT_EQ(c.Check(Without(spoil.gate)).decision, GateVerdict::kAct) << spoil.gate;
  }
}

TEST(Gates, ApprovalStandsInForAutonomyOnly) {
  const std::set<std::string_view> approvable = {
      "autonomy",         "critical",    "risk_approval", "window",      "two_looks",
      "oscillation",      "calm_period", "server_crash",  "base_backup", "migration",
      "access_exclusive", "can_help",    "healer_crash",  "detector_precision"};
  for (const Spoil& spoil : Spoils()) {
    Case c;
    spoil.spoil(&c);
    c.context.approved = true;
    EXPECT_EQ(c.Check().decision == GateVerdict::kAct, approvable.count(spoil.gate) != 0) << spoil.gate;
  }
}

TEST(Gates, ApprovalDoesNotMakeARefusedRemedyRight) {
  Case c;
  c.context.approved = true;
  c.candidate.refused_because = "an index build is running";
  EXPECT_EQ(c.Check().decision, GateVerdict::kEscalate);
}

TEST(Gates, ModesAndRiskClasses) {
  const struct {
    hc_mode mode;
    const char* risk;
    GateVerdict::Decision decision;
  } cases[] = {{HC_MODE_OBSERVE, "A1", GateVerdict::kRefuse}, {HC_MODE_APPROVE, "A1", GateVerdict::kAsk},
               {HC_MODE_LIMITED, "A1", GateVerdict::kAct},    {HC_MODE_LIMITED, "A2", GateVerdict::kAsk},
               {HC_MODE_AUTO, "A2", GateVerdict::kAct},       {HC_MODE_AUTO, "A3", GateVerdict::kAsk},
               {HC_MODE_AUTO, "A4", GateVerdict::kRefuse},    {HC_MODE_AUTO, "", GateVerdict::kRefuse}};
  for (const auto& k : cases) {
    Case c;
    c.settings.mode = k.mode;
    c.candidate.risk = k.risk;
    EXPECT_EQ(c.Check().decision, k.decision) << k.mode << " " << k.risk;
  }
}

TEST(Gates, APolicyLowersAutonomyForOneRole) {
  Case c;
  c.rows.push_back({"role", "app", "autonomy", "approve"});
  EXPECT_EQ(c.Check().decision, GateVerdict::kAsk);
}

TEST(Gates, SuperusersWherePolicyAllows) {
  Case c;
  c.candidate.targets[0].flags = HC_SESSION_SUPERUSER;
  c.rows.push_back({"database", "shop", "allow", "superusers"});
  EXPECT_EQ(c.Check().decision, GateVerdict::kAct);
  c.rows.clear();
  c.settings.allow_superusers = 1;
  EXPECT_EQ(c.Check().decision, GateVerdict::kAct);
}

TEST(Gates, EveryTargetIsLookedAt) {
  Case c;
  c.candidate.targets.push_back(Case::Session());
  c.candidate.targets[1].application = "barman";
  EXPECT_EQ(c.Check().decision, GateVerdict::kRefuse);
}

TEST(Gates, AProvenFactNeedsOneLook) {
  Case c;
  c.context.looks = 1;
  c.match.certain = true;
  EXPECT_EQ(c.Check().decision, GateVerdict::kAct);
}

TEST(Gates, ACalmPeriodOfZeroIsAllowed) {
  Case c;
  c.settings.calm_period_ms = 0;
  c.server.started_at = kNow;
  c.server.flags = HC_SERVER_CRASH_RECOVERED;
  EXPECT_EQ(c.Check().decision, GateVerdict::kAct);
}

TEST(Gates, TheGravestAnswerDecides) {
  Case c;
  c.settings.mode = HC_MODE_APPROVE;
  c.server.flags = HC_SERVER_BASE_BACKUP;
  EXPECT_EQ(c.Check().decision, GateVerdict::kAsk) << "asking goes before waiting";
  c.context.looks = 1;
  EXPECT_EQ(c.Check().decision, GateVerdict::kWait) << "but not before the second look";
  c.candidate.symptom_without = c.candidate.symptom_with;
  EXPECT_EQ(c.Check().decision, GateVerdict::kEscalate);
  c.rows.push_back({"role", "app", "exempt", "on"});
  EXPECT_EQ(c.Check().decision, GateVerdict::kRefuse);
}

TEST(Gates, AnotherRoundOfAnAttemptIsNoRepeat) {
  Case c;
  Repeat(&c, 3, 48 * kHour, "terminate_idle_leak", "app crm", "app");
  c.context.attempt_id = 102;
  EXPECT_EQ(c.Check().decision, GateVerdict::kAct);
}

TEST(Gates, RefusesWithoutFacts) {
  Case c;
  EXPECT_EQ(CheckGates(c.candidate, c.match, GateContext{}).decision, GateVerdict::kRefuse);
}

}  // namespace
}  // namespace heal
