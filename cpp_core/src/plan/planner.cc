#include "plan/planner.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "plan/wal_size.h"

namespace heal {
namespace {

using std::string_view;
using Params = std::map<std::string, std::string>;

// The symptom must become clearly less likely without the cause.
constexpr double kClearlyLower = 0.8;
// Weight of the catalogue's expectation against history, in attempts.
constexpr double kPriorAttempts = 4;

bool Contains(std::span<const string_view> names, string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool Has(const RemedyDef& remedy, Precondition wanted) {
  return std::find(remedy.preconditions.begin(), remedy.preconditions.end(), wanted) !=
         remedy.preconditions.end();
}

// First evidence of a node that is present, or null.
const Evidence* Present(const Match& match, string_view node) {
  for (const Evidence& evidence : match.evidence)
    if (evidence.truth == Truth::kPresent && evidence.node == node) return &evidence;
  return nullptr;
}

bool IsSet(const Match& match, const char* value) {
  const auto found = match.values.find(value);
  return found != match.values.end() && found->second > 0;
}

int32_t CountAttempts(const PlanContext& context, string_view remedy, string_view outcome) {
  return static_cast<int32_t>(
      std::count_if(context.attempts.begin(), context.attempts.end(), [&](const PastAttempt& attempt) {
        return attempt.remedy == remedy && (outcome.empty() || attempt.outcome == outcome);
      }));
}

// ---- parameters ----

std::string NumberText(double value) {
  char buffer[64];
  if (value == std::floor(value) && std::fabs(value) < 1e15)
    std::snprintf(buffer, sizeof(buffer), "%lld", static_cast<long long>(value));
  else
    std::snprintf(buffer, sizeof(buffer), "%.6f", value);
  return buffer;
}

// Parameters of the match; a number never hides a text of the same name.
Params BaseParams(const Match& match) {
  Params params = match.params;
  for (const auto& [name, value] : match.values)
    if (std::isfinite(value)) params.emplace(name, NumberText(value));
  // The table of an index may be named apart from the relation acted upon.
  const auto table = params.find("table_oid");
  if (table != params.end())
    params["relation_oid"] = table->second;
  else if (match.relation_oid != 0)
    params["relation_oid"] = std::to_string(match.relation_oid);
  if (match.database_oid != 0) params["database_oid"] = std::to_string(match.database_oid);
  return params;
}

uint32_t OidParam(const Params& params, const char* name, uint32_t otherwise) {
  const auto found = params.find(name);
  if (found == params.end()) return otherwise;
  const ParamDef def{name, ParamType::kOid, true, ""};
  return static_cast<uint32_t>(std::stoul(CheckedParam(def, found->second)));
}

// ---- preconditions: each returns why not, "" when it holds ----

std::string TableFree(const Match& match) {
  const Evidence* busy = Present(match, "table_busy");
  return busy == nullptr ? "" : "the table is being maintained: " + busy->why;
}

std::string HorizonFree(const Match& match) {
  for (const char* node : {"horizon_held_by_session", "horizon_held_by_slot", "horizon_held_by_standby",
                           "horizon_held_by_prepared_transaction", "horizon_stuck"}) {
    const Evidence* held = Present(match, node);
    if (held != nullptr) return "vacuum could not remove the dead rows: " + held->why;
  }
  return "";
}

std::string NoBuild(const Match& match) {
  const Evidence* build = Present(match, "index_build_running");
  if (build != nullptr) return "an index build is running: " + build->why;
  return IsSet(match, "building") ? "an index build is running on the table" : "";
}

std::string NotConstraint(const Match& match) {
  for (const char* kind : {"constraint", "primary", "exclusion", "partition", "system"})
    if (IsSet(match, kind)) return std::string("the index cannot be dropped by itself: ") + kind;
  return "";
}

std::string SettingReachable(const PlanContext& context) {
  if (context.server == nullptr) return "the settings of the server are unknown";
  return context.server->max_wal_size_file != 0 ? "max_wal_size is set where ALTER SYSTEM has no effect" : "";
}

std::string WhyNot(Precondition precondition, const Match& match, const PlanContext& context,
                   const Params& params) {
  switch (precondition) {
    case Precondition::kTargets:
      return match.targets.empty() ? "there is no session that may be signalled" : "";
    case Precondition::kRelation:
      return params.count("relation") == 0 || params.count("relation_oid") == 0 ? "the table is not known"
                                                                                : "";
    case Precondition::kIndex:
      return params.count("index") == 0 || params.count("index_oid") == 0 ? "the index is not known" : "";
    case Precondition::kTableFree:
      return TableFree(match);
    case Precondition::kHorizonFree:
      return HorizonFree(match);
    case Precondition::kNoBuild:
      return NoBuild(match);
    case Precondition::kNotConstraint:
      return NotConstraint(match);
    case Precondition::kSettingReachable:
      return SettingReachable(context);
    case Precondition::kWalRoom:
      return "";  // answered with the value itself, see ChooseWalSize
  }
  return "unknown precondition";
}

// ---- the particulars of single remedies ----

double WalRate(const Match& match) {
  const auto rate = match.values.find("wal_mb_per_s");
  return rate == match.values.end() ? 0 : rate->second * 1024 * 1024;
}

void ChooseWalSize(const RemedyDef& remedy, const Match& match, const PlanContext& context, Params* params,
                   Candidate* candidate) {
  if (context.server == nullptr) return;  // refused by kSettingReachable
  const WalSizeStep step =
      NextWalSize(*context.server, WalRate(match), CountAttempts(context, remedy.name, "rolled_back"),
                  context.max_wal_disk_share);
  if (candidate->refused_because.empty()) candidate->refused_because = step.refused_because;
  (*params)["current"] = std::to_string(step.current_mb);
  (*params)["value"] = std::to_string(step.value_mb);
  candidate->disk_bytes = step.extra_bytes;
  candidate->values["current"] = static_cast<double>(step.current_mb);
  candidate->values["value"] = static_cast<double>(step.value_mb);
  candidate->expected.push_back({"server_setting", "max_wal_size", (*params)["value"] + "MB"});
}

void ChooseAutovacuumOptions(const RemedyDef& remedy, const Match& match, Params* params,
                             Candidate* candidate) {
  for (const ParamDef& def : remedy.params)
    if (!def.fallback.empty()) params->emplace(std::string(def.name), std::string(def.fallback));
  candidate->expected.push_back(
      {"storage_option", "autovacuum_vacuum_scale_factor", params->at("scale_factor")});
  candidate->expected.push_back({"storage_option", "autovacuum_vacuum_cost_limit", params->at("cost_limit")});
  if (Present(match, "autovacuum_disabled_on_table") == nullptr) return;
  // Its user switched autovacuum off: only a person switches it on again.
  candidate->risk = "A3";
  (*params)["enable"] = "autovacuum_enabled = true, ";
  (*params)["enable_reset"] = "autovacuum_enabled, ";
  (*params)["may_be_off"] = "true";
  candidate->expected.push_back({"storage_option", "autovacuum_enabled", "true"});
}

void ChooseIndexRisk(const Match& match, Candidate* candidate) {
  const bool leftover = IsSet(match, "leftover") || Present(match, "index_leftover_name") != nullptr;
  // A unique index its user asked for: somebody relies on what it should have ensured.
  if (IsSet(match, "unique") && !leftover) candidate->risk = "A3";
  candidate->expected.push_back({"index", "", std::nullopt});
}

void Particulars(const RemedyDef& remedy, const Match& match, const PlanContext& context, Params* params,
                 Candidate* candidate) {
  if (Has(remedy, Precondition::kWalRoom)) ChooseWalSize(remedy, match, context, params, candidate);
  // Large tables are analysed when somebody says so.
  if (remedy.name == "analyze_table" && IsSet(match, "too_large")) candidate->risk = "A3";
  if (remedy.name == "advance_sequence" && IsSet(match, "unused")) candidate->risk = "A3";
  if (remedy.name == "set_autovacuum_options") ChooseAutovacuumOptions(remedy, match, params, candidate);
  if (Has(remedy, Precondition::kNotConstraint)) ChooseIndexRisk(match, candidate);
}

// ---- texts ----

std::string Replace(std::string text, string_view what, string_view by) {
  const size_t at = text.find(what);
  if (at != std::string::npos) text.replace(at, what.size(), by);
  return text;
}

std::string ActionText(const RemedyDef& remedy, const Match& match, const Params& params,
                       const std::vector<Target>& targets) {
  std::string text = Replace(std::string(remedy.summary), "{subject}", match.subject);
  for (const char* name : {"current", "value"}) {
    const auto found = params.find(name);
    if (found != params.end()) text = Replace(text, std::string("{") + name + "}", found->second);
  }
  for (size_t i = 0; i < targets.size(); ++i)
    text +=
        (i == 0 ? " (pid " : ", ") + std::to_string(targets[i].id.pid) + (i + 1 == targets.size() ? ")" : "");
  return text;
}

// What a person would type for a signal; never executed as SQL.
std::string SignalText(const RemedyDef& remedy, const std::vector<Target>& targets) {
  const char* function = remedy.kind == HC_CMD_CANCEL ? "pg_cancel_backend" : "pg_terminate_backend";
  std::string text;
  for (const Target& target : targets) {
    if (!text.empty()) text += ";\n";
    text += std::string("SELECT pg_catalog.") + function + "(" + std::to_string(target.id.pid) + ")";
  }
  return text;
}

std::string Percent(double share) {
  char buffer[16];
  std::snprintf(buffer, sizeof(buffer), "%.0f %%", share * 100);
  return buffer;
}

// ---- one candidate ----

// The likeliest cause the remedy helps against; null when none was named.
const CausePosterior* SupportingCause(const RemedyDef& remedy, const Diagnosis& diagnosis) {
  const CausePosterior* best = nullptr;
  for (const CausePosterior& cause : diagnosis.causes)
    if (Contains(remedy.causes, cause.node) && (best == nullptr || cause.posterior > best->posterior))
      best = &cause;
  return best;
}

bool CannotHelp(const CausePosterior& cause) {
  return !(cause.symptom_with > 0 && cause.symptom_without <= kClearlyLower * cause.symptom_with);
}

double ExpectedSuccess(const RemedyDef& remedy, const PlanContext& context) {
  const auto found = context.history.find(std::string(remedy.name));
  if (found == context.history.end() || found->second.finished <= 0) return remedy.expected_success;
  return (found->second.healed + kPriorAttempts * remedy.expected_success) /
         (found->second.finished + kPriorAttempts);
}

std::vector<Target> RoundTargets(const RemedyDef& remedy, const Match& match, const PlanContext& context) {
  const size_t limit = static_cast<size_t>(std::min(remedy.per_round, SessionsPerRound(context.sessions)));
  const auto end = match.targets.begin() + static_cast<ptrdiff_t>(std::min(limit, match.targets.size()));
  return remedy.kind == HC_CMD_SQL ? std::vector<Target>{} : std::vector<Target>(match.targets.begin(), end);
}

void CopyCatalogue(const RemedyDef& remedy, Candidate* candidate) {
  candidate->remedy = remedy.name;
  candidate->action_class = remedy.action_class;
  candidate->risk = remedy.risk;
  candidate->reversible = remedy.reversible;
  candidate->harmless = remedy.harmless;
  candidate->kind = remedy.kind;
  candidate->as_owner = remedy.as_owner;
  candidate->lock_timeout_ms = remedy.lock_timeout_ms;
  candidate->statement_timeout_ms = remedy.statement_timeout_ms;
  candidate->lock_mode = remedy.lock_mode;
  candidate->verification = remedy.verification;
  candidate->verify_ms = remedy.verify_ms;
}

void FillSql(const RemedyDef& remedy, const Params& params, Candidate* candidate) {
  candidate->sql = FillTemplate(remedy, remedy.sql, params);
  candidate->guard_sql = FillTemplate(remedy, remedy.guard_sql, params);
  candidate->probe_sql = FillTemplate(remedy, remedy.probe_sql, params);
  candidate->undo_sql = FillTemplate(remedy, remedy.undo_sql, params);
  candidate->capture_items = FillTemplate(remedy, remedy.capture, params);
}

void SetCause(const CausePosterior* cause, Candidate* candidate) {
  if (cause == nullptr) return;
  candidate->root_cause = cause->node;
  candidate->confidence = cause->posterior;
  candidate->symptom_with = cause->symptom_with;
  candidate->symptom_without = cause->symptom_without;
  candidate->reason = "root cause " + cause->node + " is " + Percent(cause->posterior) + " likely";
}

void AddMatchFacts(const Match& match, const Params& params, Candidate* candidate) {
  candidate->object = ObjectKey(match.database, match.subject);
  candidate->relation_oid = OidParam(params, "relation_oid", match.relation_oid);
  candidate->database_oid = match.database_oid;
  const auto index = params.find("index_oid");
  if (index != params.end()) candidate->values["index_oid"] = OidParam(params, "index_oid", 0);
}

Candidate MakeCandidate(const RemedyDef& remedy, const Match& match, const CausePosterior* cause,
                        const PlanContext& context) {
  Candidate candidate;
  CopyCatalogue(remedy, &candidate);
  SetCause(cause, &candidate);
  candidate.expected_success = ExpectedSuccess(remedy, context);
  candidate.targets = RoundTargets(remedy, match, context);
  Params params = BaseParams(match);
  if (IsSet(match, "unknown")) candidate.refused_because = "its facts cannot be seen at present";
  for (const Precondition precondition : remedy.preconditions)
    if (candidate.refused_because.empty())
      candidate.refused_because = WhyNot(precondition, match, context, params);
  try {
    AddMatchFacts(match, params, &candidate);
    Particulars(remedy, match, context, &params, &candidate);
    if (remedy.kind == HC_CMD_SQL)
      FillSql(remedy, params, &candidate);
    else
      candidate.sql = SignalText(remedy, candidate.targets);
  } catch (const TemplateError& error) {
    // Nothing of a statement that could not be built whole may be used.
    candidate.sql = candidate.guard_sql = candidate.probe_sql = candidate.undo_sql = candidate.capture_items =
        "";
    if (candidate.refused_because.empty()) candidate.refused_because = error.what();
  }
  candidate.action = ActionText(remedy, match, params, candidate.targets);
  return candidate;
}

// ---- ranking ----

// A remedy that had no effect is not repeated within the incident; maintenance
// that does no harm gets a second go, for the load may have outrun the first.
int AllowedWithoutEffect(const RemedyDef& remedy) { return remedy.harmless && remedy.kind == HC_CMD_SQL ? 2 : 1; }

void RefuseWhatCannotHelp(const RemedyDef& remedy, const CausePosterior& cause, const PlanContext& context,
                          Candidate* candidate) {
  if (!candidate->refused_because.empty()) return;
  if (CannotHelp(cause))
    candidate->refused_because = "the symptom would hardly go if " + cause.node + " went";
  else if (CountAttempts(context, candidate->remedy, "no_effect") >= AllowedWithoutEffect(remedy)) {
    candidate->refused_because = "it had no effect in this incident";
    candidate->refused_for_good = true;
  }
}

// Lower is tried earlier; equal ranks keep the order of the catalogue.
int Rank(const Candidate& candidate, const PlanContext& context) {
  if (!candidate.refused_because.empty()) return 3;
  if (CountAttempts(context, candidate.remedy, "") > 0) return 2;
  return candidate.remedy == context.proven ? 0 : 1;
}

void Order(const PlanContext& context, std::vector<Candidate>* candidates) {
  std::stable_sort(candidates->begin(), candidates->end(), [&](const Candidate& a, const Candidate& b) {
    return Rank(a, context) < Rank(b, context);
  });
  for (Candidate& candidate : *candidates) {
    const int rank = Rank(candidate, context);
    if (rank == 0) candidate.reason += "; it healed this failure before";
    if (rank == 2) candidate.reason += "; an earlier attempt of this incident did not heal it";
  }
}

}  // namespace

int32_t SessionsPerRound(int32_t sessions) { return std::max(1, std::min(3, sessions / 20)); }

std::string ObjectKey(string_view database, string_view subject) {
  return database.empty() ? std::string(subject) : std::string(database) + "/" + std::string(subject);
}

std::vector<Candidate> Plan(const Match& match, const Diagnosis& diagnosis, const PlanContext& context) {
  std::vector<Candidate> candidates;
  if (diagnosis.abstained) return candidates;
  for (const RemedyDef& remedy : Remedies()) {
    if (!Contains(remedy.failures, match.failure_type)) continue;
    const CausePosterior* cause = SupportingCause(remedy, diagnosis);
    if (cause == nullptr || !(cause->posterior >= context.min_confidence)) continue;
    Candidate candidate = MakeCandidate(remedy, match, cause, context);
    RefuseWhatCannotHelp(remedy, *cause, context, &candidate);
    candidates.push_back(std::move(candidate));
  }
  Order(context, &candidates);
  return candidates;
}

std::optional<Candidate> PlanNamed(const Match& match, const Diagnosis& diagnosis, const PlanContext& context,
                                   string_view name) {
  const RemedyDef* remedy = FindRemedy(name);
  if (remedy == nullptr || !Contains(remedy->failures, match.failure_type)) return std::nullopt;
  Candidate candidate = MakeCandidate(*remedy, match, SupportingCause(*remedy, diagnosis), context);
  if (candidate.reason.empty()) candidate.reason = "asked for by name";
  return candidate;
}

}  // namespace heal
