// factors.h: the part of a noisy-OR network that a query needs, as a product of
// small tables over binary variables.
//
// Evidence is substituted, barren nodes (no ancestor of evidence or target) are
// left out. A node with many open causes gets no table of 2^n cells: absent, it
// falls apart into one factor per cause; otherwise it becomes a chain of
// two-input ORs over accumulator variables, eight cells a link. All cells are
// probabilities, none negative, so nothing cancels.
// Source: Heckerman and Breese, Causal independence for probability assessment
// and inference using Bayesian networks, 1996 (temporal belief network).

#ifndef HEAL_CORE_DIAGNOSE_FACTORS_H_
#define HEAL_CORE_DIAGNOSE_FACTORS_H_

#include <cstddef>
#include <span>
#include <vector>

#include "diagnose/network.h"
#include "model.h"

namespace heal {

struct Query {
  std::span<const Truth> evidence;  // one per node of the network
  std::span<const int> targets;     // nodes whose posterior is asked
  // The do-operator: this node is set to a value from outside, whatever its
  // causes. -1: none.
  int forced = -1;
  bool forced_present = false;
};

// Variables are numbered 0 .. variables()-1. Bit k of a cell's index is the
// value of the k-th variable of the factor's scope.
class Factors {
 public:
  struct Factor {
    size_t first_variable, n_variables;  // slice of the scopes
    size_t first_cell;                   // 2^n_variables cells
  };

  // Rebuilds for a query; memory is reused. Throws EvidenceError when a node
  // contradicts its causes for certain.
  void Build(const Network& network, const Query& query);

  int variables() const { return variables_; }
  // -1: observed, forced or not needed.
  int variable_of(int node) const { return variable_of_[static_cast<size_t>(node)]; }
  std::span<const Factor> factors() const { return factors_; }
  std::span<const int> scope(const Factor& f) const {
    return std::span<const int>(scopes_).subspan(f.first_variable, f.n_variables);
  }
  std::span<const double> cells(const Factor& f) const {
    return std::span<const double>(cells_).subspan(f.first_cell, size_t{1} << f.n_variables);
  }

 private:
  // A cause whose value is open; q is P(it does not bring the effect about).
  struct Open {
    int variable;
    double q;
  };

  void NumberVariables(const Network& network, const Query& query);
  void AddNode(const Network& network, const Query& query, int node);
  void AddAbsent(double base);
  // base: P(absent | no open cause). result: the node's variable, -1 present.
  void AddOr(double base, std::span<const Open> causes, int input, int result);
  void AddChain(double base, int result);
  void AddConstant(double value);

  int variables_ = 0;
  std::vector<int> variable_of_;
  std::vector<char> needed_;
  std::vector<Open> open_;  // of the node at hand
  std::vector<Factor> factors_;
  std::vector<int> scopes_;
  std::vector<double> cells_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_FACTORS_H_
