#include "recover/snapshot.h"

#include <gtest/gtest.h>

namespace heal {
namespace {

SnapshotItem Setting(const char* name, std::optional<std::string> value) {
  return {"server_setting",
          "",
          0,
          "",
          name,
          value,
          std::string("restore ") + name,
          std::string("reset ") + name,
          false,
          std::nullopt};
}

SnapshotItem Index(const char* name, std::optional<std::string> value, const char* reset = "") {
  return {"index", "shop", 5, "public.t", name, value, "restore index", reset, false, std::nullopt};
}

ItemDiff Only(const SnapshotItem& before, std::vector<SnapshotItem> now, bool force = false) {
  const auto diffs = Diff(std::span(&before, 1), now, {force, true});
  EXPECT_EQ(diffs.size(), 1u);
  return diffs.front();
}

TEST(Snapshot, ItemsSurviveTheirTextForm) {
  std::vector<SnapshotItem> items = {Setting("max_wal_size", "64MB"), Index("we\"ird\n'name", std::nullopt)};
  items[0].has_expected = true;
  items[0].expected = "128MB";
  items[1].has_expected = true;
  const auto again = ParseItems(ItemsJson(items));
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].value, "64MB");
  EXPECT_EQ(again[0].expected, "128MB");
  EXPECT_EQ(again[1].key(), items[1].key());
  EXPECT_FALSE(again[1].value);
  EXPECT_TRUE(again[1].has_expected);
  EXPECT_FALSE(again[1].expected);
}

TEST(Snapshot, HostileTextIsRefused) {
  const std::string good =
      R"({"kind":"index","database":"d","database_oid":1,"object":"o","name":"n","value":null,"restore_sql":"","reset_sql":""})";
  const auto with = [&](const char* from, const char* to) {
    std::string text = good;
    text.replace(text.find(from), std::string(from).size(), to);
    return "[" + text + "]";
  };
  EXPECT_EQ(ParseItems("[" + good + "]").size(), 1u);
  EXPECT_EQ(ParseItems("[]").size(), 0u);
  const std::string bad[] = {"",
                             "{}",
                             "null",
                             "[1]",
                             "[[]]",
                             "[{}]",
                             "[" + good,
                             "[" + good + "," + good + "]",
                             with("\"index\"", "\"table\""),
                             with("\"index\"", "7"),
                             with("null", "7"),
                             with("null", "{\"a\":[]}"),
                             with("null", "\"a\\u0000b\""),
                             with("\"database_oid\":1", "\"database_oid\":-1"),
                             with("\"database_oid\":1", "\"database_oid\":4294967296"),
                             with("\"database_oid\":1", "\"database_oid\":1.5"),
                             with("\"name\":\"n\",", ""),
                             with(",\"reset_sql\":\"\"", ""),
                             std::string(100000, '[')};
  for (const std::string& text : bad) EXPECT_THROW(ParseItems(text), SnapshotError) << text.substr(0, 200);
}

TEST(Snapshot, ErrorsNameItemAndField) {
  try {
    ParseItems(R"([{"kind":"index","database":7}])");
    FAIL();
  } catch (const SnapshotError& error) {
    EXPECT_STREQ(error.what(), "snapshot item 0: database is not a text");
  }
}

TEST(Snapshot, DiffSaysWhatIsNeeded) {
  EXPECT_EQ(Only(Setting("a", "1"), {Setting("a", "1")}).needed, ItemNeed::kNone);
  EXPECT_EQ(Only(Setting("a", "1"), {Setting("a", "2")}).sql, "restore a");
  EXPECT_EQ(Only(Setting("a", "1"), {Setting("a", std::nullopt)}).sql, "restore a");
  EXPECT_EQ(Only(Setting("a", "1"), {}).needed, ItemNeed::kRestore);
  EXPECT_EQ(Only(Setting("a", std::nullopt), {}).needed, ItemNeed::kNone);
  const ItemDiff reset = Only(Setting("a", std::nullopt), {Setting("a", "2")});
  EXPECT_EQ(reset.needed, ItemNeed::kReset);
  EXPECT_EQ(reset.sql, "reset a");
}

TEST(Snapshot, IndexesThatCameLaterAreKeptUnlessForced) {
  EXPECT_EQ(Only(Index("i", std::nullopt), {Index("i", "def", "DROP")}).needed, ItemNeed::kKept);
  EXPECT_EQ(Only(Index("i", std::nullopt), {Index("i", "def", "DROP")}, true).sql, "DROP");
  EXPECT_EQ(Only(Index("i", std::nullopt), {Index("i", "def")}, true).needed, ItemNeed::kKept);
}

TEST(Snapshot, ByHandWhatCameLaterCountsToo) {
  const std::vector<SnapshotItem> before = {Setting("a", "1")};
  const std::vector<SnapshotItem> now = {Setting("a", "1"), Setting("b", "2"), Index("i", "def")};
  const auto diffs = Diff(before, now, {});
  ASSERT_EQ(diffs.size(), 3u);
  EXPECT_EQ(diffs[1].needed, ItemNeed::kKept);
  EXPECT_EQ(diffs[2].needed, ItemNeed::kReset);
  EXPECT_EQ(diffs[2].sql, "reset b");
  EXPECT_EQ(Diff(before, now, {false, true}).size(), 1u);
}

