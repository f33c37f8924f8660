// R04 connection_exhaustion: the slots of ordinary roles are used up. What to
// do depends on why: a leak, a pile-up behind a lock, or a reconnect storm.

#include <algorithm>
#include <cmath>
#include <string>

#include "detect/matcher.h"
#include "detect/session_groups.h"

namespace heal {
namespace {

constexpr char kType[] = "connection_exhaustion";
constexpr double kUsualWeight = 0.05;  // of a sample in the usual session rate

// The group that holds more idle sessions than it usually has sessions.
struct Leak {
  const SessionGroup* group = nullptr;
  std::vector<const hc_session*> idle;  // idle for long, longest first
  double usual = -1;
  double excess = 0;
};

class ConnectionExhaustionMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void NoteRefusals(const MatchInput& input);
  void NoteNewSessions(const MatchInput& input, bool healthy);
  bool RefusedLately(const MatchInput& input) const;
  Leak FindLeak(const MatchInput& input, const std::vector<SessionGroup>& groups) const;
  Match Describe(const MatchInput& input, size_t clients, double used,
                 const std::vector<SessionGroup>& groups);
  void AddLeak(const MatchInput& input, const Leak& leak, bool pileup, Match* match);
  bool AddPileup(const MatchInput& input, Match* match) const;
  void AddRates(const MatchInput& input, Match* match) const;

