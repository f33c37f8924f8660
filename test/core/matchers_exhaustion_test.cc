// R01, R03, R05, R06, R08, R11: what runs out, at the limits of its definition.

#include <algorithm>

#include "matchers_fixture.h"
#include "predict/resources.h"

namespace heal {
namespace {

constexpr int64_t kGiB = int64_t{1} << 30;

class ExhaustionMatchers : public MatcherTest {
 protected:
  void Disk(double share, int64_t limit = 100 * kGiB) {
    world_.server().disk_limit_bytes = limit;
    world_.server().disk_used_bytes = static_cast<int64_t>(share * static_cast<double>(limit));
  }
  void Slot(int64_t retained, int active = 0) {
    world_.metric(HC_M_SLOT_RETAINED) = static_cast<double>(retained);
    hc_slot slot{};
    slot.name = "standby1";
    slot.active = active;
    slot.retained_bytes = retained;
    slot.database = "";
    world_.slots.assign(1, slot);
  }
  void Sequence(double used) {
    world_.sequences.assign(1, {World::kDatabase, "shop", "public.orders_id_seq", used});
  }
  // The match of the failure in this look, or nullptr.
  const Match* Look(const char* type) {
    world_.Advance(1);
    matches_ = matchers_.Run(world_.Observe(), thresholds_);
    const auto found = std::find_if(matches_.begin(), matches_.end(),
                                    [type](const Match& m) { return m.failure_type == type; });
    return found == matches_.end() ? nullptr : &*found;
  }

