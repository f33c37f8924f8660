// A healthy server as its metrics show it: what the detector must leave alone.

#ifndef HEAL_TEST_CORE_HEALTHY_LOAD_H_
#define HEAL_TEST_CORE_HEALTHY_LOAD_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "heal_core/observation.h"

namespace heal {

// Deterministic numbers (SplitMix64) of several distributions.
class LoadRandom {
 public:
  explicit LoadRandom(uint64_t seed) : state_(seed) {}
  double Uniform() {
    state_ += 0x9E3779B97F4A7C15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return (static_cast<double>((z ^ (z >> 31)) >> 11) + 0.5) / 9007199254740992.0;
  }
  double Normal() { return std::sqrt(-2 * std::log(Uniform())) * std::cos(6.283185307179586 * Uniform()); }
  double Lognormal(double sigma) { return std::exp(sigma * Normal()); }
  double Exponential() { return -std::log(Uniform()); }
  // Infinite variance below 2.
  double Pareto(double index) { return std::pow(Uniform(), -1 / index); }
  double Poisson(double mean) {
    if (mean > 50) return std::max(0.0, std::round(mean + std::sqrt(mean) * Normal()));
    const double limit = std::exp(-mean);
    double product = Uniform();
    double n = 0;
    while (product > limit) {
      product *= Uniform();
      ++n;
    }
    return n;
  }

 private:
  uint64_t state_;
};

// A model of a server: transactions come with noise that has a memory, all else
// follows from them. Checkpoints every five minutes, whose times are counted when they
// end; full pages after each; autovacuum comes and goes; a batch at two each night; bursts;
// latencies with heavy tails; errors now and then. Counters count up.
class HealthyLoad {
 public:
  enum Kind { kSteady, kRamp, kCycle, kDays, kBursty, kKinds };
  static constexpr const char* kNames[kKinds] = {"steady", "ramp", "compressed day", "days and nights", "bursty"};

  // kRamp doubles the load over the second half of an hour, kCycle has a period of an hour.
  HealthyLoad(Kind kind, uint64_t seed, double interval_s)
      : kind_(kind), random_(seed * 7919 + static_cast<uint64_t>(kind)), dt_(interval_s) {
    metrics.fill(0);
    rates.fill(0);
  }

  // The next sample. change(metric, rate or value) may spoil it.
  template <typename Change>
  void Step(Change change) {
    time_s += dt_;
    Model();
    for (size_t i = 0; i < HC_METRIC_COUNT; ++i) rates[i] = change(static_cast<hc_metric_id>(i), rates[i]);
    for (size_t i = 0; i < HC_METRIC_COUNT; ++i) {
      metrics[i] = IsCounter(i) ? metrics[i] + rates[i] * dt_ : rates[i];
    }
  }
  void Step() {
    Step([](hc_metric_id, double value) { return value; });
  }

  static bool IsCounter(size_t metric) {
    static constexpr bool kGAUGE = false, kCOUNTER = true;
    static constexpr std::array<bool, HC_METRIC_COUNT> kCounters = {
#define HC_METRIC(id, name, component, category, unit, kind, bad, description) k##kind,
#include "heal_core/metrics.def"
#undef HC_METRIC
    };
    (void)kGAUGE;
    (void)kCOUNTER;
    return kCounters[metric];
  }

  std::array<double, HC_METRIC_COUNT> metrics;  // as observed
  std::array<double, HC_METRIC_COUNT> rates;    // gauges, and rates of counters
  double time_s = 0;

 private:
  double Shape() {
    const double pi2 = 6.283185307179586;
    switch (kind_) {
      case kRamp:
        return 1 + std::clamp((time_s - 1800) / 1800, 0.0, 1.0);
      case kCycle:
        return 1 - 0.6 * std::cos(pi2 * time_s / 3600);
      case kDays: {
        const double day = std::fmod(time_s, 86400) / 86400;
        const double week = std::fmod(time_s / 86400, 7) >= 5 ? 0.5 : 1;
        return week * (1 - 0.55 * std::cos(pi2 * (day - 0.1)));
      }
      default:
        return 1;
    }
  }

