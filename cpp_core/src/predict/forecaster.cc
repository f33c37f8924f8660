#include "predict/forecaster.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <tuple>

namespace heal {
namespace {

constexpr int64_t kSecond = 1000000;
// 3 minutes, 45 minutes, 12 hours, 7.5 days in 180 stretches.
constexpr std::array<int64_t, 4> kWidth = {kSecond, 15 * kSecond, 240 * kSecond, 3600 * kSecond};
constexpr int64_t kBackwards = 60 * kSecond;
constexpr int64_t kGone = 3600 * kSecond;  // unseen for so long: forgotten
constexpr double kAgreement = 4;           // deviations between present and past
constexpr double kSlopeAgreement = 1;      // widths of an 80 % interval, 2.6 deviations
constexpr double kSameSlope = 0.05;        // what no model is right about
constexpr double kPeak = 2;                // deviations a peak of the noise reaches
constexpr double kLeastWidth = 0.02;       // of the time to the limit, on either side
constexpr double kLimitMoved = 0.01;
constexpr double kLimitSways = 0.001;  // from tick to tick: free space is part of some limits
constexpr double kMovingMargin = 4;  // of what a glance at a series overlooks
constexpr int kDoubts = 3;
constexpr int64_t kLatest = int64_t{1} << 61;  // us; the calendar ends before

constexpr size_t kNameSize = std::tuple_size_v<decltype(Prediction::subject)>;

constexpr std::array<ResourceDef, static_cast<size_t>(Resource::kCount)> kResources = {{
    {Resource::kDisk, "disk", "R05", "disk_full", "storage", "bytes used on a file system",
     "bytes ordinary users may use on it", "bytes"},
    {Resource::kWalDisk, "wal_disk", "R05", "disk_full", "storage",
     "bytes used on the file system of pg_wal", "bytes ordinary users may use on it", "bytes"},
    {Resource::kConnections, "connections", "R04", "connection_exhaustion", "connections", "client backends",
     "slots ordinary roles may use", "sessions"},
    {Resource::kXidAge, "xid_age", "R01", "xid_wraparound", "transactions", "largest age(datfrozenxid)",
     "age at which assigning transaction ids stops (2^31 - 3 million)", "transactions"},
    {Resource::kMultixactAge, "mxid_age", "R03", "multixact_exhaustion", "transactions",
     "largest mxid_age(datminmxid)", "age at which assigning multixact ids stops (2^31 - 3 million)",
     "multixacts"},
    {Resource::kMultixactMembers, "mxid_members", "R03", "multixact_exhaustion", "transactions",
     "multixact members in use", "2^32", "members"},
    {Resource::kSequence, "sequence", "R11", "sequence_exhaustion", "sequences",
     "share of a sequence's range that is used", "the lesser of its maximum and what its column can hold",
     "fraction"},
    {Resource::kSlotWal, "slot_wal", "R06", "slot_wal_retention", "replication",
     "bytes of WAL a slot holds back",
     "max_slot_wal_keep_size, or retained bytes and free space of pg_wal together", "bytes"},
    {Resource::kTempSpace, "temp_space", "R08", "temp_file_explosion", "storage", "bytes of temporary files",
     "temporary bytes and free space of their file system together", "bytes"},
}};

uint64_t HashOf(Resource resource, std::string_view name) {
  uint64_t hash = 14695981039346656037ULL ^ static_cast<uint64_t>(resource);
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  return hash == 0 ? 1 : hash;  // 0 stands for no subject
}

std::string_view Cut(std::string_view name, size_t size) { return name.substr(0, size - 1); }

}  // namespace

std::span<const ResourceDef> Resources() { return kResources; }

const ResourceDef& DefOf(Resource resource) { return kResources[static_cast<size_t>(resource)]; }

const char* PredictionOutcomeName(PredictionOutcome outcome) {
  switch (outcome) {
    case PredictionOutcome::kOpen:
      return "open";
    case PredictionOutcome::kHit:
      return "hit";
    case PredictionOutcome::kEarly:
      return "early";
    case PredictionOutcome::kLate:
      return "late";
    case PredictionOutcome::kMiss:
      return "miss";
    case PredictionOutcome::kWithdrawn:
      break;
  }
  return "withdrawn";
}

std::optional<PredictionOutcome> PredictionOutcomeFromName(std::string_view name) {
  using enum PredictionOutcome;
  for (const PredictionOutcome outcome : {kOpen, kHit, kEarly, kLate, kMiss, kWithdrawn}) {
    if (name == PredictionOutcomeName(outcome)) return outcome;
  }
  return std::nullopt;
}

Forecaster::Forecaster(const ForecasterOptions& options)
    : options_(options), subjects_(options.max_subjects), hashes_(options.max_subjects) {
  events_.reserve(4 * options.max_subjects);
}

// ---- the series ----

void Forecaster::Close(Level* level) {
  if (level->filled == 0) return;
  level->ring[level->next] = Filling(*level);
  if (++level->next == kRing) level->next = 0;
  if (level->count < kRing) ++level->count;
  level->filled = 0;
  level->time_sum = level->value_sum = 0;
}

TimedValue Forecaster::Filling(const Level& level) {
  const double n = static_cast<double>(level.filled);
  return {level.first_us + static_cast<int64_t>(level.time_sum / n), level.value_sum / n};
}

void Forecaster::Push(Level* level, int64_t width_us, int64_t time_us, double value) const {
  const int64_t bucket = time_us / width_us;
  if (level->filled != 0 && bucket != level->bucket) Close(level);
  if (level->filled == 0) {
    level->bucket = bucket;
    level->first_us = time_us;
  }
  level->time_sum += static_cast<double>(time_us - level->first_us);
  level->value_sum += value;
  ++level->filled;
}

// Copies a ring in order of time; the stretch being filled is its newest value.
size_t Forecaster::Unroll(const Level& level) {
  size_t n = 0;
  const size_t first = level.count < kRing ? 0 : level.next;
  for (size_t i = 0; i < level.count; ++i) {
    const size_t at = first + i;
    window_[n++] = level.ring[at < kRing ? at : at - kRing];
  }
  if (level.filled != 0) window_[n++] = Filling(level);
  return n;
}

// ---- subjects ----

Forecaster::Subject* Forecaster::Find(Resource resource, std::string_view name) const {
  name = Cut(name, kNameSize);
  const uint64_t hash = HashOf(resource, name);
  for (size_t i = 0; i < hashes_.size(); ++i) {
    if (hashes_[i] != hash) continue;
    const Subject& subject = subjects_[i];
    if (subject.resource == resource && name == subject.name.data()) return const_cast<Subject*>(&subject);
  }
  return nullptr;
}

void Forecaster::Free(Subject* subject) {
  subject->used = false;
  hashes_[static_cast<size_t>(subject - subjects_.data())] = 0;
  --used_;
}

// As new, without a copy of a whole series on the stack.
void Forecaster::Clear(Subject* subject) {
  subject->agreeing = subject->doubtful = 0;
  subject->restored = false;
  subject->forecast_us = 0;
  subject->latest = Exhaustion{};
  subject->open = Prediction{};
  for (Level& level : subject->levels) {
    level.count = level.next = 0;
    level.filled = 0;
    level.time_sum = level.value_sum = 0;
  }
}

Forecaster::Subject* Forecaster::FindOrAdd(const ResourceSample& sample, int64_t time_us) {
  if (Subject* known = Find(sample.resource, sample.subject)) return known;
  for (Subject& subject : subjects_) {
    if (subject.used) continue;
    Clear(&subject);
    subject.used = true;
    subject.resource = sample.resource;
    const std::string_view name = Cut(sample.subject, kNameSize);
    subject.name.fill('\0');
    std::copy(name.begin(), name.end(), subject.name.begin());
    hashes_[static_cast<size_t>(&subject - subjects_.data())] = HashOf(sample.resource, name);
    subject.seen_us = time_us;
    subject.limit = sample.limit;
    ++used_;
    return &subject;
  }
  ++refused_;
  return nullptr;
}

void Forecaster::Forget(int64_t time_us) {
  for (Subject& subject : subjects_) {
    if (!subject.used || time_us - subject.seen_us <= kGone) continue;
    Finish(&subject, PredictionOutcome::kWithdrawn, time_us);
    Free(&subject);
  }
}

void Forecaster::Restart(int64_t time_us) {
  for (Subject& subject : subjects_) {
    if (!subject.used) continue;
    Finish(&subject, PredictionOutcome::kWithdrawn, time_us);
    Free(&subject);
  }
}

void Forecaster::Learn(const ResourceSample& sample, int64_t time_us) {
  if (sample.resource >= Resource::kCount || !std::isfinite(sample.value) || !std::isfinite(sample.limit))
    return;
  Subject* subject = FindOrAdd(sample, time_us);
  if (subject == nullptr) return;
  subject->seen_us = time_us;
  subject->value = sample.value;
  const double moved = std::fabs(sample.limit - subject->limit);
  subject->limit = sample.limit;
  if (moved > kLimitSways * std::fabs(sample.limit)) subject->agreeing = 0;
  for (size_t i = 0; i < kLevels; ++i) Push(&subject->levels[i], kWidth[i], time_us, sample.value);
  Grade(subject, time_us);
}

// ---- forecasts ----

// A glance that costs a hundredth of a fit: is the limit within reach of the
// steepest of three chords, several times continued?
bool Forecaster::Moving(const Level& level, double limit, double horizon_spans) {
  if (level.count < 6) return false;
  const size_t first = level.count < kRing ? 0 : level.next;
  const size_t third = level.count / 3;
  double means[3] = {};
  size_t at = first;
  for (double& mean : means) {
    for (size_t i = 0; i < third; ++i) {
      mean += level.ring[at].value;
      if (++at == kRing) at = 0;
    }
    mean /= static_cast<double>(third);
  }
  const double rise = std::max({means[1] - means[0], means[2] - means[1], (means[2] - means[0]) / 2});
  return rise > 0 && limit - means[2] < rise * 3 * horizon_spans * kMovingMargin;
}

bool Forecaster::Moving(const Subject& subject) const {
  if (subject.open.id != 0) return true;
  for (const Level& level : subject.levels) {
    if (Moving(level, subject.limit, options_.exhaustion.horizon_spans)) return true;
  }
  return false;
}

void Forecaster::Forecast(Subject* subject, int64_t time_us) {
  TrendOptions options;
  options.min_samples = options_.min_samples;
  options.rate = options_.exhaustion.rate;
  Exhaustion forecast;
  subject->noise = 0;
  Trend present;
  const auto believe = [&](std::span<const TimedValue> window) {
    const Trend trend = fitter_.Fit(window, options);
    if (trend.state != Trend::State::kValid) return;
    if (present.state != Trend::State::kValid) {
      present = trend;
    } else if (!Explains(trend, present, time_us)) {
      return;
    }
    forecast = TimeToLimit(trend, subject->limit, options_.exhaustion);
    subject->noise = trend.noise;
  };
  // The newest part first: what the longer history does not explain began within it.
  const size_t n = Unroll(subject->levels[0]);
  const size_t newest = std::max(options_.min_samples, n / 3);
  if (newest * 4 <= n * 3) believe({window_.data() + (n - newest), newest});
  for (const Level& level : subject->levels) believe({window_.data(), Unroll(level)});
  Judge(subject, forecast, time_us);
}

// Does a longer history see the present as the newest part of it does, where it
// stands and where it is going?
bool Forecaster::Explains(const Trend& trend, const Trend& present, int64_t time_us) {
  double mean = 0;
  double variance = present.noise * present.noise + trend.noise * trend.noise;
  for (size_t i = 0; i < trend.n_models; ++i) {
    const Trend::Point point = trend.At(trend.models[i], time_us);
    mean += trend.models[i].weight * point.mean;
    variance += trend.models[i].weight * point.deviation * point.deviation;
  }
  if (std::fabs(mean - present.level) > kAgreement * std::sqrt(variance)) return false;
  if (trend.cyclic) return true;  // where it is going now is the cycle's affair
  const double widths = std::hypot(trend.slope_high - trend.slope_low, present.slope_high - present.slope_low);
  const double slack = kSameSlope * std::fabs(present.slope);
  return std::fabs(trend.slope - present.slope) <= kSlopeAgreement * widths + slack;
}

void Forecaster::Judge(Subject* subject, const Exhaustion& forecast, int64_t time_us) {
  const Exhaustion before = subject->latest;
  subject->latest = forecast;
  const bool confident = forecast.state == Exhaustion::State::kPredicted && forecast.eta_low_us &&
                         forecast.confidence >= options_.min_confidence && forecast.eta_us > time_us;
  if (subject->open.id != 0) {
    // A series that is too short after a restart contradicts nothing.
    const bool learning = subject->levels[0].count < options_.min_samples;
    subject->doubtful =
        forecast.state == Exhaustion::State::kPredicted || learning ? 0 : subject->doubtful + 1;
    if (subject->doubtful >= kDoubts && subject->value < subject->open.value) {
      Finish(subject, PredictionOutcome::kWithdrawn, time_us);
    }
    return;
  }
  const int64_t slack = LeastWidth(forecast.eta_us, time_us);
  const bool agrees =
      subject->agreeing == 0 ||
      (forecast.eta_us >= before.eta_low_us.value_or(0) - slack &&
       (!before.eta_high_us || forecast.eta_us <= *before.eta_high_us + slack) &&
       std::llabs(forecast.eta_us - subject->first_eta_us) <=
           std::max(2 * slack, (before.eta_high_us.value_or(forecast.eta_us) - *before.eta_low_us)));
  if (!confident) {
    subject->agreeing = 0;
    return;
  }
  if (!agrees) subject->agreeing = 0;
  if (++subject->agreeing == 1) {
    subject->first_us = time_us;
    subject->first_eta_us = forecast.eta_us;
  }
  // A bend passes through the newest part of the history while they agree.
  const int64_t span = static_cast<int64_t>(options_.min_samples) * std::max(tick_us_, kWidth[0]);
  if (subject->agreeing >= options_.confirmations && time_us - subject->first_us >= span)
    OpenPrediction(subject, time_us);
}

// However well a line fits: it is looked at now and then, and no trend is a law.
int64_t Forecaster::LeastWidth(int64_t eta_us, int64_t time_us) const {
  return static_cast<int64_t>(kLeastWidth * static_cast<double>(eta_us - time_us)) + 2 * tick_us_;
}

void Forecaster::OpenPrediction(Subject* subject, int64_t time_us) {
  const Exhaustion& forecast = subject->latest;
  if (subject->value >= subject->limit) return;  // it is no prediction any more
  Prediction& open = subject->open;
  open = Prediction{};
  open.id = next_id_++;
  open.resource = subject->resource;
  open.subject = subject->name;
  open.predicted_at = time_us;
  open.eta = forecast.eta_us;
  const int64_t least = LeastWidth(forecast.eta_us, time_us);
  open.eta_low = std::min(forecast.eta_low_us.value_or(forecast.eta_us), forecast.eta_us - least);
  // The interval is that of the signal; a peak of the noise is there earlier.
  if (forecast.slope > 0)
    open.eta_low -= static_cast<int64_t>(std::min(kPeak * subject->noise / forecast.slope, 1e9) * 1e6);
  open.eta_low = std::max(open.eta_low, time_us);
  if (forecast.eta_high_us) open.eta_high = std::max(*forecast.eta_high_us, forecast.eta_us + least);
  open.horizon = forecast.horizon_us;
  open.confidence = forecast.confidence;
  open.value = subject->value;
  open.limit = subject->limit;
  open.slope = forecast.slope;
  subject->doubtful = 0;
  subject->agreeing = 0;
  ++grades_[static_cast<size_t>(open.resource)][static_cast<size_t>(PredictionOutcome::kOpen)];
  if (events_.size() < events_.capacity()) events_.push_back(open);
}

// ---- grades ----

void Forecaster::Grade(Subject* subject, int64_t time_us) {
  const Prediction& open = subject->open;
  if (open.id == 0) return;
  if (subject->restored) return GradeRestored(subject, time_us);
  const int64_t end = open.eta_high != 0 ? open.eta_high : open.horizon;
  if (std::fabs(subject->limit - open.limit) > kLimitMoved * std::fabs(open.limit)) {
    Finish(subject, PredictionOutcome::kWithdrawn, time_us);
  } else if (subject->value >= subject->limit) {
    const PredictionOutcome outcome = time_us < open.eta_low ? PredictionOutcome::kEarly
                                      : time_us <= end       ? PredictionOutcome::kHit
                                                             : PredictionOutcome::kLate;
    Finish(subject, outcome, time_us);
  } else if (time_us - end > end - open.predicted_at) {
    Finish(subject, PredictionOutcome::kMiss, time_us);
  }
}

// The first look after a restart: nobody saw what happened meanwhile.
void Forecaster::GradeRestored(Subject* subject, int64_t time_us) {
  subject->restored = false;
  const Prediction& open = subject->open;
  const int64_t end = open.eta_high != 0 ? open.eta_high : open.horizon;
  const bool moved = std::fabs(subject->limit - open.limit) > kLimitMoved * std::fabs(open.limit);
  if (!moved && subject->value >= subject->limit && time_us < open.eta_low) {
    Finish(subject, PredictionOutcome::kEarly, time_us);
  } else if (moved || subject->value >= subject->limit || time_us - end > end - open.predicted_at) {
    Finish(subject, PredictionOutcome::kWithdrawn, time_us);
  }
}

bool Forecaster::Restore(const Prediction& prediction) {
  if (prediction.resource >= Resource::kCount || prediction.outcome > PredictionOutcome::kWithdrawn) return false;
  next_id_ = std::max(next_id_, prediction.id + 1);
  Counts& counts = grades_[static_cast<size_t>(prediction.resource)];
  if (prediction.outcome != PredictionOutcome::kOpen) {
    ++counts[static_cast<size_t>(prediction.outcome)];
    return true;
  }
  const std::string_view name = prediction.subject.data();
  if (prediction.id == 0 || Find(prediction.resource, name) != nullptr) return false;
  Subject* subject =
      FindOrAdd({prediction.resource, name, prediction.value, prediction.limit}, prediction.predicted_at);
  if (subject == nullptr) return false;
  subject->value = prediction.value;
  subject->open = prediction;
  subject->restored = true;
  ++counts[static_cast<size_t>(PredictionOutcome::kOpen)];
  return true;
}

void Forecaster::Finish(Subject* subject, PredictionOutcome outcome, int64_t time_us) {
  Prediction& open = subject->open;
  if (open.id == 0) return;
  open.outcome = outcome;
  open.graded_at = time_us;
  Counts& counts = grades_[static_cast<size_t>(open.resource)];
  --counts[static_cast<size_t>(PredictionOutcome::kOpen)];
  ++counts[static_cast<size_t>(outcome)];
  if (events_.size() < events_.capacity()) events_.push_back(open);
  open = Prediction{};
}

uint32_t Forecaster::Graded(Resource resource) const {
  const Counts& counts = Grades(resource);
  uint32_t graded = 0;
  for (size_t i = static_cast<size_t>(PredictionOutcome::kHit);
       i <= static_cast<size_t>(PredictionOutcome::kMiss); ++i) {
    graded += counts[i];
  }
  return graded;
}

double Forecaster::HitRate(Resource resource, double otherwise) const {
  const uint32_t graded = Graded(resource);
  if (graded == 0) return otherwise;
  return static_cast<double>(Grades(resource)[static_cast<size_t>(PredictionOutcome::kHit)]) /
         static_cast<double>(graded);
}

// ---- the tick ----

std::span<const Prediction> Forecaster::Observe(int64_t time_us, std::span<const ResourceSample> samples,
                                                std::span<const ResourceSample> gone) {
  events_.clear();
  if (time_us < 0 || time_us > kLatest) return {};
  if (started_ && time_us <= now_us_) {
    if (now_us_ - time_us < kBackwards) return {};
    Restart(time_us);
  }
  tick_us_ = started_ ? time_us - now_us_ : 0;
  if (!started_) {
    // Restored subjects have an hour from now to be seen.
    for (Subject& subject : subjects_) subject.seen_us = time_us;
  }
  started_ = true;
  now_us_ = time_us;
  for (const ResourceSample& sample : samples) Learn(sample, time_us);
  for (const ResourceSample& sample : gone) {
    Subject* subject = Find(sample.resource, sample.subject);
    if (subject == nullptr) continue;
    Finish(subject, PredictionOutcome::kWithdrawn, time_us);
    Free(subject);
  }
  Forget(time_us);
  if (forecast_us_ <= time_us && time_us - forecast_us_ < options_.forecast_gap_us) return events_;
  size_t done = 0;
  for (size_t i = 0; i < subjects_.size() && done < options_.forecasts_per_tick; ++i) {
    if (++turn_ >= subjects_.size()) turn_ = 0;
    Subject& subject = subjects_[turn_];
    if (!subject.used) continue;
    if (!Moving(subject)) {
      subject.agreeing = 0;
      subject.latest = Exhaustion{};
      continue;
    }
    // Nothing new would be said. One that is seen now and then has its turn later.
    if (subject.seen_us <= subject.forecast_us) continue;
    subject.forecast_us = time_us;
    Forecast(&subject, time_us);
    forecast_us_ = time_us;
    ++done;
  }
  return events_;
}

bool Forecaster::Withdraw(uint64_t id, int64_t time_us) {
  if (id == 0) return false;
  for (Subject& subject : subjects_) {
    if (!subject.used || subject.open.id != id) continue;
    Finish(&subject, PredictionOutcome::kWithdrawn, time_us);
    return true;
  }
  return false;
}

const Exhaustion* Forecaster::Latest(Resource resource, std::string_view subject) const {
  const Subject* found = Find(resource, subject);
  return found == nullptr ? nullptr : &found->latest;
}

const Prediction* Forecaster::Open(Resource resource, std::string_view subject) const {
  const Subject* found = Find(resource, subject);
  return found == nullptr || found->open.id == 0 ? nullptr : &found->open;
}

}  // namespace heal
