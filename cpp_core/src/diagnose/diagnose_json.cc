#include "diagnose/diagnose_json.h"

#include "core_error.h"
#include "diagnose/graph.h"
#include "diagnose/investigation.h"
#include "json_text.h"

namespace heal {
namespace {

// Far more than every node of the largest graph with the longest names needs.
constexpr size_t kMaxEvidenceBytes = size_t{1} << 20;

Json ParseEvidence(std::string_view text) {
  if (text.size() > kMaxEvidenceBytes) throw LimitError("evidence is longer than 1 MiB");
  Json evidence;
  try {
    evidence = ParseJson(text, "evidence");
  } catch (const std::invalid_argument&) {
    throw EvidenceError("evidence is not valid JSON");
  }
  if (!evidence.is_object()) throw EvidenceError("evidence is not a JSON object");
  return evidence;
}

Truth ParseTruth(const std::string& node, const Json& value) {
  if (value.is_null()) return Truth::kUnknown;
  if (!value.is_boolean()) throw EvidenceError("evidence about \"" + node + "\" is not true, false or null");
  return value.boolean() ? Truth::kPresent : Truth::kAbsent;
}

void SeeEvidence(const CausalGraph& graph, const Json& evidence, Investigation* investigation) {
  for (const auto& [name, value] : evidence.members()) {
    const int node = graph.Find(name);
    if (node < 0) throw EvidenceError("causal graph has no node \"" + name + "\"");
    investigation->See(node, ParseTruth(name, value));
  }
}

Json CauseJson(const CausePosterior& cause) {
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
  Json rows = Json::array();
  for (const CausePosterior& cause : investigation.Rank(graph.root_causes(), investigation.Effects())) {
    rows.push_back(CauseJson(cause));
  }
  // Names may come from a database whose encoding is not UTF-8.
  return JsonText(rows);
}

}  // namespace heal
