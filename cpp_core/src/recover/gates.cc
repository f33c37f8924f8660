#include "recover/gates.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace heal {
namespace {

using std::string;
using std::string_view;

constexpr int64_t kMinuteUs = int64_t{60} * 1000000;
constexpr int64_t kHourUs = 60 * kMinuteUs;
constexpr int32_t kAccessExclusive = 8;
constexpr int32_t kLongestLockTimeoutMs = 1000;
constexpr double kFreeShare = 0.15;
constexpr double kClearlyLower = 0.8;  // as in the planner

// Programs whose sessions are backups, dumps or replication by other means.
constexpr string_view kProtectedApplications[] = {
    "pg_dump", "pg_restore", "pg_basebackup", "pg_receivewal", "pg_recvlogical", "pg_rewind",  "pg_upgrade",
    "barman",  "pgbackrest", "wal-g",         "wal_g",         "pg_repack",      "pg_squeeze", "debezium"};

// CheckGates sees to it that neither pointer is null.
const Policies& PoliciesOf(const GateContext& context) { return *context.policies; }
const Ledger& LedgerOf(const GateContext& context) { return *context.ledger; }

// The subjects whose policies count: the match and every session signalled.
std::vector<PolicySubject> Subjects(const Candidate& candidate, const Match& match) {
  std::vector<PolicySubject> subjects = {SubjectOf(match)};
  for (const Target& target : candidate.targets) subjects.push_back(SubjectOf(match, target));
  return subjects;
}

int32_t ActionsOf(const Candidate& candidate) {
  return std::max<int32_t>(1, static_cast<int32_t>(candidate.targets.size()));
}

// Approval takes the place of a rule about acting alone.
bool Approved(const GateContext& context, string* reason) {
  if (context.approved) *reason = "approved";
  return context.approved;
}

bool ServerFlag(const GateContext& context, uint32_t flag) { return (context.server->flags & flag) != 0; }

string Within(int32_t count, int32_t limit, const char* what) {
  return std::to_string(count) + " of at most " + std::to_string(limit) + " " + what;
}

// ---- switches and autonomy ----

bool Paused(const Candidate&, const Match&, const GateContext& context, string* reason) {
  *reason = context.settings->paused != 0 ? "acting is paused" : "acting is not paused";
  return context.settings->paused == 0;
}

hc_mode ModeOf(const Candidate& candidate, const Match& match, const GateContext& context) {
  hc_mode mode = context.settings->mode;
  for (const PolicySubject& subject : Subjects(candidate, match))
    mode = PoliciesOf(context).Autonomy(mode, subject);
  return mode;
}

bool ObserveOnly(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  const hc_mode mode = ModeOf(candidate, match, context);
  *reason = string("the mode is ") + ModeName(mode);
  return mode != HC_MODE_OBSERVE;
}

bool Autonomy(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  const hc_mode mode = ModeOf(candidate, match, context);
  *reason = string("the mode is ") + ModeName(mode) + ", the risk class " + candidate.risk;
  return mode == HC_MODE_AUTO || (mode == HC_MODE_LIMITED && candidate.risk == "A1");
}

bool Critical(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  bool critical = false;
  for (const PolicySubject& subject : Subjects(candidate, match))
    critical = critical || PoliciesOf(context).Critical(subject);
  *reason = critical ? "marked critical by policy" : "not marked critical";
  return !critical || ModeOf(candidate, match, context) != HC_MODE_LIMITED;
}

bool RiskNeverAutomatic(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  *reason = "the risk class is " + candidate.risk;
  return candidate.risk == "A1" || candidate.risk == "A2" || candidate.risk == "A3";
}

bool RiskNeedsApproval(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  *reason = "the risk class is " + candidate.risk;
  return candidate.risk != "A3";
}

// ---- policies ----

bool Forbidden(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  *reason = "no policy forbids it";
  for (const PolicySubject& subject : Subjects(candidate, match)) {
    const string why = PoliciesOf(context).Forbidden(candidate.remedy, subject);
    if (why.empty()) continue;
    *reason = why;
    return false;
  }
  return true;
}

bool Exempt(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  *reason = "nothing it touches is exempt";
  for (const PolicySubject& subject : Subjects(candidate, match)) {
    const string why = PoliciesOf(context).Exempt(subject);
    if (why.empty()) continue;
    *reason = why;
    return false;
  }
  return true;
}

bool Window(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  *reason = "no window is closed";
  for (const PolicySubject& subject : Subjects(candidate, match)) {
    const string why = PoliciesOf(context).OutsideWindow(context.now_us, subject);
    if (why.empty()) continue;
    *reason = why;
    return false;
  }
  return true;
}

// ---- protected sessions ----

string Lower(string_view text) {
  string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool IsProtectedApplication(const string& application) {
  const string name = Lower(application);
  return std::any_of(std::begin(kProtectedApplications), std::end(kProtectedApplications),
                     [&](string_view program) { return name.find(program) != string::npos; });
}

// Each of these rows of design section 6 "Protected" stands by itself.
bool EachTarget(const Candidate& candidate, string* reason, const char* kept, const char* broken,
                bool (*is_protected)(const Target&)) {
  *reason = kept;
  for (const Target& target : candidate.targets) {
    if (!is_protected(target)) continue;
    *reason = "pid " + std::to_string(target.id.pid) + " " + broken;
    return false;
  }
  return true;
}

bool OnlyClients(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  return EachTarget(candidate, reason, "only client backends are signalled", "is not a client backend",
                    [](const Target& target) {
                      return target.kind != HC_BACKEND_CLIENT ||
                             (target.flags & HC_SESSION_PARALLEL_WORKER) != 0;
                    });
}

bool NoReplication(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  return EachTarget(candidate, reason, "no session of a replication role", "belongs to a replication role",
                    [](const Target& target) { return (target.flags & HC_SESSION_REPLICATION) != 0; });
}

bool NotOurs(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  return EachTarget(candidate, reason, "no process of pg_heal", "is a process of pg_heal",
                    [](const Target& target) { return (target.flags & HC_SESSION_OWN) != 0; });
}

bool NoMaintenance(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  return EachTarget(candidate, reason, "no maintenance is running in the sessions",
                    "runs a maintenance command", [](const Target& target) {
                      return (target.flags & (HC_SESSION_MAINTENANCE | HC_SESSION_ANTI_WRAPAROUND)) != 0;
                    });
}

bool NoBackupProgram(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  return EachTarget(candidate, reason, "no backup, dump or replication program",
                    "belongs to a backup, dump or replication program",
                    [](const Target& target) { return IsProtectedApplication(target.application); });
}

bool NoSuperuser(const Candidate& candidate, const Match& match, const GateContext& context, string* reason) {
  *reason = "no superuser is signalled";
  if (context.settings->allow_superusers != 0) {
    *reason = "superusers may be signalled by policy";
    return true;
  }
  for (const Target& target : candidate.targets) {
    if ((target.flags & HC_SESSION_SUPERUSER) == 0) continue;
    if (PoliciesOf(context).AllowsSuperusers(SubjectOf(match, target))) continue;
    *reason = "pid " + std::to_string(target.id.pid) + " belongs to a superuser";
    return false;
  }
  return true;
}

// ---- two looks ----

bool TwoLooks(const Candidate&, const Match& match, const GateContext& context, string* reason) {
  if (match.certain) {
    *reason = "a proven fact needs one look";
    return true;
  }
  if (Approved(context, reason)) return true;
  const int32_t needed = std::max(2, context.settings->confirm_samples);
  *reason =
      "seen in " + std::to_string(context.looks) + " of " + std::to_string(needed) + " consecutive samples";
  return context.looks >= needed;
}

// ---- budgets ----

Budget BudgetOf(const GateContext& context) { return BudgetFor(context.settings->policy); }

bool SessionsInRound(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  const int32_t count = static_cast<int32_t>(candidate.targets.size());
  const int32_t limit = SessionsPerRound(context.sessions);
  *reason = Within(count, limit, "sessions in one round");
  return count <= limit;
}

bool PerMinute(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  const int32_t count = LedgerOf(context).Actions(context.now_us, kMinuteUs) + ActionsOf(candidate);
  *reason = Within(count, BudgetOf(context).per_minute, "actions in a minute");
  return count <= BudgetOf(context).per_minute;
}

bool PerHour(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  const int32_t count = LedgerOf(context).Actions(context.now_us, kHourUs) + ActionsOf(candidate);
  *reason = Within(count, BudgetOf(context).per_hour, "actions in an hour");
  return count <= BudgetOf(context).per_hour;
}

bool PerObject(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  const int32_t count =
      LedgerOf(context).ActionsOnObject(candidate.object, context.now_us, kHourUs) + ActionsOf(candidate);
  *reason = Within(count, BudgetOf(context).per_object_hour, "actions on this object in an hour");
  return count <= BudgetOf(context).per_object_hour;
}

bool PerRole(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  const int32_t limit = BudgetOf(context).per_role_hour;
  std::map<string, int32_t> counts;
  for (const Target& target : candidate.targets) ++counts[target.role];
  *reason = "no role is over its budget";
  for (const auto& [role, wanted] : counts) {
    const int32_t count = LedgerOf(context).ActionsOnRole(role, context.now_us, kHourUs) + wanted;
    if (count <= limit) continue;
    *reason = Within(count, limit, "actions in an hour on role ") + role;
    return false;
  }
  return true;
}

bool Oscillation(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  const int32_t repeats =
      LedgerOf(context).Repeats(candidate.remedy, candidate.object, context.now_us, context.attempt_id);
  *reason = "done " + std::to_string(repeats) + " times on this object in seven days";
  return repeats < Ledger::kOscillationLimit;
}

// ---- calm ----

bool CalmFor(const GateContext& context, int64_t calm_us, const char* since, string* reason) {
  const int64_t age_us = context.now_us - context.server->started_at;
  const bool calm = calm_us <= 0 || age_us >= calm_us;
  *reason = calm ? "the server runs long enough"
                 : string(since) + " is " + std::to_string(std::max<int64_t>(age_us, 0) / 1000000) +
                       " s ago, less than " + std::to_string(calm_us / 1000000) + " s";
  return calm;
}

bool CalmPeriod(const Candidate&, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  return CalmFor(context, int64_t{context.settings->calm_period_ms} * 1000, "start, promotion or recovery",
                 reason);
}

// A server that crashed is watched twice as long.
bool AfterServerCrash(const Candidate&, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  *reason = "the server did not crash";
  if (!ServerFlag(context, HC_SERVER_CRASH_RECOVERED)) return true;
  return CalmFor(context, int64_t{context.settings->calm_period_ms} * 2000, "crash recovery", reason);
}

bool AfterHealerCrash(const Candidate&, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  const bool crashed = ServerFlag(context, HC_SERVER_HEALER_CRASHED);
  *reason = crashed ? "the healer crashed and only observes" : "the healer did not crash";
  return !crashed;
}

bool BaseBackup(const Candidate&, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  const bool running = ServerFlag(context, HC_SERVER_BASE_BACKUP);
  *reason = running ? "a base backup is running" : "no base backup is running";
  return !running;
}

bool Migration(const Candidate&, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  const bool running = ServerFlag(context, HC_SERVER_MIGRATION);
  *reason = running ? "a migration is declared" : "no migration is declared";
  return !running;
}

// ---- own footprint ----

bool LockTimeout(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  const bool bounded = candidate.lock_timeout_ms > 0 && candidate.lock_timeout_ms <= kLongestLockTimeoutMs &&
                       candidate.statement_timeout_ms > 0;
  *reason = candidate.kind != HC_CMD_SQL ? "it waits for no lock"
            : bounded                    ? "lock_timeout and statement_timeout are set"
                                         : "lock_timeout or statement_timeout is missing or too long";
  return candidate.kind != HC_CMD_SQL || bounded;
}

bool NoAccessExclusive(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  const bool exclusive = candidate.lock_mode >= kAccessExclusive;
  *reason = exclusive ? "it takes an ACCESS EXCLUSIVE lock" : "it takes no ACCESS EXCLUSIVE lock";
  return !exclusive;
}

bool DiskSpace(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  *reason = "it needs no disk space";
  if (candidate.disk_bytes <= 0) return true;
  *reason = "the free disk space is unknown";
  if (context.server->wal_disk_free_bytes < 0 || context.server->wal_disk_total_bytes < 0) return false;
  const double needed = 2.0 * static_cast<double>(candidate.disk_bytes) +
                        kFreeShare * static_cast<double>(context.server->wal_disk_total_bytes);
  const bool enough = static_cast<double>(context.server->wal_disk_free_bytes) >= needed;
  *reason = enough ? "the disk has room for twice what it may take and 15 % to spare"
                   : "the disk has no room for twice what it may take and 15 % to spare";
  return enough;
}

bool Concurrency(const Candidate&, const Match&, const GateContext& context, string* reason) {
  const int32_t limit = std::max(1, context.settings->concurrent_recoveries);
  *reason = std::to_string(context.running) + " of at most " + std::to_string(limit) +
            " other recoveries are running";
  return context.running < limit;
}

// Two remedies for one table would refuse, or undo, each other.
bool OnePerRelation(const Candidate&, const Match&, const GateContext& context, string* reason) {
  *reason = context.running_on_relation == 0 ? "nothing else is done to the relation"
                                             : "another recovery works on the relation";
  return context.running_on_relation == 0;
}

// ---- undo, verification, benefit ----

bool UndoFirst(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  const bool undo = candidate.reversible && !candidate.capture_items.empty() && !candidate.undo_sql.empty();
  *reason = undo                 ? "before-image and undo are known"
            : candidate.harmless ? "it needs no undo"
                                 : "there is no before-image or no undo";
  return undo || (candidate.harmless && !candidate.reversible);
}

bool VerifiedOnTarget(const Candidate& candidate, const Match&, const GateContext&, string* reason) {
  const bool probe = candidate.kind != HC_CMD_SQL || !candidate.probe_sql.empty();
  const bool known = !candidate.verification.empty() && probe;
  *reason = known ? "success is judged on the target" : "there is no way to judge its success";
  return known;
}

bool DetectorPrecision(const Candidate&, const Match&, const GateContext& context, string* reason) {
  if (Approved(context, reason)) return true;
  *reason = context.detector_demoted ? "what found this failure was mostly wrong before: see heal_detectors"
                                     : "what found this failure is not known to be wrong";
  return !context.detector_demoted;
}

bool CanHelp(const Candidate& candidate, const Match&, const GateContext& context, string* reason) {
  if (!candidate.refused_because.empty()) {
    *reason = candidate.refused_because;
    return false;
  }
  if (Approved(context, reason)) return true;
  const bool helps =
      candidate.symptom_with > 0 && candidate.symptom_without <= kClearlyLower * candidate.symptom_with;
  *reason = helps ? "the symptom would go with its cause" : "the model expects no improvement";
  return helps;
}

constexpr GateVerdict::Decision kAsk = GateVerdict::kAsk;
constexpr GateVerdict::Decision kWait = GateVerdict::kWait;
constexpr GateVerdict::Decision kRefuse = GateVerdict::kRefuse;
constexpr GateVerdict::Decision kEscalate = GateVerdict::kEscalate;

constexpr GateDef kGates[] = {
    {"pause", Paused, kWait, true, "Nothing is done while heal_pause holds."},
    {"observe", ObserveOnly, kRefuse, false, "In mode observe nothing is ever done."},
    {"autonomy", Autonomy, kAsk, false, "The mode, lowered by policies, says what is done without asking."},
    {"critical", Critical, kAsk, false, "In mode limited, what is marked critical needs approval."},
    {"detector_precision", DetectorPrecision, kAsk, false,
     "What a detector found that was mostly wrong before needs approval."},
    {"risk_never", RiskNeverAutomatic, kRefuse, false, "Class A4 is never executed."},
    {"risk_approval", RiskNeedsApproval, kAsk, false, "Class A3 needs approval."},
    {"forbidden", Forbidden, kRefuse, false, "A policy may forbid a remedy."},
    {"exempt", Exempt, kRefuse, false, "Exempt roles, databases, applications and objects are left alone."},
    {"window", Window, kWait, false, "Automatic action only inside the window of a policy."},
    {"protected_kind", OnlyClients, kRefuse, false, "Only client backends are signalled."},
    {"protected_replication", NoReplication, kRefuse, false, "Replication roles are never signalled."},
    {"protected_own", NotOurs, kRefuse, false, "The healer never signals itself."},
    {"protected_maintenance", NoMaintenance, kRefuse, false,
     "Maintenance and vacuum against wraparound go on."},
    {"protected_application", NoBackupProgram, kRefuse, false, "Backups, dumps and replication tools go on."},
    {"protected_superuser", NoSuperuser, kRefuse, false,
     "Superusers are signalled only where a policy allows it."},
    {"two_looks", TwoLooks, kWait, true, "Anything but a proven fact is seen in consecutive samples first."},
    {"budget_round", SessionsInRound, kWait, false,
     "At most max(1, min(3, 5 % of sessions)) sessions in a round."},
    {"budget_minute", PerMinute, kWait, false, "Actions per minute are limited."},
    {"budget_hour", PerHour, kWait, false, "Actions per hour are limited."},
    {"budget_object", PerObject, kWait, false, "Actions per object are limited."},
    {"budget_role", PerRole, kWait, false, "Actions per role are limited."},
    {"oscillation", Oscillation, kEscalate, false,
     "The third repeat in seven days is not followed by a fourth."},
    {"calm_period", CalmPeriod, kWait, false, "Nothing automatic soon after start, promotion or recovery."},
    {"server_crash", AfterServerCrash, kWait, false,
     "After a crash of the server it is watched twice as long."},
    {"healer_crash", AfterHealerCrash, kWait, false,
     "A healer that comes up after its own crash observes first."},
    {"base_backup", BaseBackup, kWait, false, "Nothing automatic during a base backup."},
    {"migration", Migration, kWait, false, "Nothing automatic during a declared migration."},
    {"lock_timeout", LockTimeout, kRefuse, false,
     "Own statements run with lock_timeout and statement_timeout."},
    {"access_exclusive", NoAccessExclusive, kAsk, false, "ACCESS EXCLUSIVE needs approval."},
    {"disk", DiskSpace, kEscalate, false, "Room on disk is proven before it is used."},
    {"concurrency", Concurrency, kWait, false, "Few recoveries run at a time."},
    {"one_per_relation", OnePerRelation, kWait, false, "One recovery at a time works on a relation."},
    {"undo_first", UndoFirst, kRefuse, false, "Undo is known first, unless none is needed."},
    {"verification", VerifiedOnTarget, kRefuse, false, "Success is judged on the target."},
    {"can_help", CanHelp, kEscalate, false, "What cannot help is not done."},
};

int Gravity(const GateDef& gate) {
  switch (gate.otherwise) {
    case GateVerdict::kRefuse:
      return 5;
    case GateVerdict::kEscalate:
      return 4;
    case GateVerdict::kAsk:
      return 2;
    case GateVerdict::kWait:
      return gate.before_asking ? 3 : 1;
    case GateVerdict::kAct:
      break;
  }
  return 0;
}

}  // namespace

std::span<const GateDef> Gates() { return kGates; }

GateVerdict CheckGates(const Candidate& candidate, const Match& match, const GateContext& context) {
  return CheckGates(candidate, match, context, kGates);
}

GateVerdict CheckGates(const Candidate& candidate, const Match& match, const GateContext& context,
                       std::span<const GateDef> gates) {
  GateVerdict verdict;
  if (context.settings == nullptr || context.server == nullptr) {
    verdict.reason = "settings or facts of the server are unknown";
    return verdict;
  }
  const Policies no_policies;
  const Ledger no_ledger;
  GateContext whole = context;
  if (whole.policies == nullptr) whole.policies = &no_policies;
  if (whole.ledger == nullptr) whole.ledger = &no_ledger;
  verdict.decision = GateVerdict::kAct;
  int gravest = 0;
  for (const GateDef& gate : gates) {
    GateResult result{string(gate.name), false, ""};
    result.passed = gate.check(candidate, match, whole, &result.reason);
    if (!result.passed && Gravity(gate) > gravest) {
      gravest = Gravity(gate);
      verdict.decision = gate.otherwise;
      verdict.reason = result.reason;
    }
    verdict.gates.push_back(std::move(result));
  }
  return verdict;
}

const char* DecisionName(GateVerdict::Decision decision) {
  constexpr const char* kNames[] = {"act", "ask", "wait", "refuse", "escalate"};
  return kNames[decision];
}

}  // namespace heal
