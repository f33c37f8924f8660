// S04 bulk_exfiltration: a role is given far more rows than it ever was.
//
// A role is measured against itself: the most rows it got in any window of the
// last thirty days, one figure a day. That is above every quantile of them, so
// that what happens nightly, or monthly, is no news once it has happened. A role
// is not judged before it has been watched for long enough, and what was told
// once is learnt like everything else: a new habit is told of once.

#include <algorithm>
#include <cmath>
#include <deque>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "detect/client_programs.h"
#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "bulk_exfiltration";
constexpr size_t kMostRoles = 256;
constexpr size_t kMostPlaces = 32;  // applications and addresses of one role
constexpr size_t kMostSteps = 128;  // of one role in its window
constexpr int kDays = 30;
constexpr int64_t kDayUs = int64_t{86400} * 1000000;

struct Step {
  int64_t mono_us = 0;
  double rows = 0;
};

// An application at an address.
struct Place {
  std::string application, client_addr, database;
  int64_t first_mono = 0;
  int64_t last_mono = 0;
  double newest = 0;  // rows since Role.newest_mono ...
  double newer = 0;   // ... and in the window before that
};

struct Role {
  std::deque<Step> steps;  // of the window, oldest first
  double rows = 0;         // their sum
  std::deque<double> days; // largest window of each day, the present one last
  int64_t day_mono = 0;    // when the present one began
  double newest = 0;       // largest window since newest_mono ...
  double newer = 0;        // ... and in the window before that: neither counts yet
  int64_t newest_mono = 0;
  int64_t first_mono = 0;
  int64_t last_mono = 0;   // of the latest rows
  std::vector<Place> places;

  bool raised = false;
  int64_t since_us = 0;
  int64_t exceeded_mono = 0;
  Place place;       // that was given the most
  double most = 0;   // rows in the largest window of the burst
  double usual = 0;  // before it

  double Usual() const { return days.empty() ? 0 : *std::max_element(days.begin(), days.end()); }
};

class ExfiltrationMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void Note(const MatchInput& input, const hc_client& client);
  void Judge(const MatchInput& input, Role* role) const;
  Match Describe(const MatchInput& input, const std::string& name, const Role& role) const;
  Role* Find(const MatchInput& input, const std::string& name);

  std::map<std::string, Role> roles_;
  int64_t started_mono_ = 0;
  bool first_ = true;
};

// A role not seen before takes the place of the one silent for longest.
Role* ExfiltrationMatcher::Find(const MatchInput& input, const std::string& name) {
  const auto found = roles_.find(name);
  if (found != roles_.end()) return &found->second;
  if (roles_.size() >= kMostRoles) {
    const auto oldest = std::min_element(roles_.begin(), roles_.end(), [](const auto& a, const auto& b) {
      return a.second.last_mono < b.second.last_mono;
    });
    if (oldest->second.raised) return nullptr;
    roles_.erase(oldest);
  }
  Role& role = roles_[name];
  // Silent until now: it has been watched as long as everybody, and got nothing.
  role.first_mono = roles_.size() >= kMostRoles ? input.observation.mono_us : started_mono_;
  role.day_mono = role.newest_mono = input.observation.mono_us;
  role.days.push_back(0);
  return &role;
}

void NotePlace(const hc_client& client, int64_t mono, Role* role) {
  auto place = std::find_if(role->places.begin(), role->places.end(), [&](const Place& known) {
    return known.application == client.application && known.client_addr == client.client_addr;
  });
  if (place == role->places.end()) {
    if (role->places.size() >= kMostPlaces)
      role->places.erase(std::min_element(role->places.begin(), role->places.end(),
                                          [](const Place& a, const Place& b) { return a.last_mono < b.last_mono; }));
    role->places.push_back({client.application, client.client_addr, client.database, mono, mono, 0, 0});
    place = std::prev(role->places.end());
  }
  place->last_mono = mono;
  place->database = client.database;
  place->newest += static_cast<double>(client.rows);
}

void ExfiltrationMatcher::Note(const MatchInput& input, const hc_client& client) {
  if (client.role[0] == '\0' || client.rows == 0) return;
  Role* role = Find(input, client.role);
  if (role == nullptr) return;
  const int64_t mono = input.observation.mono_us;
  NotePlace(client, mono, role);
  if (role->steps.empty() || role->steps.back().mono_us != mono) role->steps.push_back({mono, 0});
  role->steps.back().rows += static_cast<double>(client.rows);
  if (role->steps.size() > kMostSteps) {
    role->steps[1].rows += role->steps[0].rows;
    role->steps.pop_front();
  }
  role->last_mono = mono;
}

