// The transition table, row images and timestamps.

#include "recover/incident.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "json_text.h"
#include "recover/rows.h"

namespace heal {
namespace {

using S = IncidentState;
using Row = nlohmann::json;

TEST(IncidentTest, NamesRoundTrip) {
  for (int i = 0; i < kIncidentStates; ++i) {
    const S state = static_cast<S>(i);
    EXPECT_EQ(StateFromName(StateName(state)), state);
  }
  EXPECT_FALSE(StateFromName("healed").has_value());
}

TEST(IncidentTest, LifeCycle) {
  EXPECT_TRUE(TransitionAllowed(S::kDetected, S::kDiagnosed));
  EXPECT_TRUE(TransitionAllowed(S::kVerifying, S::kResolved));
  EXPECT_TRUE(TransitionAllowed(S::kRollingBack, S::kPlanned));
  // Nothing acts without a plan, nothing is resolved without verification.
  EXPECT_FALSE(TransitionAllowed(S::kDetected, S::kExecuting));
  EXPECT_FALSE(TransitionAllowed(S::kExecuting, S::kResolved));
  EXPECT_FALSE(TransitionAllowed(S::kPlanned, S::kResolved));
}

TEST(IncidentTest, FinalStatesAreFinal) {
  for (S final : {S::kResolved, S::kClosedItself, S::kCancelled})
    for (int i = 0; i < kIncidentStates; ++i) EXPECT_FALSE(TransitionAllowed(final, static_cast<S>(i)));
}

TEST(IncidentTest, EveryOpenStateCanBeCancelledAndLeft) {
  for (int i = 0; i < kIncidentStates; ++i) {
    const S state = static_cast<S>(i);
    if (IsFinal(state)) continue;
    EXPECT_TRUE(TransitionAllowed(state, S::kCancelled)) << StateName(state);
    if (state != S::kEscalated) {
      EXPECT_TRUE(TransitionAllowed(state, S::kEscalated)) << StateName(state);
    }
  }
}

TEST(TimestampTest, KnownInstants) {
  EXPECT_EQ(TimestampText(0), "2000-01-01T00:00:00.000000Z");
  EXPECT_EQ(TimestampText(-1), "1999-12-31T23:59:59.999999Z");
  EXPECT_EQ(TimestampText(int64_t{951782400} * 1000000 - int64_t{946684800} * 1000000), "2000-02-29T00:00:00.000000Z");
  EXPECT_EQ(ParseTimestamp("2026-11-23T20:00:00+00:00"), ParseTimestamp("2026-11-23 21:00:00.000+01"));
  EXPECT_EQ(ParseTimestamp("2026-11-23T20:00:00.5Z") - ParseTimestamp("2026-11-23T20:00:00Z"), 500000);
  EXPECT_EQ(ParseTimestamp("2026-11-23T20:00:00-03:30"), ParseTimestamp("2026-11-23T23:30:00Z"));
}

TEST(TimestampTest, RoundTrips) {
  for (int64_t at = -3'000'000'000'000'000; at < 9'000'000'000'000'000; at += 86'399'999'999'937)
    ASSERT_EQ(ParseTimestamp(TimestampText(at)), at);
}

TEST(TimestampTest, Garbage) {
  for (const char* text : {"", "now", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00Zx",
                           "infinity", "2026-01-01"})
    EXPECT_THROW(ParseTimestamp(text), std::invalid_argument) << text;
}

Incident Sample() {
  Incident row;
  row.id = 7;
  row.component = "locks";
  row.failure_type = "ddl_lock_queue";
  row.category = "performance";
  row.severity = "critical";
  row.subject = "relation \"S\".\"a'b\"";
  row.database = "shop";
  row.fingerprint = "locks/ddl_lock_queue/5/77";
  row.state = S::kVerifying;
  row.opened_at = 123456789;
  row.confidence = 0.875;
  row.explanation = R"({"evidence":[]})";
  return row;
}

TEST(RowsTest, IncidentRoundTrips) {
  const Incident row = Sample();
  EXPECT_EQ(RowText(ParseIncident(RowText(row))), RowText(row));
  const Row json = Row::parse(RowText(row));
  EXPECT_TRUE(json["root_cause"].is_null());
  EXPECT_TRUE(json["resolved_at"].is_null());
  EXPECT_TRUE(json["explanation"].is_object());
}

TEST(RowsTest, OthersRoundTrip) {
  Attempt attempt;
  attempt.id = 3;
  attempt.incident_id = 7;
  attempt.state = AttemptState::kRollingBack;
  attempt.sql = "ANALYZE \"x\";\nSELECT 1";
  EXPECT_EQ(RowText(ParseAttempt(RowText(attempt))), RowText(attempt));
  Recommendation recommendation;
  recommendation.id = 4;
  recommendation.incident_id = 7;
  recommendation.decided_at = 99;
  EXPECT_EQ(RowText(ParseRecommendation(RowText(recommendation))), RowText(recommendation));
  SnapshotRow snapshot;
  snapshot.id = 5;
  snapshot.parent_id = 2;
  EXPECT_EQ(RowText(ParseSnapshot(RowText(snapshot))), RowText(snapshot));
  SnapshotItemRow item;
  item.id = 6;
  item.snapshot_id = 5;
  EXPECT_EQ(RowText(ParseSnapshotItem(RowText(item))), RowText(item));
  item.item.value = "";
  EXPECT_EQ(ParseSnapshotItem(RowText(item)).item.value, "") << "empty is not null";
}

TEST(RowsTest, BytesThatAreNotUtf8AreReplaced) {
  Incident row = Sample();
  row.subject = "caf\xe9";
  EXPECT_NO_THROW(ParseIncident(RowText(row)));
}

TEST(RowsTest, BadImagesNameTheColumn) {
  Row json = Row::parse(RowText(Sample()));
  const auto complaint = [](const Row& row) -> std::string {
    try {
      ParseIncident(row.dump());
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(complaint(json), "");
  Row bad = json;
  bad["state"] = "asleep";
  EXPECT_NE(complaint(bad).find("column state"), std::string::npos);
  bad = json;
  bad.erase("fingerprint");
  EXPECT_NE(complaint(bad).find("fingerprint"), std::string::npos);
  bad = json;
  bad["opened_at"] = "yesterday";
  EXPECT_NE(complaint(bad).find("opened_at"), std::string::npos);
  bad = json;
  bad["incident_id"] = 18446744073709551615ULL;
  EXPECT_NE(complaint(bad).find("incident_id"), std::string::npos);
}

}  // namespace
}  // namespace heal
