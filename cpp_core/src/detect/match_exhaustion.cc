// R01 xid_wraparound, R03 multixact_exhaustion, R05 disk_full, R06
// slot_wal_retention, R08 temp_file_explosion, R11 sequence_exhaustion: what is
// used up to a share of its limit. One rule each, in a table; they differ in
// what else must hold and in what is evidence for the cause.
//
// Connections run out, too, but that is a matcher of its own: there is a remedy.

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "detect/matcher.h"
#include "predict/resources.h"

namespace heal {
namespace {

// A guard that was passed must be missed by this much to end the failure.
constexpr double kGuardSlack = 0.2;
// Retained WAL or temporary files are a cause of a full disk from this share
// of it on, and a holder of the horizon one of a high age from this share of it.
constexpr double kShareOfDisk = 0.2;
constexpr double kShareOfAge = 0.5;

using Readings = std::vector<ResourceReading>;

// What all the functions of a rule are given.
struct Facts {
  const MatchInput& input;
  const Readings& readings;
  const ResourceReading& reading;
  const char* type;

  double Limit(const char* name) const { return input.thresholds.Get(type, name); }
};

struct Rule {
  Resource resource;
  const char* used;  // name of the limit that raises; nullptr: by_setting decides, see UsedLimit
  const char* node;  // mechanism that is observed with it
  bool (*guard)(const Facts&, double slack);  // nullptr: the share alone decides
  void (*explain)(const Facts&, Match*);      // further evidence
};

// ---- words ----

std::string Amount(double value, const char* unit) {
  if (std::string_view(unit) != "bytes") return Text("%.0f %s", value, unit);
  static constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB", "PB"};
  size_t n = 0;
  for (; value >= 10240 && n + 1 < std::size(kUnits); ++n) value /= 1024;
  return Text("%.0f %s", value, kUnits[n]);
}

std::string Used(const ResourceReading& reading) {
  const ResourceDef& def = DefOf(reading.resource);
  const double percent = 100 * std::min(reading.share(), 99.99);
  if (reading.resource == Resource::kSequence)
    return Text("%s has used %.1f %% of its values", reading.subject.c_str(), percent);
  return Text("%s: %s of %s, %.1f %%", reading.subject.c_str(), Amount(reading.value, def.unit).c_str(),
              Amount(reading.limit, def.unit).c_str(), percent);
}

// ---- what else must hold ----

bool DiskIsShort(const Facts& f, double slack) {
  return f.reading.limit - f.reading.value <= f.Limit("max_free") * (1 + slack);
}

bool IsLarge(const Facts& f, double slack) { return f.reading.value >= f.Limit("min_bytes") * (1 - slack); }

bool OlderThan(const Facts& f, int64_t freeze_max_age, double slack) {
  return f.reading.value >= static_cast<double>(freeze_max_age) + f.Limit("freeze_margin") * (1 - slack);
}
bool XidsNotFrozen(const Facts& f, double slack) {
  return OlderThan(f, f.input.observation.server->freeze_max_age, slack);
}
bool MultixactsNotFrozen(const Facts& f, double slack) {
  return OlderThan(f, f.input.observation.server->multixact_freeze_max_age, slack);
}

// ---- what is evidence for the cause ----

const ResourceReading* Largest(const Readings& readings, Resource resource) {
  const ResourceReading* largest = nullptr;
  for (const ResourceReading& reading : readings) {
    if (reading.resource != resource) continue;
    if (largest == nullptr || reading.value > largest->value) largest = &reading;
  }
  return largest;
}

void AddConsumer(const Facts& f, Resource consumer, const char* node, const char* nothing, Match* match) {
  const ResourceReading* largest = Largest(f.readings, consumer);
  const bool large = largest != nullptr && largest->value >= kShareOfDisk * f.reading.value;
  AddEvidence(match, node, large, largest != nullptr ? Used(*largest) : nothing);
}

void ExplainDisk(const Facts& f, Match* match) {
  // WAL lies on the data directory's file system unless it has one of its own.
  const bool wal = f.reading.resource == Resource::kWalDisk || f.input.observation.server->wal_disk_limit_bytes <= 0;
  if (wal) AddConsumer(f, Resource::kSlotWal, "wal_retained", "no slot holds back WAL", match);
  if (f.reading.resource == Resource::kDisk)
    AddConsumer(f, Resource::kTempSpace, "temp_space_high", "the size of the temporary files is unknown", match);
}

void ExplainSlot(const Facts& f, Match* match) {
  const bool active = f.reading.slot != nullptr && f.reading.slot->active != 0;
  AddEvidence(match, "slot_inactive", !active, active ? "the slot has a reader" : "nobody reads the slot");
  AddEvidence(match, "slot_reader_behind", active,
              active ? "its reader is that far behind" : "the slot has no reader");
}

// Who is old enough to keep ids of this age from being frozen.
void AddHolders(const Facts& f, Match* match) {
  const hc_observation& o = f.input.observation;
  uint32_t session = 0;
  uint32_t slot = 0;
  uint32_t standby = 0;
  uint32_t prepared = 0;
  for (uint32_t i = 0; i < o.n_sessions; ++i)
    session = std::max({session, o.sessions[i].xmin_age, o.sessions[i].xid_age});
  for (uint32_t i = 0; i < o.n_slots; ++i)
    if (o.slots[i].lost == 0) slot = std::max(slot, o.slots[i].xmin_age);
  for (uint32_t i = 0; i < o.n_standbys; ++i) standby = std::max(standby, o.standbys[i].xmin_age);
  for (uint32_t i = 0; i < o.n_prepared; ++i) prepared = std::max(prepared, o.prepared[i].xid_age);
  const std::pair<const char*, uint32_t> holders[] = {{"horizon_held_by_session", session},
                                                      {"horizon_held_by_slot", slot},
                                                      {"horizon_held_by_standby", standby},
                                                      {"horizon_held_by_prepared_transaction", prepared}};
  bool any = false;
  for (const auto& [node, age] : holders) {
    const bool old = age >= kShareOfAge * f.reading.value;
    any |= old;
    AddEvidence(match, node, old, Text("the oldest one is %u transactions old", age));
  }
  AddEvidence(match, "horizon_stuck", any,
              any ? "ids this old cannot be frozen while it is held" : "nothing that old holds the horizon");
}

void ExplainXids(const Facts& f, Match* match) {
  AddHolders(f, match);
  AddAutovacuumEvidence(f.input, match);
}

// ---- the rules ----

constexpr Rule kRules[] = {
    {Resource::kXidAge, "used", "xid_age_high", XidsNotFrozen, ExplainXids},
    {Resource::kMultixactAge, "used", "mxid_age_high", MultixactsNotFrozen, nullptr},
    {Resource::kMultixactMembers, "members_used", "mxid_age_high", nullptr, nullptr},
    {Resource::kDisk, "used", "disk_nearly_full", DiskIsShort, ExplainDisk},
    {Resource::kWalDisk, "used", "disk_nearly_full", DiskIsShort, ExplainDisk},
    {Resource::kSlotWal, nullptr, "wal_retained", IsLarge, ExplainSlot},
    {Resource::kTempSpace, "used", "temp_space_high", IsLarge, nullptr},
    {Resource::kSequence, "used", "sequence_nearly_used", nullptr, nullptr},
};

const char* UsedLimit(const Rule& rule, const ResourceReading& reading) {
  if (rule.used != nullptr) return rule.used;
  return reading.by_setting ? "keep_used" : "used";
}

bool Holds(const Rule& rule, const Facts& f, bool raised) {
  const double share = f.reading.share();
  const double used = f.Limit(UsedLimit(rule, f.reading));
  if (!raised) return share >= used && (rule.guard == nullptr || rule.guard(f, 0));
  return share > std::min(used, f.Limit("clear")) && (rule.guard == nullptr || rule.guard(f, kGuardSlack));
}

Match Describe(const Rule& rule, const Facts& f) {
  const ResourceReading& reading = f.reading;
  Match match = NewMatch(f.type, FingerprintKey(reading.resource, reading.subject), reading.subject, Used(reading));
  match.database = reading.database;
  match.database_oid = reading.database_oid;
  match.values["value"] = reading.value;
  match.values["limit"] = reading.limit;
  match.values["share"] = reading.share();
  AddEvidence(&match, rule.node, true, Used(reading));
  if (rule.explain != nullptr) rule.explain(f, &match);
  if (const FailureDef* def = FindFailure(f.type)) match.params["advice"] = def->safest_action;
  return match;
}

class ExhaustionMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  struct State {
    int64_t since_us = 0;
    uint32_t database_oid = 0;
    bool critical = false;
    bool seen = false;
    Match match;
  };

