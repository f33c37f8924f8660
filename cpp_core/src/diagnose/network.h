// network.h: a Bayesian network of binary leaky noisy-OR nodes.
//
// P(node absent | causes) = (1 - leak) * product over present causes of
// (1 - strength). A node without causes is present with its leak as prior.

#ifndef HEAL_CORE_DIAGNOSE_NETWORK_H_
#define HEAL_CORE_DIAGNOSE_NETWORK_H_

#include <span>
#include <vector>

namespace heal {

struct Link {
  int cause = 0;
  int effect = 0;
  double strength = 0;  // P(effect | only this cause, no leak)
};

// Immutable; links lie in two flat arrays, by effect and by cause.
class Network {
 public:
  // Leaks and strengths lie in [0, 1]; links are acyclic and no pair comes
  // twice. Throws GraphError otherwise, except for cycles, which CausalGraph
  // refuses with their path.
  Network(std::vector<double> leaks, std::span<const Link> links);

  int size() const { return static_cast<int>(leaks_.size()); }
  double leak(int node) const { return leaks_[static_cast<size_t>(node)]; }
  // In the order of the links given.
  std::span<const Link> causes(int node) const { return Slice(by_effect_, effect_begin_, node); }
  std::span<const Link> effects(int node) const { return Slice(by_cause_, cause_begin_, node); }

  // Sets marks of the marked nodes' ancestors, or descendants; marks has one
  // element per node.
  void MarkAncestors(std::vector<char>* marks) const;
  void MarkDescendants(std::vector<char>* marks) const;

 private:
  static std::span<const Link> Slice(const std::vector<Link>& links, const std::vector<size_t>& begin,
                                     int node) {
    const auto n = static_cast<size_t>(node);
    return std::span<const Link>(links).subspan(begin[n], begin[n + 1] - begin[n]);
  }
  void Check(std::span<const Link> links) const;
  void RefuseDuplicates() const;

  std::vector<double> leaks_;
  std::vector<Link> by_effect_, by_cause_;
  std::vector<size_t> effect_begin_, cause_begin_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_NETWORK_H_
