// Predictions from the observation to the rows, and the incidents they open.

#include <gtest/gtest.h>

#include "engine_fixture.h"

namespace heal {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

class EnginePredictTest : public EngineTest {
 protected:
  EnginePredictTest() {
    world().server().disk_limit_bytes = static_cast<int64_t>(100 * kGiB);
    world().server().freeze_max_age = 200000000;
    Disk(0.5);
  }
  void Disk(double share) {
    world().metric(HC_M_DISK_USED) = share;
    world().server().disk_used_bytes = static_cast<int64_t>(share * static_cast<double>(world().server().disk_limit_bytes));
  }
  // n seconds in which the disk fills by `by` of it a second.
  void Fill(int n, double by) {
    for (int i = 0; i < n; ++i) {
      share_ += by;
      Disk(share_);
      shell_.Step();
    }
  }
  // The sequence is looked at every ten seconds.
  void UseSequence(int looks, double by) {
    for (int i = 0; i < looks; ++i) {
      used_ += by;
      world().sequences.assign(1, {World::kDatabase, "shop", "public.orders_id_seq", used_});
      for (int second = 0; second < 10; ++second) {
        if (second == 0) world().inspections.assign(1, {World::kDatabase, "shop", world().now, 1});
        shell_.Step();
      }
    }
  }
  std::vector<Row> Predictions() const { return shell_.Rows(HC_T_PREDICTIONS); }
  Row Incident() const { return shell_.Last(HC_T_INCIDENTS); }
  bool Evidence(const Row& incident, const std::string& node, const std::string& truth) const {
    for (const Row& item : incident["explanation"]["evidence"])
      if (item["node"] == node && item["truth"] == truth) return true;
    return false;
  }

