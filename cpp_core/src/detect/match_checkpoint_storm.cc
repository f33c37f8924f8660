// P11 checkpoint_storm: most checkpoints are requested ones.

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "detect/matcher.h"

namespace heal {
namespace {

constexpr char kType[] = "checkpoint_storm";
constexpr double kMiB = 1024.0 * 1024;
constexpr double kSegmentMb = 16;
// Segments between two checkpoints are max_wal_size over 1 + completion target;
// the default target of 0.9 gives the fewest.
constexpr double kCompletion = 1.9;
constexpr double kMargin = 1.1;
constexpr size_t kSamples = 64;

// Counts since the matcher began; they never fall, whatever is reset.
struct Totals {
  double timed = 0;
  double requested = 0;
  double too_frequent = 0;
  double wal = 0;
};

struct Sample {
  int64_t mono_us = 0;
  Totals totals;
};

// A cumulative counter that may be unknown or reset.
class Counter {
 public:
  // Adds the increase since the last known value; a fall adds nothing.
  void Add(double value, double* total) {
    if (!std::isfinite(value)) return;
    if (known_ && value > last_) *total += value - last_;
    last_ = value;
    known_ = true;
  }

 private:
  double last_ = 0;
  bool known_ = false;
};

class CheckpointStormMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void Count(const MatchInput& input);
  void NoteSetting(const MatchInput& input);
  void Remember(const MatchInput& input);
  Totals InWindow() const;
  double WindowSeconds(const MatchInput& input) const;
  bool IsStorm(const MatchInput& input, const Totals& window) const;
  bool Holds(const MatchInput& input, const Totals& window) const;
  bool ProvenCalm(const MatchInput& input) const;
  Match Describe(const MatchInput& input, const Totals& window) const;
  void Propose(const MatchInput& input, const Totals& window, Match* match) const;

