#include "detect/distribution.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace heal {
namespace {

bool IsShare(double value) { return std::isfinite(value) && value >= 0 && value <= 1.0001; }

bool Same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Shares of the bins among the rows that are not NULL, and of the rest.
std::array<double, HC_COLUMN_BINS + 1> Cells(const Distribution& d) {
  std::array<double, HC_COLUMN_BINS + 1> cells{};
  const double rest_of = std::max(1 - d.nulls, 1e-9);
  double sum = 0;
  for (size_t i = 0; i < d.bins.size(); ++i) {
    cells[i] = std::clamp(d.bins[i] / rest_of, 0.0, 1.0);
    sum += cells[i];
  }
  cells.back() = std::max(0.0, 1 - sum);
  return cells;
}

bool HasDeciles(const Distribution& d) {
  return std::all_of(d.deciles.begin(), d.deciles.end(), [](double q) { return std::isfinite(q); }) &&
         std::is_sorted(d.deciles.begin(), d.deciles.end());
}

// Share of the values up to x.
double ShareUpTo(const Distribution& d, double x) {
  const auto above = std::upper_bound(d.deciles.begin(), d.deciles.end(), x);
  if (above == d.deciles.begin()) return 0;
  if (above == d.deciles.end()) return x > d.deciles.back() ? 1 : 0.9;
  const double low = *(above - 1);
  const double step = *above > low ? (x - low) / (*above - low) : 0;
  return 0.1 * (static_cast<double>(above - d.deciles.begin()) + step);
}

double OneSided(const Distribution& a, const Distribution& b) {
  double largest = 0;
  for (size_t i = 0; i < a.deciles.size(); ++i) {
    const double x = a.deciles[i];
    // A value that fills several deciles has a step there: any height of it will do.
    const auto equal = std::equal_range(a.deciles.begin(), a.deciles.end(), x);
    const double low = 0.1 * static_cast<double>(equal.first - a.deciles.begin() + 1);
    const double high = 0.1 * static_cast<double>(equal.second - a.deciles.begin());
    const double other = ShareUpTo(b, x);
    largest = std::max({largest, low - other, other - high});
  }
  return largest;
}

double Ratio(double a, double b) { return b > 0 ? a / b : 1; }

}  // namespace

bool Distribution::operator==(const Distribution& other) const {
  return rows == other.rows && sample == other.sample && nulls == other.nulls && distinct == other.distinct &&
         frequent == other.frequent && bins == other.bins &&
         std::equal(deciles.begin(), deciles.end(), other.deciles.begin(), Same);
}

Distribution DistributionOf(const hc_column_stats& column) {
  Distribution d;
  const bool sound = std::isfinite(column.rows) && column.rows > 0 && std::isfinite(column.sample_rows) &&
                     column.sample_rows > 0 && std::isfinite(column.distinct) && column.distinct >= 0 &&
                     IsShare(column.null_fraction) && IsShare(column.frequent) &&
                     std::all_of(std::begin(column.bins), std::end(column.bins), IsShare);
  if (!sound) return d;
  d.rows = column.rows;
  d.sample = std::min(column.sample_rows, column.rows);
  d.nulls = std::min(column.null_fraction, 1.0);
  d.distinct = column.distinct;
  d.frequent = std::min(column.frequent, 1.0);
  std::copy(std::begin(column.bins), std::end(column.bins), d.bins.begin());
  std::copy(std::begin(column.deciles), std::end(column.deciles), d.deciles.begin());
  return d;
}

double ProportionZ(double share1, double n1, double share2, double n2) {
  if (!IsShare(share1) || !IsShare(share2) || !(n1 > 0) || !(n2 > 0)) return 0;
  const double pooled = (share1 * n1 + share2 * n2) / (n1 + n2);
  const double variance = pooled * (1 - pooled) * (1 / n1 + 1 / n2);
  return variance > 0 ? (share2 - share1) / std::sqrt(variance) : 0;
}

double StabilityIndex(const Distribution& before, const Distribution& after) {
  if (!before.known() || !after.known()) return 0;
  const auto p = Cells(before);
  const auto q = Cells(after);
  double index = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    const double a = std::max(p[i], 0.5 / before.sample);
    const double b = std::max(q[i], 0.5 / after.sample);
    index += (b - a) * std::log(b / a);
  }
  return std::isfinite(index) ? index : 0;
}

double ChanceIndex(const Distribution& before, const Distribution& after) {
  constexpr double kFreedom = HC_COLUMN_BINS;
  if (!before.known() || !after.known()) return 0;
  return (1 / before.sample + 1 / after.sample) * (kFreedom + 6 * std::sqrt(2 * kFreedom));
}

double DecileDistance(const Distribution& before, const Distribution& after) {
  if (!before.known() || !after.known() || !HasDeciles(before) || !HasDeciles(after)) return 0;
  return std::max(OneSided(before, after), OneSided(after, before));
}

double DistinctFactor(const Distribution& before, const Distribution& after) {
  if (!before.known() || !after.known() || before.distinct <= 0 || after.distinct <= 0) return 1;
  const double count = Ratio(before.distinct, after.distinct);
  const double share = Ratio(before.distinct / before.rows, after.distinct / after.rows);
  return std::max({1.0, std::min(count, share), std::min(1 / count, 1 / share)});
}

}  // namespace heal
