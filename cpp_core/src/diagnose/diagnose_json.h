// diagnose_json.h: heal_diagnose() on the core's side.

#ifndef HEAL_CORE_DIAGNOSE_DIAGNOSE_JSON_H_
#define HEAL_CORE_DIAGNOSE_DIAGNOSE_JSON_H_

#include <string>
#include <string_view>

#include "heal_core/c_api.h"

namespace heal {

// All root causes of the graph (config null or without nodes: the shipped one)
// given evidence, a JSON object of node names with true (present), false
// (absent) or null (unknown); the most probable first:
// [{"cause", "component", "posterior", "chain": [...], "probability_chain"}].
// chain runs to a present symptom or, without one, to a present node that leads
// to no other; it is empty when there is none within the settings' limits.
//
// Throws GraphError, EvidenceError (no JSON object, unknown node, impossible
// evidence), LimitError, CanceledError.
std::string DiagnoseJson(const hc_config* config, const hc_settings& settings, const hc_limits& limits,
                         std::string_view evidence_json);

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_DIAGNOSE_JSON_H_
