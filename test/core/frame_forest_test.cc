// The forest over frames: warm-up, verdicts, freezing, fits under way, memory.

#include "detect/frame_forest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <new>
#include <vector>

#include "counting_allocator.h"
#include "core_error.h"

namespace heal {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr size_t kFeatures = 8;

// Frames of a calm server: all metrics follow one load a little, each with noise.
class Server {
 public:
  explicit Server(uint64_t seed, size_t features = kFeatures) : random_(seed), frame_(features) {}

  const std::vector<double>& Next() {
    const double load = Bell();
    for (double& value : frame_) value = 0.5 * load + Bell();
    return frame_;
  }

 private:
  double Bell() {
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random_.Next() >> 11) / 9007199254740992.0;
    return sum - 6;
  }

  SplitMix random_;
  std::vector<double> frame_;
};

FrameVerdict Watch(FrameForest* forest, Server* server, int frames) {
  FrameVerdict last{kNaN, kNaN};
  for (int i = 0; i < frames; ++i) last = forest->Observe(server->Next());
  return last;
}

// Half the metrics high, half low: each value is seen now and then, together never.
std::vector<double> Odd(double size) {
  std::vector<double> frame(kFeatures, size);
  for (size_t i = 0; i < kFeatures / 2; ++i) frame[i] = -size;
  return frame;
}

TEST(FrameForest, SaysNothingBeforeItCan) {
  FrameForest forest(kFeatures, 1);
  Server server(1);
  FrameForest::Options options;
  int frames = 0;
  while (forest.fits() == 0) {
    const FrameVerdict verdict = forest.Observe(server.Next());
    ASSERT_TRUE(std::isnan(verdict.score));
    ASSERT_TRUE(std::isnan(verdict.tail));
    ASSERT_LT(++frames, 200);
  }
  EXPECT_GE(frames, static_cast<int>(options.first_fit));
  for (size_t i = 0; i < options.first_tail; ++i) {
    const FrameVerdict verdict = forest.Observe(server.Next());
    ASSERT_GT(verdict.score, 0);
    ASSERT_LT(verdict.score, 1);
    ASSERT_TRUE(std::isnan(verdict.tail));
  }
  EXPECT_FALSE(std::isnan(forest.Observe(server.Next()).tail));
}

TEST(FrameForest, FindsAnUnusualCombination) {
  FrameForest forest(kFeatures, 1);
  Server server(2);
  Watch(&forest, &server, 1500);
  forest.Freeze(true);
  const FrameVerdict odd = forest.Observe(Odd(2.5));
  const FrameVerdict even = forest.Observe(std::vector<double>(kFeatures, 1));
  EXPECT_LT(odd.tail, 1e-3);
  EXPECT_GT(even.tail, 0.05);
  EXPECT_GT(odd.score, even.score);
}

TEST(FrameForest, AFarOutlierIsFarInTheTail) {
  FrameForest forest(kFeatures, 1);
  Server server(3);
  Watch(&forest, &server, 1500);
  EXPECT_LT(forest.Observe(std::vector<double>(kFeatures, 20)).tail, 1e-5);
  EXPECT_LT(forest.Observe(std::vector<double>(kFeatures, std::numeric_limits<double>::infinity())).tail,
            1e-5);
  EXPECT_LT(forest.Observe(std::vector<double>(kFeatures, -1e300)).tail, 1e-5);
}

// On a calm server the tail is what it says: of 20,000 frames a share p is below p.
TEST(FrameForest, TailsAreCalibrated) {
  FrameForest forest(kFeatures, 1);
  Server server(4);
  Watch(&forest, &server, 2000);
  const int n = 20000;
  int below_half = 0, below_tenth = 0, below_hundredth = 0, below_ten_thousandth = 0;
  for (int i = 0; i < n; ++i) {
    const double tail = forest.Observe(server.Next()).tail;
    ASSERT_GT(tail, 0);
    ASSERT_LE(tail, 1);
    below_half += tail < 0.5;
    below_tenth += tail < 0.1;
    below_hundredth += tail < 0.01;
    below_ten_thousandth += tail < 1e-4;
  }
  EXPECT_NEAR(below_half, n * 0.5, n * 0.03);
  EXPECT_NEAR(below_tenth, n * 0.1, n * 0.02);
  EXPECT_NEAR(below_hundredth, n * 0.01, n * 0.006);
  EXPECT_LE(below_ten_thousandth, 20);
}

TEST(FrameForest, EqualSeedsGiveEqualVerdicts) {
  FrameForest a(kFeatures, 5), b(kFeatures, 5), other(kFeatures, 6);
  Server first(5), second(5), third(5);
  Watch(&a, &first, 1000);
  Watch(&b, &second, 1000);
  Watch(&other, &third, 1000);
  const std::vector<double> frame(kFeatures, 0.5);
  const FrameVerdict verdict = a.Observe(frame);
  EXPECT_EQ(verdict.score, b.Observe(frame).score);
  EXPECT_NE(verdict.score, other.Observe(frame).score);
}

