// S05 injection_probing: a role at an address tries out what it may do: errors
// of many kinds in a burst, or refusal after refusal.

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "detect/client_programs.h"
#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "injection_probing";
constexpr size_t kMostSources = 256;
constexpr size_t kMostSteps = 64;  // of one source in its window

// What no application writes into its statements by itself: a broken deploy
// lacks names, it does not break quotes, types or positions.
constexpr uint32_t kMalformed =
    HC_PROBE_SYNTAX | HC_PROBE_TEXT | HC_PROBE_TYPE | HC_PROBE_POSITION | HC_PROBE_CARDINALITY;

constexpr std::pair<uint32_t, const char*> kKindNames[] = {
    {HC_PROBE_SYNTAX, "42601"},   {HC_PROBE_TEXT, "22P02"},  {HC_PROBE_TYPE, "42804"},
    {HC_PROBE_POSITION, "42P10"}, {HC_PROBE_CARDINALITY, "21000"}, {HC_PROBE_COLUMN, "42703"},
    {HC_PROBE_TABLE, "42P01"},    {HC_PROBE_FUNCTION, "42883"},
};

// What a source did between two looks, or in a whole window.
struct Step {
  int64_t mono_us = 0;
  double statements = 0;
  double refused = 0;
  double probing = 0;
  uint64_t refused_what = 0;
  uint64_t probing_what = 0;
  uint32_t kinds = 0;

  void Add(const Step& other) {
    statements += other.statements;
    refused += other.refused;
    probing += other.probing;
    refused_what |= other.refused_what;
    probing_what |= other.probing_what;
    kinds |= other.kinds;
  }
};

// One of the two forms of the failure at one source.
struct Form {
  bool raised = false;
  int64_t since_us = 0;
  int64_t last_mono = 0;  // of the latest error
  double errors = 0;      // since it was raised
  Step seen;              // the most telling window
};

struct Source {
  std::deque<Step> steps;  // of the window, oldest first
  int64_t first_us = 0;    // of the oldest step
  std::string application, database;
  Form refused, probing;
};

// Bits that are set are messages that differ; some more may share a bit.
int Different(uint64_t what) { return std::popcount(what); }

std::string KindNames(uint32_t kinds) {
  std::string names;
  for (const auto& [bit, name] : kKindNames)
    if ((kinds & bit) != 0) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

class ProbingMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  using Key = std::pair<std::string, std::string>;  // role, address

  void Note(const MatchInput& input, const hc_client& client);
  void Judge(const MatchInput& input, Source* source) const;

  std::map<Key, Source> sources_;
};

void AddStep(const Step& step, Source* source) {
  if (!source->steps.empty() && source->steps.back().mono_us == step.mono_us) {
    source->steps.back().Add(step);
    return;
  }
  source->steps.push_back(step);
  if (source->steps.size() <= kMostSteps) return;
  // Two of the oldest become one: the window gets coarser, no error is lost.
  source->steps[1].Add(source->steps[0]);
  source->steps.pop_front();
}

void ProbingMatcher::Note(const MatchInput& input, const hc_client& client) {
  const bool errors = client.refused > 0 || client.probing > 0;
  const Key key{client.role, client.client_addr};
  auto found = sources_.find(key);
  if (found == sources_.end()) {
    if (!errors || key.first.empty() || sources_.size() >= kMostSources) return;
    found = sources_.emplace(key, Source()).first;
  }
  Source& source = found->second;
  const int64_t mono = input.observation.mono_us;
  if (source.steps.empty()) source.first_us = input.clock.now_us();
  AddStep({mono, static_cast<double>(client.statements), static_cast<double>(client.refused),
           static_cast<double>(client.probing), client.refused_what, client.probing_what, client.probing_kinds},
          &source);
  if (!errors) return;
  source.application = client.application;
  source.database = client.database;
  if (client.refused > 0) source.refused.last_mono = mono;
  if (client.probing > 0) source.probing.last_mono = mono;
}

// Raised by the window, held until it has been quiet for long enough.
void Follow(const MatchInput& input, bool holds, double errors, const Step& window, const Source& source,
            Form* form) {
  if (!form->raised && !holds) return;
  if (!form->raised) {
    form->raised = true;
    form->since_us = source.first_us;
    form->errors = errors;
    form->seen = window;
  } else if (holds && errors >= form->errors) {
    form->errors = errors;
    form->seen = window;
  }
  const double quiet_s = input.thresholds.Get(kType, "quiet_s");
  const double ago_s = static_cast<double>(input.observation.mono_us - form->last_mono) / 1e6;
  if (ago_s > quiet_s) *form = Form();
}

