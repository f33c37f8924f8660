#include "diagnose/inference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core_error.h"

namespace heal {
namespace {

// The definition, written down: the sum over all assignments of the product of
// the nodes' expanded conditional tables.
class BruteForce {
 public:
  BruteForce(const Network& network, const Query& query) : network_(network), query_(query) {
    const size_t n = static_cast<size_t>(network.size());
    std::vector<double> present(n, 0.0);
    for (uint32_t world = 0; world < (1u << n); ++world) {
      const double p = Probability(world);
      total_ += p;
      for (size_t i = 0; i < n; ++i) present[i] += (world >> i) & 1 ? p : 0.0;
    }
    for (double p : present) posteriors_.push_back(p / total_);
  }

  double total() const { return total_; }
  double posterior(int node) const { return posteriors_[static_cast<size_t>(node)]; }

 private:
  static bool Present(uint32_t world, int node) { return (world >> node) & 1; }

  double Probability(uint32_t world) const {
    double p = 1.0;
    for (int node = 0; node < network_.size(); ++node) {
      const bool present = Present(world, node);
      const Truth seen = query_.evidence[static_cast<size_t>(node)];
      if (node == query_.forced) {
        if (present != query_.forced_present) return 0.0;
        continue;
      }
      if (seen != Truth::kUnknown && present != (seen == Truth::kPresent)) return 0.0;
      double absent = 1.0 - network_.leak(node);
      for (const Link& link : network_.causes(node)) {
        if (Present(world, link.cause)) absent *= 1.0 - link.strength;
      }
      p *= present ? 1.0 - absent : absent;
    }
    return p;
  }

  const Network& network_;
  const Query& query_;
  double total_ = 0;
  std::vector<double> posteriors_;
};

std::vector<int> AllNodes(const Network& network) {
  std::vector<int> nodes;
  for (int i = 0; i < network.size(); ++i) nodes.push_back(i);
  return nodes;
}

Network RandomNetwork(std::mt19937* random, int nodes, double density) {
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  std::vector<double> leaks;
  for (int i = 0; i < nodes; ++i) leaks.push_back(0.001 + 0.3 * unit(*random));
  std::vector<Link> links;
  for (int i = 0; i < nodes; ++i) {
    for (int j = i + 1; j < nodes; ++j) {
      if (unit(*random) < density) links.push_back({i, j, 0.01 + 0.98 * unit(*random)});
    }
  }
  return Network(std::move(leaks), links);
}

std::vector<Truth> RandomEvidence(std::mt19937* random, int nodes, double share) {
  std::uniform_real_distribution<double> unit(0.0, 1.0);
  std::vector<Truth> evidence(static_cast<size_t>(nodes), Truth::kUnknown);
  for (Truth& truth : evidence) {
    if (unit(*random) < share) truth = unit(*random) < 0.5 ? Truth::kPresent : Truth::kAbsent;
  }
  return evidence;
}

void ExpectExact(const Network& network, const Query& query, Inference* inference) {
  const BruteForce expected(network, query);
  const std::vector<double> got = inference->Posteriors(query);
  ASSERT_EQ(got.size(), query.targets.size());
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected.posterior(query.targets[i]), 1e-10);
}

TEST(Inference, AgreesWithEnumerationOnRandomNetworks) {
  std::mt19937 random(20240607);
  for (int round = 0; round < 400; ++round) {
    const int nodes = 2 + static_cast<int>(random() % 11);
    const double density = 0.1 + 0.1 * static_cast<double>(random() % 8);
    const Network network = RandomNetwork(&random, nodes, density);
    Inference inference(network, WorkLimits());
    const std::vector<int> targets = AllNodes(network);
    for (int k = 0; k < 4; ++k) {
      const std::vector<Truth> evidence = RandomEvidence(&random, nodes, 0.15 * k);
      SCOPED_TRACE(::testing::Message() << "round " << round << " evidence " << k);
      ExpectExact(network, {evidence, targets}, &inference);
    }
  }
}

TEST(Inference, AgreesWithEnumerationForSingleTargets) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    const int nodes = 4 + static_cast<int>(random() % 8);
    const Network network = RandomNetwork(&random, nodes, 0.35);
    Inference inference(network, WorkLimits());
    const std::vector<Truth> evidence = RandomEvidence(&random, nodes, 0.3);
    for (int target = 0; target < nodes; ++target) {
      const std::vector<int> targets = {target};
      ExpectExact(network, {evidence, targets}, &inference);
    }
  }
}

