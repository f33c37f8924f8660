#include "plan/wal_size.h"

#include <algorithm>
#include <cmath>

namespace heal {
namespace {

constexpr double kMegabyte = 1024.0 * 1024.0;
constexpr double kFreeShare = 0.15;       // of the volume, to stay free whatever happens
constexpr double kSmallestGrowth = 1.25;  // below it a change is not worth its risk

// With checkpoint_completion_target 0.9 the server starts a checkpoint after
// max_wal_size / 1.9 of WAL.
constexpr double kIntervalsInMaxWalSize = 1.9;

double WantedMb(const hc_server& server, double wal_bytes_per_s, int32_t rolled_back) {
  const double current = static_cast<double>(server.max_wal_size_mb);
  const double limit = current * static_cast<double>(kMaxWalGrowth);
  double wanted = current * std::exp2(1.0 + std::clamp(rolled_back, 0, 3));
  if (std::isfinite(wal_bytes_per_s) && wal_bytes_per_s > 0) {
    const double needed = wal_bytes_per_s * static_cast<double>(server.checkpoint_timeout_s) *
                          kIntervalsInMaxWalSize / kMegabyte;
    while (wanted < needed && wanted < limit) wanted *= 2;
  }
  return std::min(wanted, limit);
}

}  // namespace

WalSizeStep NextWalSize(const hc_server& server, double wal_bytes_per_s, int32_t rolled_back,
                        double max_share) {
  WalSizeStep step;
  step.current_mb = server.max_wal_size_mb;
  if (server.max_wal_size_mb <= 0) {
    step.refused_because = "the present max_wal_size is unknown";
    return step;
  }
  if (server.wal_disk_free_bytes < 0 || server.wal_disk_total_bytes < 0) {
    step.refused_because = "the free space of the WAL volume is unknown";
    return step;
  }
  const double current = static_cast<double>(server.max_wal_size_mb);
  const double free_mb = static_cast<double>(server.wal_disk_free_bytes) / kMegabyte;
  const double total_mb = static_cast<double>(server.wal_disk_total_bytes) / kMegabyte;
  const double share = std::isfinite(max_share) ? std::clamp(max_share, 0.0, 0.9) : 0.2;
  // free >= 2 * growth + 15 % of the volume
  const double by_space = current + (free_mb - kFreeShare * total_mb) / 2;
  // max_wal_size is an int of megabytes
  const double cap = std::min({share * free_mb, by_space, static_cast<double>(INT32_MAX)});
  const double value = std::floor(std::min(WantedMb(server, wal_bytes_per_s, rolled_back), cap));
  if (value < current * kSmallestGrowth) {
    step.refused_because = "the WAL volume has no room for a larger max_wal_size";
    return step;
  }
  step.value_mb = static_cast<int64_t>(value);
  step.extra_bytes = (step.value_mb - step.current_mb) * int64_t{1024 * 1024};
  return step;
}

}  // namespace heal