  std::vector<Match> matches_;
};

TEST_F(ExhaustionMatchers, ADiskIsFullFromItsLimitOn) {
  Disk(0.949);
  EXPECT_EQ(Look("disk_full"), nullptr);
  Disk(0.95);
  const Match* match = Look("disk_full");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(match->severity, "warning");
  EXPECT_EQ(match->subject, "data directory");
  EXPECT_EQ(match->fingerprint, "storage/disk_full/data directory");
  Disk(0.901);
  EXPECT_NE(Look("disk_full"), nullptr) << "held down to the lower limit";
  Disk(0.9);
  EXPECT_EQ(Look("disk_full"), nullptr);
  Disk(0.94);
  EXPECT_EQ(Look("disk_full"), nullptr);
  Disk(0.981);
  EXPECT_EQ(Look("disk_full")->severity, "critical");
  Disk(0.96);
  EXPECT_EQ(Look("disk_full")->severity, "critical") << "until it is over";
}

TEST_F(ExhaustionMatchers, ALargeDiskHasRoom) {
  Disk(0.96, 10000 * kGiB);
  EXPECT_EQ(Look("disk_full"), nullptr) << "400 GiB are free";
  Disk(0.995, 10000 * kGiB);
  EXPECT_NE(Look("disk_full"), nullptr);
}

TEST_F(ExhaustionMatchers, ADiskThatIsWellUsedForEverIsNone) {
  Disk(0.82);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Look("disk_full"), nullptr);
  ASSERT_TRUE(thresholds_.Set("disk_full", "used", 0.8));
  EXPECT_NE(Look("disk_full"), nullptr);
}

TEST_F(ExhaustionMatchers, WhatFillsTheDiskIsEvidence) {
  Disk(0.97);
  Slot(40 * kGiB);
  const Match* match = Look("disk_full");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(TruthOf(*match, "wal_retained"), Truth::kPresent);
  Slot(1 * kGiB);
  EXPECT_EQ(TruthOf(*Look("disk_full"), "wal_retained"), Truth::kAbsent);
}

TEST_F(ExhaustionMatchers, TheWalHasADiskOfItsOwn) {
  world_.server().wal_disk_limit_bytes = 10 * kGiB;
  world_.server().wal_disk_used_bytes = 10 * kGiB - 1;
  const Match* match = Look("disk_full");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(match->subject, "pg_wal");
}

TEST_F(ExhaustionMatchers, AnUnknownDiskIsHeldAsItWas) {
  Disk(0.97);
  ASSERT_NE(Look("disk_full"), nullptr);
  Disk(0, 0);
  const Match* match = Look("disk_full");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(match->values.at("unknown"), 1);
  Disk(0.5);
  EXPECT_EQ(Look("disk_full"), nullptr);
}

TEST_F(ExhaustionMatchers, ASlotAgainstTheFreeDisk) {
  world_.server().wal_disk_free_bytes = 10 * kGiB;
  Slot(9 * kGiB);
  EXPECT_EQ(Look("slot_wal_retention"), nullptr);
  Slot(10 * kGiB);
  const Match* match = Look("slot_wal_retention");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(match->subject, "slot standby1");
  EXPECT_EQ(TruthOf(*match, "slot_inactive"), Truth::kPresent);
  Slot(10 * kGiB, 1);
  EXPECT_EQ(TruthOf(*Look("slot_wal_retention"), "slot_reader_behind"), Truth::kPresent);
  world_.slots.clear();
  EXPECT_EQ(Look("slot_wal_retention"), nullptr) << "dropped";
}

TEST_F(ExhaustionMatchers, AFewSegmentsAreNothing) {
  world_.server().wal_disk_free_bytes = 1 << 20;
  Slot(64 << 20);
  EXPECT_EQ(Look("slot_wal_retention"), nullptr);
  world_.server().max_slot_wal_keep_bytes = 64 << 20;
  EXPECT_EQ(Look("slot_wal_retention"), nullptr);
}

TEST_F(ExhaustionMatchers, ASlotAgainstItsSetting) {
  world_.server().wal_disk_free_bytes = 1000 * kGiB;
  world_.server().max_slot_wal_keep_bytes = 10 * kGiB;
  Slot(8 * kGiB - 1);
  EXPECT_EQ(Look("slot_wal_retention"), nullptr);
  Slot(8 * kGiB);
  ASSERT_NE(Look("slot_wal_retention"), nullptr);
  world_.metric(HC_M_SLOT_RETAINED) = std::nan("");
  world_.slots.clear();
  EXPECT_EQ(Look("slot_wal_retention")->values.at("unknown"), 1);
}

TEST_F(ExhaustionMatchers, ALostOrTemporarySlotHoldsNothing) {
  world_.server().wal_disk_free_bytes = 1 * kGiB;
  Slot(100 * kGiB);
  world_.slots[0].lost = 1;
  EXPECT_EQ(Look("slot_wal_retention"), nullptr);
  world_.slots[0].lost = 0;
  world_.slots[0].temporary = 1;
  EXPECT_EQ(Look("slot_wal_retention"), nullptr);
}

TEST_F(ExhaustionMatchers, TransactionIds) {
  world_.server().freeze_max_age = 200'000'000;
  world_.metric(HC_M_XID_AGE) = 1'072'241'823;
  EXPECT_EQ(Look("xid_wraparound"), nullptr);
  world_.metric(HC_M_XID_AGE) = 1'072'241'824;
  const Match* match = Look("xid_wraparound");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(TruthOf(*match, "horizon_stuck"), Truth::kAbsent);
  world_.AddSession(100, HC_STATE_IDLE_IN_TRANSACTION, 1e6).xmin_age = 900'000'000;
  match = Look("xid_wraparound");
  EXPECT_EQ(TruthOf(*match, "horizon_stuck"), Truth::kPresent);
  EXPECT_EQ(TruthOf(*match, "horizon_held_by_session"), Truth::kPresent);
  EXPECT_EQ(TruthOf(*match, "horizon_held_by_slot"), Truth::kAbsent);
  world_.metric(HC_M_XID_AGE) = 1'650'000'000;
  EXPECT_EQ(Look("xid_wraparound")->severity, "critical");
  world_.metric(HC_M_XID_AGE) = 50'000'000;
  EXPECT_EQ(Look("xid_wraparound"), nullptr);
}

TEST_F(ExhaustionMatchers, AnAgeTheOwnerAllowsIsNone) {
  world_.server().freeze_max_age = 1'500'000'000;
  world_.metric(HC_M_XID_AGE) = 1'540'000'000;
  EXPECT_EQ(Look("xid_wraparound"), nullptr);
  world_.metric(HC_M_XID_AGE) = 1'550'000'000;
  EXPECT_NE(Look("xid_wraparound"), nullptr);
}

TEST_F(ExhaustionMatchers, MultixactIdsAndMembers) {
  world_.server().multixact_freeze_max_age = 400'000'000;
  world_.metric(HC_M_MXID_AGE) = 100'000'000;
  world_.server().multixact_members = int64_t{1'717'986'918};
  EXPECT_EQ(Look("multixact_exhaustion"), nullptr);
  world_.server().multixact_members = int64_t{1'717'986'919};
  const Match* match = Look("multixact_exhaustion");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(match->subject, "multixact members");
  world_.metric(HC_M_MXID_AGE) = 1.2e9;
  Look("multixact_exhaustion");
  EXPECT_EQ(std::count_if(matches_.begin(), matches_.end(),
                          [](const Match& m) { return m.failure_type == "multixact_exhaustion"; }),
            2);
}

TEST_F(ExhaustionMatchers, Sequences) {
  world_.Inspect();
  Sequence(0.699);
  EXPECT_EQ(Look("sequence_exhaustion"), nullptr);
  Sequence(0.7);
  const Match* match = Look("sequence_exhaustion");
  ASSERT_NE(match, nullptr);
  EXPECT_EQ(match->subject, "public.orders_id_seq (shop)");
  EXPECT_EQ(match->database, "shop");
  EXPECT_EQ(match->database_oid, World::kDatabase);
  world_.sequences.clear();
  world_.inspections[0].complete = 0;
  EXPECT_EQ(Look("sequence_exhaustion")->values.at("unknown"), 1) << "nobody looked";
  world_.inspections[0].complete = 1;
  EXPECT_EQ(Look("sequence_exhaustion"), nullptr);
  Sequence(0.95);
  EXPECT_EQ(Look("sequence_exhaustion")->severity, "critical");
  world_.sequences.clear();
  world_.inspections[0].database_oid = 99;
  EXPECT_EQ(Look("sequence_exhaustion"), nullptr) << "its database was dropped";
}

TEST_F(ExhaustionMatchers, TemporaryFiles) {
  Disk(0.5);
  world_.server().temp_bytes = 40 * kGiB;
  EXPECT_EQ(Look("temp_file_explosion"), nullptr);
  world_.server().temp_bytes = 50 * kGiB;
  EXPECT_NE(Look("temp_file_explosion"), nullptr);
  world_.server().temp_bytes = 0;
  EXPECT_EQ(Look("temp_file_explosion"), nullptr);
}

TEST_F(ExhaustionMatchers, HostileNumbersRaiseNothing) {
  for (const double value : {std::nan(""), -1.0, HUGE_VAL, -HUGE_VAL}) {
    world_.metric(HC_M_XID_AGE) = world_.metric(HC_M_MXID_AGE) = value;
    Sequence(value);
    Slot(-5);
    Disk(0, -7);
    world_.server().temp_bytes = world_.server().multixact_members = -1;
    world_.Advance(1);
    EXPECT_TRUE(matchers_.Run(world_.Observe(), thresholds_).empty());
  }
}

TEST(ResourceNames, AreCutBetweenCharactersAndStayDifferent) {
  World world;
  const std::string name(200, 'x');
  std::string odd;
  for (int i = 0; i < 100; ++i) odd += "\xC3\xA4";
  world.sequences = {{1, "a", world.Keep(name + "1"), 0.9},
                     {1, "a", world.Keep(name + "2"), 0.9},
                     {1, "a", world.Keep(odd), 0.9}};
  std::vector<ResourceReading> readings;
  const hc_observation o = world.Observe();
  ReadResources(o, &readings);
  std::vector<std::string> subjects;
  for (const ResourceReading& r : readings)
    if (r.resource == Resource::kSequence) subjects.push_back(r.subject);
  ASSERT_EQ(subjects.size(), 3u);
  EXPECT_NE(subjects[0], subjects[1]);
  for (const std::string& s : subjects) EXPECT_LE(s.size(), 127u);
  const size_t tilde = subjects[2].find('~');
  EXPECT_EQ(tilde % 2, 0u) << "no half character";
}

TEST(ResourceNames, OnlyTheNearestSequencesAreRead) {
  World world;
  for (int i = 0; i < 500; ++i)
    world.sequences.push_back({1, "a", world.Keep("s" + std::to_string(i)), 0.5 + i * 0.001});
  std::vector<ResourceReading> readings;
  ReadResources(world.Observe(), &readings);
  const auto sequences = std::count_if(readings.begin(), readings.end(),
                                       [](const ResourceReading& r) { return r.resource == Resource::kSequence; });
  EXPECT_EQ(sequences, 40);
  for (const ResourceReading& r : readings)
    EXPECT_TRUE(r.resource != Resource::kSequence || r.value > 0.959) << r.value;
}

}  // namespace
}  // namespace heal
