// S02 privilege_escalation and S03 server_file_access: single statements that a
// person should know of, each a fact as the hook saw it.

#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kEscalation[] = "privilege_escalation";
constexpr char kFileAccess[] = "server_file_access";
constexpr size_t kMostShown = 64;
constexpr size_t kMostKnown = 1024;

struct Act {
  std::string role, database, application, client_addr, object, detail;
  bool superuser = false;
  int count = 0;
  int64_t first_at = 0;
  int64_t last_at = 0;
  int64_t last_mono = 0;
};

class PrivilegedActMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  // Failure type, role and what the act was about.
  using Key = std::tuple<std::string, std::string, std::string>;

  void Note(const MatchInput& input, const hc_security_event& event);
  bool IsKnown(const MatchInput& input, const hc_security_event& event);

  std::map<Key, Act> acts_;
  // When a role last did what kind of thing: its habits.
  std::map<std::pair<std::string, std::string>, int64_t> known_;
  uint64_t last_seq_ = 0;
};

const char* TypeOf(hc_security_kind kind) {
  return kind == HC_SEC_PRIVILEGE ? kEscalation : kFileAccess;
}

// A habit is no news; it stays one as long as it is kept up.
bool PrivilegedActMatcher::IsKnown(const MatchInput& input, const hc_security_event& event) {
  if (event.kind == HC_SEC_PRIVILEGE) return false;
  const auto key = std::make_pair(std::string(event.role), std::string(event.detail));
  const auto found = known_.find(key);
  const double novelty_s = input.thresholds.Get(kFileAccess, "novelty_s");
  const double ago_s = found == known_.end() ? 0 : static_cast<double>(event.at - found->second) / 1e6;
  const bool known = found != known_.end() && ago_s < novelty_s;
  if (found != known_.end()) {
    found->second = event.at;
  } else if (known_.size() < kMostKnown) {
    known_[key] = event.at;
  }
  // Going on with what is being shown belongs to it.
  return known && !acts_.contains({TypeOf(event.kind), event.role, event.object});
}

void PrivilegedActMatcher::Note(const MatchInput& input, const hc_security_event& event) {
  const double shown_s = input.thresholds.Get(TypeOf(event.kind), "shown_s");
  if (IsKnown(input, event) || input.clock.AgeSeconds(event.at) > shown_s) return;
  const Key key{TypeOf(event.kind), event.role, event.object};
  if (!acts_.contains(key) && acts_.size() >= kMostShown) return;
  Act& act = acts_[key];
  if (act.count == 0) act.first_at = event.at;
  ++act.count;
  act.role = event.role;
  act.database = event.database;
  act.application = event.application;
  act.client_addr = event.client_addr;
  act.object = event.object;
  if (act.detail.find(event.detail) == std::string::npos && act.detail.size() < 200)
    act.detail += (act.detail.empty() ? "" : ", ") + std::string(event.detail);
  act.superuser = event.superuser != 0;
  act.last_at = event.at;
  act.last_mono = input.observation.mono_us;
}

Match Describe(const std::string& type, const Act& act) {
  const bool escalation = type == kEscalation;
  const std::string subject = escalation ? act.object + ": " + act.detail + ", by " + act.role
                                         : act.detail + " " + act.object + ", by " + act.role;
  const std::string from = act.client_addr.empty() ? "a local socket" : act.client_addr;
  Match match = NewMatch(type, act.role + "/" + act.object, subject,
                         Text("%s, application \"%s\" from %s", subject.c_str(), act.application.c_str(), from.c_str()));
  match.database = act.database;
  match.since_us = act.first_at;
  // A superuser's everyday work is worth a note, not a warning.
  if (act.superuser) match.severity = "info";
  // A fact as seen by the hook: another look tells nothing more.
  match.certain = true;
  AddEvidence(&match, escalation ? "power_granted" : "server_files_used", true, subject);
  AddEvidence(&match, "granted_by_superuser", act.superuser,
              act.role + (act.superuser ? " is a superuser" : " is not a superuser"));
  match.params["role"] = act.role;
  match.params["application"] = act.application;
  match.params["client_addr"] = act.client_addr;
  match.params["object"] = act.object;
  match.values["count"] = act.count;
  return match;
}

void PrivilegedActMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  for (uint32_t i = 0; i < observation.n_security_events; ++i) {
    const hc_security_event& event = observation.security_events[i];
    if (event.seq <= last_seq_) continue;
    last_seq_ = event.seq;
    if (event.kind <= HC_SEC_UNTRUSTED_CODE) Note(input, event);
  }
  for (auto at = acts_.begin(); at != acts_.end();) {
    const std::string& type = std::get<0>(at->first);
    const double age_s = static_cast<double>(observation.mono_us - at->second.last_mono) / 1e6;
    if (age_s > input.thresholds.Get(type, "shown_s")) {
      at = acts_.erase(at);
      continue;
    }
    out->push_back(Describe(type, at->second));
    ++at;
  }
}

}  // namespace

std::unique_ptr<Matcher> MakePrivilegedActMatcher() { return std::make_unique<PrivilegedActMatcher>(); }

}  // namespace heal
