#include "recover/policies.h"

#include <algorithm>
#include <cctype>

namespace heal {
namespace {

using std::string_view;

constexpr const char* kModes[] = {"observe", "approve", "limited", "auto"};

// "Sch"."Tab" or Sch.Tab as Sch.Tab.
std::string Unquote(string_view name) {
  std::string out;
  bool quoted = false;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '"') {
      out += name[i];
    } else if (quoted && i + 1 < name.size() && name[i + 1] == '"') {
      out += '"';
      ++i;
    } else {
      quoted = !quoted;
    }
  }
  return out;
}

// The schema of a quoted, qualified name; "" when it is not qualified.
std::string SchemaOf(string_view name) {
  bool quoted = false;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '"') quoted = !quoted;
    if (name[i] == '.' && !quoted) return Unquote(name.substr(0, i));
  }
  return "";
}

bool Matches(string_view pattern, string_view text) {
  if (text.empty()) return false;
  if (!pattern.empty() && pattern.back() == '*')
    return text.starts_with(pattern.substr(0, pattern.size() - 1));
  return pattern == text;
}

bool MatchesObject(string_view pattern, const PolicySubject& subject) {
  const std::string plain = Unquote(pattern);
  for (const std::string* object : {&subject.object, &subject.index})
    if (Matches(pattern, *object) || Matches(plain, *object)) return true;
  return false;
}

bool Applies(string_view scope, string_view pattern, const PolicySubject& subject) {
  if (scope == "server") return true;
  if (scope == "component") return Matches(pattern, subject.component);
  if (scope == "database") return Matches(pattern, subject.database);
  if (scope == "schema") return Matches(pattern, subject.schema);
  if (scope == "object") return MatchesObject(pattern, subject);
  if (scope == "role") return Matches(pattern, subject.role);
  return scope == "application" && Matches(pattern, subject.application);
}

bool SwitchedOff(string_view value) {
  return value == "off" || value == "false" || value == "no" || value == "0";
}

std::string ParamOf(const Match& match, const char* name) {
  const auto found = match.params.find(name);
  return found == match.params.end() ? std::string() : found->second;
}

// "HH:MM" as minutes, -1 when malformed.
int32_t ParseMinutes(string_view text) {
  if (text.size() != 5 || text[2] != ':') return -1;
  for (const size_t i : {0, 1, 3, 4})
    if (text[i] < '0' || text[i] > '9') return -1;
  const int32_t hour = (text[0] - '0') * 10 + (text[1] - '0');
  const int32_t minute = (text[3] - '0') * 10 + (text[4] - '0');
  const bool end_of_day = hour == 24 && minute == 0;
  return (hour > 23 || minute > 59) && !end_of_day ? -1 : hour * 60 + minute;
}

// Minute of the day, UTC, also before 2000.
int32_t MinuteOfDay(int64_t now_us) {
  constexpr int64_t kDayUs = int64_t{86400} * 1000000;
  const int64_t in_day = ((now_us % kDayUs) + kDayUs) % kDayUs;
  return static_cast<int32_t>(in_day / 60000000);
}

bool Inside(int32_t minute, int32_t from, int32_t to) {
  return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

}  // namespace

PolicySubject SubjectOf(const Match& match) {
  PolicySubject subject;
  subject.component = match.component;
  subject.database = match.database;
  const std::string index = ParamOf(match, "index");
  std::string relation = ParamOf(match, "relation");
  if (relation.empty() || relation == index) relation = ParamOf(match, "table");
  subject.object = Unquote(relation);
  subject.index = Unquote(index);
  subject.schema = SchemaOf(relation.empty() ? index : relation);
  return subject;
}

PolicySubject SubjectOf(const Match& match, const Target& target) {
  PolicySubject subject = SubjectOf(match);
  subject.role = target.role;
  subject.application = target.application;
  if (!target.database.empty()) subject.database = target.database;
  return subject;
}

Policies::Policies(std::span<const hc_policy_row> rows) {
  rows_.reserve(rows.size());
  for (const hc_policy_row& row : rows) rows_.push_back({row.scope, row.subject, row.setting, row.value});
}

template <typename Visit>
void Policies::ForEach(string_view setting, const PolicySubject& subject, Visit visit) const {
  for (const Row& row : rows_)
    if (row.setting == setting && Applies(row.scope, row.subject, subject)) visit(row);
}

hc_mode Policies::Autonomy(hc_mode server, const PolicySubject& subject) const {
  hc_mode lowest = server;
  ForEach("autonomy", subject, [&](const Row& row) {
    hc_mode mode = HC_MODE_OBSERVE;
    ParseMode(row.value, &mode);
    lowest = std::min(lowest, mode);
  });
  return lowest;
}

std::string Policies::Exempt(const PolicySubject& subject) const {
  std::string reason;
  ForEach("exempt", subject, [&](const Row& row) {
    if (reason.empty() && !SwitchedOff(row.value))
      reason = row.scope + " " + row.subject + " is exempt by policy";
  });
  return reason;
}

std::string Policies::Forbidden(string_view remedy, const PolicySubject& subject) const {
  std::string reason;
  ForEach("forbid", subject, [&](const Row& row) {
    if (reason.empty() && Matches(row.value, remedy))
      reason = "policy of " + row.scope + " " + row.subject + " forbids " + row.value;
  });
  return reason;
}

bool Policies::AllowsSuperusers(const PolicySubject& subject) const {
  bool allowed = false;
  ForEach("allow", subject, [&](const Row& row) { allowed = allowed || row.value == "superusers"; });
  return allowed;
}

bool Policies::Critical(const PolicySubject& subject) const {
  bool critical = false;
  ForEach("critical", subject, [&](const Row& row) { critical = critical || !SwitchedOff(row.value); });
  return critical;
}

std::string Policies::OutsideWindow(int64_t now_us, const PolicySubject& subject) const {
  std::string reason;
  ForEach("window", subject, [&](const Row& row) {
    int32_t from = 0, to = 0;
    if (!reason.empty()) return;
    if (!ParseWindow(row.value, &from, &to))
      reason = "the window of " + row.scope + " " + row.subject + " cannot be read: " + row.value;
    else if (!Inside(MinuteOfDay(now_us), from, to))
      reason = "outside the window " + row.value + " UTC of " + row.scope + " " + row.subject;
  });
  return reason;
}

bool ParseMode(string_view text, hc_mode* mode) {
  for (int i = HC_MODE_OBSERVE; i <= HC_MODE_AUTO; ++i) {
    if (text != kModes[i]) continue;
    *mode = static_cast<hc_mode>(i);
    return true;
  }
  return false;
}

const char* ModeName(hc_mode mode) {
  return mode >= HC_MODE_OBSERVE && mode <= HC_MODE_AUTO ? kModes[mode] : "observe";
}

bool ParseWindow(string_view text, int32_t* from, int32_t* to) {
  if (text.size() != 11 || text[5] != '-') return false;
  *from = ParseMinutes(text.substr(0, 5));
  *to = ParseMinutes(text.substr(6));
  return *from >= 0 && *to >= 0;
}

}  // namespace heal
