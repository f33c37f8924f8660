// S04 bulk_exfiltration, S05 injection_probing, S06 destructive_statement.

#include "matchers_fixture.h"

namespace heal {
namespace {

constexpr double kDay = 86400;
constexpr char kHere[] = "10.0.0.1";

class ClientsTest : public MatcherTest {
 protected:
  explicit ClientsTest(const char* type) : type_(type) { Look(); }
  hc_client& Client(const char* role, const char* application = "web", const char* address = kHere) {
    hc_client client{};
    client.role = role;
    client.database = "shop";
    client.application = application;
    client.client_addr = address;
    world_.clients.push_back(client);
    return world_.clients.back();
  }
  std::vector<Match> Look(double seconds = 1) {
    world_.Advance(seconds);
    std::vector<Match> found = Run(type_);
    world_.clients.clear();
    world_.security_events.clear();
    return found;
  }
  const char* type_;
};

// ---- S05 ----

class ProbingTest : public ClientsTest {
 protected:
  ProbingTest() : ClientsTest("injection_probing") {}
  void Probe(const char* role, uint64_t errors, uint64_t what, uint32_t kinds, uint64_t statements,
             const char* address = kHere) {
    hc_client& client = Client(role, "web", address);
    client.probing = errors;
    client.probing_what = what;
    client.probing_kinds = kinds;
    client.statements = statements;
  }
  void Refuse(const char* role, uint64_t errors, uint64_t what, const char* application = "web",
              const char* address = kHere) {
    hc_client& client = Client(role, application, address);
    client.refused = errors;
    client.refused_what = what;
  }
  static constexpr uint32_t kMany = HC_PROBE_SYNTAX | HC_PROBE_TEXT | HC_PROBE_COLUMN | HC_PROBE_FUNCTION;
};

TEST_F(ProbingTest, ABurstOfManyKindsIsFound) {
  Probe("app", 15, 0xff, HC_PROBE_SYNTAX | HC_PROBE_COLUMN, 3);
  EXPECT_TRUE(Look().empty());
  Probe("app", 15, 0xff00, HC_PROBE_TEXT, 2);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "role app from 10.0.0.1: statements that fail in many ways");
  EXPECT_EQ(found[0].severity, "warning");
  EXPECT_EQ(found[0].params.at("role"), "app");
  EXPECT_EQ(found[0].params.at("client_addr"), kHere);
  EXPECT_TRUE(found[0].targets.empty());
  EXPECT_EQ(found[0].values.at("errors"), 30);
}

TEST_F(ProbingTest, ADeployThatLacksAColumnIsNot) {
  for (int i = 0; i < 100; ++i) {
    Probe("app", 500, 1, HC_PROBE_COLUMN, 100);
    EXPECT_TRUE(Look().empty());
  }
}

TEST_F(ProbingTest, ADeployWhoseMigrationDidNotRunIsNot) {
  // Columns, tables and functions are missing, in many statements; nothing is malformed.
  for (int i = 0; i < 100; ++i) {
    Probe("app", 500, 0xffff, HC_PROBE_COLUMN | HC_PROBE_TABLE | HC_PROBE_FUNCTION, 10);
    EXPECT_TRUE(Look().empty());
  }
}

TEST_F(ProbingTest, ACrawlerWithBadNumbersIsNot) {
  for (int i = 0; i < 100; ++i) {
    Probe("app", 50, ~uint64_t{0}, HC_PROBE_TEXT, 10);
    EXPECT_TRUE(Look().empty());
  }
}

TEST_F(ProbingTest, FewErrorsAmongManyStatementsAreNot) {
  for (int i = 0; i < 100; ++i) {
    Probe("app", 40, 0xffff, kMany, 5000);
    EXPECT_TRUE(Look().empty()) << "a test suite, or a pool that many share";
  }
}

TEST_F(ProbingTest, ErrorsSpreadOverALongTimeAreNot) {
  for (int i = 0; i < 100; ++i) {
    Probe("dba", 5, 0xfULL << (4 * (i % 16)), kMany, 0);
    EXPECT_TRUE(Look(15).empty()) << "somebody at a prompt";
  }
}

TEST_F(ProbingTest, APoolWithManyRolesIsNotOneSource) {
  std::deque<std::string> roles;
  for (int i = 0; i < 30; ++i) {
    roles.push_back("role " + std::to_string(i));
    Probe(roles.back().c_str(), 3, 7, kMany, 0, "10.0.0.9");
    Refuse(roles.back().c_str(), 3, 7, "web", "10.0.0.9");
  }
  EXPECT_TRUE(Look().empty());
}

TEST_F(ProbingTest, RefusalsOfSeveralObjectsAreAWarning) {
  Refuse("app", 10, 1, "one");
  EXPECT_TRUE(Look().empty());
  Refuse("app", 10, 6, "another name does not help");
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, "warning");
  EXPECT_EQ(found[0].subject, "role app from 10.0.0.1: permissions denied");
  EXPECT_EQ(TruthOf(found[0], "many_objects_refused"), Truth::kPresent);
}

