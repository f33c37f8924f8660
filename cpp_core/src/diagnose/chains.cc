#include "diagnose/chains.h"

#include <utility>

namespace heal {

Chains::Chains(const Network& network, std::span<const Truth> evidence, std::span<const int> effects,
               int max_edges) {
  const auto n = static_cast<size_t>(network.size());
  layers_.push_back({std::vector<double>(n, 0.0), std::vector<int>(n, -1)});
  for (int effect : effects) {
    const auto e = static_cast<size_t>(effect);
    if (evidence[e] != Truth::kAbsent) layers_[0].probability[e] = 1.0;
  }
  for (int edges = 0; edges < max_edges; ++edges) {
    if (!AddLayer(network, evidence)) break;
  }
}

// False when one more edge improves nothing.
bool Chains::AddLayer(const Network& network, std::span<const Truth> evidence) {
  const std::vector<double>& below = layers_.back().probability;
  Layer layer{below, std::vector<int>(below.size(), -1)};
  bool better = false;
  for (int node = 0; node < network.size(); ++node) {
    const auto n = static_cast<size_t>(node);
    if (evidence[n] == Truth::kAbsent) continue;
    for (const Link& link : network.effects(node)) {
      const double probability = link.strength * below[static_cast<size_t>(link.effect)];
      if (probability <= layer.probability[n]) continue;
      layer.probability[n] = probability;
      layer.next[n] = link.effect;
      better = true;
    }
  }
  if (better) layers_.push_back(std::move(layer));
  return better;
}

Chain Chains::Best(int node) const {
  Chain chain;
  chain.probability = layers_.back().probability[static_cast<size_t>(node)];
  if (chain.probability <= 0.0) return chain;
  chain.nodes.push_back(node);
  for (size_t layer = layers_.size(); layer-- > 0;) {
    const int next = layers_[layer].next[static_cast<size_t>(chain.nodes.back())];
    if (next >= 0) chain.nodes.push_back(next);
  }
  return chain;
}

}  // namespace heal