// What a window held counts as usual when it has been over for a window at
// least, so that a burst is not measured against its own beginning.
void Learn(int64_t mono, int64_t window_us, Role* role) {
  role->newest = std::max(role->newest, role->rows);
  if (mono - role->newest_mono > window_us) {
    role->days.back() = std::max(role->days.back(), role->newer);
    role->newer = role->newest;
    role->newest = role->rows;
    role->newest_mono = mono;
    for (Place& place : role->places) {
      place.newer = place.newest;
      place.newest = 0;
    }
  }
  // Days without a look are days without rows.
  for (int i = 0; i < kDays && mono - role->day_mono >= kDayUs; ++i) {
    role->day_mono += kDayUs;
    role->days.push_back(0);
  }
  if (mono - role->day_mono >= kDayUs) role->day_mono = mono;
  while (role->days.size() > kDays) role->days.pop_front();
}

void ExfiltrationMatcher::Judge(const MatchInput& input, Role* role) const {
  const Thresholds& limits = input.thresholds;
  const int64_t mono = input.observation.mono_us;
  const auto window_us = static_cast<int64_t>(limits.Get(kType, "window_s") * 1e6);
  while (!role->steps.empty() && mono - role->steps.front().mono_us > window_us) role->steps.pop_front();
  role->rows = 0;
  for (const Step& step : role->steps) role->rows += step.rows;

  const double usual = role->raised ? role->usual : role->Usual();
  const bool known = static_cast<double>(mono - role->first_mono) / 1e6 >= limits.Get(kType, "history_s");
  const bool exceeds =
      known && role->rows >= limits.Get(kType, "rows") && role->rows >= limits.Get(kType, "factor") * usual;
  if (exceeds && !role->raised) {
    role->raised = true;
    role->since_us = input.clock.now_us();
    role->usual = usual;
    role->most = 0;
  }
  if (exceeds) {
    role->exceeded_mono = mono;
    role->place = *std::max_element(role->places.begin(), role->places.end(), [](const Place& a, const Place& b) {
      return a.newest + a.newer < b.newest + b.newer;
    });
    role->most = std::max(role->most, role->rows);
  }
  const double quiet_s = limits.Get(kType, "quiet_s");
  if (role->raised && static_cast<double>(mono - role->exceeded_mono) / 1e6 > quiet_s) role->raised = false;
  Learn(mono, window_us, role);
}

Match ExfiltrationMatcher::Describe(const MatchInput& input, const std::string& name, const Role& role) const {
  const Place& place = role.place;
  const std::string from = place.client_addr.empty() ? "a local socket" : place.client_addr;
  const std::string subject = "role " + name + " from " + from;
  Match match = NewMatch(kType, name, subject,
                         Text("role %s was given %.0f rows within %.0f s, most of them application \"%s\" at %s; "
                              "the most before was %.0f",
                              name.c_str(), role.most, input.thresholds.Get(kType, "window_s"),
                              place.application.c_str(), from.c_str(), role.usual));
  match.database = place.database;
  match.since_us = role.since_us;
  const double new_s = static_cast<double>(role.exceeded_mono - place.first_mono) / 1e6;
  const bool is_new =
      place.first_mono > started_mono_ && new_s < input.thresholds.Get(kType, "new_place_s");
  AddEvidence(&match, "rows_far_above_usual", true,
              Text("%.0f rows against %.0f at most before", role.most, role.usual));
  AddEvidence(&match, "new_client_place", is_new,
              Text("application \"%s\" at %s is known for %.0f s", place.application.c_str(), from.c_str(), new_s));
  match.params["role"] = name;
  match.params["application"] = place.application;
  match.params["client_addr"] = place.client_addr;
  match.values["rows"] = role.most;
  match.values["usual"] = role.usual;
  return match;
}

// Whom reading everything is no surprise of.
bool MayReadAll(const hc_client& client) {
  return (client.flags & (HC_SESSION_SUPERUSER | HC_SESSION_REPLICATION)) != 0 || IsDumpProgram(client.application);
}

void ExfiltrationMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  if (first_) started_mono_ = observation.mono_us;
  first_ = false;
  for (uint32_t i = 0; i < observation.n_clients; ++i)
    if (!MayReadAll(observation.clients[i])) Note(input, observation.clients[i]);
  for (auto& [name, role] : roles_) {
    Judge(input, &role);
    if (role.raised) out->push_back(Describe(input, name, role));
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeExfiltrationMatcher() { return std::make_unique<ExfiltrationMatcher>(); }

}  // namespace heal