void ProbingMatcher::Judge(const MatchInput& input, Source* source) const {
  const Thresholds& limits = input.thresholds;
  const auto window_us = static_cast<int64_t>(limits.Get(kType, "window_s") * 1e6);
  while (!source->steps.empty() && input.observation.mono_us - source->steps.front().mono_us > window_us)
    source->steps.pop_front();
  Step window;
  for (const Step& step : source->steps) window.Add(step);

  const bool refused = window.refused >= limits.Get(kType, "refusals");
  Follow(input, refused, window.refused, window, *source, &source->refused);

  const double share = window.probing / std::max(1.0, window.probing + window.statements);
  const bool probing = window.probing >= limits.Get(kType, "errors") &&
                       share >= limits.Get(kType, "error_share") &&
                       std::popcount(window.kinds) >= limits.Get(kType, "kinds") &&
                       Different(window.probing_what) >= limits.Get(kType, "different") &&
                       (window.kinds & kMalformed) != 0;
  Follow(input, probing, window.probing, window, *source, &source->probing);
}

Match NewProbe(const std::string& form, const std::pair<std::string, std::string>& key, const Source& source,
               const std::string& what, int64_t since_us) {
  const std::string from = key.second.empty() ? "a local socket" : key.second;
  const std::string subject = "role " + key.first + " from " + from + ": " + what;
  Match match = NewMatch(kType, form + "/" + key.first + "/" + key.second, subject,
                         subject + ", application \"" + source.application + "\"");
  match.database = source.database;
  match.since_us = since_us;
  match.params["role"] = key.first;
  match.params["application"] = source.application;
  match.params["client_addr"] = key.second;
  return match;
}

Match DescribeRefused(const MatchInput& input, const std::pair<std::string, std::string>& key,
                      const Source& source) {
  const Form& form = source.refused;
  const int different = Different(form.seen.refused_what);
  Match match = NewProbe("refused", key, source, "permissions denied", form.since_us);
  const bool many = different >= input.thresholds.Get(kType, "objects");
  // The same refusal again and again is an application without a grant.
  if (!many) match.severity = "info";
  AddEvidence(&match, "permission_errors_burst", true,
              Text("%.0f statements were refused with 42501", form.errors));
  AddEvidence(&match, "many_objects_refused", many, Text("at least %d different refusals", different));
  AddEvidence(&match, "same_error_again", !many, Text("at least %d different refusals", different));
  match.values["refused"] = form.errors;
  match.values["different"] = different;
  return match;
}

Match DescribeProbing(const std::pair<std::string, std::string>& key, const Source& source) {
  const Form& form = source.probing;
  Match match = NewProbe("probing", key, source, "statements that fail in many ways", form.since_us);
  AddEvidence(&match, "probing_errors_burst", true,
              Text("%.0f errors, at least %d different ones, SQLSTATEs %s; %.0f statements succeeded or failed otherwise",
                   form.errors, Different(form.seen.probing_what), KindNames(form.seen.kinds).c_str(),
                   form.seen.statements));
  AddEvidence(&match, "same_error_again", false,
              Text("at least %d different errors", Different(form.seen.probing_what)));
  match.values["errors"] = form.errors;
  match.values["different"] = Different(form.seen.probing_what);
  match.values["statements"] = form.seen.statements;
  return match;
}

void ProbingMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const hc_observation& observation = input.observation;
  // A declared migration makes many errors and is watched by who declared it.
  const bool migration = observation.server != nullptr && (observation.server->flags & HC_SERVER_MIGRATION) != 0;
  for (uint32_t i = 0; i < observation.n_clients; ++i) {
    const hc_client& client = observation.clients[i];
    if (!migration && !IsDumpProgram(client.application)) Note(input, client);
  }
  for (auto at = sources_.begin(); at != sources_.end();) {
    Source& source = at->second;
    Judge(input, &source);
    if (source.refused.raised) out->push_back(DescribeRefused(input, at->first, source));
    if (source.probing.raised) out->push_back(DescribeProbing(at->first, source));
    const bool idle = source.steps.empty() && !source.refused.raised && !source.probing.raised;
    at = idle ? sources_.erase(at) : std::next(at);
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeProbingMatcher() { return std::make_unique<ProbingMatcher>(); }

}  // namespace heal
