// The core's own JSON, against a library's as the judge.

#include "json_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

namespace heal {
namespace {

TEST(JsonTest, ListsMakeObjectsAndArrays) {
  EXPECT_EQ(JsonText({{"b", 1}, {"a", "x"}, {"c", {{"d", nullptr}}}}), R"({"a":"x","b":1,"c":{"d":null}})");
  EXPECT_EQ(JsonText(Json::array({1, 2.5, true, "x"})), R"([1,2.5,true,"x"])");
  EXPECT_EQ(JsonText(Json::array()), "[]");
  EXPECT_EQ(JsonText(Json::object()), "{}");
  EXPECT_EQ(JsonText(Json::array({Json{{"k", 1}}})), R"([{"k":1}])");
}

TEST(JsonTest, Numbers) {
  EXPECT_EQ(JsonText(INT64_MIN), "-9223372036854775808");
  EXPECT_EQ(JsonText(UINT64_MAX), "18446744073709551615");
  EXPECT_EQ(JsonText(1.0), "1.0");
  EXPECT_EQ(JsonText(0.1), "0.1");
  EXPECT_EQ(JsonText(std::nan("")), "null");
  EXPECT_EQ(JsonText(-HUGE_VAL), "null");
  EXPECT_FALSE(ParseJson("18446744073709551615", "x").is_integer());
  EXPECT_EQ(ParseJson("18446744073709551615", "x").number(), 18446744073709551615.0);
  EXPECT_EQ(ParseJson("-0", "x").integer(), 0);
}

TEST(JsonTest, Strings) {
  EXPECT_EQ(JsonText("a\"b\\c\n\x01"), R"("a\"b\\c\n\u0001")");
  EXPECT_EQ(JsonText("caf\xe9!"), "\"caf\xEF\xBF\xBD!\"");
  EXPECT_EQ(JsonText("\xed\xa0\x80"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
  EXPECT_EQ(ParseJson(R"("\ud83d\ude00\u00e9")", "x").text(), "\xF0\x9F\x98\x80\xC3\xA9");
}

TEST(JsonTest, CopiesAreDeep) {
  Json a = {{"list", Json::array({1})}};
  Json b = a;
  b["list"].push_back(2);
  EXPECT_EQ(JsonText(a), R"({"list":[1]})");
  a = b;
  EXPECT_EQ(JsonText(a), R"({"list":[1,2]})");
  b.erase("list");
  EXPECT_EQ(JsonText(b), "{}");
}

TEST(JsonTest, WrongTypesAreSaid) {
  const Json json = {{"a", 1}};
  EXPECT_THROW(json.at("b"), std::invalid_argument);
  EXPECT_THROW(json.at("a").text(), std::invalid_argument);
  EXPECT_THROW(json.elements(), std::invalid_argument);
  EXPECT_EQ(json.find("b"), nullptr);
  EXPECT_EQ(Json(1).find("b"), nullptr);
}

TEST(JsonTest, GarbageIsRefused) {
  for (const char* text : {"", " ", "{", "[", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "01", "1.", ".5", "1e", "-", "+1",
                           "tru", "nulll", "\"", "\"\\x\"", "\"\\u12\"", "\"\\ud800\"", "\"\\udc00\"", "[1] 2", "\"\n\"",
                           "1e999", "NaN", "{\"a\":1,}"})
    EXPECT_THROW(ParseJson(text, "it"), std::invalid_argument) << text;
}

TEST(JsonTest, NestingIsBounded) {
  EXPECT_NO_THROW(ParseJson(std::string(60, '[') + std::string(60, ']'), "x"));
  EXPECT_THROW(ParseJson(std::string(100000, '['), "x"), std::invalid_argument);
}

// Random bytes and mutated documents: never a crash, and what is accepted means
// to the library what it means here.
TEST(JsonTest, AgreesWithTheLibrary) {
  std::mt19937 random(7);
  const std::string edit = "{}[]\",:0123456789eE.-+\\u truefalsn\x80\xc3";
  const std::string seed = R"({"a":[1,-2.5e3,true,null,"x\n\u00e9"],"b":{"c":"\ud83d\ude00","d":[]},"e":0.125})";
  int accepted = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string text = seed;
    for (int edits = static_cast<int>(random() % 4); edits > 0; --edits)
      text[random() % text.size()] = edit[random() % edit.size()];
    const nlohmann::json judge = nlohmann::json::parse(text, nullptr, false);
    Json mine;
    try {
      mine = ParseJson(text, "x");
    } catch (const std::invalid_argument&) {
      EXPECT_TRUE(judge.is_discarded()) << text;
      continue;
    }
    ++accepted;
    // Bytes that are not UTF-8 are refused by the library, replaced here.
    if (judge.is_discarded()) continue;
    EXPECT_EQ(nlohmann::json::parse(JsonText(mine)), judge) << text;
  }
  EXPECT_GT(accepted, 500);
}

}  // namespace
}  // namespace heal