TEST_F(ProbingTest, TheSameRefusalAgainAndAgainIsANote) {
  Refuse("app", 200, 1);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, "info");
  EXPECT_EQ(TruthOf(found[0], "same_error_again"), Truth::kPresent);
}

TEST_F(ProbingTest, ARestoreIsNot) {
  Refuse("app", 200, ~uint64_t{0}, "pg_restore");
  EXPECT_TRUE(Look().empty());
}

TEST_F(ProbingTest, ADeclaredMigrationIsNot) {
  world_.server().flags |= HC_SERVER_MIGRATION;
  Refuse("app", 200, ~uint64_t{0});
  EXPECT_TRUE(Look().empty());
}

TEST_F(ProbingTest, ItEndsWhenItIsQuiet) {
  Refuse("app", 50, 7);
  EXPECT_EQ(Look().size(), 1u);
  EXPECT_EQ(Look(290).size(), 1u);
  Refuse("app", 1, 7);
  EXPECT_EQ(Look(5).size(), 1u) << "one more error keeps it";
  EXPECT_EQ(Look(290).size(), 1u);
  Client("app").statements = 100;
  EXPECT_TRUE(Look(20).empty());
  EXPECT_TRUE(Look().empty());
}

TEST_F(ProbingTest, ManySourcesStayBounded) {
  std::deque<std::string> roles;
  for (int i = 0; i < 2000; ++i) {
    roles.push_back("role " + std::to_string(i));
    Refuse(roles.back().c_str(), 20, 7);
    EXPECT_LE(Look(0.01).size(), 256u);
  }
}

TEST_F(ProbingTest, HugeCountsDoNoHarm) {
  Probe("app", ~uint64_t{0}, ~uint64_t{0}, ~uint32_t{0}, ~uint64_t{0});
  Refuse("app", ~uint64_t{0}, ~uint64_t{0});
  EXPECT_EQ(Look().size(), 2u);
}

// ---- S04 ----

class ExfiltrationTest : public ClientsTest {
 protected:
  ExfiltrationTest() : ClientsTest("bulk_exfiltration") {}
  void Rows(const char* role, uint64_t rows, const char* application = "web", const char* address = kHere) {
    Client(role, application, address).rows = rows;
  }
  // A look every five minutes for some days, with so many rows each time.
  bool Quiet(double days, uint64_t rows, const char* role = "app") {
    bool quiet = true;
    for (int i = 0; i < static_cast<int>(days * 288); ++i) {
      Rows(role, rows);
      quiet = Look(300).empty() && quiet;
    }
    return quiet;
  }
};

TEST_F(ExfiltrationTest, AHundredTimesTheUsualIsFound) {
  EXPECT_TRUE(Quiet(8, 10000));
  Rows("app", 2000000, "psql", "203.0.113.9");
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "role app from 203.0.113.9");
  EXPECT_EQ(found[0].params.at("application"), "psql");
  EXPECT_EQ(TruthOf(found[0], "new_client_place"), Truth::kPresent);
  EXPECT_TRUE(found[0].targets.empty());
  EXPECT_GE(found[0].values.at("rows"), 2000000);
  EXPECT_LE(found[0].values.at("usual"), 30000);
}

