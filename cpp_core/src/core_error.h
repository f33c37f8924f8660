// core_error.h: the exceptions of the core. The C ABI maps each to a status.
//
// GraphError and EvidenceError are HC_EINVAL, LimitError is HC_ELIMIT,
// CanceledError is HC_ECANCELED. Their texts are written for users: lower case,
// no full stop, names in double quotes.

#ifndef HEAL_CORE_CORE_ERROR_H_
#define HEAL_CORE_CORE_ERROR_H_

#include <stdexcept>

namespace heal {

// Base of what the core throws on purpose.
class CoreError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Nodes and edges do not form a causal graph.
class GraphError : public CoreError {
 public:
  using CoreError::CoreError;
};

// The evidence cannot be read, contradicts itself or is impossible.
class EvidenceError : public CoreError {
 public:
  using CoreError::CoreError;
};

// A bound of hc_limits was reached.
class LimitError : public CoreError {
 public:
  using CoreError::CoreError;
};

// hc_limits.poll asked to stop.
class CanceledError : public CoreError {
 public:
  CanceledError() : CoreError("canceled") {}
};

}  // namespace heal

#endif  // HEAL_CORE_CORE_ERROR_H_
