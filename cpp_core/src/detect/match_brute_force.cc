// S01 brute_force: many logins from one address fail.

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "brute_force";
constexpr size_t kMostAddresses = 256;
constexpr size_t kMostSteps = 128;  // of one address in its window
constexpr size_t kMostRoles = 128;  // of one address
// Failures per second that no client's retries make.
constexpr double kRapidRate = 1.0;
constexpr size_t kManyRoles = 3;

// What happened at an address between two looks.
struct Step {
  int64_t mono_us = 0;
  double failures = 0;
  double successes = 0;
};

struct Address {
  std::deque<Step> steps;                // of the window, oldest first
  std::map<std::string, double> failed;  // by role, in this burst
  int64_t last_failure_mono = 0;
  int64_t since_us = 0;
  bool raised = false;
  bool broken_in = false;  // a login succeeded after it was raised
  std::string role_in;     // whose
  std::string after_run;   // a role that logged in right after a run of failures

  double Failures() const {
    double sum = 0;
    for (const Step& step : steps) sum += step.failures;
    return sum;
  }
  double Successes() const {
    double sum = 0;
    for (const Step& step : steps) sum += step.successes;
    return sum;
  }
};

class BruteForceMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  struct Totals {
    uint64_t failures = 0;
    uint64_t successes = 0;
    uint64_t broken_in = 0;
  };

  void Note(const MatchInput& input, const hc_login& login);
  void Add(const MatchInput& input, const hc_login& login, double failures, double successes);
  void Judge(const MatchInput& input, Address* address) const;

  // Totals at the look before; pairs that the server forgot are dropped.
  std::map<std::pair<std::string, std::string>, Totals> before_;
  std::map<std::string, Address> addresses_;
  bool first_ = true;
};

// Counts start again where the server took the slot for another pair meanwhile.
uint64_t Since(uint64_t now, uint64_t before) { return now >= before ? now - before : now; }

std::string Where(const std::string& address) { return address.empty() ? "local socket" : address; }

void BruteForceMatcher::Add(const MatchInput& input, const hc_login& login, double failures,
                            double successes) {
  auto found = addresses_.find(login.address);
  if (found == addresses_.end()) {
    if (failures == 0 || addresses_.size() >= kMostAddresses) return;
    found = addresses_.emplace(login.address, Address()).first;
  }
  Address& address = found->second;
  const int64_t mono = input.observation.mono_us;
  if (address.steps.empty() || address.steps.back().mono_us != mono) address.steps.push_back({mono, 0, 0});
  if (address.steps.size() > kMostSteps) {
    // Two of the oldest become one: the window gets coarser, no failure is lost.
    address.steps[1].failures += address.steps[0].failures;
    address.steps[1].successes += address.steps[0].successes;
    address.steps.pop_front();
  }
  address.steps.back().failures += failures;
  address.steps.back().successes += successes;
  if (failures > 0) {
    if (address.failed.size() < kMostRoles || address.failed.contains(login.role))
      address.failed[login.role] += failures;
    address.last_failure_mono = mono;
    if (address.since_us == 0) address.since_us = input.clock.now_us();
  }
  if (successes > 0 && address.raised && address.failed.contains(login.role)) {
    address.broken_in = true;
    address.role_in = login.role;
  }
}

void BruteForceMatcher::Note(const MatchInput& input, const hc_login& login) {
  const auto key = std::make_pair(std::string(login.role), std::string(login.address));
  const auto known = before_.find(key);
  const Totals before = known == before_.end() ? Totals{} : known->second;
  // What was counted before the first look may be hours old.
  if (!first_) {
    Add(input, login, static_cast<double>(Since(login.failures, before.failures)),
        static_cast<double>(Since(login.successes, before.successes)));
    const auto address = addresses_.find(login.address);
    if (address != addresses_.end() && Since(login.broken_in, before.broken_in) > 0)
      address->second.after_run = login.role;
  }
}

void BruteForceMatcher::Judge(const MatchInput& input, Address* address) const {
  const Thresholds& limits = input.thresholds;
  const int64_t mono = input.observation.mono_us;
  const auto window_us = static_cast<int64_t>(limits.Get(kType, "window_s") * 1e6);
  while (!address->steps.empty() && mono - address->steps.front().mono_us > window_us)
    address->steps.pop_front();
  const double failures = address->Failures();
  const double share = failures / std::max(1.0, failures + address->Successes());
  if (!address->raised) {
    address->raised =
        failures >= limits.Get(kType, "failures") && share >= limits.Get(kType, "failed_share");
    // Failures and the login that ended them may come between the same two looks.
    address->broken_in = address->raised && !address->after_run.empty();
    if (address->broken_in) address->role_in = address->after_run;
    return;
  }
  const auto quiet_us = static_cast<int64_t>(limits.Get(kType, "quiet_s") * 1e6);
  address->raised = mono - address->last_failure_mono <= quiet_us;
}

Match Describe(const std::string& key, const Address& address, double window_s) {
  double failures = 0;
  auto most = address.failed.begin();
  for (auto role = address.failed.begin(); role != address.failed.end(); ++role) {
    failures += role->second;
    if (role->second > most->second) most = role;
  }
  const std::string where = Where(key);
  const std::string role = most == address.failed.end() ? "" : most->first;
  const size_t roles = address.failed.size();
  const std::string whom = roles == 1 ? Text("role %s", role.c_str()) : Text("%zu roles", roles);
  Match match = NewMatch(kType, where, where + ", " + whom,
                         Text("%.0f logins from %s failed, most of them of role %s", failures, where.c_str(),
                              role.c_str()));
  match.since_us = address.since_us;
  AddEvidence(&match, "logins_failing", true, Text("%.0f logins from %s failed", failures, where.c_str()));
  AddEvidence(&match, "many_roles_tried", roles >= kManyRoles, Text("%zu roles were tried", roles));
  const double rate = address.Failures() / window_s;
  AddEvidence(&match, "login_failures_rapid", rate >= kRapidRate, Text("%.2f failures per second", rate));
  AddEvidence(&match, "one_role_keeps_failing", roles == 1 && rate < kRapidRate,
              roles == 1 ? Text("only role %s fails, %.2f times per second", role.c_str(), rate)
                         : Text("%zu roles fail", roles));
  AddEvidence(&match, "login_after_failures", address.broken_in,
              address.broken_in ? Text("then role %s logged in from there", address.role_in.c_str())
                                : "no login from there succeeded since");
  if (address.broken_in) match.severity = "critical";
  match.params["client_addr"] = key;
  match.params["role"] = role;
  match.values["failures"] = failures;
  match.values["roles"] = static_cast<double>(roles);
  return match;
}

void BruteForceMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  std::map<std::pair<std::string, std::string>, Totals> now;
  for (uint32_t i = 0; i < observation.n_logins; ++i) {
    const hc_login& login = observation.logins[i];
    Note(input, login);
    now[{login.role, login.address}] = {login.failures, login.successes, login.broken_in};
  }
  if (observation.logins != nullptr) {
    before_ = std::move(now);
    first_ = false;
  }
  for (auto at = addresses_.begin(); at != addresses_.end();) {
    Address& address = at->second;
    Judge(input, &address);
    if (address.raised) {
      const double window_s = input.thresholds.Get(kType, "window_s");
      out->push_back(Describe(at->first, address, window_s));
    } else if (address.steps.empty()) {
      at = addresses_.erase(at);
      continue;
    }
    ++at;
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeBruteForceMatcher() { return std::make_unique<BruteForceMatcher>(); }

}  // namespace heal
