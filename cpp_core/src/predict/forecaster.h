// forecaster.h: watches what runs out, predicts when, and grades itself.

#ifndef HEAL_CORE_PREDICT_FORECASTER_H_
#define HEAL_CORE_PREDICT_FORECASTER_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "predict/exhaustion.h"
#include "predict/trend.h"

namespace heal {

enum class Resource : uint8_t {
  kDisk,
  kWalDisk,
  kConnections,
  kXidAge,
  kMultixactAge,
  kMultixactMembers,
  kSequence,
  kSlotWal,
  kTempSpace,
  kCount
};

// What is predicted about a resource. Strings are literals.
struct ResourceDef {
  Resource resource;
  const char* name;
  const char* failure_id;
  const char* failure_type;
  const char* component;
  const char* value;  // what the caller passes, in which unit
  const char* limit;
  const char* unit;  // of both
};

std::span<const ResourceDef> Resources();
const ResourceDef& DefOf(Resource resource);

// One look at a resource. Values rise towards the limit: used, not free, space.
struct ResourceSample {
  Resource resource = Resource::kDisk;
  std::string_view subject;  // "" where there is only one; cut at 127 bytes
  double value = 0;
  double limit = 0;
};

enum class PredictionOutcome : uint8_t {
  kOpen,
  kHit,        // it happened within the interval
  kEarly,      // it happened before eta_low
  kLate,       // it happened after eta_high
  kMiss,       // it did not happen
  kWithdrawn,  // its ground went: cleaned up, limit moved, subject gone
};

const char* PredictionOutcomeName(PredictionOutcome outcome);
std::optional<PredictionOutcome> PredictionOutcomeFromName(std::string_view name);

struct Prediction {
  uint64_t id = 0;
  Resource resource = Resource::kDisk;
  std::array<char, 128> subject{};  // NUL-terminated
  int64_t predicted_at = 0;
  int64_t eta = 0;
  int64_t eta_low = 0;
  int64_t eta_high = 0;  // 0: perhaps never within the horizon
  int64_t horizon = 0;
  double confidence = 0;  // that it happens within the horizon
  double value = 0;       // when it was predicted
  double limit = 0;
  double slope = 0;  // units per second
  PredictionOutcome outcome = PredictionOutcome::kOpen;
  int64_t graded_at = 0;
};

struct ForecasterOptions {
  size_t max_subjects = 64;
  size_t min_samples = 30;  // pg_heal.min_baseline_samples
  double min_confidence = 0.8;
  int confirmations = 3;          // forecasts in a row that must agree
  size_t forecasts_per_tick = 2;  // subjects whose trends are fitted in one tick
  int64_t forecast_gap_us = 0;    // least time between ticks in which any is fitted
  ExhaustionOptions exhaustion;
};

// Keeps up to max_subjects series, each at four resolutions, and predicts from
// the longest history that still explains the present.
//
// Each tick adds one value per subject and forecasts at most forecasts_per_tick
// subjects, in turn; those that plainly do not move towards their limit are
// passed over. A forecast fits the newest third of the finest series, then every
// resolution. The longest whose trend agrees with the present (four deviations
// of the value, about three of the slope) is believed, so that a nightly batch
// known from the last days is no alarm and a runaway that began minutes ago is
// one, at the pace it has now.
// A prediction opens when `confirmations` forecasts of a subject in a row are
// confident and agree, over the time of min_samples values, so that a bend in
// the series has left its newest part; one at a time per subject. It keeps the interval it was
// opened with and is graded on that: by the first value at the limit, or as a
// miss when twice the time to eta_high (or to the horizon) has passed. It is
// withdrawn, not graded, when the limit moves by more than 1 %, the value falls
// below what it was while the forecast is gone, or the subject disappears.
// A clock that goes back by a minute or more starts everything afresh.
// A prediction that was open before a restart goes on; what would be decided by
// the time in which nobody looked is withdrawn, except that a limit found
// reached before eta_low is early for certain.
//
// Cost: see test/bench/predict_bench.cc. No allocation after the constructor.
// Memory: SubjectBytes() per subject and about 60 kB besides.
class Forecaster {
 public:
  explicit Forecaster(const ForecasterOptions& options = {});

  // Predictions opened, graded or withdrawn in this tick; valid until the next
  // call. Samples that are not finite are left out; so are new subjects when
  // there is no room (counted in refused()). Of `gone` only resource and subject
  // count: they are known to exist no more.
  std::span<const Prediction> Observe(int64_t time_us, std::span<const ResourceSample> samples,
                                      std::span<const ResourceSample> gone = {});

  // Before the first Observe: a prediction of an earlier life, in the order of
  // ids. One that is closed counts in the grades, one that is open goes on.
  // False when there is no room for it or its subject has another: the caller
  // withdraws it. Ids go on behind the largest one.
  bool Restore(const Prediction& prediction);

