// S01 brute_force, S02 privilege_escalation, S03 server_file_access.

#include "matchers_fixture.h"

namespace heal {
namespace {

constexpr char kType[] = "brute_force";
constexpr char kAttacker[] = "203.0.113.9";

class BruteForceTest : public MatcherTest {
 protected:
  BruteForceTest() {
    // A look before anything happens: nobody has logged in, which is known.
    world_.logins.reserve(64);
    Login("app", "10.0.0.1", 0, 5);
    Look();
  }
  void Login(const char* role, const char* address, uint64_t failures, uint64_t successes) {
    for (hc_login& login : world_.logins) {
      if (std::string(login.role) != role || std::string(login.address) != address) continue;
      login.failures += failures;
      login.successes += successes;
      return;
    }
    world_.logins.push_back({role, address, failures, successes, world_.now, 0});
  }
  std::vector<Match> Look(double seconds = 1) {
    world_.Advance(seconds);
    return Run(kType);
  }
};

TEST_F(BruteForceTest, ManyFailuresOfOneAddressAreFound) {
  Login("app", kAttacker, 9, 0);
  EXPECT_TRUE(Look().empty());
  Login("app", kAttacker, 1, 0);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "203.0.113.9, role app");
  EXPECT_EQ(found[0].severity, "warning");
  EXPECT_EQ(found[0].params.at("client_addr"), kAttacker);
  EXPECT_TRUE(found[0].targets.empty());
  EXPECT_EQ(TruthOf(found[0], "login_after_failures"), Truth::kAbsent);
}

TEST_F(BruteForceTest, ALoginThatSucceedsAfterwardsIsCritical) {
  Login("app", kAttacker, 50, 0);
  ASSERT_EQ(Look().size(), 1u);
  Login("app", kAttacker, 0, 1);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, "critical");
  EXPECT_EQ(TruthOf(found[0], "login_after_failures"), Truth::kPresent);
}

TEST_F(BruteForceTest, FailuresAndTheLoginThatEndsThemInOneLookAreCritical) {
  Login("app", kAttacker, 20, 1);
  EXPECT_EQ(Look().at(0).severity, "warning") << "the login may have come first";
  Login("root", "203.0.113.10", 20, 1);
  world_.logins.back().broken_in = 1;
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].severity, "critical") << found[0].subject;
  EXPECT_EQ(found[0].params.at("role"), "root");
  EXPECT_EQ(found[1].severity, "warning");
}

TEST_F(BruteForceTest, FewMistypedPasswordsAndASuccessAreNot) {
  Login("app", "10.0.0.3", 6, 1);
  world_.logins.back().broken_in = 1;
  EXPECT_TRUE(Look().empty());
}

TEST_F(BruteForceTest, TheSameRoleElsewhereIsNotBlamed) {
  Login("app", kAttacker, 50, 0);
  Login("app", "10.0.0.1", 0, 3);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].params.at("client_addr"), kAttacker);
  EXPECT_EQ(found[0].severity, "warning") << "a login from another address is no break-in";
}

TEST_F(BruteForceTest, APoolerWithMostlySuccessesIsNotBlamed) {
  Login("other", "10.0.0.7", 20, 0);
  Login("app", "10.0.0.7", 0, 400);
  EXPECT_TRUE(Look().empty());
}

TEST_F(BruteForceTest, SlowMistakesAreNoAttack) {
  for (int i = 0; i < 50; ++i) {
    Login("app", "10.0.0.3", 1, 0);
    EXPECT_TRUE(Look(20).empty()) << i;
  }
}

TEST_F(BruteForceTest, ManyRolesPointToGuessing) {
  for (const char* role : {"postgres", "admin", "root", "test"}) Login(role, kAttacker, 5, 0);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "203.0.113.9, 4 roles");
  EXPECT_EQ(TruthOf(found[0], "many_roles_tried"), Truth::kPresent);
  EXPECT_EQ(TruthOf(found[0], "one_role_keeps_failing"), Truth::kAbsent);
}

TEST_F(BruteForceTest, ItEndsWhenItIsQuiet) {
  Login("app", kAttacker, 50, 0);
  EXPECT_EQ(Look().size(), 1u);
  EXPECT_EQ(Look(290).size(), 1u);
  EXPECT_TRUE(Look(20).empty());
}

TEST_F(BruteForceTest, WhatWasCountedBeforeTheFirstLookIsOld) {
  FailureMatchers fresh;
  Login("app", kAttacker, 5000, 0);
  EXPECT_TRUE(fresh.Run(world_.Observe(), thresholds_).empty());
  world_.Advance(1);
  EXPECT_TRUE(fresh.Run(world_.Observe(), thresholds_).empty());
}

