#include "recover/status.h"

#include <cmath>

#include "catalogue/metrics.h"

namespace heal {
namespace {

int Rank(const std::string& severity) {
  if (severity == "critical") return 2;
  return severity == "warning" ? 1 : 0;
}

// The looks between ticks leave out what these are judged by.
bool OnFullTicksOnly(std::string_view component) { return component == "security" || component == "host"; }

// What the open incidents of one component add up to.
struct Sum {
  int32_t open = 0;
  int rank = 0;
  bool acting = false;
  const Incident* worst = nullptr;

  void Add(const Incident& incident) {
    ++open;
    acting |= IsActing(incident.state);
    if (worst == nullptr || Rank(incident.severity) > Rank(worst->severity)) worst = &incident;
    rank = std::max(rank, Rank(incident.severity));
  }

  const char* State() const {
    if (acting) return "recovering";
    if (rank == 2) return "failing";
    return rank == 1 ? "degraded" : "healthy";
  }

  std::string Detail() const {
    if (worst == nullptr) return "";
    std::string text = worst->subject + ": " + std::string(StateName(worst->state));
    if (open > 1) text += " (and " + std::to_string(open - 1) + " more)";
    return text;
  }
};

}  // namespace

bool ComponentUnknown(const hc_observation& observation, std::string_view component) {
  if (component == "sessions" || component == "connections") return observation.sessions_known == 0;
  if (component == "locks") return observation.locks_known == 0 || observation.sessions_known == 0;
  if (component == "data") return observation.n_inspections == 0;
  bool any = false;
  for (const MetricDef& def : Metrics()) {
    if (component != def.component) continue;
    if (!std::isnan(observation.metrics[def.id])) return false;
    any = true;
  }
  return any;
}

void StatusBoard::NoteRecovery(const std::string& component, int64_t at) {
  Shown& shown = shown_[component];
  shown.last_recovery_at = std::max(shown.last_recovery_at, at);
}

void StatusBoard::PublishOne(const char* component, const std::string& state, int32_t open,
                             const std::string& worst, const std::string& detail, int64_t now_us,
                             Outbox* out) {
  Shown& shown = shown_[component];
  if (shown.state != state) {
    shown.state = state;
    shown.since = now_us;
  }
  hc_component_status row{};
  row.component = component;
  row.state = state.c_str();
  row.since = shown.since;
  row.open_incidents = open;
  row.worst_failure = worst.c_str();
  row.last_recovery_at = shown.last_recovery_at;
  row.detail = detail.c_str();
  out->Component(row);
}

void StatusBoard::Publish(const hc_observation& observation, const std::map<int64_t, Incident>& incidents,
                          const HealerCondition& healer, Outbox* out) {
  std::map<std::string_view, Sum> sums;
  for (const auto& [id, incident] : incidents)
    if (incident.open()) sums[incident.component].Add(incident);

  for (const char* component : kComponents) {
    const Sum sum = sums[component];
    Shown& shown = shown_[component];
    if (observation.full_tick != 0 || !OnFullTicksOnly(component))
      shown.unknown = ComponentUnknown(observation, component);
    const bool unknown = shown.unknown;
    PublishOne(component, unknown ? "unknown" : sum.State(), sum.open,
               sum.worst == nullptr ? "" : sum.worst->failure_type,
               unknown ? "its facts could not be collected" : sum.Detail(), observation.now_us, out);
  }
  const Sum own = sums[kHealerComponent];
  PublishOne(kHealerComponent, healer.degraded ? "degraded" : own.State(), own.open,
             own.worst == nullptr ? "" : own.worst->failure_type, healer.detail, observation.now_us, out);
}

}  // namespace heal