TEST(Snapshot, DriftIsNotOverwrittenWithoutForce) {
  std::vector<SnapshotItem> items = {Setting("max_wal_size", "64MB"), Setting("other", "1")};
  const ExpectedValue change{"server_setting", "max_wal_size", "128MB"};
  SetExpected(std::span(&change, 1), &items);
  EXPECT_EQ(Only(items[0], {Setting("max_wal_size", "128MB")}).needed, ItemNeed::kRestore);
  EXPECT_EQ(Only(items[0], {Setting("max_wal_size", "1GB")}).needed, ItemNeed::kDrift);
  EXPECT_EQ(Only(items[0], {Setting("max_wal_size", "1GB")}).sql, "");
  EXPECT_EQ(Only(items[0], {Setting("max_wal_size", "1GB")}, true).needed, ItemNeed::kRestore);
  EXPECT_EQ(Only(items[1], {Setting("other", "2")}).needed, ItemNeed::kDrift) << "we did not touch it";
}

TEST(Snapshot, AStatementThatWouldBeCutIsNotRun) {
  const ItemDiff diff = Only(Setting("a", "x;\nDROP TABLE t"), {Setting("a", "1")});
  EXPECT_EQ(diff.needed, ItemNeed::kRestore);
  EXPECT_EQ(diff.sql, "");
}

TEST(Snapshot, Requests) {
  const std::vector<SnapshotItem> items = {Setting("a", "1"), Setting("b", "1"), Index("i", "x"),
                                           Index("j", "y")};
  const auto again = RecaptureRequests(items);
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].items, R"([{"kind":"server_setting","name":"a"},{"kind":"server_setting","name":"b"}])");
  EXPECT_EQ(again[1].items, R"([{"component":"indexes","kind":"all"}])");
  const uint32_t databases[] = {0, 5};
  const auto all = ManualRequests("", databases);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].database_oid, 5u);
  EXPECT_EQ(all[1].items, R"([{"kind":"all"}])");
  EXPECT_EQ(ManualRequests("storage", databases)[0].items, R"([{"component":"storage","kind":"all"}])");
  EXPECT_THROW(ManualRequests("tables", databases), SnapshotError);
}

// ---- indexes ----

SnapshotItem IndexImage(const char* value) {
  SnapshotItem item;
  item.kind = "index";
  item.database = "shop";
  item.database_oid = 7;
  item.object = "public.i";
  item.name = "definition";
  if (*value != '\0') item.value = value;
  item.restore_sql = "create";
  item.reset_sql = "drop";
  return item;
}

ItemDiff IndexDiff(const char* before, const char* now, bool force) {
  const SnapshotItem was[] = {IndexImage(before)}, is[] = {IndexImage(now)};
  DiffOptions options;
  options.force = force;
  return Diff(was, is, options)[0];
}

TEST(IndexDiff, AnotherOfThatNameIsReplacedByForceOnly) {
  EXPECT_EQ(IndexDiff("INDEX a", "INDEX b", false).needed, ItemNeed::kDrift);
  EXPECT_EQ(IndexDiff("INDEX a", "INDEX b", false).sql, "");
  const ItemDiff forced = IndexDiff("INDEX a", "INDEX b", true);
  EXPECT_EQ(forced.needed, ItemNeed::kRestore);
  EXPECT_EQ(forced.sql, "drop;\ncreate");
}

TEST(IndexDiff, ABuildThatFailedHasNotBroughtItBack) {
  const ItemDiff left = IndexDiff("INDEX a", "INDEX a /* invalid */", false);
  EXPECT_EQ(left.needed, ItemNeed::kRestore);
  EXPECT_EQ(left.sql, "drop;\ncreate");
}

TEST(IndexDiff, AValidOneIsAsGoodAsTheInvalidOneBefore) {
  EXPECT_EQ(IndexDiff("INDEX a /* invalid */", "INDEX a", false).needed, ItemNeed::kNone);
  EXPECT_EQ(IndexDiff("INDEX a /* invalid */", "INDEX a /* invalid */", false).needed, ItemNeed::kNone);
  EXPECT_EQ(IndexDiff("INDEX a /* invalid */", "", false).needed, ItemNeed::kRestore);
}

TEST(MergeRequests, OnePerDatabase) {
  const CaptureRequest requests[] = {{5, "[1]"}, {0, "[2,3]"}, {5, "[4]"}, {6, "[]"}, {6, "[5]"}};
  const std::vector<CaptureRequest> merged = MergeRequests(requests);
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].items, "[2,3]");
  EXPECT_EQ(merged[1].items, "[1,4]");
  EXPECT_EQ(merged[2].items, "[5]");
}

}  // namespace
}  // namespace heal