TEST(Inference, ForcedNodesAreCutFromTheirCauses) {
  std::mt19937 random(99);
  for (int round = 0; round < 200; ++round) {
    const int nodes = 3 + static_cast<int>(random() % 8);
    const Network network = RandomNetwork(&random, nodes, 0.4);
    Inference inference(network, WorkLimits());
    const std::vector<int> targets = AllNodes(network);
    const int forced = static_cast<int>(random() % static_cast<unsigned>(nodes));
    std::vector<Truth> evidence = RandomEvidence(&random, nodes, 0.2);
    for (bool present : {false, true}) {
      evidence[static_cast<size_t>(forced)] = Truth::kUnknown;
      ExpectExact(network, {evidence, targets, forced, present}, &inference);
    }
  }
  // Setting an effect says nothing about its cause; seeing it does.
  const std::vector<Link> links = {{0, 1, 0.9}};
  const Network network({0.1, 0.01}, links);
  Inference inference(network, WorkLimits());
  std::vector<Truth> evidence(2, Truth::kUnknown);
  const std::vector<int> cause = {0};
  EXPECT_NEAR(inference.Posteriors({evidence, cause, 1, true}).front(), 0.1, 1e-12);
  evidence[1] = Truth::kPresent;
  EXPECT_GT(inference.Posteriors({evidence, cause}).front(), 0.9);
}

// The chain of two-input ORs is the expanded table of 2^12 rows.
TEST(Inference, ManyCausesGiveTheExpandedTable) {
  constexpr int kCauses = 12;
  std::mt19937 random(5);
  std::uniform_real_distribution<double> unit(0.05, 0.95);
  std::vector<Link> links;
  for (int i = 0; i < kCauses; ++i) links.push_back({i, kCauses, unit(random)});
  std::vector<double> leaks(kCauses + 1, 0.2);
  leaks[kCauses] = 0.03;
  const Network network(leaks, links);
  Inference inference(network, WorkLimits());
  const std::vector<int> effect = {kCauses};
  for (uint32_t row = 0; row < (1u << kCauses); ++row) {
    std::vector<Truth> evidence(kCauses + 1, Truth::kUnknown);
    double absent = 0.97;
    for (int i = 0; i < kCauses; ++i) {
      const bool present = (row >> i) & 1;
      evidence[static_cast<size_t>(i)] = present ? Truth::kPresent : Truth::kAbsent;
      if (present) absent *= 1.0 - links[static_cast<size_t>(i)].strength;
    }
    ASSERT_NEAR(inference.Posteriors({evidence, effect}).front(), 1.0 - absent, 1e-12);
  }
  // With the causes open the table goes through the chain.
  const std::vector<int> targets = AllNodes(network);
  std::vector<Truth> evidence(kCauses + 1, Truth::kUnknown);
  for (Truth truth : {Truth::kUnknown, Truth::kAbsent, Truth::kPresent}) {
    evidence[kCauses] = truth;
    ExpectExact(network, {evidence, targets}, &inference);
  }
}

TEST(Inference, AThousandCausesStayCheap) {
  constexpr int kCauses = 1000;
  std::vector<Link> links;
  for (int i = 0; i < kCauses; ++i) links.push_back({i, kCauses, 0.5});
  const Network network(std::vector<double>(kCauses + 1, 0.001), links);
  WorkLimits limits;
  limits.max_cells = 20000;
  Inference inference(network, limits);
  std::vector<Truth> evidence(kCauses + 1, Truth::kUnknown);
  evidence[kCauses] = Truth::kPresent;
  const std::vector<int> cause = {17};
  const double none = 0.999 * std::pow(1.0 - 0.0005, kCauses);
  const double expected = 0.001 * (1.0 - none / (1.0 - 0.0005) * 0.5) / (1.0 - none);
  EXPECT_NEAR(inference.Posteriors({evidence, cause}).front(), expected, 1e-12);
}

TEST(Inference, MuchEvidenceDoesNotUnderflow) {
  constexpr int kFacts = 2000;
  std::vector<Link> links;
  std::vector<double> leaks = {0.5};
  for (int i = 1; i <= kFacts; ++i) {
    leaks.push_back(0.1);
    links.push_back({0, i, 0.5});
  }
  const Network network(leaks, links);
  Inference inference(network, WorkLimits());
  std::vector<Truth> evidence(kFacts + 1, Truth::kPresent);
  evidence[0] = Truth::kUnknown;
  // P(present | cause) = 0.55, else 0.1: 1000 absent ones halve each, 1000 / 2.
  for (int i = 1; i <= kFacts; i += 2) evidence[static_cast<size_t>(i)] = Truth::kAbsent;
  const std::vector<int> cause = {0};
  const double p = inference.Posteriors({evidence, cause}).front();
  EXPECT_NEAR(p, 1.0, 1e-12);
}

TEST(Inference, ObservedTargetsAreCertain) {
  const Network network({0.2, 0.3}, {});
  Inference inference(network, WorkLimits());
  const std::vector<Truth> evidence = {Truth::kPresent, Truth::kAbsent};
  const std::vector<int> targets = {1, 0};
  EXPECT_EQ(inference.Posteriors({evidence, targets}), (std::vector<double>{0.0, 1.0}));
}