  // Noise with a memory: tau in seconds.
  double Walk(double* state, double tau) {
    const double keep = std::exp(-dt_ / tau);
    *state = keep * *state + std::sqrt(1 - keep * keep) * random_.Normal();
    return *state;
  }
  double Events(double per_s) { return random_.Poisson(per_s * dt_) / dt_; }
  double Set(hc_metric_id metric, double value) { return rates[metric] = value; }

  void Model() {
    const double burst_rate = kind_ == kBursty ? 1.0 / 300 : 1.0 / 3600;
    if (burst_left_ > 0) burst_left_ -= dt_;
    else if (random_.Uniform() < dt_ * burst_rate) {
      burst_left_ = 10 + 40 * random_.Exponential();
      burst_ = 1.2 + 0.4 * random_.Exponential();
    }
    const double hour = std::fmod(time_s / 3600, 24);
    const bool batch = kind_ == kDays && hour >= 2 && hour < 2.4;
    const double load = Shape() * std::exp(0.08 * Walk(&load_, 60)) * (burst_left_ > 0 ? burst_ : 1);
    Work(load, batch);
    Storage(load, batch);
    Rest(load, batch);
  }

  void Work(double load, bool batch) {
    const double tps = Events(500 * load);
    const double busy = std::min(0.9, 0.3 * load + (batch ? 0.2 : 0));
    const double mean = 2 / (1 - busy) * std::exp(0.05 * Walk(&latency_, 120)) * random_.Lognormal(0.05);
    Set(HC_M_XACT_COMMIT, tps);
    Set(HC_M_XACT_ROLLBACK, Events(1 * load));
    Set(HC_M_EXEC_CALLS, tps * 6 * random_.Lognormal(0.02));
    Set(HC_M_EXEC_ERRORS, Events(0.05 * load));
    Set(HC_M_EXEC_LATENCY_MEAN, mean);
    Set(HC_M_EXEC_LATENCY_P99, mean * (4 + random_.Pareto(3)));
    const double total = 40 + std::round(3 * Walk(&pool_, 600));
    const double active = std::min(total, random_.Poisson(tps * mean / 1000 * 1.5 + (batch ? 4 : 0)));
    Set(HC_M_SESSIONS_TOTAL, total);
    Set(HC_M_CONNECTIONS_USED, total / 100);
    Set(HC_M_SESSIONS_ACTIVE, active);
    Set(HC_M_SESSIONS_IDLE_IN_TRANSACTION, std::min(total - active, random_.Poisson(1.5 * load)));
    Set(HC_M_SESSIONS_IDLE, std::max(0.0, total - active - rates[HC_M_SESSIONS_IDLE_IN_TRANSACTION]));
    // Reports run for a while: the age of the oldest grows, then falls.
    if (report_left_ > 0) {
      report_left_ -= dt_;
      report_age_ += dt_;
    } else if (random_.Uniform() < dt_ / 900) {
      report_left_ = 20 * random_.Pareto(1.5);
      report_age_ = 0;
    }
    const double age = std::max(0.3 * random_.Pareto(2), report_left_ > 0 ? report_age_ : 0);
    if (batch) batch_age_ += dt_;
    else batch_age_ = 0;
    Set(HC_M_LONGEST_TRANSACTION, std::max(age, batch_age_));
    Set(HC_M_LONGEST_QUERY, std::max(age * 0.9, std::fmod(batch_age_, 300)));
    const double waiters = random_.Poisson(0.2 * load);
    Set(HC_M_LOCK_WAITERS, waiters);
    Set(HC_M_LONGEST_LOCK_WAIT, waiters > 0 ? 0.05 * random_.Pareto(1.5) : 0);
    Set(HC_M_DEADLOCKS, Events(1.0 / 20000));
    Set(HC_M_LOG_LOCK_WAITS, Events(1.0 / 1800));
    Set(HC_M_SESSIONS_NEW, Events(0.5 * load));
    Set(HC_M_SESSIONS_ABANDONED, Events(1.0 / 3600));
    Set(HC_M_SESSIONS_FATAL, Events(1.0 / 7200));
    const double vacuum = vacuum_left_ > 0 ? 1 : 0;
    Set(HC_M_BLKS_READ, tps * 3 * random_.Lognormal(0.3) + 300 * vacuum + (batch ? 8000 * random_.Lognormal(0.3) : 0));
    Set(HC_M_BLKS_HIT, tps * 60 * random_.Lognormal(0.05));
    const double temp = Events(0.02 * load + (batch ? 2 : 0));
    Set(HC_M_TEMP_FILES, temp);
    Set(HC_M_TEMP_BYTES, temp * 16e6 * random_.Lognormal(0.8));
    Set(HC_M_TUPLES_FETCHED, tps * 100 * random_.Lognormal(0.1));
    Set(HC_M_TUPLES_INSERTED, tps * 2 + (batch ? 5000 : 0));
    Set(HC_M_TUPLES_UPDATED, tps * 3);
    Set(HC_M_TUPLES_DELETED, tps * 0.2);
  }

