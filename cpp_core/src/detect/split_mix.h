// split_mix.h: a small random number generator.

#ifndef HEAL_CORE_DETECT_SPLIT_MIX_H_
#define HEAL_CORE_DETECT_SPLIT_MIX_H_

#include <cstdint>

namespace heal {

// SplitMix64: 64 random bits from a counter; the same numbers for a seed on
// every machine, which std::mt19937 with std distributions does not promise.
// Not for secrets.
//
// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
// OOPSLA 2014, with the constants of variant 13 of Stafford's mixer.
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

  // 0..n-1 from 32 bits by multiplication: no division, and a bias below n / 2^32.
  static uint32_t Below(uint32_t bits, uint32_t n) {
    return static_cast<uint32_t>((static_cast<uint64_t>(bits) * n) >> 32);
  }
  uint32_t Below(uint32_t n) { return Below(static_cast<uint32_t>(Next() >> 32), n); }

 private:
  uint64_t state_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_SPLIT_MIX_H_
