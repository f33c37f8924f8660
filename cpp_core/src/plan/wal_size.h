// wal_size.h: the next value of max_wal_size, or why there is none.

#ifndef HEAL_CORE_PLAN_WAL_SIZE_H_
#define HEAL_CORE_PLAN_WAL_SIZE_H_

#include <cstdint>
#include <string>

#include "heal_core/observation.h"

namespace heal {

struct WalSizeStep {
  int64_t current_mb = 0;
  int64_t value_mb = 0;  // 0: no step
  int64_t extra_bytes = 0;
  std::string refused_because;
};

// Twice the present value, and twice as much again for each step that was rolled
// back. Where the WAL rate is known (0: not), up to kMaxWalGrowth times in one
// step, so that a checkpoint interval fits. Never above max_share of the
// free space of the WAL volume, and only with twice the growth and 15 % of the
// volume free.
inline constexpr int64_t kMaxWalGrowth = 16;
WalSizeStep NextWalSize(const hc_server& server, double wal_bytes_per_s, int32_t rolled_back,
                        double max_share);

}  // namespace heal

#endif  // HEAL_CORE_PLAN_WAL_SIZE_H_