  Counter timed_, requested_, too_frequent_, wal_;
  Totals totals_;
  std::array<Sample, kSamples> samples_{};  // ring, oldest at first_
  size_t first_ = 0;
  size_t n_samples_ = 0;
  int64_t max_wal_size_mb_ = 0;
  double old_cycle_bytes_ = 0;  // 0: not changed while raised
  bool raised_ = false;
  int64_t since_us_ = 0;
  Match match_;
};

// WAL between two checkpoints that max_wal_size requests, at least.
double CycleBytes(double max_wal_size_mb) {
  const double segments = std::floor(max_wal_size_mb / kSegmentMb / kCompletion) - 1;
  return std::max(1.0, segments) * kSegmentMb * kMiB;
}

// Of the requested checkpoints, those that the WAL written explains. The
// server's warning is proof; otherwise half a cycle of WAL must stand for each.
double CausedByWal(const Totals& window, double max_wal_size_mb) {
  const double explained = std::floor(window.wal / (0.5 * CycleBytes(max_wal_size_mb)));
  return std::min(window.requested, std::max(explained, window.too_frequent));
}

void CheckpointStormMatcher::Count(const MatchInput& input) {
  const double* metrics = input.observation.metrics;
  if (metrics == nullptr) return;
  timed_.Add(metrics[HC_M_CHECKPOINTS_TIMED], &totals_.timed);
  requested_.Add(metrics[HC_M_CHECKPOINTS_REQUESTED], &totals_.requested);
  too_frequent_.Add(metrics[HC_M_LOG_CHECKPOINTS_TOO_FREQUENT], &totals_.too_frequent);
  wal_.Add(metrics[HC_M_WAL_BYTES], &totals_.wal);
}

// Checkpoints under another max_wal_size say nothing about this one: the window
// begins anew.
void CheckpointStormMatcher::NoteSetting(const MatchInput& input) {
  const hc_server* server = input.observation.server;
  if (server == nullptr || server->max_wal_size_mb <= 0) return;
  if (server->max_wal_size_mb == max_wal_size_mb_) return;
  if (max_wal_size_mb_ != 0) {
    n_samples_ = 0;
    old_cycle_bytes_ = raised_ ? CycleBytes(static_cast<double>(max_wal_size_mb_)) : 0;
  }
  max_wal_size_mb_ = server->max_wal_size_mb;
}

double CheckpointStormMatcher::WindowSeconds(const MatchInput& input) const {
  return std::max(1.0, input.thresholds.Get(kType, "window_s"));
}

// Keeps the window's oldest totals and drops what left it.
void CheckpointStormMatcher::Remember(const MatchInput& input) {
  const int64_t now = input.observation.mono_us;
  const int64_t window = static_cast<int64_t>(WindowSeconds(input) * 1e6);
  while (n_samples_ > 1 && now - samples_[(first_ + 1) % kSamples].mono_us >= window) {
    first_ = (first_ + 1) % kSamples;
    --n_samples_;
  }
  const size_t last = (first_ + n_samples_ + kSamples - 1) % kSamples;
  if (n_samples_ != 0 && now - samples_[last].mono_us < window / static_cast<int64_t>(kSamples - 2)) {
    return;
  }
  if (n_samples_ == kSamples) {
    first_ = (first_ + 1) % kSamples;
    --n_samples_;
  }
  samples_[(first_ + n_samples_++) % kSamples] = {now, totals_};
}

Totals CheckpointStormMatcher::InWindow() const {
  Totals window;
  if (n_samples_ == 0) return window;
  const Totals& start = samples_[first_].totals;
  window.timed = totals_.timed - start.timed;
  window.requested = totals_.requested - start.requested;
  window.too_frequent = totals_.too_frequent - start.too_frequent;
  window.wal = totals_.wal - start.wal;
  return window;
}

// After a change of max_wal_size: enough WAL for several cycles of the old size
// went by, and the checkpoints it would have requested did not come. One may
// have been under way when the setting changed.
bool CheckpointStormMatcher::ProvenCalm(const MatchInput& input) const {
  if (old_cycle_bytes_ <= 0) return false;
  const Totals window = InWindow();
  const double cycles = window.wal / old_cycle_bytes_;
  return cycles >= input.thresholds.Get(kType, "verify_cycles") &&
         window.requested <= 1 + input.thresholds.Get(kType, "clear_share") * cycles;
}

double RequestedShare(const Totals& window) {
  const double all = window.timed + window.requested;
  return all > 0 ? window.requested / all : 0;
}

bool CheckpointStormMatcher::IsStorm(const MatchInput& input, const Totals& window) const {
  const Thresholds& limits = input.thresholds;
  return window.requested >= limits.Get(kType, "min_requested") &&
         RequestedShare(window) > limits.Get(kType, "requested_share");
}

bool CheckpointStormMatcher::Holds(const MatchInput& input, const Totals& window) const {
  if (!raised_) return IsStorm(input, window);
  if (old_cycle_bytes_ > 0) {
    if (ProvenCalm(input)) return false;
    const int64_t age = input.observation.mono_us - samples_[first_].mono_us;
    const bool whole = static_cast<double>(age) >= WindowSeconds(input) * 1e6;
    if (!whole) return true;  // not proven yet
  }
  return RequestedShare(window) > input.thresholds.Get(kType, "clear_share");
}

// The new max_wal_size: twice the present one or what the WAL rate needs for a
// checkpoint by time, within the disk.
void CheckpointStormMatcher::Propose(const MatchInput& input, const Totals& window, Match* match) const {
  const hc_server& server = *input.observation.server;
  const double current = static_cast<double>(max_wal_size_mb_);
  const double seconds =
      std::max(1.0, static_cast<double>(input.observation.mono_us - samples_[first_].mono_us) / 1e6);
  const double rate = window.wal / kMiB / seconds;
  const double need = rate * static_cast<double>(server.checkpoint_timeout_s) * kCompletion * kMargin;
  const double free_mb = static_cast<double>(server.wal_disk_free_bytes) / kMiB;
  const double cap =
      server.wal_disk_free_bytes < 0 ? 0 : free_mb * input.thresholds.Get(kType, "max_wal_disk_share");
  const double wanted = std::max(2 * current, std::ceil(need));
  const double value = std::floor(std::min(wanted, cap));
  const bool room = value >= kMargin * current;
  match->values["current_mb"] = current;
  match->values["wanted_mb"] = wanted;
  match->values["cap_mb"] = std::floor(cap);
  match->values["wal_mb_per_s"] = rate;
  match->values["no_room"] = room ? 0 : 1;
  match->values["disk_unknown"] = server.wal_disk_free_bytes < 0 ? 1 : 0;
  match->values["set_on_command_line"] = server.max_wal_size_file != 0 ? 1 : 0;
  if (!room) return;
  match->values["new_mb"] = value;
  match->params["value"] = Text("%.0f", value);
}

Match CheckpointStormMatcher::Describe(const MatchInput& input, const Totals& window) const {
  const double all = window.timed + window.requested;
  const double share = RequestedShare(window);
  Match match = NewMatch(kType, "server", "max_wal_size",
                         Text("%.0f of %.0f checkpoints were requested", window.requested, all));
  const double by_wal = CausedByWal(window, static_cast<double>(max_wal_size_mb_));
  const double by_hand = window.requested - by_wal;
  const double fewest = input.thresholds.Get(kType, "min_requested");
  // The requests that WAL explains must make a storm by themselves.
  const bool wal =
      by_wal >= fewest && by_wal / (window.timed + by_wal) > input.thresholds.Get(kType, "requested_share");
  AddEvidence(&match, "requested_checkpoints_frequent", true,
              Text("%.0f %% of the checkpoints were requested", 100 * share));
  AddEvidence(&match, "wal_fills_max_wal_size", wal,
              Text("%.0f MB of WAL and max_wal_size = %lld MB explain %.0f of "
                   "the requests",
                   window.wal / kMiB, static_cast<long long>(max_wal_size_mb_), by_wal));
  AddEvidence(&match, "checkpoint_requests_by_hand", by_hand > by_wal || (!wal && by_hand >= 1),
              Text("%.0f requests came with little WAL before them", by_hand));
  const hc_server* server = input.observation.server;
  const bool backup = server != nullptr && (server->flags & HC_SERVER_BASE_BACKUP) != 0;
  AddEvidence(&match, "base_backup_running", backup,
              backup ? "a base backup is running" : "no base backup is running");
  match.values["requested"] = window.requested;
  match.values["timed"] = window.timed;
  match.values["requested_share"] = share;
  match.values["requested_by_wal"] = by_wal;
  match.values["wal_mb"] = window.wal / kMiB;
  if (server != nullptr) Propose(input, window, &match);
  return match;
}

void CheckpointStormMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  const double* metrics = input.observation.metrics;
  const bool known = metrics != nullptr && std::isfinite(metrics[HC_M_CHECKPOINTS_REQUESTED]) &&
                     std::isfinite(metrics[HC_M_CHECKPOINTS_TIMED]) &&
                     std::isfinite(metrics[HC_M_WAL_BYTES]) && input.observation.server != nullptr;
  if (!known) {
    if (raised_) out->push_back(HeldUnknown(match_));
    return;
  }
  Count(input);
  NoteSetting(input);
  Remember(input);
  const Totals window = InWindow();
  const bool holds = Holds(input, window);
  if (holds && !raised_) since_us_ = input.clock.now_us();
  if (!holds) old_cycle_bytes_ = 0;
  // While a changed setting is being proven, the match stays as it was raised:
  // its window has only begun. So it does while a storm fades: the checkpoints
  // left in the window are too few to tell their cause.
  const bool proving = holds && raised_ && old_cycle_bytes_ > 0;
  const bool fading = holds && raised_ && !IsStorm(input, window);
  raised_ = holds;
  if (!holds) return;
  if (proving || fading) {
    match_.values["requested"] = window.requested;
    match_.values["timed"] = window.timed;
    if (proving) match_.values["verify_cycles"] = window.wal / old_cycle_bytes_;
  } else {
    match_ = Describe(input, window);
  }
  match_.since_us = since_us_;
  out->push_back(match_);
}

}  // namespace

std::unique_ptr<Matcher> MakeCheckpointStormMatcher() { return std::make_unique<CheckpointStormMatcher>(); }

}  // namespace heal