  GroupSizes sizes_;
  bool refusals_known_ = false;
  double refusals_ = 0;
  double new_refusals_ = 0;  // since the failure was raised
  int64_t refused_at_ = 0;   // monotonic; 0 never
  bool sessions_new_known_ = false;
  double sessions_new_ = 0;
  int64_t sessions_new_at_ = 0;
  double session_rate_ = std::nan("");
  double usual_rate_ = std::nan("");
  bool raised_ = false;
  std::string subject_;
  int64_t since_us_ = 0;
  Match match_;
};

double MetricValue(const MatchInput& input, hc_metric_id id) {
  return input.observation.metrics != nullptr ? input.observation.metrics[id] : std::nan("");
}

size_t CountClients(const hc_observation& observation) {
  size_t clients = 0;
  for (uint32_t i = 0; i < observation.n_sessions; ++i) {
    clients += observation.sessions[i].kind == HC_BACKEND_CLIENT ? 1 : 0;
  }
  return clients;
}

void ConnectionExhaustionMatcher::NoteRefusals(const MatchInput& input) {
  const double value = MetricValue(input, HC_M_LOG_TOO_MANY_CONNECTIONS);
  if (!std::isfinite(value)) return;
  if (refusals_known_ && value > refusals_) {
    new_refusals_ += value - refusals_;
    refused_at_ = input.observation.mono_us;
  }
  refusals_ = value;
  refusals_known_ = true;
}

bool ConnectionExhaustionMatcher::RefusedLately(const MatchInput& input) const {
  if (refused_at_ == 0) return false;
  const double quiet_s = static_cast<double>(input.observation.mono_us - refused_at_) / 1e6;
  return quiet_s < input.thresholds.Get(kType, "quiet_s");
}

void ConnectionExhaustionMatcher::NoteNewSessions(const MatchInput& input, bool healthy) {
  if (input.observation.full_tick == 0) return;
  const double value = MetricValue(input, HC_M_SESSIONS_NEW);
  const int64_t now = input.observation.mono_us;
  session_rate_ = std::nan("");
  if (std::isfinite(value)) {
    if (sessions_new_known_ && value >= sessions_new_ && now > sessions_new_at_) {
      session_rate_ = (value - sessions_new_) * 1e6 / static_cast<double>(now - sessions_new_at_);
    }
    sessions_new_ = value;
    sessions_new_at_ = now;
    sessions_new_known_ = true;
  }
  if (!healthy || !std::isfinite(session_rate_)) return;
  usual_rate_ =
      std::isfinite(usual_rate_) ? usual_rate_ + kUsualWeight * (session_rate_ - usual_rate_) : session_rate_;
}

std::string Who(const hc_session& any) {
  return Text("application \"%s\" of role %s from %s", any.application, any.role,
              any.client_addr[0] != '\0' ? any.client_addr : "a local socket");
}

// The group with the largest excess of long idle sessions over its usual size.
// One that was found to leak does so until its excess is gone: while it is being
// ended its share of the slots falls.
Leak ConnectionExhaustionMatcher::FindLeak(const MatchInput& input,
                                           const std::vector<SessionGroup>& groups) const {
  const Thresholds& limits = input.thresholds;
  const double slots = input.observation.server->max_connections;
  Leak worst;
  for (const SessionGroup& group : groups) {
    Leak leak;
    leak.group = &group;
    for (const hc_session* session : group.sessions) {
      if (session->state == HC_STATE_IDLE &&
          input.clock.AgeSeconds(session->id.state_change) >= limits.Get(kType, "leak_idle_s")) {
        leak.idle.push_back(session);
      }
    }
    const double idle = static_cast<double>(leak.idle.size());
    if (leak.idle.empty()) continue;
    const bool large = idle >= limits.Get(kType, "leak_share") * slots;
    if (!large && (subject_.empty() || subject_ != Who(*group.any))) continue;
    leak.usual = sizes_.Usual(group);
    leak.excess = std::min(idle, static_cast<double>(group.sessions.size()) - std::max(0.0, leak.usual));
    if (worst.group == nullptr || leak.excess > worst.excess) {
      worst = std::move(leak);
    }
  }
  std::sort(worst.idle.begin(), worst.idle.end(), [](const hc_session* a, const hc_session* b) {
    return a->id.state_change != b->id.state_change ? a->id.state_change < b->id.state_change
                                                    : a->id.pid < b->id.pid;
  });
  return worst;
}

bool ConnectionExhaustionMatcher::AddPileup(const MatchInput& input, Match* match) const {
  const hc_observation& observation = input.observation;
  if (observation.locks_known == 0) {
    AddEvidence(match, "sessions_waiting_behind_locks", Truth::kUnknown, "the lock waits are unknown");
    return true;  // cannot be ruled out
  }
  const Thresholds& limits = input.thresholds;
  double waiters = 0;
  for (uint32_t i = 0; i < observation.n_lock_waiters; ++i) {
    const double waited = input.clock.AgeSeconds(observation.lock_waiters[i].wait_start);
    waiters += waited >= limits.Get(kType, "pileup_wait_s") ? 1 : 0;
  }
  const double slots = observation.server->max_connections;
  const bool pileup = waiters >= std::max(1.0, limits.Get(kType, "pileup_share") * slots);
  AddEvidence(match, "sessions_waiting_behind_locks", pileup,
              Text("%.0f sessions have been waiting behind locks", waiters));
  match->values["lock_waiters"] = waiters;
  return pileup;
}

void ConnectionExhaustionMatcher::AddRates(const MatchInput& input, Match* match) const {
  const Thresholds& limits = input.thresholds;
  if (!refusals_known_) {
    AddEvidence(match, "connections_refused", Truth::kUnknown,
                "the number of refused connections is unknown");
  } else {
    AddEvidence(match, "connections_refused", RefusedLately(input),
                Text("%.0f connections were refused", new_refusals_));
  }
  match->values["refused"] = new_refusals_;
  if (!std::isfinite(session_rate_) || !std::isfinite(usual_rate_)) {
    AddEvidence(match, "new_session_rate_high", Truth::kUnknown, "the rate of new sessions is unknown");
    return;
  }
  const bool storm = session_rate_ >= limits.Get(kType, "storm_rate") &&
                     session_rate_ >= limits.Get(kType, "storm_factor") * usual_rate_;
  AddEvidence(match, "new_session_rate_high", storm,
              Text("%.1f new sessions per second, usually %.1f", session_rate_, usual_rate_));
  match->values["session_rate"] = session_rate_;
}

void ConnectionExhaustionMatcher::AddLeak(const MatchInput& input, const Leak& leak, bool pileup,
                                          Match* match) {
  static constexpr char kNode[] = "idle_sessions_of_one_application";
  if (leak.group == nullptr) {
    AddEvidence(match, kNode, false,
                "no role, application and address holds a large share of the "
                "slots with idle sessions");
    return;
  }
  const hc_session& any = *leak.group->any;
  const std::string who = Who(any);
  if (leak.usual < 0) {
    AddEvidence(match, kNode, Truth::kUnknown,
                Text("%s holds %zu idle sessions, but its usual number is not "
                     "known",
                     who.c_str(), leak.idle.size()));
    return;
  }
  const bool leaks = leak.excess >= 1;
  AddEvidence(match, kNode, leaks,
              Text("%s holds %zu long idle sessions, usually %.0f sessions", who.c_str(), leak.idle.size(),
                   leak.usual));
  match->values["leak_idle"] = static_cast<double>(leak.idle.size());
  match->values["leak_usual"] = leak.usual;
  if (!leaks) return;
  if (subject_.empty()) subject_ = who;
  match->values["leak_excess"] = leak.excess;
  match->params["role"] = any.role;
  match->params["application"] = any.application;
  match->params["client_addr"] = any.client_addr;
  if (pileup) return;
  // Down to the usual size, no further.
  const size_t most = static_cast<size_t>(leak.excess);
  for (size_t i = 0; i < leak.idle.size() && i < most; ++i) {
    match->targets.push_back(MakeTarget(*leak.idle[i], HC_GUARD_IDLE, 0));
  }
  match->values["longest_idle_s"] = input.clock.AgeSeconds(leak.idle.front()->id.state_change);
}

Match ConnectionExhaustionMatcher::Describe(const MatchInput& input, size_t clients, double used,
                                            const std::vector<SessionGroup>& groups) {
  const int slots = input.observation.server->max_connections;
  Match match = NewMatch(kType, "server", "",
                         Text("%zu of %d connection slots of ordinary roles are used", clients, slots));
  AddEvidence(&match, "connection_slots_low", used > input.thresholds.Get(kType, "clear"),
              Text("%.0f %% of the connection slots are used", 100 * used));
  const bool pileup = AddPileup(input, &match);
  AddRates(input, &match);
  AddLeak(input, FindLeak(input, groups), pileup, &match);
  match.subject = subject_.empty() ? "connection slots" : subject_;
  match.values["used"] = used;
  match.values["sessions"] = static_cast<double>(clients);
  match.values["slots"] = slots;
  match.since_us = since_us_;
  return match;
}

void ConnectionExhaustionMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  NoteRefusals(input);
  const bool known = observation.sessions_known != 0 && observation.server != nullptr &&
                     observation.server->max_connections > 0;
  if (!known) {
    if (raised_) out->push_back(HeldUnknown(match_));
    return;
  }
  const Thresholds& limits = input.thresholds;
  const size_t clients = CountClients(observation);
  const double used = static_cast<double>(clients) / observation.server->max_connections;
  const bool refused = RefusedLately(input);
  const bool above_clear = used > limits.Get(kType, "clear");
  // A refusal while slots are free is a role's or database's own limit.
  const bool holds =
      raised_ ? above_clear || refused : used > limits.Get(kType, "used") || (refused && above_clear);
  const std::vector<SessionGroup> groups = GroupSessions(observation);
  const bool healthy = !holds && !above_clear;
  NoteNewSessions(input, healthy);
  if (healthy && observation.full_tick != 0) {
    sizes_.Learn(groups, observation.mono_us);
  }
  if (holds && !raised_) {
    since_us_ = input.clock.now_us();
    subject_.clear();
  }
  if (!holds) new_refusals_ = 0;
  raised_ = holds;
  if (!holds) return;
  match_ = Describe(input, clients, used, groups);
  out->push_back(match_);
}

}  // namespace

std::unique_ptr<Matcher> MakeConnectionExhaustionMatcher() {
  return std::make_unique<ConnectionExhaustionMatcher>();
}

}  // namespace heal