TEST(FrameForest, NothingIsLearntWhileFrozen) {
  FrameForest forest(kFeatures, 1), twin(kFeatures, 1);
  Server server(6), same(6), strange(7);
  Watch(&forest, &server, 700);
  Watch(&twin, &same, 700);
  const uint64_t fits = forest.fits();
  const bool fitting = forest.fitting();
  forest.Freeze(true);
  for (int i = 0; i < 1000; ++i) forest.Observe(Odd(2));
  EXPECT_EQ(forest.fits(), fits);
  EXPECT_EQ(forest.fitting(), fitting);
  forest.Freeze(false);
  // As if the frames in between had not been.
  for (int i = 0; i < 300; ++i) {
    const FrameVerdict a = forest.Observe(server.Next());
    const FrameVerdict b = twin.Observe(same.Next());
    ASSERT_EQ(a.score, b.score);
    ASSERT_EQ(a.tail, b.tail);
  }
}

TEST(FrameForest, AShortFaultIsNotLearntALastingChangeIs) {
  FrameForest forest(kFeatures, 1);
  Server server(8);
  Watch(&forest, &server, 1500);
  const std::vector<double> changed(kFeatures, 15);
  for (int i = 0; i < 30; ++i) ASSERT_LT(forest.Observe(changed).tail, 1e-4) << "frame " << i;
  Watch(&forest, &server, 20);
  const FrameVerdict before = forest.Observe(changed);
  EXPECT_LT(before.tail, 1e-4) << "the fault was learnt";
  Watch(&forest, &server, 1);
  FrameVerdict after{};
  for (int i = 0; i < 6000; ++i) after = forest.Observe(changed);
  EXPECT_GT(after.tail, 0.1);
  EXPECT_LT(after.score, before.score - 0.1) << "the memory did not follow";
}

TEST(FrameForest, FitsAreSpreadOverFrames) {
  FrameForest::Options options;
  options.fit_nodes = 100;
  FrameForest forest(kFeatures, 1, options);
  Server server(9);
  size_t longest = 0, length = 0;
  for (int i = 0; i < 5000; ++i) {
    forest.Observe(server.Next());
    length = forest.fitting() ? length + 1 : 0;
    longest = std::max(longest, length);
  }
  // About 13,000 nodes.
  EXPECT_GT(longest, 60u);
  EXPECT_LT(longest, 300u);
  EXPECT_GE(forest.fits(), 15u);
  EXPECT_LE(forest.fits(), 22u);
  EXPECT_EQ(forest.remembered(), options.capacity);
}

TEST(FrameForest, MissingValues) {
  FrameForest forest(kFeatures, 1);
  Server server(10);
  SplitMix random(1);
  for (int i = 0; i < 1500; ++i) {
    std::vector<double> frame = server.Next();
    frame[random.Below(kFeatures)] = kNaN;
    forest.Observe(frame);
  }
  std::vector<double> frame(kFeatures, 0.2);
  frame[3] = kNaN;
  EXPECT_GT(forest.Observe(frame).tail, 0.05);
  // Values that are not there do not hide one that is far out.
  std::vector<double> odd = Odd(3);
  odd[0] = kNaN;
  EXPECT_LT(forest.Observe(odd).tail, 1e-3);
  // A frame that ends early lacks its last values.
  EXPECT_GT(forest.Observe({frame.data(), kFeatures - 1}).tail, 0.01);
}

TEST(FrameForest, AnEmptyFrameIsNeitherJudgedNorLearnt) {
  FrameForest forest(kFeatures, 1);
  Server server(11);
  Watch(&forest, &server, 300);
  const size_t before = forest.remembered();
  const FrameVerdict verdict = forest.Observe(std::vector<double>(kFeatures, kNaN));
  EXPECT_TRUE(std::isnan(verdict.score));
  EXPECT_TRUE(std::isnan(forest.Observe({}).tail));
  EXPECT_EQ(forest.remembered(), before);
}

// Nothing ever varies: the usual frame is usual, and so is any other, for a
// feature that never varied says nothing.
TEST(FrameForest, AServerThatStandsStill) {
  FrameForest forest(kFeatures, 1);
  const std::vector<double> frame(kFeatures, 3);
  FrameVerdict verdict{};
  for (int i = 0; i < 1000; ++i) verdict = forest.Observe(frame);
  EXPECT_NEAR(verdict.score, 0.5, 1e-6);
  EXPECT_GT(verdict.tail, 0.9);
}

TEST(FrameForest, OptionsWithoutSense) {
  FrameForest::Options zero{{0, 0}, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  FrameForest forest(kFeatures, 1, zero);
  FrameForest no_features(0, 1);
  Server server(12);
  for (int i = 0; i < 200; ++i) {
    forest.Observe(server.Next());
    EXPECT_TRUE(std::isnan(no_features.Observe(server.Next()).score));
  }
  EXPECT_THROW(FrameForest(40000, 1), LimitError);
}

TEST(FrameForest, NoAllocationAfterTheConstructor) {
  FrameForest forest(kFeatures, 1);
  Server server(13);
  const uint64_t before = allocations;
  Watch(&forest, &server, 3000);
  EXPECT_EQ(allocations, before);
  EXPECT_GT(forest.fits(), 5u);
}

}  // namespace
}  // namespace heal
