#include "catalogue/metrics.h"

#include <array>

namespace heal {
namespace {

// The words of metrics.def are upper-case tokens; these constants turn them
// into the names users see.
constexpr char kSESSIONS[] = "sessions";
constexpr char kLOCKS[] = "locks";
constexpr char kCONNECTIONS[] = "connections";
constexpr char kWORKLOAD[] = "workload";
constexpr char kCHECKPOINTER[] = "checkpointer";
constexpr char kWAL[] = "wal";
constexpr char kARCHIVER[] = "archiver";
constexpr char kREPLICATION[] = "replication";
constexpr char kTRANSACTIONS[] = "transactions";
constexpr char kSTORAGE[] = "storage";
constexpr char kHOST[] = "host";
constexpr char kVACUUM[] = "vacuum";
constexpr char kSTATISTICS[] = "statistics";
constexpr char kINDEXES[] = "indexes";
constexpr char kSEQUENCES[] = "sequences";
constexpr char kSECURITY[] = "security";
constexpr char kPERFORMANCE[] = "performance";
constexpr char kRESOURCE[] = "resource";
constexpr char kDATA_QUALITY[] = "data_quality";

constexpr MetricKind kKindGAUGE = MetricKind::kGauge;
constexpr MetricKind kKindCOUNTER = MetricKind::kCounter;
constexpr BadDirection kBadUP = BadDirection::kUp;
constexpr BadDirection kBadDOWN = BadDirection::kDown;
constexpr BadDirection kBadBOTH = BadDirection::kBoth;
constexpr BadDirection kBadNONE = BadDirection::kNone;

constexpr std::array<MetricDef, HC_METRIC_COUNT> kMetrics = {{
#define HC_METRIC(id, name, component, category, unit, kind, bad, description) \
  {HC_M_##id, name, k##component, k##category, unit, kKind##kind, kBad##bad, description},
#include "heal_core/metrics.def"
#undef HC_METRIC
}};

}  // namespace

std::span<const MetricDef> Metrics() { return kMetrics; }

const MetricDef* FindMetric(std::string_view name) {
  for (const MetricDef& metric : kMetrics) {
    if (name == metric.name) return &metric;
  }
  return nullptr;
}

const char* MetricKindName(MetricKind kind) { return kind == MetricKind::kGauge ? "gauge" : "counter"; }

const char* BadDirectionName(BadDirection bad) {
  switch (bad) {
    case BadDirection::kUp:
      return "up";
    case BadDirection::kDown:
      return "down";
    case BadDirection::kBoth:
      return "both";
    case BadDirection::kNone:
      break;
  }
  return "none";
}

}  // namespace heal
