#include "diagnose/diagnose_json.h"

#include <nlohmann/json.hpp>

#include "core_error.h"
#include "diagnose/graph.h"
#include "diagnose/investigation.h"

namespace heal {
namespace {

// Far more than every node of the largest graph with the longest names needs.
constexpr size_t kMaxEvidenceBytes = size_t{1} << 20;

nlohmann::json ParseEvidence(std::string_view text) {
  if (text.size() > kMaxEvidenceBytes) throw LimitError("evidence is longer than 1 MiB");
  nlohmann::json evidence = nlohmann::json::parse(text, nullptr, false);
  if (evidence.is_discarded()) throw EvidenceError("evidence is not valid JSON");
  if (!evidence.is_object()) throw EvidenceError("evidence is not a JSON object");
  return evidence;
}

Truth ParseTruth(const std::string& node, const nlohmann::json& value) {
  if (value.is_null()) return Truth::kUnknown;
  if (!value.is_boolean()) throw EvidenceError("evidence about \"" + node + "\" is not true, false or null");
  return value.get<bool>() ? Truth::kPresent : Truth::kAbsent;
}

void SeeEvidence(const CausalGraph& graph, const nlohmann::json& evidence, Investigation* investigation) {
  for (const auto& [name, value] : evidence.items()) {
    const int node = graph.Find(name);
    if (node < 0) throw EvidenceError("causal graph has no node \"" + name + "\"");
    investigation->See(node, ParseTruth(name, value));
  }
}

nlohmann::ordered_json CauseJson(const CausePosterior& cause) {
  return {{"cause", cause.node},
          {"component", cause.component},
          {"posterior", cause.posterior},
          {"chain", cause.chain},
          {"probability_chain", cause.chain_probability}};
}

}  // namespace

std::string DiagnoseJson(const hc_config* config, const hc_settings& settings, const hc_limits& limits,
                         std::string_view evidence_json) {
  const CausalGraph graph(config, limits.max_graph_nodes);
  Investigation investigation(graph, settings, limits);
  SeeEvidence(graph, ParseEvidence(evidence_json), &investigation);
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const CausePosterior& cause : investigation.Rank(graph.root_causes(), investigation.Effects())) {
    rows.push_back(CauseJson(cause));
  }
  // Names may come from a database whose encoding is not UTF-8.
  return rows.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace heal
