// inference.h: exact posteriors in a noisy-OR network.
//
// Variable elimination as a bucket tree: one pass up sums the variables out in
// min-fill order, one pass down brings the beliefs back, so that the posteriors
// of all targets cost little more than that of one.
// Source: Kask, Dechter, Larrosa and Dechter, Unifying tree decompositions for
// reasoning in graphical models, 2005; messages are divided out as in Jensen,
// Lauritzen and Olesen, 1990. Departure: messages and tables are scaled to a
// maximum of one, for the probability of much evidence underflows.

#ifndef HEAL_CORE_DIAGNOSE_INFERENCE_H_
#define HEAL_CORE_DIAGNOSE_INFERENCE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "diagnose/elimination.h"
#include "diagnose/factors.h"
#include "diagnose/network.h"

namespace heal {

// Keeps its memory from query to query. Not for two threads at once.
class Inference {
 public:
  // network must outlive this.
  Inference(const Network& network, const WorkLimits& limits) : network_(network), limits_(limits) {}

  // P(target present | evidence) of each target, in their order; an observed or
  // forced target has 0 or 1. Throws EvidenceError when the evidence is
  // impossible, LimitError, CanceledError.
  std::vector<double> Posteriors(const Query& query);

 private:
  struct Bucket {
    size_t table;    // 2^size cells
    size_t message;  // 2^(size-1) cells, over all but the first variable
    bool wanted;     // a target is here or above in its subtree
  };

  void MakeBuckets(const Query& query);
  void MultiplyFactors();
  void PassUp();
  void PassDown();
  double Posterior(int variable) const;

  // Multiplies the cells of a factor into the table of a cluster, and scales.
  void Multiply(size_t cluster, std::span<const int> scope, std::span<const double> cells);
  void Scale(std::span<double> cells, double max) const;
  void SumOut(size_t cluster);
  void Receive(size_t cluster);

  size_t CellCount(size_t cluster) const { return size_t{1} << elimination_.clusters()[cluster].size; }
  std::span<double> Table(size_t cluster) {
    return std::span<double>(cells_).subspan(buckets_[cluster].table, CellCount(cluster));
  }
  std::span<double> Message(size_t cluster) {
    return std::span<double>(cells_).subspan(buckets_[cluster].message, CellCount(cluster) / 2);
  }

  const Network& network_;
  WorkLimits limits_;
  Factors factors_;
  Elimination elimination_;
  std::vector<int> targets_;
  std::vector<Bucket> buckets_;
  std::vector<double> cells_;
  std::vector<double> scratch_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_INFERENCE_H_