TEST_F(ExfiltrationTest, FromTheUsualPlaceItIsNoNewPlace) {
  EXPECT_TRUE(Quiet(8, 10000));
  Rows("app", 2000000);
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "new_client_place"), Truth::kAbsent);
}

TEST_F(ExfiltrationTest, ASilentRoleThatReadsEverythingIsFound) {
  EXPECT_TRUE(Quiet(8, 10000, "other"));
  Rows("app", 2000000);
  EXPECT_EQ(Look().size(), 1u);
}

TEST_F(ExfiltrationTest, BelowTheAbsoluteLimitNothingIsSaid) {
  EXPECT_TRUE(Quiet(8, 100));
  Rows("app", 900000);
  EXPECT_TRUE(Look().empty());
}

TEST_F(ExfiltrationTest, ManySmallAnswersAddUp) {
  EXPECT_TRUE(Quiet(8, 100));
  size_t found = 0;
  for (int i = 0; i < 110; ++i) {
    Rows("app", 10000);
    found = Look(5).size();
  }
  EXPECT_EQ(found, 1u) << "a burst is not measured against its own beginning";
}

TEST_F(ExfiltrationTest, WhoIsNotKnownLongEnoughIsNotJudged) {
  EXPECT_TRUE(Quiet(6, 100));
  Rows("app", 5000000);
  EXPECT_TRUE(Look().empty());
}

TEST_F(ExfiltrationTest, ANightlyLoadIsLearnt) {
  for (int day = 0; day < 20; ++day) {
    for (int hour = 0; hour < 24; ++hour) {
      Rows("etl", hour == 2 ? 50000000 : 1000);
      EXPECT_TRUE(Look(3600).empty()) << day;
    }
  }
}

TEST_F(ExfiltrationTest, AMonthlyReportIsLearntAndAYearlyOneIsNot) {
  EXPECT_TRUE(Quiet(8, 1000));
  Rows("app", 50000000);
  EXPECT_EQ(Look(300).size(), 1u) << "the first time it is news";
  EXPECT_FALSE(Quiet(1, 1000)) << "for some minutes";
  EXPECT_TRUE(Quiet(27, 1000));
  Rows("app", 60000000);
  EXPECT_TRUE(Look(300).empty()) << "the month after it is not";
  EXPECT_TRUE(Quiet(40, 1000));
  Rows("app", 60000000);
  EXPECT_EQ(Look(300).size(), 1u) << "after that it is forgotten";
}

TEST_F(ExfiltrationTest, ADumpAndASuperuserAreNot) {
  EXPECT_TRUE(Quiet(8, 100));
  Rows("app", 50000000, "pg_dump");
  Rows("root", 50000000);
  world_.clients.back().flags = HC_SESSION_SUPERUSER;
  Rows("copy", 50000000);
  world_.clients.back().flags = HC_SESSION_REPLICATION;
  EXPECT_TRUE(Look().empty());
}

TEST_F(ExfiltrationTest, ItEndsByItself) {
  EXPECT_TRUE(Quiet(8, 100));
  Rows("app", 50000000);
  EXPECT_EQ(Look().size(), 1u);
  EXPECT_EQ(Look(590).size(), 1u);
  EXPECT_TRUE(Look(700).empty());
  EXPECT_TRUE(Look().empty());
}

TEST_F(ExfiltrationTest, AClockAndCountersGoneMadDoNoHarm) {
  EXPECT_TRUE(Quiet(1, 100));
  for (int i = 0; i < 100; ++i) {
    Rows("app", ~uint64_t{0});
    world_.now -= 86400 * World::kSecond;
    Look(i % 2 == 0 ? 0 : 1e7);
  }
}

TEST_F(ExfiltrationTest, ManyRolesStayBounded) {
  std::deque<std::string> roles;
  for (int i = 0; i < 1000; ++i) {
    roles.push_back("role " + std::to_string(i));
    Rows(roles.back().c_str(), 20);
    Look(1);
  }
  SUCCEED();
}

// ---- S06 ----

