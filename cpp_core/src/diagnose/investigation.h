// investigation.h: one diagnosis over the causal graph: evidence in, ranked
// root causes out.

#ifndef HEAL_CORE_DIAGNOSE_INVESTIGATION_H_
#define HEAL_CORE_DIAGNOSE_INVESTIGATION_H_

#include <span>
#include <vector>

#include "diagnose/elimination.h"
#include "diagnose/graph.h"
#include "diagnose/inference.h"
#include "diagnose/network.h"
#include "heal_core/c_api.h"
#include "model.h"

namespace heal {

// Settings used: inference_min_edge_probability drops edges whose probability
// times weight is smaller, from network and chains alike;
// inference_max_path_depth bounds the edges of a chain, and without
// inference_multi_hop a chain is a single edge.
class Investigation {
 public:
  // For this many leading causes the symptom is computed with and without them.
  static constexpr size_t kComparedCauses = 16;

  // graph must outlive this.
  Investigation(const CausalGraph& graph, const hc_settings& settings, const hc_limits& limits);
  Investigation(const Investigation&) = delete;
  Investigation& operator=(const Investigation&) = delete;

  // Throws EvidenceError when the node was seen to be otherwise.
  void See(int node, Truth truth);

  // Root causes from which the node can be reached.
  std::vector<int> CausesOf(int node) const;
  // What the evidence asks to be explained: present symptoms, or, when there is
  // none, the present nodes that lead to no other present node.
  std::vector<int> Effects() const;

  // Posterior of each cause and its best chain to the nearest effect, the most
  // probable first; equal ones by name. Throws EvidenceError, LimitError,
  // CanceledError.
  std::vector<CausePosterior> Rank(std::span<const int> causes, std::span<const int> effects);

  // Fills symptom_with and symptom_without of the leading causes; the others
  // keep 0 in both.
  //
  // do-operator: the cause is set to present or absent from outside. What it
  // may have brought about (its descendants) and what the symptom may have
  // brought about is not conditioned on, for it would change along; evidence
  // about the rest of the server stays.
  void Compare(int symptom, std::vector<CausePosterior>* causes);

 private:
  double SymptomIf(int cause, bool present, int symptom);

  const CausalGraph& graph_;
  Network network_;
  Inference inference_;
  std::vector<Truth> evidence_;
  int max_edges_;
  std::vector<char> marks_;
  std::vector<Truth> kept_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_INVESTIGATION_H_
