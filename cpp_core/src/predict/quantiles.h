// quantiles.h: the normal and Student's distribution, as closed forms.

#ifndef HEAL_CORE_PREDICT_QUANTILES_H_
#define HEAL_CORE_PREDICT_QUANTILES_H_

#include <cmath>

namespace heal {

inline double NormalCdf(double z) { return 0.5 * std::erfc(-z * 0.70710678118654752); }

// Requires: 0 < p < 1. Error below 4.5e-4.
// Source: Abramowitz and Stegun, formula 26.2.23.
inline double NormalQuantile(double p) {
  const double tail = p < 0.5 ? p : 1 - p;
  const double t = std::sqrt(-2 * std::log(tail));
  const double z =
      t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  return p < 0.5 ? -z : z;
}

// The normal deviate with the same tail as Student's t, and back; error of the
// tail below 0.002 from three degrees of freedom on.
// Source: Wallace (1959), Bounds on normal approximations to Student's and the
// chi-square distributions, formula 2.9.
inline double NormalOfStudent(double t, double freedom) {
  const double z = std::sqrt(freedom * std::log1p(t * t / freedom)) * (8 * freedom + 1) / (8 * freedom + 3);
  return t < 0 ? -z : z;
}

inline double StudentOfNormal(double z, double freedom) {
  const double u = z * (8 * freedom + 3) / (8 * freedom + 1);
  const double t = std::sqrt(freedom * std::expm1(u * u / freedom));
  return z < 0 ? -t : t;
}

}  // namespace heal

#endif  // HEAL_CORE_PREDICT_QUANTILES_H_