  void Storage(double load, bool batch) {
    const double before = std::floor((time_s - dt_) / 300);
    const bool checkpoint = std::floor(time_s / 300) != before;
    since_checkpoint_ = checkpoint ? 0 : since_checkpoint_ + dt_;
    const double tps = rates[HC_M_XACT_COMMIT];
    const double records = tps * 20 * random_.Lognormal(0.03) + (batch ? 60000 * random_.Lognormal(0.1) : 0);
    const double pages = tps * 1.5 * std::exp(-since_checkpoint_ / 60) * random_.Lognormal(0.15) + (batch ? 200 : 0);
    Set(HC_M_WAL_RECORDS, records);
    Set(HC_M_WAL_FPI, pages);
    const double wal = Set(HC_M_WAL_BYTES, records * 120 + pages * 4000);
    Set(HC_M_WAL_BUFFERS_FULL, Events(0.1 * load + (batch ? 5 : 0)));
    written_ += tps * 8 * dt_ + (batch ? 4000 * dt_ : 0);
    Set(HC_M_CHECKPOINTS_TIMED, checkpoint ? 1 / dt_ : 0);
    Set(HC_M_CHECKPOINT_WRITE_TIME, checkpoint ? 265000 * random_.Lognormal(0.01) / dt_ : 0);
    Set(HC_M_CHECKPOINT_SYNC_TIME, checkpoint ? 200 * random_.Lognormal(0.7) / dt_ : 0);
    Set(HC_M_BUFFERS_CHECKPOINT, checkpoint ? written_ / dt_ : 0);
    if (checkpoint) written_ = 0;
    Set(HC_M_BUFFERS_CLEAN, Events(50 * load));
    Set(HC_M_BUFFERS_BACKEND, Events(20 * load * random_.Lognormal(0.3)) + (batch ? 900 * random_.Lognormal(0.3) : 0));
    segment_ += wal * dt_;
    const double files = std::floor(segment_ / 16777216);
    segment_ -= files * 16777216;
    Set(HC_M_ARCHIVED, files / dt_);
    Set(HC_M_REPLICAS, 1);
    Set(HC_M_REPLICATION_LAG, wal * 0.02 * random_.Pareto(1.8));
    Set(HC_M_SLOT_RETAINED, 16777216 + segment_ + rates[HC_M_REPLICATION_LAG]);
    Set(HC_M_HORIZON_AGE, std::round(tps * (0.5 + rates[HC_M_LONGEST_TRANSACTION])));
    xids_ += tps * dt_;
    if (xids_ > 2e8) xids_ = 5e7;
    Set(HC_M_XID_AGE, xids_);
    Set(HC_M_MXID_AGE, xids_ / 100);
    // A disk that fills slowly, and WAL that comes and goes.
    used_ += (tps * 40 + (batch ? 2e6 : 0)) * dt_;
    const double disk = 1e12, free = disk - 4e11 - used_ - 2e9 * since_checkpoint_ / 300 - temp_space_;
    temp_space_ = 0.9 * temp_space_ + rates[HC_M_TEMP_BYTES] * dt_ * 0.1;
    Set(HC_M_DISK_FREE, free);
    Set(HC_M_WAL_DISK_FREE, free);
    Set(HC_M_DISK_USED, 1 - free / disk);
    const double read = rates[HC_M_BLKS_READ] * 8192 * 0.3;
    const double write = wal + tps * 8 * 8192 + rates[HC_M_BUFFERS_BACKEND] * 8192;
    Set(HC_M_DISK_READ, read);
    Set(HC_M_DISK_WRITTEN, write * random_.Lognormal(0.2));
    Set(HC_M_DISK_BUSY, std::min(1000.0, (read + write) / 2e6 * random_.Lognormal(0.2)));
  }

