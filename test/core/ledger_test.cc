#include "history/ledger.h"

#include <gtest/gtest.h>

namespace heal {
namespace {

constexpr int64_t kSecond = 1000000;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kNow = 100 * kDay;

LedgerEntry Entry(int64_t at_us, int64_t attempt, const char* object = "shop/public.t") {
  return {at_us, attempt, "vacuum_table", object, {}, 1};
}

TEST(Ledger, CountsWithinTheSpan) {
  Ledger ledger;
  ledger.Note({kNow - 30 * kSecond, 1, "terminate_idle_leak", "a", {"app", "app", "web"}, 3});
  ledger.Note({kNow - 90 * kSecond, 2, "analyze_table", "b", {}, 1});
  EXPECT_EQ(ledger.Actions(kNow, 60 * kSecond), 3);
  EXPECT_EQ(ledger.Actions(kNow, kHour), 4);
  EXPECT_EQ(ledger.ActionsOnObject("a", kNow, kHour), 3);
  EXPECT_EQ(ledger.ActionsOnObject("c", kNow, kHour), 0);
  EXPECT_EQ(ledger.ActionsOnRole("app", kNow, kHour), 2);
}

TEST(Ledger, OscillationCountsAttemptsNotRounds) {
  Ledger ledger;
  for (int round = 0; round < 5; ++round) ledger.Note(Entry(kNow - kDay + round, 1));
  EXPECT_EQ(ledger.Repeats("vacuum_table", "shop/public.t", kNow), 1);
  ledger.Note(Entry(kNow - 2 * kDay, 2));
  ledger.Note(Entry(kNow - 6 * kDay, 3));
  EXPECT_EQ(ledger.Repeats("vacuum_table", "shop/public.t", kNow), 3);
  EXPECT_EQ(ledger.Repeats("vacuum_table", "shop/public.t", kNow, 3), 2);
  EXPECT_EQ(ledger.Repeats("analyze_table", "shop/public.t", kNow), 0);
  EXPECT_EQ(ledger.Repeats("vacuum_table", "shop/public.u", kNow), 0);
}

TEST(Ledger, ForgetsAfterSevenDays) {
  Ledger ledger;
  ledger.Note(Entry(kNow - 8 * kDay, 1));
  EXPECT_EQ(ledger.Repeats("vacuum_table", "shop/public.t", kNow), 0);
  ledger.Note(Entry(kNow, 2));
  EXPECT_EQ(ledger.size(), 1u);
}

TEST(Ledger, IsBounded) {
  Ledger ledger;
  for (size_t i = 0; i < Ledger::kMaxEntries + 10; ++i)
    ledger.Note(Entry(kNow + static_cast<int64_t>(i), static_cast<int64_t>(i)));
  EXPECT_EQ(ledger.size(), Ledger::kMaxEntries);
}

TEST(Ledger, RebuiltFromRows) {
  Ledger ledger;
  const char* row =
      R"({"attempt_id":7,"remedy":"vacuum_table","subject":"public.t","database":"shop","started_at":"2000-01-02T00:00:01.500000Z"})";
  EXPECT_TRUE(ledger.NoteAttemptRow(row));
  EXPECT_TRUE(ledger.NoteAttemptRow(row)) << "a later image of the same attempt";
  EXPECT_EQ(ledger.size(), 1u);
  EXPECT_EQ(ledger.Repeats("vacuum_table", "shop/public.t", kDay + 2 * kSecond), 1);
  EXPECT_EQ(ledger.Actions(kDay + 2 * kSecond, kSecond), 1) << "the time is right to the second";
  EXPECT_EQ(ledger.Actions(kDay + 3 * kSecond, kSecond), 0);
}

TEST(Ledger, BadRowsChangeNothing) {
  Ledger ledger;
  for (const char* row :
       {"", "[]", "{}", R"({"attempt_id":"x","remedy":"r","started_at":"2000-01-02T00:00:00Z"})",
        R"({"attempt_id":1,"remedy":"r","started_at":"yesterday"})",
        R"({"attempt_id":1,"remedy":"r","started_at":"2000-13-02T00:00:00Z"})"})
    EXPECT_FALSE(ledger.NoteAttemptRow(row)) << row;
  EXPECT_EQ(ledger.size(), 0u);
}

TEST(Ledger, ConservativeBudgetsAreSmallest) {
  EXPECT_LT(BudgetFor(HC_POLICY_CONSERVATIVE).per_minute, BudgetFor(HC_POLICY_BALANCED).per_minute);
  EXPECT_LT(BudgetFor(HC_POLICY_BALANCED).per_hour, BudgetFor(HC_POLICY_AGGRESSIVE).per_hour);
}

}  // namespace
}  // namespace heal
