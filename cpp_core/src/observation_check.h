// observation_check.h: what must hold of an observation before a step begins.

#ifndef HEAL_CORE_OBSERVATION_CHECK_H_
#define HEAL_CORE_OBSERVATION_CHECK_H_

#include "heal_core/observation.h"

namespace heal {

// Throws std::invalid_argument naming the field: a missing array or string, a
// slice outside its array, an enum or setting out of range. Numbers that are
// only implausible (negative sizes, times in the future) pass: they come from a
// server that may be sick. Cost: linear, no allocation unless it throws.
void CheckObservation(const hc_observation& observation);

// The same for a configuration given without an observation.
void CheckConfig(const hc_config& config);
void CheckSettings(const hc_settings& settings);

}  // namespace heal

#endif  // HEAL_CORE_OBSERVATION_CHECK_H_
