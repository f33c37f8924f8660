// chains.h: the best chain of causation from a node to what it explains.

#ifndef HEAL_CORE_DIAGNOSE_CHAINS_H_
#define HEAL_CORE_DIAGNOSE_CHAINS_H_

#include <cstddef>
#include <span>
#include <vector>

#include "diagnose/network.h"
#include "model.h"

namespace heal {

struct Chain {
  std::vector<int> nodes;  // cause ... effect; empty: none within the limits
  double probability = 0;  // product of the strengths
};

// Best chains from every node to the nearest of some effects, all at once, by
// dynamic programming over the number of edges. A chain runs only through nodes
// that are not known to be absent. Cost: O(max_edges * links).
class Chains {
 public:
  // evidence: one per node. max_edges <= 0 leaves only an effect's chain to itself.
  Chains(const Network& network, std::span<const Truth> evidence, std::span<const int> effects,
         int max_edges);

  // Of equal chains the shorter one.
  Chain Best(int node) const;

 private:
  // Best chain with at most so many edges as the layer's index.
  struct Layer {
    std::vector<double> probability;
    std::vector<int> next;  // -1: as in the layer below
  };

  bool AddLayer(const Network& network, std::span<const Truth> evidence);

  std::vector<Layer> layers_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_CHAINS_H_
