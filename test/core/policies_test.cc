#include "recover/policies.h"

#include <gtest/gtest.h>

namespace heal {
namespace {

constexpr int64_t kHourUs = int64_t{3600} * 1000000;

Match TableMatch() {
  Match match;
  match.component = "vacuum";
  match.database = "shop";
  match.params["relation"] = "\"Sales\".\"Odd \"\"table\"";
  return match;
}

Policies One(const char* scope, const char* subject, const char* setting, const char* value) {
  const hc_policy_row row{scope, subject, setting, value};
  return Policies(std::span<const hc_policy_row>(&row, 1));
}

TEST(Policies, SubjectIsUnquoted) {
  const PolicySubject subject = SubjectOf(TableMatch());
  EXPECT_EQ(subject.schema, "Sales");
  EXPECT_EQ(subject.object, "Sales.Odd \"table");
}

TEST(Policies, SubjectOfAnIndexHasItsTable) {
  Match match;
  match.params = {{"index", "public.t_idx"}, {"table", "public.t"}};
  EXPECT_EQ(SubjectOf(match).object, "public.t");
  EXPECT_EQ(SubjectOf(match).index, "public.t_idx");
  EXPECT_NE(One("object", "public.t", "exempt", "on").Exempt(SubjectOf(match)), "");
  EXPECT_NE(One("object", "public.t_idx", "exempt", "on").Exempt(SubjectOf(match)), "");
}

TEST(Policies, EachScopeMatchesItsOwn) {
  Target target;
  target.role = "app";
  target.application = "crm web";
  const PolicySubject subject = SubjectOf(TableMatch(), target);
  const struct {
    const char *scope, *subject;
    bool applies;
  } cases[] = {{"server", "", true},
               {"component", "vacuum", true},
               {"component", "locks", false},
               {"database", "shop", true},
               {"database", "sho", false},
               {"database", "sh*", true},
               {"schema", "Sales", true},
               {"schema", "sales", false},
               {"object", "Sales.Odd \"table", true},
               {"object", "\"Sales\".\"Odd \"\"table\"", true},
               {"role", "app", true},
               {"role", "*", true},
               {"role", "application", false},
               {"application", "crm*", true},
               {"planet", "earth", false}};
  for (const auto& c : cases)
    EXPECT_EQ(One(c.scope, c.subject, "exempt", "on").Exempt(subject) != "", c.applies)
        << c.scope << " " << c.subject;
}

TEST(Policies, AutonomyIsOnlyLowered) {
  const PolicySubject subject = SubjectOf(TableMatch());
  EXPECT_EQ(One("server", "", "autonomy", "auto").Autonomy(HC_MODE_APPROVE, subject), HC_MODE_APPROVE);
  EXPECT_EQ(One("server", "", "autonomy", "limited").Autonomy(HC_MODE_AUTO, subject), HC_MODE_LIMITED);
  EXPECT_EQ(One("server", "", "autonomy", "nonsense").Autonomy(HC_MODE_AUTO, subject), HC_MODE_OBSERVE);
  EXPECT_EQ(One("database", "other", "autonomy", "observe").Autonomy(HC_MODE_AUTO, subject), HC_MODE_AUTO);
}

TEST(Policies, ForbidCriticalAllow) {
  const PolicySubject subject = SubjectOf(TableMatch());
  EXPECT_NE(One("component", "vacuum", "forbid", "vacuum_table").Forbidden("vacuum_table", subject), "");
  EXPECT_EQ(One("component", "vacuum", "forbid", "vacuum_table").Forbidden("analyze_table", subject), "");
  EXPECT_TRUE(One("component", "vacuum", "critical", "on").Critical(subject));
  EXPECT_FALSE(One("component", "vacuum", "critical", "off").Critical(subject));
  EXPECT_TRUE(One("server", "", "allow", "superusers").AllowsSuperusers(subject));
  EXPECT_FALSE(One("server", "", "allow", "everything").AllowsSuperusers(subject));
}

TEST(Policies, WindowIsUtcAndMayPassMidnight) {
  const PolicySubject subject = SubjectOf(TableMatch());
  const auto open = [&](const char* window, int64_t now_us) {
    return One("server", "", "window", window).OutsideWindow(now_us, subject).empty();
  };
  EXPECT_TRUE(open("02:00-04:00", 3 * kHourUs));
  EXPECT_TRUE(open("02:00-04:00", 2 * kHourUs));
  EXPECT_FALSE(open("02:00-04:00", 4 * kHourUs));
  EXPECT_TRUE(open("22:00-02:00", kHourUs));
  EXPECT_FALSE(open("22:00-02:00", 12 * kHourUs));
  EXPECT_TRUE(open("22:00-24:00", -kHourUs)) << "before the epoch";
  EXPECT_FALSE(open("always", 3 * kHourUs));
}

TEST(Policies, MalformedWindows) {
  int32_t from = 0, to = 0;
  for (const char* text :
       {"", "1:00-2:00", "25:00-26:00", "02:60-03:00", "02:00 04:00", "aa:bb-cc:dd", "02:00-04:000"})
    EXPECT_FALSE(ParseWindow(text, &from, &to)) << text;
  EXPECT_TRUE(ParseWindow("23:30-24:00", &from, &to));
  EXPECT_EQ(from, 1410);
  EXPECT_EQ(to, 1440);
}

}  // namespace
}  // namespace heal
