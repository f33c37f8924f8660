// S06 destructive_statement: all rows of a large table changed, removed or
// dropped with it, by a role that does no such thing as a rule.

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "destructive_statement";
constexpr size_t kMostShown = 64;
constexpr size_t kMostKnown = 1024;

struct Loss {
  std::string what, table, role, database, application, client_addr;
  double rows = 0;
  double of_rows = 0;
  bool superuser = false;
  int64_t at = 0;
  int64_t last_mono = 0;
};

class DestructiveMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void Note(const MatchInput& input, const hc_security_event& event);
  bool IsHabit(const MatchInput& input, const hc_security_event& event);

  std::map<std::string, Loss> losses_;  // by role, statement, table
  // When a role last did such a thing. Not by table: partitions come and go.
  std::map<std::pair<std::string, std::string>, int64_t> known_;
  uint64_t last_seq_ = 0;
};

bool DestructiveMatcher::IsHabit(const MatchInput& input, const hc_security_event& event) {
  const auto key = std::make_pair(std::string(event.role), std::string(event.detail));
  const auto found = known_.find(key);
  const double novelty_s = input.thresholds.Get(kType, "novelty_s");
  const bool habit = found != known_.end() && static_cast<double>(event.at - found->second) / 1e6 < novelty_s;
  if (found != known_.end()) {
    found->second = event.at;
  } else if (known_.size() < kMostKnown) {
    known_[key] = event.at;
  }
  return habit;
}

void DestructiveMatcher::Note(const MatchInput& input, const hc_security_event& event) {
  const Thresholds& limits = input.thresholds;
  const double least = std::max(limits.Get(kType, "rows"), limits.Get(kType, "share") * event.of_rows);
  if (!(event.rows >= least)) return;
  const hc_server* server = input.observation.server;
  if (server != nullptr && (server->flags & HC_SERVER_MIGRATION) != 0) return;
  if (IsHabit(input, event) || input.clock.AgeSeconds(event.at) > limits.Get(kType, "shown_s")) return;
  const std::string key = std::string(event.role) + "/" + event.detail + "/" + event.object;
  if (!losses_.contains(key) && losses_.size() >= kMostShown) return;
  losses_[key] = {event.detail, event.object, event.role, event.database, event.application, event.client_addr,
                  event.rows, event.of_rows, event.superuser != 0, event.at, input.observation.mono_us};
}

Match Describe(const std::string& key, const Loss& loss) {
  const std::string subject = loss.what + " of " + loss.table + ", by " + loss.role;
  const std::string from = loss.client_addr.empty() ? "a local socket" : loss.client_addr;
  Match match = NewMatch(kType, key, subject,
                         Text("%s, %.0f rows, application \"%s\" from %s", subject.c_str(), loss.rows,
                              loss.application.c_str(), from.c_str()));
  match.database = loss.database;
  match.since_us = loss.at;
  match.certain = true;
  // A superuser's everyday work is worth a note, not a warning.
  if (loss.superuser) match.severity = "info";
  AddEvidence(&match, "whole_table_lost", true, Text("%.0f of %.0f rows", loss.rows, loss.of_rows));
  AddEvidence(&match, "granted_by_superuser", loss.superuser,
              loss.role + (loss.superuser ? " is a superuser" : " is not a superuser"));
  match.params["role"] = loss.role;
  match.params["application"] = loss.application;
  match.params["client_addr"] = loss.client_addr;
  match.params["object"] = loss.table;
  match.values["rows"] = loss.rows;
  return match;
}

void DestructiveMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  for (uint32_t i = 0; i < observation.n_security_events; ++i) {
    const hc_security_event& event = observation.security_events[i];
    if (event.seq <= last_seq_) continue;
    last_seq_ = event.seq;
    if (event.kind == HC_SEC_DESTRUCTIVE) Note(input, event);
  }
  for (auto at = losses_.begin(); at != losses_.end();) {
    const double age_s = static_cast<double>(observation.mono_us - at->second.last_mono) / 1e6;
    if (age_s > input.thresholds.Get(kType, "shown_s")) {
      at = losses_.erase(at);
      continue;
    }
    out->push_back(Describe(at->first, at->second));
    ++at;
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeDestructiveMatcher() { return std::make_unique<DestructiveMatcher>(); }

}  // namespace heal
