// graph.h: the causal graph, from the tables or as shipped, checked and ready
// for lookup.

#ifndef HEAL_CORE_DIAGNOSE_GRAPH_H_
#define HEAL_CORE_DIAGNOSE_GRAPH_H_

// Boost.Graph includes <iostream> for its print functions alone. Nothing of ours
// prints, and its static initialiser must not run in a server process.
#ifndef _GLIBCXX_IOSTREAM
#define _GLIBCXX_IOSTREAM 1
#endif
#include <boost/graph/adjacency_list.hpp>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "diagnose/network.h"
#include "heal_core/observation.h"

namespace heal {

enum class NodeKind { kRootCause, kMechanism, kSymptom };

struct CausalNode {
  std::string name;
  NodeKind kind = NodeKind::kMechanism;
  std::string component;
  double prior = 0;
};

struct CausalEdge {
  double strength = 0;  // probability times weight
};

// Nodes are numbered 0 .. size()-1 in the order given.
class CausalGraph {
 public:
  static constexpr uint32_t kDefaultMaxNodes = 4096;
  // More edges than this per node are not a causal graph but a mistake.
  static constexpr uint32_t kMaxEdgesPerNode = 64;

  // The graph of config; the shipped one when config is null or has no nodes.
  // max_nodes 0: the default. Throws GraphError naming the fault (a cycle with
  // its path) and LimitError when the graph is too large.
  explicit CausalGraph(const hc_config* config, uint32_t max_nodes = 0);

  int size() const { return static_cast<int>(boost::num_vertices(graph_)); }
  const CausalNode& node(int id) const { return graph_[static_cast<size_t>(id)]; }
  // -1: no such node.
  int Find(std::string_view name) const;
  const std::vector<int>& root_causes() const { return root_causes_; }

  // The network without the edges weaker than min_strength.
  Network MakeNetwork(double min_strength) const;

 private:
  // setS: out-edges are unique and in the order of their effects.
  using Graph = boost::adjacency_list<boost::setS, boost::vecS, boost::directedS, CausalNode, CausalEdge>;

  void LoadShipped();
  void Load(const hc_config& config);
  void AddNode(const hc_causal_node& node);
  void AddEdge(const hc_causal_edge& edge);
  void CheckSize(size_t nodes, size_t edges, uint32_t max_nodes) const;
  void RefuseCycles() const;

  Graph graph_;
  std::map<std::string, int, std::less<>> ids_;
  std::vector<int> root_causes_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_GRAPH_H_