// What is d-separated from the target neither changes its posterior nor costs
// work: here a clique that alone would exceed the limit.
TEST(Inference, UnrelatedPartsCostNothing) {
  constexpr int kClique = 16;
  std::vector<Link> links = {{0, 1, 0.9}};
  for (int i = 2; i < 2 + kClique; ++i) {
    for (int j = i + 1; j < 2 + kClique; ++j) links.push_back({i, j, 0.5});
  }
  std::vector<double> leaks(2 + kClique, 0.1);
  const Network network(leaks, links);
  WorkLimits limits;
  limits.max_cells = 64;
  Inference inference(network, limits);
  std::vector<Truth> evidence(leaks.size(), Truth::kUnknown);
  evidence[1] = Truth::kPresent;
  const std::vector<int> related = {0};
  const std::vector<int> wide = {2 + kClique - 1};
  const double expected = 0.1 * (1 - 0.9 * 0.1) / (0.1 * (1 - 0.9 * 0.1) + 0.9 * 0.1);
  EXPECT_NEAR(inference.Posteriors({evidence, related}).front(), expected, 1e-12);
  EXPECT_THROW(inference.Posteriors({evidence, wide}), LimitError);
  evidence.back() = Truth::kPresent;
  EXPECT_NEAR(inference.Posteriors({evidence, related}).front(), expected, 1e-12);
}

TEST(Inference, ImpossibleEvidenceIsAnError) {
  // Certain links and no leak, which CausalGraph does not let through.
  const std::vector<Link> links = {{0, 1, 1.0}, {0, 2, 1.0}};
  const Network network({0.5, 0.0, 0.0}, links);
  Inference inference(network, WorkLimits());
  const std::vector<int> targets = {0};
  EXPECT_THROW(
      inference.Posteriors({std::vector<Truth>{Truth::kUnknown, Truth::kPresent, Truth::kAbsent}, targets}),
      EvidenceError);
  EXPECT_THROW(
      inference.Posteriors({std::vector<Truth>{Truth::kAbsent, Truth::kPresent, Truth::kUnknown}, targets}),
      EvidenceError);
  EXPECT_NEAR(
      inference.Posteriors({std::vector<Truth>{Truth::kUnknown, Truth::kPresent, Truth::kUnknown}, targets})
          .front(),
      1.0, 1e-12);
}

Network Dense(int nodes) {
  std::vector<Link> links;
  for (int i = 0; i < nodes; ++i) {
    for (int j = i + 1; j < nodes; ++j) links.push_back({i, j, 0.3});
  }
  return Network(std::vector<double>(static_cast<size_t>(nodes), 0.1), links);
}

TEST(Inference, RefusesNetworksTooWideBeforeItMakesTables) {
  const Network network = Dense(60);
  Inference inference(network, WorkLimits());
  const std::vector<Truth> evidence(60, Truth::kUnknown);
  const std::vector<int> targets = {59};
  EXPECT_THROW(inference.Posteriors({evidence, targets}), LimitError);
  const Network small = Dense(12);
  WorkLimits limits;
  limits.max_bytes = 1024;
  Inference bounded(small, limits);
  const std::vector<Truth> unknown(12, Truth::kUnknown);
  const std::vector<int> last = {11};
  EXPECT_THROW(bounded.Posteriors({unknown, last}), LimitError);
}

TEST(Inference, StopsWhenPollSaysSo) {
  const Network network = Dense(10);
  const std::vector<Truth> evidence(10, Truth::kUnknown);
  const std::vector<int> targets = {9};
  int calls = 0;
  WorkLimits limits;
  limits.poll_arg = &calls;
  limits.poll = [](void* arg) { return ++*static_cast<int*>(arg) >= 5 ? 1 : 0; };
  Inference inference(network, limits);
  EXPECT_THROW(inference.Posteriors({evidence, targets}), CanceledError);
  EXPECT_EQ(calls, 5);
}

TEST(Inference, IsDeterministic) {
  std::mt19937 random(3);
  const Network network = RandomNetwork(&random, 40, 0.06);
  const std::vector<Truth> evidence = RandomEvidence(&random, 40, 0.2);
  const std::vector<int> targets = AllNodes(network);
  Inference first(network, WorkLimits()), second(network, WorkLimits());
  const std::vector<double> a = first.Posteriors({evidence, targets});
  EXPECT_EQ(a, second.Posteriors({evidence, targets}));
  EXPECT_EQ(a, first.Posteriors({evidence, targets}));
}

TEST(WorkLimits, ZeroStandsForTheDefault) {
  const WorkLimits limits = WorkLimits::From(hc_limits{});
  EXPECT_EQ(limits.max_cells, uint64_t{1} << 24);
  EXPECT_EQ(limits.max_bytes, uint64_t{12} << 20);
  hc_limits given{};
  given.max_work = 5;
  given.max_bytes = 6;
  EXPECT_EQ(WorkLimits::From(given).max_cells, 5u);
  EXPECT_EQ(WorkLimits::From(given).max_bytes, 6u);
}

}  // namespace
}  // namespace heal
