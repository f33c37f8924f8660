// Counts what a test program allocates. To be included by one file of a program.

#ifndef HEAL_TEST_CORE_COUNTING_ALLOCATOR_H_
#define HEAL_TEST_CORE_COUNTING_ALLOCATOR_H_

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

uint64_t allocations = 0;

}  // namespace

// The sanitizer brings its own. Not inlined: the compiler would pair malloc
// with delete and warn.
#ifndef __SANITIZE_ADDRESS__
[[gnu::noinline]] void* operator new(size_t size) {
  ++allocations;
  void* p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }
#endif

#endif  // HEAL_TEST_CORE_COUNTING_ALLOCATOR_H_
