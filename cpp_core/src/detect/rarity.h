// rarity.h: how rarely a metric was as far off as now.

#ifndef HEAL_CORE_DETECT_RARITY_H_
#define HEAL_CORE_DETECT_RARITY_H_

namespace heal {

// -ln of the probability that a series' own past exceeds a value, beyond its range
// too. The values judged here are deviations held for several samples, so that
// noise with heavy tails or with a memory, which three standard deviations take
// for a fault every hour, is judged by what it is used to do.
//
// Source: peaks over threshold; a generalised Pareto distribution by the method of
// moments, Hosking and Wallis, Technometrics 1987, section 3. Departures: means
// fade, a prior counts for some dozens of samples, and the shape is kept
// within 0..0.45: a bounded tail would make certain what is only new.
// Cost: about 3 ns, 25 ns beyond the threshold. No allocation.
// Requires: values that are not NaN.
class Rarity {
 public:
  struct Options {
    double start;          // of the tail
    double prior_share;    // of values beyond it
    double prior_excess;   // their mean distance from it
    double young = 1;      // the factor of prior_excess at first; fades in 1500 samples
    double memory = 20000;  // samples
  };

  // In nats; 0 for what does not lie in the tail.
  double Of(double value, const Options& options) const;
  void Learn(double value, const Options& options);

 private:
  double samples_ = 0;
  double share_ = 0;
  double excesses_ = 0;
  double excess_ = 0;  // mean, and mean square
  double square_ = 0;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_RARITY_H_
