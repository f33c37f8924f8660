#include "diagnose/investigation.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core_error.h"
#include "diagnose/chains.h"

namespace heal {

Investigation::Investigation(const CausalGraph& graph, const hc_settings& settings, const hc_limits& limits)
    : graph_(graph),
      network_(graph.MakeNetwork(settings.inference_min_edge_probability)),
      inference_(network_, WorkLimits::From(limits)),
      evidence_(static_cast<size_t>(graph.size()), Truth::kUnknown),
      max_edges_(settings.inference_multi_hop ? settings.inference_max_path_depth
                                              : std::min(settings.inference_max_path_depth, 1)) {}

void Investigation::See(int node, Truth truth) {
  if (truth == Truth::kUnknown) return;
  Truth& seen = evidence_[static_cast<size_t>(node)];
  if (seen != Truth::kUnknown && seen != truth) {
    throw EvidenceError("evidence says of \"" + graph_.node(node).name + "\" that it is present and absent");
  }
  seen = truth;
}

std::vector<int> Investigation::CausesOf(int node) const {
  std::vector<char> marks(evidence_.size(), 0);
  marks[static_cast<size_t>(node)] = 1;
  network_.MarkAncestors(&marks);
  std::vector<int> causes;
  for (int cause : graph_.root_causes()) {
    if (marks[static_cast<size_t>(cause)]) causes.push_back(cause);
  }
  return causes;
}

std::vector<int> Investigation::Effects() const {
  std::vector<int> symptoms, ends;
  std::vector<char> before(evidence_.size(), 0);
  const auto present = [this](int node) { return evidence_[static_cast<size_t>(node)] == Truth::kPresent; };
  for (int node = 0; node < network_.size(); ++node) {
    if (!present(node)) continue;
    if (graph_.node(node).kind == NodeKind::kSymptom) symptoms.push_back(node);
    for (const Link& link : network_.causes(node)) before[static_cast<size_t>(link.cause)] = 1;
  }
  if (!symptoms.empty()) return symptoms;
  network_.MarkAncestors(&before);
  for (int node = 0; node < network_.size(); ++node) {
    if (present(node) && !before[static_cast<size_t>(node)]) ends.push_back(node);
  }
  return ends;
}

std::vector<CausePosterior> Investigation::Rank(std::span<const int> causes, std::span<const int> effects) {
  const std::vector<double> posteriors = inference_.Posteriors({evidence_, causes});
  const Chains chains(network_, evidence_, effects, max_edges_);
  std::vector<CausePosterior> ranked;
  ranked.reserve(causes.size());
  for (size_t i = 0; i < causes.size(); ++i) {
    const CausalNode& node = graph_.node(causes[i]);
    const Chain chain = chains.Best(causes[i]);
    CausePosterior& cause = ranked.emplace_back();
    cause.node = node.name;
    cause.component = node.component;
    cause.prior = node.prior;
    cause.posterior = posteriors[i];
    cause.chain_probability = chain.probability;
    for (int link : chain.nodes) cause.chain.push_back(graph_.node(link).name);
  }
  std::sort(ranked.begin(), ranked.end(), [](const CausePosterior& a, const CausePosterior& b) {
    return a.posterior != b.posterior ? a.posterior > b.posterior : a.node < b.node;
  });
  return ranked;
}

void Investigation::Compare(int symptom, std::vector<CausePosterior>* causes) {
  const size_t n = std::min(causes->size(), kComparedCauses);
  for (size_t i = 0; i < n; ++i) {
    CausePosterior& cause = (*causes)[i];
    const int node = graph_.Find(cause.node);
    cause.symptom_with = SymptomIf(node, true, symptom);
    cause.symptom_without = SymptomIf(node, false, symptom);
  }
}

double Investigation::SymptomIf(int cause, bool present, int symptom) {
  marks_.assign(evidence_.size(), 0);
  marks_[static_cast<size_t>(cause)] = 1;
  marks_[static_cast<size_t>(symptom)] = 1;
  network_.MarkDescendants(&marks_);
  kept_ = evidence_;
  for (size_t i = 0; i < kept_.size(); ++i) {
    if (marks_[i]) kept_[i] = Truth::kUnknown;
  }
  const std::array<int, 1> target = {symptom};
  return inference_.Posteriors({kept_, target, cause, present}).front();
}

}  // namespace heal