class DestructiveTest : public ClientsTest {
 protected:
  DestructiveTest() : ClientsTest("destructive_statement") {}
  void Lose(const char* role, const char* what, const char* table, double rows, double of_rows) {
    world_.security_events.push_back(
        {++seq_, world_.now, HC_SEC_DESTRUCTIVE, 0, role, "shop", "web", kHere, table, what, rows, of_rows});
  }
  uint64_t seq_ = 0;
};

TEST_F(DestructiveTest, ADeleteOfEverythingIsTold) {
  Lose("app", "DELETE without WHERE", "orders", 200000, 200000);
  std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "DELETE without WHERE of orders, by app");
  EXPECT_TRUE(found[0].certain);
  EXPECT_TRUE(found[0].targets.empty());
  EXPECT_EQ(Look(590).size(), 1u);
  EXPECT_TRUE(Look(20).empty());
}

TEST_F(DestructiveTest, SmallTablesAndSmallSharesAreNot) {
  Lose("app", "TRUNCATE", "staging", 99999, 99999);
  Lose("app", "UPDATE without WHERE", "t", 200000, 1e6);
  Lose("app", "UPDATE without WHERE", "t", std::nan(""), 1e6);
  EXPECT_TRUE(Look().empty());
}

TEST_F(DestructiveTest, AHabitIsNoNews) {
  Lose("etl", "TRUNCATE", "staging", 1e6, 1e6);
  EXPECT_EQ(Look().size(), 1u);
  for (int day = 0; day < 10; ++day) {
    Look(86400);
    Lose("etl", "TRUNCATE", "another", 1e6, 1e6);
    EXPECT_TRUE(Look().empty());
  }
  Lose("etl", "DELETE without WHERE", "orders", 1e6, 1e6);
  EXPECT_EQ(Look().size(), 1u) << "another statement is";
  Lose("app", "TRUNCATE", "orders", 1e6, 1e6);
  EXPECT_EQ(Look().size(), 2u) << "another role, too";
}

TEST_F(DestructiveTest, ADeclaredMigrationMay) {
  world_.server().flags |= HC_SERVER_MIGRATION;
  Lose("app", "DROP", "orders", 1e6, 1e6);
  EXPECT_TRUE(Look().empty());
}

TEST_F(DestructiveTest, ASuperusersIsANote) {
  Lose("postgres", "DROP", "orders", 1e6, 1e6);
  world_.security_events.back().superuser = 1;
  const std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].severity, "info");
}

// ---- S08 ----

class TamperingTest : public ClientsTest {
 protected:
  TamperingTest() : ClientsTest("setting_tampering") {}
};

TEST_F(TamperingTest, ASettingSwitchedOffIsToldUntilItIsOnAgain) {
  world_.security_events.push_back(
      {1, world_.now, HC_SEC_SETTING, 1, "dba", "shop", "psql", kHere, "fsync", "ALTER SYSTEM", 0, 0});
  world_.server().unsafe_settings = HC_UNSAFE_FSYNC;
  std::vector<Match> found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].subject, "fsync is off");
  EXPECT_EQ(found[0].params.at("role"), "dba");
  EXPECT_EQ(Look(1e6).size(), 1u);
  world_.server().unsafe_settings = 0;
  EXPECT_TRUE(Look().empty());
  world_.server().unsafe_settings = HC_UNSAFE_AUTOVACUUM;
  found = Look();
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(TruthOf(found[0], "set_by_statement"), Truth::kAbsent);
}

TEST_F(TamperingTest, AServerStartedSoIsNot) {
  FailureMatchers fresh;
  world_.server().unsafe_settings = HC_UNSAFE_FSYNC | HC_UNSAFE_FULL_PAGE_WRITES;
  for (int i = 0; i < 3; ++i) {
    world_.Advance(1);
    for (const Match& match : fresh.Run(world_.Observe(), thresholds_)) EXPECT_NE(match.failure_type, type_);
  }
}

TEST_F(TamperingTest, ADeclaredMigrationMayButMustNotForget) {
  world_.server().flags |= HC_SERVER_MIGRATION;
  world_.server().unsafe_settings = HC_UNSAFE_AUTOVACUUM;
  EXPECT_TRUE(Look().empty());
  world_.server().flags = 0;
  EXPECT_EQ(Look().size(), 1u);
}

}  // namespace
}  // namespace heal
