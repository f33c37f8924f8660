#include "history/ledger.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>

#include "json_text.h"

#include "plan/planner.h"

namespace heal {
namespace {

constexpr int64_t kMicros = 1000000;
constexpr int64_t kUnixToPostgresUs = int64_t{946684800} * kMicros;

// "2026-01-02T03:04:05.678901Z" as microseconds since 2000-01-01; false when
// it is no such time.
bool ParseTimestamp(const std::string& text, int64_t* us) {
  int year = 0;
  unsigned month = 0, day = 0, hour = 0, minute = 0;
  double second = 0;
  if (std::sscanf(text.c_str(), "%4d-%2u-%2uT%2u:%2u:%10lfZ", &year, &month, &day, &hour, &minute, &second) !=
      6)
    return false;
  const std::chrono::year_month_day date{std::chrono::year{year}, std::chrono::month{month},
                                         std::chrono::day{day}};
  if (!date.ok() || hour > 23 || minute > 59 || !(second >= 0 && second < 61)) return false;
  const int64_t days = std::chrono::sys_days{date}.time_since_epoch().count();
  const int64_t seconds = days * 86400 + static_cast<int64_t>(hour * 3600 + minute * 60);
  *us = seconds * kMicros + static_cast<int64_t>(second * static_cast<double>(kMicros) + 0.5) -
        kUnixToPostgresUs;
  return true;
}

std::string TextOf(const Json& row, const char* key) {
  const Json* found = row.find(key);
  return found != nullptr && found->is_string() ? found->text() : std::string();
}

// Entries of the span that ends at now. The clock may have been set back: what
// lies in the future counts as just now.
template <typename Count>
int32_t Sum(const std::deque<LedgerEntry>& entries, int64_t now_us, int64_t span_us, Count count) {
  int32_t sum = 0;
  for (auto entry = entries.rbegin(); entry != entries.rend() && entry->at_us > now_us - span_us; ++entry)
    sum += count(*entry);
  return sum;
}

}  // namespace

// Room to drain a hundred full slots to three quarters in one go (25 sessions)
// from the balanced policy on; a runaway healer still stops within the minute.
Budget BudgetFor(hc_policy policy) {
  switch (policy) {
    case HC_POLICY_CONSERVATIVE:
      return {5, 30, 10, 10};
    case HC_POLICY_AGGRESSIVE:
      return {60, 300, 120, 120};
    case HC_POLICY_BALANCED:
      break;
  }
  return {30, 120, 60, 60};
}

void Ledger::Note(LedgerEntry entry) {
  const auto later = [](int64_t at, const LedgerEntry& other) { return at < other.at_us; };
  const auto place = std::upper_bound(entries_.begin(), entries_.end(), entry.at_us, later);
  entries_.insert(place, std::move(entry));
  Trim();
}

void Ledger::Trim() {
  const int64_t oldest = entries_.back().at_us - kOscillationSpanUs;
  while (entries_.size() > kMaxEntries || entries_.front().at_us < oldest) entries_.pop_front();
}

bool Ledger::NoteAttemptRow(std::string_view json) {
  Json row;
  try {
    row = ParseJson(json, "attempt");
  } catch (const std::invalid_argument&) {
    return false;
  }
  const Json* id = row.find("attempt_id");
  LedgerEntry entry;
  entry.remedy = TextOf(row, "remedy");
  if (id == nullptr || !id->is_integer() || entry.remedy.empty()) return false;
  if (!ParseTimestamp(TextOf(row, "started_at"), &entry.at_us)) return false;
  entry.attempt_id = id->integer();
  entry.object = ObjectKey(TextOf(row, "database"), TextOf(row, "subject"));
  const auto same = [&](const LedgerEntry& other) {
    return other.attempt_id == entry.attempt_id && other.remedy == entry.remedy;
  };
  if (std::none_of(entries_.begin(), entries_.end(), same)) Note(std::move(entry));
  return true;
}

int32_t Ledger::Actions(int64_t now_us, int64_t span_us) const {
  return Sum(entries_, now_us, span_us, [](const LedgerEntry& entry) { return entry.actions; });
}

int32_t Ledger::ActionsOnObject(std::string_view object, int64_t now_us, int64_t span_us) const {
  return Sum(entries_, now_us, span_us,
             [&](const LedgerEntry& entry) { return entry.object == object ? entry.actions : 0; });
}

int32_t Ledger::ActionsOnRole(std::string_view role, int64_t now_us, int64_t span_us) const {
  return Sum(entries_, now_us, span_us, [&](const LedgerEntry& entry) {
    return static_cast<int32_t>(std::count(entry.roles.begin(), entry.roles.end(), role));
  });
}

int32_t Ledger::Repeats(std::string_view remedy, std::string_view object, int64_t now_us,
                        int64_t except_attempt) const {
  std::set<int64_t> attempts;
  int32_t anonymous = 0;
  Sum(entries_, now_us, kOscillationSpanUs, [&](const LedgerEntry& entry) {
    if (entry.remedy != remedy || entry.object != object) return 0;
    if (entry.attempt_id == 0)
      ++anonymous;
    else if (entry.attempt_id != except_attempt)
      attempts.insert(entry.attempt_id);
    return 0;
  });
  return anonymous + static_cast<int32_t>(attempts.size());
}

}  // namespace heal
