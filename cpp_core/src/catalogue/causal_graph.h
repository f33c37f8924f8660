// causal_graph.h: the shipped causal graph, as data.
//
// Nodes are binary. A root cause is present with its prior; a mechanism or a
// symptom is present without any of its causes with its prior, the leak. A root
// cause may have causes of its own (a pile-up behind a lock is where the
// diagnosis of full connection slots stops, yet a lock holder made it): then its
// prior is its leak.
//
// An edge says: with only this cause present the effect follows with
// probability times the weight of the edge's type. Causes of one effect act
// independently (noisy-OR).
//
// A symptom node bears the name of a failure type. Symptoms hang on mechanisms
// that all their rival causes share, so that a symptom alone names no cause: the
// observed mechanisms tell the causes apart. Ids in descriptions are those of
// the failure catalogue. Source: its causal edges and the chains of P01, P02,
// P04, P07, P11, P12, P15, R04, H03, H04, H07 and H08; priors and probabilities
// are judgements on the scale of how often operators meet each cause.

#ifndef HEAL_CORE_CATALOGUE_CAUSAL_GRAPH_H_
#define HEAL_CORE_CATALOGUE_CAUSAL_GRAPH_H_

#include <optional>
#include <span>
#include <string_view>

namespace heal {

struct NodeDef {
  const char* node;
  const char* kind;  // root_cause mechanism symptom
  const char* component;
  double prior;
  const char* metric;  // of metrics.def; "" none
  const char* description;
};

struct EdgeDef {
  const char* cause;
  const char* effect;
  const char* edge_type;  // direct_cause contributing correlation
  double probability;     // before the weight of the type
};

std::span<const NodeDef> CausalNodes();
std::span<const EdgeDef> CausalEdges();

// Weight of an edge type: direct_cause 1.0, contributing 0.8, correlation 0.5;
// nothing for another name.
std::optional<double> EdgeTypeWeight(std::string_view edge_type);

}  // namespace heal

#endif  // HEAL_CORE_CATALOGUE_CAUSAL_GRAPH_H_
