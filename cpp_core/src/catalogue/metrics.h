// metrics.h: the descriptor of every metric, expanded from metrics.def.

#ifndef HEAL_CORE_CATALOGUE_METRICS_H_
#define HEAL_CORE_CATALOGUE_METRICS_H_

#include <span>
#include <string_view>

#include "heal_core/observation.h"

namespace heal {

enum class MetricKind { kGauge, kCounter };
enum class BadDirection { kUp, kDown, kBoth, kNone };

// Strings are literals: NUL-terminated and valid for ever.
struct MetricDef {
  hc_metric_id id;
  const char* name;
  const char* component;  // lower case, as in heal_status
  const char* category;   // performance security data_quality resource
  const char* unit;       // of the gauge, or of the counter's rate
  MetricKind kind;
  BadDirection bad;
  const char* description;
};

// In the order of hc_metric_id, so Metrics()[id] describes metric id.
std::span<const MetricDef> Metrics();
const MetricDef* FindMetric(std::string_view name);

const char* MetricKindName(MetricKind kind);
const char* BadDirectionName(BadDirection bad);

}  // namespace heal

#endif  // HEAL_CORE_CATALOGUE_METRICS_H_