  // Between 10 and what a series can hold.
  void set_min_samples(size_t n) { options_.min_samples = std::clamp<size_t>(n, kFewest, kRing - kFewest); }

  // The caller removed the ground of a prediction (a remedy worked).
  bool Withdraw(uint64_t id, int64_t time_us);

  // The latest forecast of a subject, whether or not it led to a prediction;
  // nullptr for an unknown one.
  const Exhaustion* Latest(Resource resource, std::string_view subject) const;

  // The open prediction of a subject, or nullptr.
  const Prediction* Open(Resource resource, std::string_view subject) const;

  // Calls visit(prediction) for every open one.
  template <typename Visit>
  void ForEachOpen(Visit visit) const {
    for (const Subject& subject : subjects_)
      if (subject.used && subject.open.id != 0) visit(subject.open);
  }

  // Predictions of a resource by outcome, in the order of the enum.
  using Counts = std::array<uint32_t, 6>;
  const Counts& Grades(Resource resource) const { return grades_[static_cast<size_t>(resource)]; }

  // Share of the graded predictions that were hits; `otherwise` for none.
  double HitRate(Resource resource, double otherwise) const;
  uint32_t Graded(Resource resource) const;

  size_t subjects() const { return used_; }
  uint64_t refused() const { return refused_; }
  static size_t SubjectBytes() { return sizeof(Subject); }

 private:
  static constexpr size_t kLevels = 4;
  static constexpr size_t kRing = 180;
  static constexpr size_t kFewest = 10;

  // The means of equal stretches of time, the newest one still filling.
  struct Level {
    std::array<TimedValue, kRing> ring{};
    size_t count = 0;
    size_t next = 0;
    int64_t bucket = 0;  // number of the stretch being filled
    int64_t first_us = 0;
    double time_sum = 0;  // relative to first_us
    double value_sum = 0;
    uint32_t filled = 0;
  };

  struct Subject {
    bool used = false;
    Resource resource = Resource::kDisk;
    std::array<char, 128> name{};
    int64_t seen_us = 0;
    int64_t forecast_us = 0;
    double value = 0;
    double limit = 0;
    int agreeing = 0;  // confident forecasts in a row
    int64_t first_us = 0;      // the first of them, when
    int64_t first_eta_us = 0;  // and what it said
    double noise = 0;          // about the trend that is believed
    int doubtful = 0;  // forecasts in a row without a result, while open
    bool restored = false;  // not seen since a restart
    Exhaustion latest;
    Prediction open;  // id 0: none
    std::array<Level, kLevels> levels{};
  };

  Subject* Find(Resource resource, std::string_view name) const;
  Subject* FindOrAdd(const ResourceSample& sample, int64_t time_us);
  void Free(Subject* subject);
  static void Clear(Subject* subject);
  void Restart(int64_t time_us);
  void Learn(const ResourceSample& sample, int64_t time_us);
  void Push(Level* level, int64_t width_us, int64_t time_us, double value) const;
  static void Close(Level* level);
  static TimedValue Filling(const Level& level);
  size_t Unroll(const Level& level);
  bool Moving(const Subject& subject) const;
  static bool Moving(const Level& level, double limit, double horizon_spans);
  void Forecast(Subject* subject, int64_t time_us);
  static bool Explains(const Trend& trend, const Trend& present, int64_t time_us);
  void Judge(Subject* subject, const Exhaustion& forecast, int64_t time_us);
  int64_t LeastWidth(int64_t eta_us, int64_t time_us) const;
  void OpenPrediction(Subject* subject, int64_t time_us);
  void Grade(Subject* subject, int64_t time_us);
  void GradeRestored(Subject* subject, int64_t time_us);
  void Finish(Subject* subject, PredictionOutcome outcome, int64_t time_us);
  void Forget(int64_t time_us);

  ForecasterOptions options_;
  TrendFitter fitter_;
  std::array<TimedValue, kRing + 1> window_{};
  std::vector<Subject> subjects_;
  std::vector<uint64_t> hashes_;  // of the subjects' names, beside each other; 0: unused
  std::vector<Prediction> events_;
  std::array<Counts, static_cast<size_t>(Resource::kCount)> grades_{};
  size_t used_ = 0;
  size_t turn_ = 0;
  uint64_t next_id_ = 1;
  uint64_t refused_ = 0;
  int64_t now_us_ = 0;
  int64_t tick_us_ = 0;      // between the last two ticks
  int64_t forecast_us_ = 0;  // of the latest tick with a forecast
  bool started_ = false;
};

}  // namespace heal

#endif  // HEAL_CORE_PREDICT_FORECASTER_H_
