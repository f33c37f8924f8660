#include "catalogue/catalogue_json.h"

#include <span>
#include <string_view>

#include "catalogue/causal_graph.h"
#include "catalogue/failures.h"
#include "catalogue/metrics.h"
#include "json_text.h"
#include "plan/remedies.h"
#include "recover/gates.h"

namespace heal {
namespace {

Json FailuresJson() {
  Json list = Json::array();
  for (const FailureDef& failure : Failures())
    list.push_back(Json{{"id", failure.id},
                        {"failure_type", failure.type},
                        {"component", failure.component},
                        {"category", failure.category},
                        {"severity", failure.severity},
                        {"summary", failure.summary},
                        {"safest_action", failure.safest_action},
                        {"verification", failure.verification},
                        {"undo", failure.undo},
                        {"never", failure.never}});
  return list;
}

Json ThresholdsJson() {
  Json list = Json::array();
  for (const FailureDef& failure : Failures())
    for (const ThresholdDef& threshold : failure.thresholds)
      list.push_back(Json{{"failure_type", failure.type},
                          {"name", threshold.name},
                          {"unit", threshold.unit},
                          {"default_value", threshold.default_value},
                          {"lowest", threshold.lowest},
                          {"highest", threshold.highest},
                          {"description", threshold.description}});
  return list;
}

Json NamesJson(std::span<const std::string_view> names) {
  Json list = Json::array();
  for (std::string_view name : names) list.push_back(name);
  return list;
}

Json RemediesJson() {
  Json list = Json::array();
  for (const RemedyDef& remedy : Remedies())
    list.push_back(Json{{"remedy", remedy.name},
                        {"summary", remedy.summary},
                        {"failures", NamesJson(remedy.failures)},
                        {"causes", NamesJson(remedy.causes)},
                        {"action_class", remedy.action_class},
                        {"risk_class", remedy.risk},
                        {"reversible", remedy.reversible},
                        {"harmless", remedy.harmless},
                        {"sql", remedy.sql},
                        {"undo_sql", remedy.undo_sql},
                        {"verification", remedy.verification},
                        {"expected_success", remedy.expected_success}});
  return list;
}

Json NodesJson() {
  Json list = Json::array();
  for (const NodeDef& node : CausalNodes())
    list.push_back(Json{{"node", node.node},
                        {"kind", node.kind},
                        {"component", node.component},
                        {"prior", node.prior},
                        {"metric", node.metric},
                        {"description", node.description}});
  return list;
}

Json EdgesJson() {
  Json list = Json::array();
  for (const EdgeDef& edge : CausalEdges())
    list.push_back(Json{{"cause", edge.cause},
                        {"effect", edge.effect},
                        {"edge_type", edge.edge_type},
                        {"weight", EdgeTypeWeight(edge.edge_type).value_or(0)},
                        {"probability", edge.probability}});
  return list;
}

Json MetricsJson() {
  Json list = Json::array();
  for (const MetricDef& metric : Metrics())
    list.push_back(Json{{"metric", metric.name},
                        {"component", metric.component},
                        {"category", metric.category},
                        {"unit", metric.unit},
                        {"kind", MetricKindName(metric.kind)},
                        {"bad_direction", BadDirectionName(metric.bad)},
                        {"description", metric.description}});
  return list;
}

Json RulesJson() {
  Json list = Json::array();
  for (const GateDef& gate : Gates())
    list.push_back(Json{{"rule", gate.name}, {"otherwise", DecisionName(gate.otherwise)}, {"description", gate.rule}});
  return list;
}

}  // namespace

std::string CatalogueJson() {
  const Json catalogue = {{"failures", FailuresJson()}, {"thresholds", ThresholdsJson()},
                          {"remedies", RemediesJson()}, {"nodes", NodesJson()},
                          {"edges", EdgesJson()},       {"metrics", MetricsJson()},
                          {"rules", RulesJson()}};
  return JsonText(catalogue);
}

}  // namespace heal
