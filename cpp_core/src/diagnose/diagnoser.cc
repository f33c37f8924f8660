#include "diagnose/diagnoser.h"

#include <array>
#include <cstdio>
#include <string>

#include "core_error.h"
#include "diagnose/graph.h"
#include "diagnose/investigation.h"

namespace heal {
namespace {

std::string Decimal(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", value);
  return text.data();
}

void Append(std::string* reason, const std::string& text) {
  if (!reason->empty()) *reason += "; ";
  *reason += text;
}

// Hands the evidence over; returns a note about what the graph does not know.
std::string SeeEvidence(const CausalGraph& graph, const Match& match, Investigation* investigation) {
  std::string unknown;
  for (const Evidence& evidence : match.evidence) {
    const int node = graph.Find(evidence.node);
    if (node >= 0) {
      investigation->See(node, evidence.truth);
    } else {
      unknown += (unknown.empty() ? "" : ", ") + evidence.node;
    }
  }
  return unknown.empty() ? "" : "evidence about nodes the causal graph lacks was ignored: " + unknown;
}

// Written so that a NaN setting abstains.
void Judge(double min_confidence, Diagnosis* diagnosis) {
  const CausePosterior* best = diagnosis->best();
  diagnosis->abstained = best == nullptr || !(best->posterior >= min_confidence);
  if (best == nullptr) {
    Append(&diagnosis->reason, "no root cause in the causal graph leads to the symptom");
  } else if (diagnosis->abstained) {
    Append(&diagnosis->reason, "the most likely cause, " + best->node + ", has probability " +
                                   Decimal(best->posterior) + ", below " + Decimal(min_confidence));
  }
}

void Investigate(const CausalGraph& graph, int symptom, const Match& match, const hc_settings& settings,
                 const hc_limits& limits, Diagnosis* diagnosis) {
  Investigation investigation(graph, settings, limits);
  diagnosis->reason = SeeEvidence(graph, match, &investigation);
  investigation.See(symptom, Truth::kPresent);
  const std::array<int, 1> effects = {symptom};
  diagnosis->causes = investigation.Rank(investigation.CausesOf(symptom), effects);
  investigation.Compare(symptom, &diagnosis->causes);
  Judge(settings.inference_min_confidence, diagnosis);
}

Diagnosis Abstain(const std::string& reason) {
  Diagnosis diagnosis;
  diagnosis.reason = reason;
  return diagnosis;
}

}  // namespace

Diagnoser::Diagnoser() : graph_(std::make_unique<CausalGraph>(nullptr)) {}
Diagnoser::~Diagnoser() = default;
Diagnoser::Diagnoser(Diagnoser&&) noexcept = default;
Diagnoser& Diagnoser::operator=(Diagnoser&&) noexcept = default;

void Diagnoser::SetGraph(const hc_config* config, uint32_t max_nodes) {
  graph_ = std::make_unique<CausalGraph>(config, max_nodes);
}

Diagnosis Diagnoser::Diagnose(const Match& match, const hc_settings& settings,
                              const hc_limits& limits) const {
  const int symptom = graph_->Find(match.failure_type);
  if (symptom < 0) return Abstain("the causal graph has no node \"" + match.failure_type + "\"");
  Diagnosis diagnosis;
  try {
    Investigate(*graph_, symptom, match, settings, limits, &diagnosis);
  } catch (const EvidenceError& error) {
    return Abstain(error.what());
  } catch (const LimitError& error) {
    return Abstain(error.what());
  }
  return diagnosis;
}

}  // namespace heal
