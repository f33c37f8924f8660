// Every status of the ABI is reached, and no exception passes it. Allocation
// failure is injected by replacing operator new in this program alone.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "engine_fixture.h"
#include "heal_core/c_api.h"

namespace {

// Allocations left before one fails; negative: never.
int64_t allocations_left = -1;

void* Allocate(size_t size) {
  if (allocations_left == 0) throw std::bad_alloc();
  if (allocations_left > 0) --allocations_left;
  void* p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(size_t size) { return Allocate(size); }
void* operator new[](size_t size) { return Allocate(size); }
// std::stable_sort asks this way for its buffer, and does without when refused.
void* operator new(size_t size, const std::nothrow_t&) noexcept {
  try {
    return Allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](size_t size, const std::nothrow_t& tag) noexcept { return operator new(size, tag); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace heal {
namespace {

// What C may put into an enum.
template <typename Enum>
void SetEnum(Enum* field, int value) {
  static_assert(sizeof(Enum) == sizeof value);
  std::memcpy(field, &value, sizeof value);
}

int StopAtOnce(void*) { return 1; }

class BoundaryTest : public ::testing::Test {
 protected:
  BoundaryTest() {
    world_.AddSession(100, HC_STATE_IDLE_IN_TRANSACTION, 120);
    world_.AddWaiting(200, 20);
    world_.AddLock(HC_LOCK_RELATION, 77, "public.orders", {{100, 8}}, {{200, 1, 20}});
  }
  ~BoundaryTest() override { hc_engine_destroy(engine_); }

  void Create(const hc_limits& limits = {}) { ASSERT_EQ(hc_engine_create(&limits, 1, &engine_, &err_), HC_OK); }
  hc_observation Observe() {
    world_.Advance(1);
    hc_observation o = world_.Observe();
    o.settings = &settings_;
    return o;
  }
  hc_status Step() {
    const hc_observation o = Observe();
    return hc_engine_step(engine_, &o, &out_, &err_);
  }
  hc_status StepWith(const hc_observation& o) { return hc_engine_step(engine_, &o, &out_, &err_); }

  World world_;
  hc_settings settings_ = AutoSettings();
  hc_engine* engine_ = nullptr;
  hc_decisions out_{};
  hc_error err_{};
};

TEST_F(BoundaryTest, EveryAllocationMayFail) {
  int failed = 0;
  for (int64_t n = 0; n < 200000; n = n < 2000 ? n + 1 : n + 97) {
    hc_engine* engine = nullptr;
    // Two looks, so that the second one acts.
    const hc_observation first = Observe(), second = Observe();
    allocations_left = n;
    hc_status status = hc_engine_create(nullptr, 1, &engine, &err_);
    if (status == HC_OK) status = hc_engine_step(engine, &first, &out_, &err_);
    if (status == HC_OK) status = hc_engine_step(engine, &second, &out_, &err_);
    if (status == HC_OK) {
      EXPECT_EQ(out_.n_commands, 1u);
    }
    allocations_left = -1;
    hc_engine_destroy(engine);
    if (status == HC_OK) break;
    ++failed;
    ASSERT_EQ(status, HC_ENOMEM) << "after " << n << " allocations: " << err_.message;
    ASSERT_STREQ(err_.message, "out of memory");
  }
  EXPECT_GT(failed, 100);
  EXPECT_EQ(hc_engine_live_count(), 0);
}

TEST_F(BoundaryTest, MemoryLimit) {
  hc_limits limits{};
  limits.max_bytes = 100;
  Create(limits);
  EXPECT_EQ(Step(), HC_ELIMIT) << err_.message;
}

TEST_F(BoundaryTest, Cancellation) {
  hc_limits limits{};
  limits.poll = StopAtOnce;
  Create(limits);
  EXPECT_EQ(Step(), HC_ECANCELED) << err_.message;
}

TEST_F(BoundaryTest, Defect) {
  Create();
  ASSERT_EQ(Step(), HC_OK);
  EXPECT_EQ(hc_engine_restore(engine_, nullptr, 0, 0, &err_), HC_EINTERNAL);
  EXPECT_STRNE(err_.message, "");
}

TEST_F(BoundaryTest, LongMessagesAreCut) {
  Create();
  const std::string name(2000, 'x');
  const std::string evidence = "{\"" + name + "\": true}";
  char* result = nullptr;
  EXPECT_EQ(hc_diagnose(nullptr, &settings_, nullptr, evidence.c_str(), &result, &err_), HC_EINVAL);
  EXPECT_LT(std::string(err_.message).size(), sizeof err_.message);
  EXPECT_EQ(hc_diagnose(nullptr, &settings_, nullptr, evidence.c_str(), &result, nullptr), HC_EINVAL);
}

// Wrong input is refused before anything happens: the same engine goes on as if
// it had not been asked.
TEST_F(BoundaryTest, WrongInputLeavesTheEngineAsItWas) {
  using Spoil = void (*)(hc_observation*, World*);
  static const Spoil spoils[] = {
      [](hc_observation* o, World*) { o->settings = nullptr; },
      [](hc_observation* o, World*) { o->server = nullptr; },
      [](hc_observation* o, World*) { o->metrics = nullptr; },
      [](hc_observation* o, World*) { o->sessions = nullptr; },
      [](hc_observation*, World* w) { w->sessions[0].role = nullptr; },
      [](hc_observation*, World* w) { SetEnum(&w->sessions[0].state, 77); },
      [](hc_observation*, World* w) { w->locks[0].n_holders = 9; },
      [](hc_observation*, World* w) { w->locks[0].first_waiter = 0xffffffffU; },
      [](hc_observation*, World* w) { w->waiters[0].mode = 40; },
      [](hc_observation* o, World*) { o->n_requests = 1; },
      [](hc_observation* o, World*) { o->mono_us = 1; },
  };
  Create();
  ASSERT_EQ(Step(), HC_OK);
  for (const Spoil spoil : spoils) {
    World before = world_;
    hc_observation o = Observe();
    spoil(&o, &world_);
    EXPECT_EQ(StepWith(o), HC_EINVAL) << &spoil - spoils;
    EXPECT_STRNE(err_.message, "");
    EXPECT_EQ(out_.n_records, 0u);
    world_ = before;
  }
  hc_settings bad = settings_;
  bad.min_confidence = std::nan("");
  hc_observation o = Observe();
  o.settings = &bad;
  EXPECT_EQ(StepWith(o), HC_EINVAL);
  bad = settings_;
  SetEnum(&bad.mode, 9);
  EXPECT_EQ(StepWith(o), HC_EINVAL);
  EXPECT_EQ(Step(), HC_OK) << err_.message;
  EXPECT_EQ(out_.open_incidents, 1);
}

TEST_F(BoundaryTest, OutputsLiveUntilTheNextCall) {
  Create();
  ASSERT_EQ(Step(), HC_OK);
  ASSERT_GT(out_.n_records, 0u);
  const std::string first = out_.records[0].json;
  EXPECT_EQ(hc_engine_step(engine_, nullptr, &out_, &err_), HC_EINVAL);
  EXPECT_FALSE(first.empty());
}

// The engine that starts after a failure from its rows is as good as new.
TEST_F(BoundaryTest, RebuiltAfterALimit) {
  Create();
  ASSERT_EQ(Step(), HC_OK);
  std::vector<std::pair<hc_record, std::string>> kept;
  for (uint32_t i = 0; i < out_.n_records; ++i) kept.emplace_back(out_.records[i], out_.records[i].json);
  std::vector<hc_record> records;
  for (auto& [record, json] : kept) records.push_back({record.table, record.id, json.c_str()});
  hc_engine_destroy(engine_);
  Create();
  ASSERT_EQ(hc_engine_restore(engine_, records.data(), static_cast<uint32_t>(records.size()), 0, &err_), HC_OK);
  ASSERT_EQ(Step(), HC_OK);
  EXPECT_EQ(out_.open_incidents, 1);
}

}  // namespace
}  // namespace heal
