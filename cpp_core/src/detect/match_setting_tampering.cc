// S08 setting_tampering: a setting that protects the data was switched off while
// the server ran.

#include <cstdint>
#include <map>
#include <string>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "setting_tampering";

struct Unsafe {
  uint32_t bit;
  const char* name;
  const char* value;
};

constexpr Unsafe kUnsafe[] = {
    {HC_UNSAFE_FSYNC, "fsync", "off"},
    {HC_UNSAFE_FULL_PAGE_WRITES, "full_page_writes", "off"},
    {HC_UNSAFE_AUTOVACUUM, "autovacuum", "off"},
    {HC_UNSAFE_ZERO_DAMAGED_PAGES, "zero_damaged_pages", "on"},
    {HC_UNSAFE_IGNORE_CHECKSUM_FAILURE, "ignore_checksum_failure", "on"},
};

// A statement about one of them.
struct Change {
  std::string role, database, application, client_addr, detail;
  int64_t mono_us = 0;
};

class SettingTamperingMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void NoteEvents(const MatchInput& input);
  void Follow(const MatchInput& input, uint32_t unsafe);
  Match Describe(const Unsafe& setting, int64_t since_us) const;

  std::map<std::string, Change> changes_;   // the latest of each setting
  std::map<uint32_t, int64_t> raised_;      // bit -> since when
  uint32_t before_ = 0;                     // as the server was started, or judged already
  uint64_t last_seq_ = 0;
  bool first_ = true;
};

void SettingTamperingMatcher::NoteEvents(const MatchInput& input) {
  const hc_observation& observation = input.observation;
  for (uint32_t i = 0; i < observation.n_security_events; ++i) {
    const hc_security_event& event = observation.security_events[i];
    if (event.seq <= last_seq_) continue;
    last_seq_ = event.seq;
    if (event.kind != HC_SEC_SETTING) continue;
    for (const Unsafe& setting : kUnsafe)
      if (event.object == std::string(setting.name))
        changes_[setting.name] = {event.role, event.database, event.application, event.client_addr, event.detail,
                                  observation.mono_us};
  }
}

void SettingTamperingMatcher::Follow(const MatchInput& input, uint32_t unsafe) {
  // Where the server was started so, somebody meant it.
  if (first_) before_ = unsafe;
  first_ = false;
  const bool migration = (input.observation.server->flags & HC_SERVER_MIGRATION) != 0;
  for (const Unsafe& setting : kUnsafe) {
    if ((unsafe & setting.bit) == 0) {
      raised_.erase(setting.bit);
      before_ &= ~setting.bit;
    } else if ((before_ & setting.bit) == 0 && !migration) {
      raised_.emplace(setting.bit, input.clock.now_us());
    }
  }
}

Match SettingTamperingMatcher::Describe(const Unsafe& setting, int64_t since_us) const {
  const std::string what = std::string(setting.name) + " is " + setting.value;
  const auto change = changes_.find(setting.name);
  Match match = NewMatch(kType, setting.name, what, what + " since the server was started with it otherwise");
  match.since_us = since_us;
  match.certain = true;
  AddEvidence(&match, "unsafe_setting", true, what);
  const bool by_statement = change != changes_.end();
  AddEvidence(&match, "set_by_statement", by_statement,
              by_statement ? change->second.detail + " by " + change->second.role + ", application \"" +
                                 change->second.application + "\" from " +
                                 (change->second.client_addr.empty() ? "a local socket" : change->second.client_addr)
                           : "no ALTER SYSTEM was seen: a file was edited");
  if (by_statement) {
    match.params["role"] = change->second.role;
    match.params["application"] = change->second.application;
    match.params["client_addr"] = change->second.client_addr;
  }
  return match;
}

void SettingTamperingMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  NoteEvents(input);
  if (input.observation.server == nullptr) return;
  Follow(input, input.observation.server->unsafe_settings);
  const double grace_s = input.thresholds.Get(kType, "grace_s");
  for (const Unsafe& setting : kUnsafe) {
    const auto raised = raised_.find(setting.bit);
    if (raised != raised_.end() && input.clock.AgeSeconds(raised->second) >= grace_s)
      out->push_back(Describe(setting, raised->second));
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeSettingTamperingMatcher() { return std::make_unique<SettingTamperingMatcher>(); }

}  // namespace heal