  double share_ = 0.5;
  double used_ = 0.5;
};

TEST_F(EnginePredictTest, AFillingDiskIsARowAndGraded) {
  Fill(100, 0.002);
  ASSERT_EQ(Predictions().size(), 1u);
  Row row = Predictions()[0];
  EXPECT_EQ(row["failure_type"], "disk_full");
  EXPECT_EQ(row["component"], "storage");
  EXPECT_EQ(row["subject"], "data directory");
  EXPECT_EQ(row["outcome"], "open");
  EXPECT_EQ(row["resource"], "disk");
  EXPECT_EQ(row["unit"], "bytes");
  EXPECT_TRUE(row["graded_at"].is_null());
  EXPECT_GT(row["confidence"], 0.8);
  EXPECT_NEAR(row["slope"].get<double>(), 0.002 * 100 * kGiB, 0.0002 * 100 * kGiB);
  EXPECT_TRUE(shell_.Rows(HC_T_INCIDENTS).empty()) << "pg_heal.predictive is off";
  Fill(160, 0.002);
  row = Predictions()[0];
  EXPECT_TRUE(row["outcome"] == "hit" || row["outcome"] == "early" || row["outcome"] == "late") << row["outcome"];
  EXPECT_FALSE(row["graded_at"].is_null());
  EXPECT_EQ(Incident()["failure_type"], "disk_full") << "reactive incidents always work";
}

TEST_F(EnginePredictTest, NothingFromFewSamples) {
  shell_.settings.min_baseline_samples = 60;
  Fill(100, 0.002);
  EXPECT_TRUE(Predictions().empty()) << "with 30 there is one by now";
  Fill(50, 0.002);
  EXPECT_EQ(Predictions().size(), 1u);
}

TEST_F(EnginePredictTest, ASteadyServerGetsNone) {
  shell_.settings.predictive = 1;
  world().metric(HC_M_XID_AGE) = 5e7;
  for (int i = 0; i < 3600; ++i) {
    // WAL segments come and go, transactions go on, sessions come and go, a batch spills.
    Disk(0.5 + 0.002 * (i % 7) + (i % 600 > 500 ? 0.05 : 0));
    world().metric(HC_M_XID_AGE) += 100;
    world().server().temp_bytes = i % 600 > 500 ? int64_t{5} << 30 : 0;
    if (i % 60 == 0)
      for (int k = 0; k < 30; ++k) world().AddSession(1000 + k, HC_STATE_ACTIVE, 1);
    if (i % 60 == 20) world().sessions.clear();
    shell_.Step();
  }
  EXPECT_TRUE(Predictions().empty()) << Predictions().front().dump();
  EXPECT_TRUE(shell_.Rows(HC_T_INCIDENTS).empty());
}

// Autovacuum freezes: the age falls and rises again, for ever.
TEST_F(EnginePredictTest, FreezingIsNoWraparound) {
  for (int i = 0; i < 6000; ++i) {
    world().metric(HC_M_XID_AGE) = 5e7 + 2.5e5 * (i % 600);
    shell_.Step();
  }
  EXPECT_TRUE(Predictions().empty()) << Predictions().front().dump();
}

TEST_F(EnginePredictTest, ACleanupWithdraws) {
  Fill(100, 0.002);
  ASSERT_EQ(Predictions().size(), 1u);
  share_ = 0.3;
  Fill(200, 0);
  EXPECT_EQ(Predictions()[0]["outcome"], "withdrawn");
  EXPECT_EQ(Predictions().size(), 1u);
}

TEST_F(EnginePredictTest, AnOpenPredictionSurvivesARestart) {
  Fill(100, 0.002);
  ASSERT_EQ(Predictions().size(), 1u);
  const Row before = Predictions()[0];
  shell_.Crash();
  Fill(1, 0.002);
  EXPECT_EQ(Predictions().size(), 1u);
  EXPECT_EQ(Predictions()[0], before);
  Fill(160, 0.002);
  EXPECT_NE(Predictions()[0]["outcome"], "open");
  EXPECT_NE(Predictions()[0]["outcome"], "withdrawn");
  EXPECT_EQ(Predictions().size(), 1u) << "none of its own beside it";
}

TEST_F(EnginePredictTest, IdsGoOnAfterARestart) {
  Fill(100, 0.002);
  share_ = 0.3;
  Fill(200, 0);
  ASSERT_EQ(Predictions()[0]["outcome"], "withdrawn");
  shell_.Crash();
  Fill(100, 0.003);
  ASSERT_EQ(Predictions().size(), 2u);
  EXPECT_EQ(Predictions()[1]["prediction_id"], 2);
}

TEST_F(EnginePredictTest, WhatNobodySawIsWithdrawn) {
  Fill(100, 0.002);
  ASSERT_EQ(Predictions().size(), 1u);
  shell_.Crash();
  world().Advance(200);
  share_ = 1;
  Fill(1, 0);
  EXPECT_EQ(Predictions()[0]["outcome"], "withdrawn") << "full, but since when?";
}

TEST_F(EnginePredictTest, FullBeforeTheIntervalIsEarlyForCertain) {
  Fill(100, 0.002);
  shell_.Crash();
  share_ = 1;
  Fill(1, 0);
  EXPECT_EQ(Predictions()[0]["outcome"], "early");
}

TEST_F(EnginePredictTest, ASlotThatWentMeanwhileIsWithdrawn) {
  world().server().wal_disk_free_bytes = static_cast<int64_t>(100 * kGiB);
  for (int i = 0; i < 100; ++i) {
    hc_slot slot{};
    slot.name = "standby1";
    slot.database = "";
    slot.retained_bytes = static_cast<int64_t>(0.3 * kGiB * i);
    world().metric(HC_M_SLOT_RETAINED) = static_cast<double>(slot.retained_bytes);
    world().server().wal_disk_free_bytes = static_cast<int64_t>((100 - 0.3 * i) * kGiB);
    world().slots.assign(1, slot);
    shell_.Step();
  }
  ASSERT_EQ(Predictions().size(), 1u);
  EXPECT_EQ(Predictions()[0]["subject"], "slot standby1");
  world().slots.clear();
  shell_.Crash();
  for (int i = 0; i < 5; ++i) shell_.Step();
  EXPECT_EQ(Predictions()[0]["outcome"], "withdrawn");
}

TEST_F(EnginePredictTest, NothingIsOpenForEver) {
  Fill(100, 0.002);
  shell_.Crash();
  world().server().disk_limit_bytes = 0;  // it cannot be read any more
  for (int i = 0; i < 62; ++i) shell_.Step(60);
  EXPECT_EQ(Predictions()[0]["outcome"], "withdrawn");
}

TEST_F(EnginePredictTest, APredictionOfAnotherServerIsWithdrawn) {
  Fill(100, 0.002);
  shell_.Crash(true);
  Fill(1, 0.002);
  EXPECT_EQ(Predictions()[0]["outcome"], "withdrawn");
}

TEST_F(EnginePredictTest, PredictiveOpensTheIncidentThatThenComesTrue) {
  shell_.settings.predictive = 1;
  Fill(100, 0.002);
  ASSERT_EQ(Predictions().size(), 1u);
  Row incident = Incident();
  ASSERT_FALSE(incident.is_null());
  EXPECT_EQ(incident["failure_type"], "disk_full");
  EXPECT_EQ(incident["subject"], "data directory");
  EXPECT_EQ(incident["severity"], "warning");
  EXPECT_EQ(incident["state"], "diagnosed") << "neither treated nor handed over";
  EXPECT_TRUE(Evidence(incident, "disk_full", "unknown"));
  EXPECT_TRUE(Evidence(incident, "usage_rising", "present"));
  EXPECT_EQ(incident["explanation"]["values"]["prediction_id"], 1);
  Fill(145, 0.002);  // 99 %
  incident = Incident();
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u) << "the same one";
  EXPECT_EQ(incident["severity"], "critical");
  EXPECT_EQ(incident["state"], "escalated");
  EXPECT_TRUE(Evidence(incident, "disk_full", "present"));
  const std::string reason = shell_.Rows(HC_T_TRANSITIONS).back()["reason"];
  EXPECT_NE(reason.find("forecast"), std::string::npos) << reason;
  EXPECT_NE(reason.find("Find what grows"), std::string::npos) << reason;
  EXPECT_TRUE(shell_.Acts().empty());
}