  void Judge(const Rule& rule, const Facts& facts);
  void DropUnseen(const MatchInput& input);

  Readings readings_;
  std::map<std::pair<Resource, std::string>, State> raised_;
};

void ExhaustionMatcher::Judge(const Rule& rule, const Facts& f) {
  const std::pair<Resource, std::string> key = {f.reading.resource, f.reading.subject};
  const auto known = raised_.find(key);
  if (!Holds(rule, f, known != raised_.end())) {
    if (known != raised_.end()) raised_.erase(known);
    return;
  }
  State& state = raised_[key];
  if (known == raised_.end()) state.since_us = f.input.clock.now_us();
  state.seen = true;
  state.database_oid = f.reading.database_oid;
  // Once critical it stays so: it is not to change with every look.
  state.critical |= f.reading.share() >= f.Limit("critical");
  state.match = Describe(rule, f);
  state.match.since_us = state.since_us;
  if (state.critical) state.match.severity = "critical";
}

// What is not listed any more has gone; what could not be read is held as it was.
void ExhaustionMatcher::DropUnseen(const MatchInput& input) {
  for (auto it = raised_.begin(); it != raised_.end();) {
    State& state = it->second;
    if (!state.seen && ResourceKnown(input.observation, it->first.first, state.database_oid)) {
      it = raised_.erase(it);
      continue;
    }
    if (!state.seen) state.match = HeldUnknown(state.match);
    ++it;
  }
}

void ExhaustionMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  ReadResources(input.observation, &readings_);
  for (auto& [key, state] : raised_) state.seen = false;
  for (const Rule& rule : kRules) {
    for (const ResourceReading& reading : readings_) {
      if (reading.resource == rule.resource)
        Judge(rule, {input, readings_, reading, DefOf(reading.resource).failure_type});
    }
  }
  DropUnseen(input);
  for (const auto& [key, state] : raised_) out->push_back(state.match);
}

}  // namespace

std::unique_ptr<Matcher> MakeExhaustionMatcher() { return std::make_unique<ExhaustionMatcher>(); }

}  // namespace heal
