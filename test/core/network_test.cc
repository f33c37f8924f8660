#include "diagnose/network.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "core_error.h"
#include "diagnose/chains.h"

namespace heal {
namespace {

std::vector<Truth> Unknown(size_t n) { return std::vector<Truth>(n, Truth::kUnknown); }

TEST(Network, GivesCausesAndEffectsInOrder) {
  const std::vector<Link> links = {{0, 2, 0.5}, {1, 2, 0.25}, {0, 1, 0.75}};
  const Network network({0.1, 0.2, 0.3}, links);
  ASSERT_EQ(network.causes(2).size(), 2u);
  EXPECT_EQ(network.causes(2)[0].cause, 0);
  EXPECT_EQ(network.causes(2)[1].cause, 1);
  EXPECT_DOUBLE_EQ(network.causes(2)[1].strength, 0.25);
  ASSERT_EQ(network.effects(0).size(), 2u);
  EXPECT_EQ(network.effects(0)[0].effect, 2);
  EXPECT_EQ(network.effects(0)[1].effect, 1);
  EXPECT_TRUE(network.causes(0).empty());
  EXPECT_TRUE(network.effects(2).empty());
  EXPECT_DOUBLE_EQ(network.leak(1), 0.2);
}

TEST(Network, RefusesWhatIsNoNetwork) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(Network({-0.1}, {}), GraphError);
  EXPECT_THROW(Network({nan}, {}), GraphError);
  const std::vector<std::vector<Link>> bad = {{{0, 1, 1.5}},  {{0, 1, nan}}, {{0, 2, 0.5}},
                                              {{-1, 1, 0.5}}, {{0, 0, 0.5}}, {{0, 1, 0.5}, {0, 1, 0.5}}};
  for (const auto& links : bad) EXPECT_THROW(Network({0.1, 0.1}, links), GraphError);
  EXPECT_NO_THROW(Network({}, {}));
}

TEST(Network, MarksAncestorsAndDescendants) {
  const std::vector<Link> links = {{0, 1, 0.5}, {1, 2, 0.5}, {3, 2, 0.5}, {2, 4, 0.5}};
  const Network network(std::vector<double>(6, 0.1), links);
  std::vector<char> up(6, 0), down(6, 0);
  up[2] = down[1] = 1;
  network.MarkAncestors(&up);
  network.MarkDescendants(&down);
  EXPECT_EQ(up, (std::vector<char>{1, 1, 1, 1, 0, 0}));
  EXPECT_EQ(down, (std::vector<char>{0, 1, 1, 0, 1, 0}));
}

TEST(Chains, TakeTheBestProductWithinTheDepth) {
  // 0 -> 3 directly with 0.3; 0 -> 1 -> 3 with 0.63; 0 -> 1 -> 2 -> 3 with 0.729.
  const std::vector<Link> links = {{0, 3, 0.3}, {0, 1, 0.9}, {1, 3, 0.7}, {1, 2, 0.9}, {2, 3, 0.9}};
  const Network network(std::vector<double>(4, 0.1), links);
  const std::vector<int> effects = {3};
  const auto best = [&](int edges) { return Chains(network, Unknown(4), effects, edges).Best(0); };
  EXPECT_TRUE(best(0).nodes.empty());
  EXPECT_EQ(best(1).nodes, (std::vector<int>{0, 3}));
  EXPECT_EQ(best(2).nodes, (std::vector<int>{0, 1, 3}));
  EXPECT_NEAR(best(2).probability, 0.63, 1e-12);
  EXPECT_EQ(best(3).nodes, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_NEAR(best(1000000).probability, 0.729, 1e-12);
}

TEST(Chains, AvoidNodesKnownToBeAbsent) {
  const std::vector<Link> links = {{0, 1, 0.9}, {1, 3, 0.9}, {0, 2, 0.5}, {2, 3, 0.5}};
  const Network network(std::vector<double>(4, 0.1), links);
  const std::vector<int> effects = {3};
  std::vector<Truth> evidence = Unknown(4);
  evidence[1] = Truth::kAbsent;
  EXPECT_EQ(Chains(network, evidence, effects, 5).Best(0).nodes, (std::vector<int>{0, 2, 3}));
  evidence[2] = Truth::kAbsent;
  EXPECT_TRUE(Chains(network, evidence, effects, 5).Best(0).nodes.empty());
}

TEST(Chains, AnEffectExplainsItself) {
  const Network network({0.1, 0.1}, {});
  const std::vector<int> effects = {1};
  const Chains chains(network, Unknown(2), effects, 5);
  EXPECT_EQ(chains.Best(1).nodes, (std::vector<int>{1}));
  EXPECT_DOUBLE_EQ(chains.Best(1).probability, 1.0);
  EXPECT_TRUE(chains.Best(0).nodes.empty());
  EXPECT_EQ(chains.Best(0).probability, 0.0);
}

}  // namespace
}  // namespace heal
