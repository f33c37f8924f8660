// distribution.h: has the distribution of a column changed?
//
// Pure functions of what ANALYZE left. Shares are fractions of all rows, 0..1.
// Numbers that make no sense (NaN, negative, above one) never tell a change.

#ifndef HEAL_CORE_DETECT_DISTRIBUTION_H_
#define HEAL_CORE_DETECT_DISTRIBUTION_H_

#include <array>

#include "heal_core/observation.h"

namespace heal {

// One state of a column, as the newest ANALYZE saw it.
struct Distribution {
  double rows = 0;    // of the table; 0: not known, nor is the rest
  double sample = 0;  // rows behind the shares
  double nulls = 0;
  double distinct = 0;
  double frequent = 0;                           // share of the frequent values
  std::array<double, HC_COLUMN_BINS> bins{};     // the same, by a hash of the value
  std::array<double, HC_COLUMN_DECILES> deciles{};  // of the other values; NaN none

  bool known() const { return rows > 0; }
  bool operator==(const Distribution& other) const;
};

// Of facts that make no sense, or of a column that was never analyzed: not known().
Distribution DistributionOf(const hc_column_stats& column);

// Statistic of the two-proportion z-test with pooled variance: how sure it is
// that the second share is the larger one. 0 when there is nothing to compare.
// Source: Fleiss, Levin, Paik, Statistical Methods for Rates and Proportions,
// 3rd ed., section 3.2 (without the continuity correction: samples are large).
double ProportionZ(double share1, double n1, double share2, double n2);

// Population stability index over the bins of the frequent values and one bin
// for the rest, NULLs left out. Source: Siddiqi, Credit Risk Scorecards (2006),
// ch. 7: above 0.25 is a major shift. Departure: empty bins count as half a row.
double StabilityIndex(const Distribution& before, const Distribution& after);

// What chance alone makes of the index between two samples of one population:
// it is distributed as (1/n1 + 1/n2) chi-squared with bins - 1 degrees of
// freedom (Yurdakul, Naranjo, Statistical properties of the population stability
// index, J. Risk Model Validation 14(4), 2020); here its mean and six deviations.
double ChanceIndex(const Distribution& before, const Distribution& after);

// Largest distance of the two distribution functions at the deciles, 0..1, as
// in the Kolmogorov-Smirnov statistic; linear between deciles, and so exact to
// 0.1 outside them. 0 without deciles.
double DecileDistance(const Distribution& before, const Distribution& after);

// By what factor did the different values become fewer (or more), counted and in
// relation to the rows alike? A table that grew changes only one of the two. At
// least 1.
double DistinctFactor(const Distribution& before, const Distribution& after);

}  // namespace heal

#endif  // HEAL_CORE_DETECT_DISTRIBUTION_H_