TEST_F(BruteForceTest, ASlotThatWasLostStartsAgain) {
  Login("app", kAttacker, 8, 0);
  EXPECT_TRUE(Look().empty());
  world_.logins.clear();  // other pairs took all slots
  EXPECT_TRUE(Look().empty());
  Login("app", kAttacker, 3, 0);
  EXPECT_EQ(Look().size(), 1u) << "8 before and 3 now, within a minute";
}

TEST_F(BruteForceTest, ManyAddressesStayBounded) {
  std::deque<std::string> names;
  for (int i = 0; i < 2000; ++i) {
    world_.logins.clear();
    names.push_back("198.51.100." + std::to_string(i));
    world_.logins.push_back({"app", names.back().c_str(), 20, 0, world_.now, 0});
    EXPECT_LE(Look(0.01).size(), 256u);
  }
}

class PrivilegedActTest : public MatcherTest {
 protected:
  void Act(hc_security_kind kind, const char* role, const char* object, const char* detail) {
    world_.security_events.push_back(
        {++seq_, world_.now, kind, 0, role, "shop", "web", "10.0.0.1", object, detail, 0, 0});
  }
  std::vector<Match> Look(const char* type, double seconds = 1) {
    world_.Advance(seconds);
    std::vector<Match> found = Run(type);
    world_.security_events.clear();
    return found;
  }
  uint64_t seq_ = 0;
};

TEST_F(PrivilegedActTest, AGrantOfPowerIsToldWithWhoAndWhat) {
  Act(HC_SEC_PRIVILEGE, "app", "helper", "superuser");
  Act(HC_SEC_PRIVILEGE, "app", "helper", "createrole");
  std::vector<Match> found = Look("privilege_escalation");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "helper: superuser, createrole, by app");
  EXPECT_EQ(found[0].category, "security");
  EXPECT_TRUE(found[0].certain);
  EXPECT_TRUE(found[0].targets.empty());
  EXPECT_EQ(Look("privilege_escalation", 590).size(), 1u);
  EXPECT_TRUE(Look("privilege_escalation", 20).empty());
  Act(HC_SEC_PRIVILEGE, "app", "helper", "superuser");
  EXPECT_EQ(Look("privilege_escalation").size(), 1u) << "a grant is never a habit";
}

TEST_F(PrivilegedActTest, ASuperusersWorkIsANoteOnly) {
  Act(HC_SEC_PRIVILEGE, "postgres", "helper", "superuser");
  world_.security_events.back().superuser = 1;
  Act(HC_SEC_PRIVILEGE, "app", "helper", "superuser");
  const std::vector<Match> found = Look("privilege_escalation");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].severity, "warning") << found[0].subject;
  EXPECT_EQ(found[1].severity, "info") << found[1].subject;
}

TEST_F(PrivilegedActTest, TheFirstUseOfTheServerIsNewsAHabitIsNot) {
  Act(HC_SEC_SERVER_PROGRAM, "app", "/bin/sh", "COPY TO PROGRAM");
  ASSERT_EQ(Look("server_file_access").size(), 1u);
  EXPECT_TRUE(Look("server_file_access", 700).empty());
  Act(HC_SEC_SERVER_PROGRAM, "app", "/bin/sh", "COPY TO PROGRAM");
  EXPECT_TRUE(Look("server_file_access").empty());
  Act(HC_SEC_SERVER_PROGRAM, "other", "/bin/sh", "COPY TO PROGRAM");
  EXPECT_EQ(Look("server_file_access").size(), 1u) << "another role has no such habit";
  world_.Advance(31.0 * 86400);
  Act(HC_SEC_SERVER_PROGRAM, "app", "/bin/sh", "COPY TO PROGRAM");
  EXPECT_EQ(Look("server_file_access").size(), 1u) << "a habit is lost in a month";
}

TEST_F(PrivilegedActTest, OldEventsReadAgainAreNoNews) {
  Act(HC_SEC_PRIVILEGE, "app", "helper", "superuser");
  const auto event = world_.security_events.back();
  EXPECT_EQ(Look("privilege_escalation").size(), 1u);
  EXPECT_TRUE(Look("privilege_escalation", 700).empty());
  world_.security_events.push_back(event);
  EXPECT_TRUE(Look("privilege_escalation").empty());
  FailureMatchers fresh;  // after a restart
  world_.security_events.push_back(event);
  for (const Match& match : fresh.Run(world_.Observe(), thresholds_)) EXPECT_NE(match.failure_type, "privilege_escalation");
}

TEST_F(PrivilegedActTest, ManyActsStayBounded) {
  std::deque<std::string> names;
  for (int i = 0; i < 2000; ++i) {
    names.push_back("role " + std::to_string(i));
    Act(HC_SEC_PRIVILEGE, names.back().c_str(), "x", "superuser");
  }
  EXPECT_LE(Look("privilege_escalation").size(), 64u);
}

}  // namespace
}  // namespace heal
