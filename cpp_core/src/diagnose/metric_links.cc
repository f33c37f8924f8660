#include "diagnose/metric_links.h"

#include <algorithm>
#include <utility>

#include "catalogue/causal_graph.h"

namespace heal {

void MetricLinks::SetGraph(const hc_config* config) {
  metric_of_.clear();
  if (config == nullptr) return;
  for (uint32_t i = 0; i < config->n_nodes; ++i) {
    const hc_causal_node& node = config->nodes[i];
    const bool shipped = std::ranges::any_of(
        CausalNodes(), [&node](const NodeDef& def) { return std::string_view(def.node) == node.node; });
    if (!shipped && node.metric[0] != '\0') metric_of_[node.node] = node.metric;
  }
}

void MetricLinks::Tick() {
  before_ = std::move(now_);
  now_.clear();
}

void MetricLinks::Note(std::string_view metric) { now_.emplace(metric); }

void MetricLinks::AddEvidence(Match* match) const {
  for (const auto& [node, metric] : metric_of_) {
    if (!now_.contains(metric) && !before_.contains(metric)) continue;
    const bool told =
        std::ranges::any_of(match->evidence, [&node](const Evidence& evidence) { return evidence.node == node; });
    if (!told) match->evidence.push_back({node, Truth::kPresent, "metric " + metric + " has just left its baseline"});
  }
}

}  // namespace heal
