// lock_modes.h: which of PostgreSQL's lock modes exclude each other.

#ifndef HEAL_CORE_DETECT_LOCK_MODES_H_
#define HEAL_CORE_DETECT_LOCK_MODES_H_

#include <cstdint>

namespace heal {

inline constexpr int kAccessShare = 1;
inline constexpr int kRowShare = 2;
inline constexpr int kRowExclusive = 3;
inline constexpr int kShareUpdateExclusive = 4;
inline constexpr int kShare = 5;
inline constexpr int kShareRowExclusive = 6;
inline constexpr int kExclusive = 7;
inline constexpr int kAccessExclusive = 8;
inline constexpr int kLockModes = 8;

constexpr uint32_t ModeBit(int mode) { return 1U << mode; }

// LockConflicts[] of src/backend/storage/lmgr/lock.c, by mode; 0 is no mode.
inline constexpr uint32_t kLockConflicts[kLockModes + 1] = {
    0,
    // AccessShare
    ModeBit(kAccessExclusive),
    // RowShare
    ModeBit(kExclusive) | ModeBit(kAccessExclusive),
    // RowExclusive
    ModeBit(kShare) | ModeBit(kShareRowExclusive) | ModeBit(kExclusive) | ModeBit(kAccessExclusive),
    // ShareUpdateExclusive
    ModeBit(kShareUpdateExclusive) | ModeBit(kShare) | ModeBit(kShareRowExclusive) | ModeBit(kExclusive) |
        ModeBit(kAccessExclusive),
    // Share
    ModeBit(kRowExclusive) | ModeBit(kShareUpdateExclusive) | ModeBit(kShareRowExclusive) |
        ModeBit(kExclusive) | ModeBit(kAccessExclusive),
    // ShareRowExclusive
    ModeBit(kRowExclusive) | ModeBit(kShareUpdateExclusive) | ModeBit(kShare) | ModeBit(kShareRowExclusive) |
        ModeBit(kExclusive) | ModeBit(kAccessExclusive),
    // Exclusive
    ModeBit(kRowShare) | ModeBit(kRowExclusive) | ModeBit(kShareUpdateExclusive) | ModeBit(kShare) |
        ModeBit(kShareRowExclusive) | ModeBit(kExclusive) | ModeBit(kAccessExclusive),
    // AccessExclusive
    ModeBit(kAccessShare) | ModeBit(kRowShare) | ModeBit(kRowExclusive) | ModeBit(kShareUpdateExclusive) |
        ModeBit(kShare) | ModeBit(kShareRowExclusive) | ModeBit(kExclusive) | ModeBit(kAccessExclusive),
};

constexpr bool IsLockMode(int mode) { return mode >= 1 && mode <= kLockModes; }

// Modes that exclude this one, as bits.
constexpr uint32_t ConflictsOf(int mode) { return IsLockMode(mode) ? kLockConflicts[mode] : 0; }

}  // namespace heal

#endif  // HEAL_CORE_DETECT_LOCK_MODES_H_
