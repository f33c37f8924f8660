// The explanation of an incident: everything a person needs to follow, or to
// overrule, the decision. Kept in heal.incidents.explanation.

#include <cmath>

#include "engine.h"

namespace heal {
namespace {

constexpr size_t kMaxCauses = 6;
constexpr size_t kMaxEvidence = 64;

const char* TruthName(Truth truth) {
  if (truth == Truth::kPresent) return "present";
  return truth == Truth::kAbsent ? "absent" : "unknown";
}

Json EvidenceList(const std::vector<Evidence>& evidence) {
  Json list = Json::array();
  for (const Evidence& item : evidence) {
    if (list.size() >= kMaxEvidence) break;
    list.push_back({{"node", item.node}, {"truth", TruthName(item.truth)}, {"why", item.why}});
  }
  return list;
}

Json Causes(const Diagnosis& diagnosis) {
  Json list = Json::array();
  for (const CausePosterior& cause : diagnosis.causes) {
    if (list.size() >= kMaxCauses) break;
    list.push_back({{"cause", cause.node},
                    {"component", cause.component},
                    {"prior", cause.prior},
                    {"posterior", cause.posterior},
                    {"chain", cause.chain},
                    {"chain_probability", cause.chain_probability},
                    {"symptom_with", cause.symptom_with},
                    {"symptom_without", cause.symptom_without}});
  }
  return list;
}

Json Rules(const GateVerdict& verdict) {
  Json list = Json::array();
  for (const GateResult& gate : verdict.gates)
    list.push_back({{"rule", gate.name}, {"passed", gate.passed}, {"reason", gate.reason}});
  return list;
}

Json CandidateJson(const Candidate& candidate) {
  Json json = {{"remedy", candidate.remedy},
               {"action", candidate.action},
               {"risk_class", candidate.risk},
               {"reversible", candidate.reversible},
               {"root_cause", candidate.root_cause},
               {"confidence", candidate.confidence},
               {"expected_success", candidate.expected_success},
               {"reason", candidate.reason}};
  if (!candidate.refused_because.empty()) json["refused_because"] = candidate.refused_because;
  return json;
}

Json TransitionList(const std::vector<Transition>& transitions) {
  Json list = Json::array();
  for (const Transition& t : transitions)
    list.push_back({{"at", TimestampText(t.at)}, {"from", t.from}, {"to", t.to}, {"reason", t.reason}});
  return list;
}

}  // namespace

void Engine::Explain(Case* c) {
  Incident& incident = RowOf(*c);
  // After a restart what was known before stands until it is weighed again.
  Json json = c->diagnosed ? Json::object() : ParseJson(incident.explanation, "explanation");
  if (c->diagnosed) {
    json["evidence"] = EvidenceList(c->evidence);
    json["causes"] = Causes(c->diagnosis);
    json["abstained"] = c->diagnosis.abstained;
    if (!c->diagnosis.reason.empty()) json["diagnosis_note"] = c->diagnosis.reason;
    Json values = Json::object();
    for (const auto& [name, value] : c->values)
      if (std::isfinite(value)) values[name] = value;
    json["values"] = std::move(values);
    Json candidates = Json::array();
    for (const Candidate& candidate : c->candidates) {
      Json entry = CandidateJson(candidate);
      if (c->rejected.contains(candidate.remedy)) entry["rejected"] = true;
      for (const Case::Weighed& weighed : c->weighed) {
        if (weighed.remedy != candidate.remedy) continue;
        entry["decision"] = DecisionName(weighed.verdict.decision);
        entry["decided_by"] = weighed.verdict.reason;
        entry["gates"] = Rules(weighed.verdict);
      }
      candidates.push_back(std::move(entry));
    }
    json["candidates"] = std::move(candidates);
  }
  Json tried = Json::array();
  for (const PastAttempt& past : c->past) tried.push_back({{"remedy", past.remedy}, {"outcome", past.outcome}});
  json["tried"] = std::move(tried);
  json.erase("baseline");
  if (c->run && !c->baseline.is_null()) json["baseline"] = c->baseline;
  // Whom it concerns next gets the whole story in one place.
  if (incident.state == IncidentState::kEscalated) json["transitions"] = TransitionList(c->transitions);
  incident.explanation = JsonText(json);
  book_.Changed(incident);
}

}  // namespace heal