  void Rest(double load, bool batch) {
    const double cpu = std::clamp(0.08 + 0.25 * load + (batch ? 0.2 : 0) + 0.02 * random_.Normal(), 0.0, 1.0);
    Set(HC_M_HOST_CPU_USED, cpu);
    Set(HC_M_HOST_CPU_IOWAIT, std::min(1 - cpu, 0.01 * random_.Pareto(2.5) + (batch ? 0.1 : 0)));
    const double memory = 0.6 + 0.01 * Walk(&memory_, 3600) + 0.002 * random_.Normal();
    Set(HC_M_HOST_MEMORY_USED, memory);
    Set(HC_M_HOST_MEMORY_AVAILABLE, (1 - memory) * 64e9);
    Set(HC_M_HOST_MEMORY_STALL, random_.Uniform() < 0.01 ? random_.Exponential() : 0);
    const double sessions = rates[HC_M_SESSIONS_TOTAL];
    const double largest = 2e7 * (1 + 0.3 * random_.Pareto(2));
    Set(HC_M_BACKEND_MEMORY, sessions * 8e6 * random_.Lognormal(0.03) + largest);
    Set(HC_M_BACKEND_MEMORY_LARGEST, largest);
    Set(HC_M_LOG_ERRORS, Events(0.1 * load));
    Set(HC_M_LOG_CANCELED, Events(1.0 / 600));
    Set(HC_M_LOG_CONSTRAINT_VIOLATIONS, Events(0.05 * load));
    Set(HC_M_LOG_BAD_INPUT, Events(1.0 / 60));
    Set(HC_M_LOG_PERMISSION_DENIED, Events(1.0 / 3600));
    Set(HC_M_LOG_SYNTAX_OR_NAME, Events(1.0 / 120));
    Set(HC_M_AUTH_FAILURES, Events(1.0 / 1200));
    dead_ += rates[HC_M_XACT_COMMIT] * 3 * dt_;
    if (vacuum_left_ > 0) vacuum_left_ -= dt_;
    else if (random_.Uniform() < dt_ / 600) {
      vacuum_left_ = 30 + 60 * random_.Exponential();
      dead_ *= 0.3;
    }
    Set(HC_M_DEAD_TUPLES, dead_);
    Set(HC_M_AUTOVACUUM_WORKERS, vacuum_left_ > 0 ? 1 : 0);
    if (random_.Uniform() < dt_ / 1800) stale_ = random_.Poisson(1);
    Set(HC_M_TABLES_STALE_STATISTICS, stale_);
    Set(HC_M_SEQUENCES_USED, 0.2 + time_s * 1e-9);
  }

  Kind kind_;
  LoadRandom random_;
  double dt_;
  double load_ = 0, latency_ = 0, pool_ = 0, memory_ = 0;
  double burst_ = 1, burst_left_ = 0;
  double report_left_ = 0, report_age_ = 0, batch_age_ = 0;
  double vacuum_left_ = 0, dead_ = 1e5, stale_ = 0;
  double since_checkpoint_ = 0, written_ = 0, segment_ = 0, xids_ = 6e7, used_ = 0, temp_space_ = 0;
};

}  // namespace heal

#endif  // HEAL_TEST_CORE_HEALTHY_LOAD_H_
