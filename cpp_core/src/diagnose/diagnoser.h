// diagnoser.h: names the root cause of a matched failure, or abstains.

#ifndef HEAL_CORE_DIAGNOSE_DIAGNOSER_H_
#define HEAL_CORE_DIAGNOSE_DIAGNOSER_H_

#include <cstdint>
#include <memory>

#include "heal_core/c_api.h"
#include "model.h"

namespace heal {

class CausalGraph;

// Holds the causal graph, checked and compiled once. Cost of a diagnosis over
// the shipped graph: a fraction of a millisecond.
class Diagnoser {
 public:
  Diagnoser();  // the shipped graph
  ~Diagnoser();
  Diagnoser(Diagnoser&&) noexcept;
  Diagnoser& operator=(Diagnoser&&) noexcept;

  // Takes the graph of config; null or without nodes: the shipped one. Throws
  // GraphError or LimitError (max_nodes; 0: 4096) and keeps the graph it has.
  void SetGraph(const hc_config* config, uint32_t max_nodes = 0);

  // Posteriors of the root causes that can lead to the failure, given the
  // evidence of the match and the failure itself as present symptom.
  //
  // Abstains when the best posterior is below inference_min_confidence; two
  // causes may both be above it, for causes do not exclude each other. Abstains
  // also, rather than throw, when the graph lacks the symptom, when the evidence
  // contradicts itself and when the graph is too wide for the limits: a user's
  // graph must not stop the healer. Evidence about nodes the graph lacks is
  // ignored and named in the reason, which is then not empty though the
  // diagnosis stands. Throws CanceledError.
  Diagnosis Diagnose(const Match& match, const hc_settings& settings, const hc_limits& limits) const;

 private:
  std::unique_ptr<const CausalGraph> graph_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_DIAGNOSER_H_
