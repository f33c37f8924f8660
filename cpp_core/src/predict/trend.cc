#include "predict/trend.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "predict/quantiles.h"

namespace heal {
namespace {

constexpr double kLargest = 1e140;             // beyond it squares overflow
constexpr int64_t kLatest = int64_t{1} << 61;  // us; differences of later times overflow
constexpr double kGaussian = 1.4826;           // deviation over median absolute deviation
constexpr double kOutlier = 5;                 // deviations from the neighbours' median
constexpr double kDrop = 7;                    // deviations of the increments
constexpr double kDropOfRange = 0.005;         // and at least this share of the range
constexpr size_t kDropLength = 3;              // samples an abrupt drop may take
constexpr double kIrregular = 0.35;            // variation up to which cleanups are regular
constexpr double kWandering = 0.1;             // of the window: correlation time of what is signal
constexpr double kSmallestPhi = -0.4;
constexpr double kLargestPhi = 0.99;
constexpr double kGap = 1.6;               // steps: something is missing between
constexpr double kVisibleQuantum = 0.001;  // of the range: coarser values are counted in steps
constexpr double kTwoEnds = 0.41;          // deviation of the difference of two roundings
constexpr double kRadian = 6.283185307179586;
constexpr size_t kFirstHarmonic = 3;
constexpr size_t kTooth = 9;
constexpr double kStall = 3;         // mean lengths of a step
constexpr size_t kRest = 20;         // points that must follow a cleanup
constexpr size_t kCyclePoints = 10;  // fewer per cycle: harmonics would be guesses

bool Usable(const TimedValue& sample) {
  return std::isfinite(sample.value) && std::fabs(sample.value) < kLargest && sample.time_us > -kLatest &&
         sample.time_us < kLatest;
}

double Phase(int64_t time_us, int64_t cycle_us) {
  if (cycle_us <= 0) return 0;
  return kRadian * static_cast<double>(time_us % cycle_us) / static_cast<double>(cycle_us);
}

// Sine and cosine of one to three times the angle.
void Harmonics(double angle, double* to) {
  const double c = std::cos(angle);
  const double s = std::sin(angle);
  to[0] = c;
  to[1] = s;
  to[2] = c * c - s * s;
  to[3] = 2 * s * c;
  to[4] = to[2] * c - to[3] * s;
  to[5] = to[3] * c + to[2] * s;
}

// Cholesky's factor of a symmetric matrix, in place (lower half).
template <size_t kStride>
bool Factorise(double* a, size_t n) {
  for (size_t j = 0; j < n; ++j) {
    double* row = a + j * kStride;
    const double before = row[j];
    for (size_t k = 0; k < j; ++k) row[j] -= row[k] * row[k];
    if (!(row[j] > 1e-11 * before)) return false;  // collinear, or not a number
    row[j] = std::sqrt(row[j]);
    for (size_t i = j + 1; i < n; ++i) {
      double* other = a + i * kStride;
      for (size_t k = 0; k < j; ++k) other[j] -= other[k] * row[k];
      other[j] /= row[j];
    }
  }
  return true;
}

// The inverse of the factored matrix, column by column.
template <size_t kStride>
void Invert(const double* factor, size_t n, double* inverse) {
  for (size_t column = 0; column < n; ++column) {
    double x[kStride] = {};
    for (size_t i = column; i < n; ++i) {
      double sum = i == column ? 1 : 0;
      for (size_t k = column; k < i; ++k) sum -= factor[i * kStride + k] * x[k];
      x[i] = sum / factor[i * kStride + i];
    }
    for (size_t i = n; i-- > 0;) {
      double sum = x[i];
      for (size_t k = i + 1; k < n; ++k) sum -= factor[k * kStride + i] * x[k];
      x[i] = sum / factor[i * kStride + i];
    }
    for (size_t i = 0; i < n; ++i) inverse[i * kStride + column] = x[i];
  }
}

}  // namespace

double TrendFitter::Median(size_t n) {
  if (n == 0) return 0;
  const auto middle = sorted_.begin() + static_cast<std::ptrdiff_t>(n / 2);
  std::nth_element(sorted_.begin(), middle, sorted_.begin() + static_cast<std::ptrdiff_t>(n));
  return *middle;
}

// Counts what can be used and how often the value changes, then takes the
// values over: as they are, as the middles of their steps, or as block means.
void TrendFitter::Collect(std::span<const TimedValue> window, Trend* trend) {
  n_ = 0;
  size_t runs = 0;
  size_t rises = 0;
  int64_t first = 0;
  int64_t last = 0;
  int64_t run_start = 0;
  double before = 0;
  for (const TimedValue& sample : window) {
    if (!Usable(sample) || (trend->samples != 0 && sample.time_us <= last)) continue;
    if (trend->samples++ == 0) first = sample.time_us;
    if (runs == 0 || sample.value != before) {
      ++runs;
      run_start = sample.time_us;
    }
    if (runs > 1 && sample.value > before) ++rises;
    before = sample.value;
    last = sample.time_us;
  }
  trend->from_us = first;
  trend->to_us = last;
  if (trend->samples == 0) return;
  // The step in progress is left out of a compressed series; one that lasts
  // longer than the others says that the rise is over.
  const bool stalled = static_cast<double>(last - run_start) * static_cast<double>(runs) >
                       kStall * static_cast<double>(last - first);
  const bool stepped =
      runs >= 8 && runs <= kPoints && runs * 4 <= trend->samples && rises * 10 >= (runs - 1) * 9 && !stalled;
  if (stepped) {
    CompressSteps(window, first);
  } else {
    Thin(window, first, last, trend->samples);
    const double half = Quantum(window, first) / 2;
    for (size_t i = 0; i < n_; ++i) value_[i] += half;
  }
}

// The step of a value counted in whole steps, where it is coarse enough to
// matter; 0 else, and where all changes are equal. Such a value lies half a step below its signal on average.
double TrendFitter::Quantum(std::span<const TimedValue> window, int64_t first_us) const {
  double quantum = 0;
  double low = 0;
  double high = 0;
  for (int pass = 0; pass < 2; ++pass) {
    double before = 0;
    double first = 0;  // change
    size_t n = 0;
    bool differ = false;
    double last = -1;
    for (const TimedValue& sample : window) {
      if (!Usable(sample)) continue;
      const double time = static_cast<double>(sample.time_us - first_us);
      if (time <= last) continue;
      last = time;
      const double change = n != 0 ? std::fabs(sample.value - before) : 0;
      if (n == 0) low = high = sample.value;
      before = sample.value;
      low = std::min(low, before);
      high = std::max(high, before);
      if (n == 1) first = change;
      differ |= n > 1 && change != first;
      ++n;
      if (change == 0) continue;
      if (pass == 0 && (quantum == 0 || change < quantum)) quantum = change;
      const double steps = change / quantum;
      if (pass == 1 && std::fabs(steps - std::round(steps)) > 1e-6 * steps) return 0;
    }
    if (!differ || !(quantum > kVisibleQuantum * (high - low))) return 0;
  }
  return quantum;
}

// A count that rises by steps lies half a step too low on average, and its
// deviations from a line are all but independent. The middle of a step, half a
// step higher, is a point of the signal itself. The first and the last step
// are cut short and left out.
void TrendFitter::CompressSteps(std::span<const TimedValue> window, int64_t first_us) {
  double value = 0;
  double start = 0;
  double last = -1;
  double rise = 0;
  size_t runs = 0;
  for (const TimedValue& sample : window) {
    if (!Usable(sample)) continue;
    const double time = static_cast<double>(sample.time_us - first_us);
    if (time <= last) continue;
    if (runs == 0 || sample.value != value) {
      const double change = sample.value - value;
      const double boundary = (time + last) / 2;
      if (runs > 1 && n_ < kPoints) {
        time_[n_] = (start + boundary) / 2;
        value_[n_++] = value + (change > 0 ? change : rise) / 2;
      }
      if (runs > 0 && change > 0) rise = change;
      start = boundary;
      value = sample.value;
      ++runs;
    }
    last = time;
  }
}

void TrendFitter::Thin(std::span<const TimedValue> window, int64_t first_us, int64_t last_us,
                       size_t samples) {
  const double width = samples <= kPoints ? 0 : static_cast<double>(last_us - first_us) / kPoints;
  double last = -1;
  double time_sum = 0;
  double value_sum = 0;
  size_t count = 0;
  const auto flush = [&] {
    if (count == 0 || n_ == kPoints) return;
    time_[n_] = time_sum / static_cast<double>(count);
    value_[n_++] = value_sum / static_cast<double>(count);
    time_sum = value_sum = 0;
    count = 0;
  };
  for (const TimedValue& sample : window) {
    if (!Usable(sample)) continue;
    const double time = static_cast<double>(sample.time_us - first_us);
    if (time <= last) continue;
    last = time;
    if (time >= width * static_cast<double>(n_ + 1) && count != 0) flush();
    time_sum += time;
    value_sum += sample.value;
    ++count;
    if (width == 0) flush();
  }
  flush();
}

// Hampel's identifier: far from the median of seven neighbours.
void TrendFitter::DropOutliers() {
  if (n_ < 8) return;
  double low = value_[0];
  double high = value_[0];
  for (size_t i = 0; i < n_; ++i) {
    const size_t from = std::min(i < 3 ? 0 : i - 3, n_ - 7);
    std::array<double, 7> near{};
    std::copy_n(value_.begin() + static_cast<std::ptrdiff_t>(from), 7, near.begin());
    std::nth_element(near.begin(), near.begin() + 3, near.end());
    residual_[i] = std::fabs(value_[i] - near[3]);
    low = std::min(low, value_[i]);
    high = std::max(high, value_[i]);
  }
  std::copy_n(residual_.begin(), n_, sorted_.begin());
  const double limit = kOutlier * std::max(kGaussian * Median(n_), 0.01 * (high - low));
  size_t kept = 0;
  for (size_t i = 0; i < n_; ++i) {
    // The ends have neighbours on one side only: a steep curve looks odd there.
    const bool end = i < 3 || i + 3 >= n_;
    if (residual_[i] > (end ? 2 * limit : limit)) continue;
    time_[kept] = time_[i];
    value_[kept++] = value_[i];
  }
  n_ = kept;
}

// Drops much larger than the increments usually are, within a few samples. The
// scale is bounded by the smallest change, or a count that flickers by one
// would consist of cleanups.
void TrendFitter::FindResets(Trend* trend) {
  n_resets_ = 0;
  if (n_ < 8) return;
  double low = value_[0];
  double high = value_[0];
  double quantum = 0;
  for (size_t i = 1; i < n_; ++i) {
    sorted_[i - 1] = value_[i] - value_[i - 1];
    const double change = std::fabs(sorted_[i - 1]);
    if (change > 0 && (quantum == 0 || change < quantum)) quantum = change;
    low = std::min(low, value_[i]);
    high = std::max(high, value_[i]);
  }
  const double usual = Median(n_ - 1);
  for (size_t i = 1; i < n_; ++i) sorted_[i - 1] = std::fabs(value_[i] - value_[i - 1] - usual);
  const double scale = std::max(kGaussian * Median(n_ - 1), quantum / 2);
  const double limit = std::max(kDrop * scale, kDropOfRange * (high - low));
  size_t kept = 1;
  for (size_t i = 1; i < n_;) {
    size_t end = i;  // the drop goes from i - 1 to end - 1
    while (end < n_ && end < i + kDropLength && value_[end] < value_[end - 1]) ++end;
    const double drop = value_[i - 1] - value_[end - 1];
    if (end > i && drop > limit) {
      // The samples on the way down belong to neither side.
      AddReset(kept, (time_[i - 1] + time_[end - 1]) / 2, drop);
      i = end - 1;
      time_[kept] = time_[i];
      value_[kept++] = value_[i++];
      continue;
    }
    for (end = std::max(end, i + 1); i < end; ++i) {
      time_[kept] = time_[i];
      value_[kept++] = value_[i];
    }
  }
  n_ = kept;
  ExpectResets(trend);
}

// Remembers a reset by the first sample after it; of too many the latest.
void TrendFitter::AddReset(size_t index, double time, double drop) {
  if (n_resets_ == resets_.size()) {
    std::copy(resets_.begin() + 1, resets_.end(), resets_.begin());
    --n_resets_;
  }
  resets_[n_resets_++] = {index, time, drop};
}

// Cleanups that came at regular intervals and by similar amounts go on.
void TrendFitter::ExpectResets(Trend* trend) const {
  trend->resets = n_resets_;
  if (n_resets_ == 0) return;
  const double last = resets_[n_resets_ - 1].time;
  trend->last_reset_us = trend->from_us + static_cast<int64_t>(last);
  if (n_resets_ < 3) return;
  const double intervals = static_cast<double>(n_resets_ - 1);
  const double every = (last - resets_[0].time) / intervals;
  double drop = 0;
  for (size_t i = 0; i < n_resets_; ++i) drop += resets_[i].drop / (intervals + 1);
  double drop_squares = 0;
  double interval_squares = 0;
  for (size_t i = 0; i < n_resets_; ++i) {
    drop_squares += (resets_[i].drop - drop) * (resets_[i].drop - drop);
    if (i == 0) continue;
    const double off = resets_[i].time - resets_[i - 1].time - every;
    interval_squares += off * off;
  }
  if (std::sqrt(interval_squares / intervals) > kIrregular * every) return;
  if (std::sqrt(drop_squares / intervals) > kIrregular * drop) return;
  trend->drop_every = every;
  trend->drop_by = drop;
}

// Regular cleanups are part of the signal. Of others, only what came after the
// last counts: what was cleaned up may have been what grew. False where that is
// too little.
bool TrendFitter::CutAtReset(const TrendOptions& options, const Trend& trend) {
  if (n_resets_ == 0 || trend.drop_every > 0) return true;
  const size_t from = resets_[n_resets_ - 1].index;
  const size_t rest = n_ - from;
  if (rest < kRest || rest * trend.samples < options.min_samples * n_) return false;
  std::copy(time_.begin() + static_cast<std::ptrdiff_t>(from),
            time_.begin() + static_cast<std::ptrdiff_t>(n_), time_.begin());
  std::copy(value_.begin() + static_cast<std::ptrdiff_t>(from),
            value_.begin() + static_cast<std::ptrdiff_t>(n_), value_.begin());
  n_ = rest;
  return true;
}

// Brings the values near one and counts the steps between the points. The
// times stay; false where there is nothing to fit.
bool TrendFitter::Normalise(Trend* trend) {
  if (n_ < 6) return false;
  std::copy_n(value_.begin(), n_, sorted_.begin());
  origin_ = Median(n_);
  scale_ = 0;
  for (size_t i = 0; i < n_; ++i) scale_ = std::max(scale_, std::fabs(value_[i] - origin_));
  if (!(scale_ > 1e-140)) scale_ = 1;
  for (size_t i = 0; i < n_; ++i) value_[i] = (value_[i] - origin_) / scale_;
  for (size_t i = 1; i < n_; ++i) sorted_[i - 1] = time_[i] - time_[i - 1];
  trend->step_us = Median(n_ - 1);
  trend->from_us += static_cast<int64_t>(time_[0]);
  for (size_t i = 0; i < n_resets_; ++i) resets_[i].time -= time_[0];
  for (size_t i = n_; i-- > 0;) time_[i] -= time_[0];
  if (!(trend->step_us > 0) || trend->to_us <= trend->from_us) return false;
  gap_[0] = 0;
  for (size_t i = 1; i < n_; ++i) gap_[i] = (time_[i] - time_[i - 1]) / trend->step_us;
  return true;
}

// Median of the slopes between all pairs of at most 64 block means.
void TrendFitter::TheilSen(Trend* trend) {
  std::array<double, kSlopePoints> time{};
  std::array<double, kSlopePoints> value{};
  const size_t block = (n_ + kSlopePoints - 1) / kSlopePoints;
  size_t points = 0;
  for (size_t i = 0; i < n_; i += block, ++points) {
    const size_t end = std::min(i + block, n_);
    for (size_t k = i; k < end; ++k) {
      time[points] += time_[k] / static_cast<double>(end - i);
      value[points] += value_[k] / static_cast<double>(end - i);
    }
  }
  size_t slopes = 0;
  for (size_t i = 1; i < points; ++i) {
    for (size_t j = 0; j < i; ++j) sorted_[slopes++] = (value[i] - value[j]) / (time[i] - time[j]);
  }
  trend->theil_sen = Median(slopes) * scale_ * 1e6;
}

// us since the cleanup before the given time (us since the first sample).
double TrendFitter::Tooth(const Trend& trend, double time) const {
  double before = resets_[0].time - trend.drop_every * std::ceil((resets_[0].time - time) / trend.drop_every);
  for (size_t i = 0; i < n_resets_ && resets_[i].time <= time; ++i) before = resets_[i].time;
  return time - before;
}

void TrendFitter::BuildDesign(const Trend& trend) {
  const double span = static_cast<double>(trend.to_us - trend.from_us);
  for (size_t i = 0; i < n_; ++i) {
    const double x = time_[i] / span - 1;
    design_[i] = {1, x, x * x};
    if (trend.cycle_us > 0) {
      Harmonics(Phase(trend.from_us + static_cast<int64_t>(time_[i]), trend.cycle_us),
                &design_[i][kFirstHarmonic]);
    }
    if (trend.drop_every > 0) design_[i][kTooth] = Tooth(trend, time_[i]) / span;
  }
}

// Lag-one correlation of the residuals, corrected for its bias.
double TrendFitter::Correlation(const TrendModel& model) const {
  double products = 0;
  double squares = 0;
  size_t pairs = 0;
  for (size_t i = 1; i < n_; ++i) {
    if (gap_[i] >= kGap) continue;
    products += residual_[i] * residual_[i - 1];
    squares += (residual_[i] * residual_[i] + residual_[i - 1] * residual_[i - 1]) / 2;
    ++pairs;
  }
  if (!(squares > 0) || pairs < 4) return 0;
  const double phi = products / squares;
  const double p = static_cast<double>(model.size);
  // Towards phi = 1 the bias about a line grows to 10 / n (Dickey and Fuller 1979).
  const double root = phi > 0 ? 4 * std::pow(phi, 8) : 0;
  return std::clamp(phi + (p + (p + 2) * phi + root) / static_cast<double>(pairs), kSmallestPhi, kLargestPhi);
}

// The correlation over each gap. Alternating noise has one only from step to
// step.
void TrendFitter::Correlate(double phi) {
  const double rate = phi > 0 ? std::log(phi) : 0;
  rho_[0] = 0;
  for (size_t i = 1; i < n_; ++i) {
    if (phi > 0) {
      rho_[i] = gap_[i] == 1 ? phi : std::exp(rate * std::max(gap_[i], 0.1));
    } else {
      rho_[i] = gap_[i] < kGap ? phi : 0;
    }
  }
}

// One generalised least squares fit with the model's phi; leaves the residuals
// and, in covariance, the inverse of the normal matrix.
bool TrendFitter::Solve(TrendModel* model) {
  const size_t p = model->size;
  Correlate(model->phi);
  std::array<double, kColumns * kColumns> normal{};
  std::array<double, kColumns> right{};
  for (size_t i = 0; i < n_; ++i) {
    const double rho = rho_[i];
    const double factor = 1 / std::sqrt(1 - rho * rho);
    std::array<double, kColumns> row{};
    for (size_t k = 0; k < p; ++k) {
      const double before = i == 0 ? 0 : design_[i - 1][columns_[k]];
      row[k] = (design_[i][columns_[k]] - rho * before) * factor;
    }
    const double value = (value_[i] - (i == 0 ? 0 : rho * value_[i - 1])) * factor;
    for (size_t k = 0; k < p; ++k) {
      for (size_t m = 0; m <= k; ++m) normal[k * kColumns + m] += row[k] * row[m];
      right[k] += row[k] * value;
    }
  }
  if (!Factorise<kColumns>(normal.data(), p)) return false;
  Invert<kColumns>(normal.data(), p, model->covariance.data());
  for (size_t k = 0; k < p; ++k) {
    model->coefficient[k] = 0;
    for (size_t m = 0; m < p; ++m) model->coefficient[k] += model->covariance[k * kColumns + m] * right[m];
  }
  for (size_t i = 0; i < n_; ++i) {
    residual_[i] = value_[i];
    for (size_t k = 0; k < p; ++k) residual_[i] -= model->coefficient[k] * design_[i][columns_[k]];
  }
  return true;
}

// Weight 0 stays with a model that cannot be fitted; `bic` else.
void TrendFitter::FitModel(bool curved, bool cyclic, Trend* trend) {
  TrendModel& model = trend->models[trend->n_models];
  model = TrendModel{};
  model.curved = curved;
  model.cyclic = cyclic;
  columns_[model.size++] = 0;
  columns_[model.size++] = 1;
  if (curved) columns_[model.size++] = 2;
  for (size_t k = 0; cyclic && k < 6; ++k) columns_[model.size++] = kFirstHarmonic + k;
  if (trend->drop_every > 0) columns_[model.size++] = kTooth;
  if (n_ < model.size + 4 || !Solve(&model)) return;
  for (int pass = 0; pass < 2; ++pass) {
    model.phi = Correlation(model);
    if (!Solve(&model)) return;
  }
  double squares = 0;
  double determinant = 0;
  for (size_t i = 0; i < n_; ++i) {
    const double rho = rho_[i];
    const double e = residual_[i] - (i == 0 ? 0 : rho * residual_[i - 1]);
    squares += e * e / (1 - rho * rho);
    determinant += std::log1p(-rho * rho);
  }
  const double n = static_cast<double>(n_);
  const double p = static_cast<double>(model.size);
  // A perfect fit leaves rounding errors; nothing is known better than that.
  squares = std::max(squares, n * 1e-24);
  bic_[trend->n_models++] = n * std::log(squares / n) + determinant + p * std::log(n);
  model.freedom = std::max(n * std::min((1 - model.phi) / (1 + model.phi), 1.0) - p, 2.0);
  const double variance = squares / (n - p);
  model.sigma = std::sqrt(variance) * scale_;
  model.residual = residual_[n_ - 1] * scale_;
  for (double& entry : model.covariance) entry *= variance * scale_ * scale_;
  for (double& entry : model.coefficient) entry *= scale_;
  model.coefficient[0] += origin_;
}

void TrendFitter::Weigh(Trend* trend) {
  const double best =
      *std::min_element(bic_.begin(), bic_.begin() + static_cast<std::ptrdiff_t>(trend->n_models));
  double sum = 0;
  for (size_t i = 0; i < trend->n_models; ++i) {
    const double weight = std::exp(-(bic_[i] - best) / 2);
    trend->models[i].weight = weight < 0.01 ? 0 : weight;
    sum += trend->models[i].weight;
  }
  size_t kept = 0;
  for (size_t i = 0; i < trend->n_models; ++i) {
    if (trend->models[i].weight == 0) continue;
    trend->models[kept] = trend->models[i];
    trend->models[kept++].weight /= sum;
  }
  trend->n_models = kept;
}

// Of the slope at the end, averaged over the models.
double TrendFitter::SlopeQuantile(const Trend& trend, double goal) {
  constexpr size_t kSlope = TrendModel::kColumns + 1;
  const double deviate = NormalQuantile(goal);
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (size_t i = 0; i < trend.n_models; ++i) {
    const TrendModel& model = trend.models[i];
    const double at =
        model.coefficient[1] + StudentOfNormal(deviate, model.freedom) * std::sqrt(model.covariance[kSlope]);
    low = std::min(low, at);
    high = std::max(high, at);
  }
  for (int step = 0; step < 40 && high > low; ++step) {
    const double middle = low + (high - low) / 2;
    double below = 0;
    for (size_t i = 0; i < trend.n_models; ++i) {
      const TrendModel& model = trend.models[i];
      const double error = std::sqrt(model.covariance[kSlope]);
      const double t = (middle - model.coefficient[1]) / error;
      below += model.weight * (error > 0 ? NormalCdf(NormalOfStudent(t, model.freedom)) : t >= 0 ? 1.0 : 0.0);
    }
    (below < goal ? low : high) = middle;
  }
  return high * 1e6 / static_cast<double>(trend.to_us - trend.from_us);
}

void TrendFitter::Summarise(const TrendOptions& options, Trend* trend) const {
  const double per_second = 1e6 / static_cast<double>(trend->to_us - trend->from_us);
  double curved = 0;
  double cyclic = 0;
  for (size_t i = 0; i < trend->n_models; ++i) {
    const TrendModel& model = trend->models[i];
    trend->level += model.weight * trend->At(model, trend->to_us).mean;
    trend->slope += model.weight * model.coefficient[1] * per_second;
    trend->noise += model.weight * model.sigma;
    trend->autocorrelation += model.weight * model.phi;
    if (model.curved) curved += model.weight;
    if (model.cyclic) cyclic += model.weight;
    const double error = std::sqrt(model.covariance[TrendModel::kColumns + 1]);
    const double gain = model.coefficient[1];
    trend->rising += model.weight * (error > 0  ? NormalCdf(NormalOfStudent(gain / error, model.freedom))
                                     : gain > 0 ? 1.0
                                                : 0.0);
  }
  trend->slope_low = SlopeQuantile(*trend, (1 - options.rate) / 2);
  trend->slope_high = SlopeQuantile(*trend, (1 + options.rate) / 2);
  trend->accelerating = curved > 0.5;
  trend->cyclic = cyclic > 0.5;
}

Trend TrendFitter::Fit(std::span<const TimedValue> window, const TrendOptions& options) {
  Trend trend;
  Collect(window, &trend);
  if (trend.samples < options.min_samples) return trend;
  DropOutliers();
  FindResets(&trend);
  if (!CutAtReset(options, trend)) return trend;
  trend.state = Trend::State::kNoSpan;
  if (!Normalise(&trend)) return trend;
  TheilSen(&trend);
  const double span = static_cast<double>(trend.to_us - trend.from_us);
  const double cycle = static_cast<double>(options.cycle_us);
  const bool cyclic = cycle > 0 && span >= 2 * cycle && cycle >= kCyclePoints * trend.step_us;
  trend.cycle_us = cyclic ? options.cycle_us : 0;
  BuildDesign(trend);
  for (const bool with_cycle : {false, true}) {
    if (with_cycle && !cyclic) break;
    FitModel(false, with_cycle, &trend);
    // Uneven teeth look like a curve.
    if (trend.drop_every == 0) FitModel(true, with_cycle, &trend);
  }
  if (trend.n_models == 0) return trend;
  trend.state = Trend::State::kValid;
  Weigh(&trend);
  Summarise(options, &trend);
  return trend;
}

// The columns of a model.
void Trend::Row(const TrendModel& model, int64_t time_us, double* row) const {
  const double span = static_cast<double>(to_us - from_us);
  const double x = static_cast<double>(time_us - to_us) / span;
  size_t n = 0;
  row[n++] = 1;
  row[n++] = x;
  if (model.curved) row[n++] = x * x;
  if (model.cyclic) {
    Harmonics(Phase(time_us, cycle_us), row + n);
    n += 6;
  }
  if (drop_every > 0) row[n++] = std::fmod(static_cast<double>(time_us - last_reset_us), drop_every) / span;
}

Trend::Point Trend::At(const TrendModel& model, int64_t time_us) const {
  const double span = static_cast<double>(to_us - from_us);
  const double ahead = static_cast<double>(time_us - to_us);
  std::array<double, TrendModel::kColumns> row{};
  Row(model, time_us, row.data());
  double mean = 0;
  double variance = 0;
  // Noise slower than the window can tell from a trend is carried on from its
  // last value (the best linear prediction); faster noise is no part of the signal.
  if (model.phi > 0) {
    const double memory = -step_us / std::log(model.phi);
    if (memory > kWandering * span) {
      const double rho = std::exp(-std::max(ahead, 0.0) / memory);
      std::array<double, TrendModel::kColumns> now{};
      Row(model, to_us, now.data());
      double last = model.residual;
      for (size_t k = 0; k < model.size; ++k) {
        last += now[k] * model.coefficient[k];
        row[k] -= rho * now[k];
      }
      mean += rho * last;
      variance += model.sigma * model.sigma * (1 - rho * rho);
    }
  }
  for (size_t k = 0; k < model.size; ++k) {
    mean += row[k] * model.coefficient[k];
    double sum = 0;
    for (size_t m = 0; m < model.size; ++m) sum += row[m] * model.covariance[k * TrendModel::kColumns + m];
    variance += row[k] * sum;
  }
  if (drop_every > 0 && ahead > 0) {
    // Both ends of the time in which the cleanups were counted are known to one
    // sample: what that adds up to over the cleanups to come, as a height.
    const double steep = (model.coefficient[1] + model.coefficient[model.size - 1]) / span;
    const double off = steep * kTwoEnds * step_us * ahead / (drop_every * static_cast<double>(resets - 1));
    variance += off * off;
  }
  return {mean, std::sqrt(std::max(variance, 0.0))};
}

}  // namespace heal