TEST_F(EnginePredictTest, AWithdrawnPredictionClosesItsIncident) {
  shell_.settings.predictive = 1;
  Fill(100, 0.002);
  ASSERT_EQ(shell_.State(), "diagnosed");
  share_ = 0.3;
  Fill(200, 0);
  EXPECT_EQ(shell_.State(), "closed_itself");
}

TEST_F(EnginePredictTest, SwitchedOffItClosesItself) {
  shell_.settings.predictive = 1;
  Fill(100, 0.002);
  ASSERT_EQ(shell_.State(), "diagnosed");
  shell_.settings.predictive = 0;
  Fill(3, 0.002);
  EXPECT_EQ(shell_.State(), "closed_itself");
  EXPECT_EQ(Predictions()[0]["outcome"], "open");
}

TEST_F(EnginePredictTest, APreemptiveIncidentSurvivesARestart) {
  shell_.settings.predictive = 1;
  Fill(100, 0.002);
  shell_.Crash();
  Fill(30, 0.002);
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u);
  EXPECT_EQ(shell_.State(), "diagnosed");
}

TEST_F(EnginePredictTest, TooFarAwayOrTooUncertainOpensNothing) {
  hc_config config{};
  const hc_threshold within[] = {{"disk_full", "predict_within_s", 60}};
  config.thresholds = within;
  config.n_thresholds = 1;
  shell_.config = &config;
  shell_.settings.predictive = 1;
  Fill(100, 0.002);
  EXPECT_EQ(Predictions().size(), 1u);
  EXPECT_TRUE(shell_.Rows(HC_T_INCIDENTS).empty());
  Fill(110, 0.002);  // less than 60 s are left
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u);
}

// Four alarms that came to nothing: the fifth opens no incident.
TEST_F(EnginePredictTest, ABadRecordIsNotBelieved) {
  shell_.settings.predictive = 1;
  shell_.settings.min_baseline_samples = 30;
  for (int round = 0; round < 4; ++round) {
    share_ = 0.5;
    Fill(100, 0.002);
    ASSERT_EQ(Predictions().size(), static_cast<size_t>(round + 1));
    Fill(1500, 0);  // it stays there: a miss
    ASSERT_EQ(Predictions().back()["outcome"], "miss");
    shell_.Crash();  // the record is kept, the series begins anew
  }
  const size_t incidents = shell_.Rows(HC_T_INCIDENTS).size();
  EXPECT_EQ(incidents, 4u);
  share_ = 0.5;
  Fill(100, 0.002);
  EXPECT_EQ(Predictions().back()["outcome"], "open");
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), incidents);
}

TEST_F(EnginePredictTest, ASequenceRunsOut) {
  shell_.settings.predictive = 1;
  UseSequence(45, 0.004);
  ASSERT_EQ(Predictions().size(), 1u);
  EXPECT_EQ(Predictions()[0]["subject"], "public.orders_id_seq (shop)");
  EXPECT_EQ(Predictions()[0]["failure_type"], "sequence_exhaustion");
  EXPECT_EQ(Incident()["database"], "shop");
  EXPECT_EQ(Incident()["severity"], "warning");
  ASSERT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u);
  UseSequence(15, 0.004);
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u);
  EXPECT_EQ(shell_.State(), "escalated");
  EXPECT_EQ(Incident()["root_cause"], "narrow_key_column");
}

TEST_F(EnginePredictTest, NearlyFullConnectionsAreForeseenUnderTheirOwnFingerprint) {
  shell_.settings.predictive = 1;
  for (int i = 0; i < 75; ++i) {
    world().AddSession(1000 + i, HC_STATE_ACTIVE, 1);
    shell_.Step();
  }
  ASSERT_EQ(Predictions().size(), 1u);
  EXPECT_EQ(Incident()["fingerprint"], "connections/connection_exhaustion/server");
  for (int i = 75; i < 95; ++i) {
    world().AddSession(1000 + i, HC_STATE_ACTIVE, 1);
    shell_.Step();
  }
  EXPECT_EQ(shell_.Rows(HC_T_INCIDENTS).size(), 1u);
  EXPECT_EQ(Incident()["severity"], "critical");
}

TEST_F(EnginePredictTest, AClockThatJumpsAlertsNobody) {
  shell_.settings.predictive = 1;
  Fill(100, 0.002);
  world().now -= int64_t{7200} * World::kSecond;
  Fill(2, 0.002);
  EXPECT_EQ(Predictions()[0]["outcome"], "withdrawn");
  Fill(3, 0);
  EXPECT_EQ(shell_.State(), "closed_itself");
}

}  // namespace
}  // namespace heal
