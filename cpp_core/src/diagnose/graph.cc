#include "diagnose/graph.h"

#include <boost/graph/depth_first_search.hpp>
#include <optional>
#include <utility>

#include "catalogue/causal_graph.h"
#include "core_error.h"

namespace heal {
namespace {

std::string Quoted(std::string_view name) { return "\"" + std::string(name) + "\""; }

std::string EdgeName(const hc_causal_edge& edge) {
  return "causal edge " + Quoted(edge.cause) + " -> " + Quoted(edge.effect);
}

// Certainty is refused: it makes evidence against it impossible. NaN is false.
bool IsUncertain(double p) { return p > 0.0 && p < 1.0; }

std::optional<NodeKind> ParseKind(std::string_view kind) {
  if (kind == "root_cause") return NodeKind::kRootCause;
  if (kind == "mechanism") return NodeKind::kMechanism;
  if (kind == "symptom") return NodeKind::kSymptom;
  return std::nullopt;
}

// Weight of an edge: that of its type unless the row has its own.
double EdgeWeight(const hc_causal_edge& edge) {
  const std::optional<double> weight = EdgeTypeWeight(edge.edge_type);
  if (!weight) throw GraphError(EdgeName(edge) + " has the unknown type " + Quoted(edge.edge_type));
  if (edge.weight == 0.0) return *weight;
  if (!(edge.weight > 0.0 && edge.weight <= 1.0)) {
    throw GraphError(EdgeName(edge) + " has a weight that is not between 0 and 1");
  }
  return edge.weight;
}

// Throws the first cycle that a depth-first search closes, with its path.
template <typename Graph>
class CycleFinder : public boost::default_dfs_visitor {
 public:
  using Vertex = typename boost::graph_traits<Graph>::vertex_descriptor;
  using Edge = typename boost::graph_traits<Graph>::edge_descriptor;

  explicit CycleFinder(std::vector<Vertex>* parents) : parents_(parents) {}

  void tree_edge(Edge edge, const Graph& graph) {
    (*parents_)[boost::target(edge, graph)] = boost::source(edge, graph);
  }

  void back_edge(Edge edge, const Graph& graph) {
    const Vertex first = boost::target(edge, graph);
    std::vector<Vertex> path;
    for (Vertex v = boost::source(edge, graph); v != first; v = (*parents_)[v]) path.push_back(v);
    path.push_back(first);
    std::string text;
    for (auto v = path.rbegin(); v != path.rend(); ++v) text += graph[*v].name + " -> ";
    throw GraphError("causal graph has a cycle: " + text + graph[first].name);
  }

 private:
  std::vector<Vertex>* parents_;
};

}  // namespace

CausalGraph::CausalGraph(const hc_config* config, uint32_t max_nodes) {
  const uint32_t limit = max_nodes == 0 ? kDefaultMaxNodes : max_nodes;
  if (config == nullptr || config->n_nodes == 0) {
    CheckSize(CausalNodes().size(), CausalEdges().size(), limit);
    LoadShipped();
  } else {
    CheckSize(config->n_nodes, config->n_edges, limit);
    Load(*config);
  }
  RefuseCycles();
}

int CausalGraph::Find(std::string_view name) const {
  const auto found = ids_.find(name);
  return found == ids_.end() ? -1 : found->second;
}

Network CausalGraph::MakeNetwork(double min_strength) const {
  std::vector<double> leaks;
  leaks.reserve(boost::num_vertices(graph_));
  for (int id = 0; id < size(); ++id) leaks.push_back(node(id).prior);
  std::vector<Link> links;
  links.reserve(boost::num_edges(graph_));
  for (int id = 0; id < size(); ++id) {
    const auto [begin, end] = boost::out_edges(static_cast<size_t>(id), graph_);
    for (auto edge = begin; edge != end; ++edge) {
      const double strength = graph_[*edge].strength;
      // Written so that a NaN limit drops all edges rather than none.
      if (strength >= min_strength)
        links.push_back({id, static_cast<int>(boost::target(*edge, graph_)), strength});
    }
  }
  return Network(std::move(leaks), links);
}

void CausalGraph::LoadShipped() {
  for (const NodeDef& def : CausalNodes())
    AddNode({def.node, def.kind, def.component, def.prior, def.metric});
  for (const EdgeDef& def : CausalEdges()) {
    AddEdge({def.cause, def.effect, def.edge_type, 0.0, def.probability, 0.0});
  }
}

void CausalGraph::Load(const hc_config& config) {
  for (uint32_t i = 0; i < config.n_nodes; ++i) AddNode(config.nodes[i]);
  for (uint32_t i = 0; i < config.n_edges; ++i) AddEdge(config.edges[i]);
}

void CausalGraph::AddNode(const hc_causal_node& node) {
  if (*node.node == '\0') throw GraphError("causal node has an empty name");
  const std::optional<NodeKind> kind = ParseKind(node.kind);
  if (!kind)
    throw GraphError("causal node " + Quoted(node.node) + " has the unknown kind " + Quoted(node.kind));
  if (!IsUncertain(node.prior)) {
    throw GraphError("prior of causal node " + Quoted(node.node) + " is not between 0 and 1");
  }
  if (!ids_.emplace(node.node, size()).second) {
    throw GraphError("causal node " + Quoted(node.node) + " is there twice");
  }
  if (*kind == NodeKind::kRootCause) root_causes_.push_back(size());
  graph_[boost::add_vertex(graph_)] = CausalNode{node.node, *kind, node.component, node.prior};
}

void CausalGraph::AddEdge(const hc_causal_edge& edge) {
  const int cause = Find(edge.cause);
  const int effect = Find(edge.effect);
  if (cause < 0) throw GraphError(EdgeName(edge) + " starts at an unknown node");
  if (effect < 0) throw GraphError(EdgeName(edge) + " leads to an unknown node");
  if (!IsUncertain(edge.probability))
    throw GraphError("probability of " + EdgeName(edge) + " is not between 0 and 1");
  const auto from = static_cast<size_t>(cause), to = static_cast<size_t>(effect);
  const CausalEdge value{edge.probability * EdgeWeight(edge)};
  if (!boost::add_edge(from, to, value, graph_).second) throw GraphError(EdgeName(edge) + " is there twice");
}

void CausalGraph::CheckSize(size_t nodes, size_t edges, uint32_t max_nodes) const {
  if (nodes > max_nodes) {
    throw LimitError("causal graph has " + std::to_string(nodes) + " nodes, more than " +
                     std::to_string(max_nodes));
  }
  const size_t max_edges = size_t{max_nodes} * kMaxEdgesPerNode;
  if (edges > max_edges) {
    throw LimitError("causal graph has " + std::to_string(edges) + " edges, more than " +
                     std::to_string(max_edges));
  }
}

void CausalGraph::RefuseCycles() const {
  std::vector<Graph::vertex_descriptor> parents(boost::num_vertices(graph_));
  std::vector<boost::default_color_type> colors(boost::num_vertices(graph_));
  const auto index = boost::get(boost::vertex_index, graph_);
  // Boost's search keeps its own stack: long chains do not exhaust ours.
  boost::depth_first_search(graph_, CycleFinder<Graph>(&parents),
                            boost::make_iterator_property_map(colors.begin(), index));
}

}  // namespace heal
