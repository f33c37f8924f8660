// Timestamps as they stand in row images.

#include "json_text.h"

#include <cstdio>
#include <stdexcept>

namespace heal {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kDay = 86'400 * kSecond;
// Days from 0000-03-01 to 2000-03-01 and from 2000-01-01 to 2000-03-01.
constexpr int64_t kEraDays = 146'097;
constexpr int64_t kEpochToMarch = 60;
// What a PostgreSQL timestamp can be, in days around its epoch.
constexpr int64_t kMaxYear = 294'276;

struct Date {
  int64_t year;
  int month, day;
};

int64_t FloorDiv(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// Civil date of a day number counted from 2000-01-01, years starting in March
// so that the leap day is the last of its year.
Date DateOfDay(int64_t day) {
  const int64_t shifted = day - kEpochToMarch;
  const int64_t era = FloorDiv(shifted, kEraDays);
  const int64_t of_era = shifted - era * kEraDays;
  const int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  const int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month = (5 * of_year + 2) / 153;
  Date date{};
  date.day = static_cast<int>(of_year - (153 * month + 2) / 5 + 1);
  date.month = static_cast<int>(month < 10 ? month + 3 : month - 9);
  date.year = 2000 + era * 400 + year_of_era + (date.month <= 2 ? 1 : 0);
  return date;
}

int64_t DayOfDate(const Date& date) {
  const int64_t year = date.year - (date.month <= 2 ? 1 : 0) - 2000;
  const int64_t era = FloorDiv(year, 400);
  const int64_t year_of_era = year - era * 400;
  const int64_t month = date.month > 2 ? date.month - 3 : date.month + 9;
  const int64_t of_year = (153 * month + 2) / 5 + date.day - 1;
  return era * kEraDays + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year + kEpochToMarch;
}

// Reads a timestamp from left to right.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool Next(char c) {
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // Between `least` and `most` digits.
  int64_t Number(int least, int most) {
    int64_t value = 0;
    int digits = 0;
    while (digits < most && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value * 10 + (text_[at_++] - '0');
      ++digits;
    }
    if (digits < least) Fail();
    return value;
  }

  // Up to six digits of a fraction, as microseconds.
  int64_t Fraction() {
    const size_t start = at_;
    int64_t value = Number(1, 6);
    for (size_t n = at_ - start; n < 6; ++n) value *= 10;
    return value;
  }

  void Expect(char c) {
    if (!Next(c)) Fail();
  }
  void ExpectEnd() const {
    if (at_ != text_.size()) Fail();
  }

  [[noreturn]] void Fail() const {
    throw std::invalid_argument("not a timestamp: \"" + std::string(text_.substr(0, 64)) + "\"");
  }

 private:
  std::string_view text_;
  size_t at_ = 0;
};

// Offset from UTC: Z, +01, +01:00, -03:30, +00:00:00.
int64_t ScanZone(Scanner& scanner) {
  if (scanner.Next('Z')) return 0;
  const bool west = scanner.Next('-');
  if (!west) scanner.Expect('+');
  int64_t seconds = scanner.Number(2, 2) * 3600;
  if (scanner.Next(':')) seconds += scanner.Number(2, 2) * 60;
  if (scanner.Next(':')) seconds += scanner.Number(2, 2);
  return west ? -seconds : seconds;
}

}  // namespace

std::string TimestampText(int64_t at) {
  const int64_t day = FloorDiv(at, kDay);
  const int64_t of_day = at - day * kDay;
  const Date date = DateOfDay(day);
  char text[64];
  std::snprintf(text, sizeof text, "%04lld-%02d-%02dT%02d:%02d:%02d.%06dZ",
                static_cast<long long>(date.year), date.month, date.day,
                static_cast<int>(of_day / (3600 * kSecond)), static_cast<int>(of_day / (60 * kSecond) % 60),
                static_cast<int>(of_day / kSecond % 60), static_cast<int>(of_day % kSecond));
  return text;
}

Json TimestampJson(int64_t at) { return at == 0 ? Json(nullptr) : Json(TimestampText(at)); }

int64_t ParseTimestamp(std::string_view text) {
  Scanner scanner(text);
  Date date{};
  date.year = scanner.Number(4, 6);
  scanner.Expect('-');
  date.month = static_cast<int>(scanner.Number(2, 2));
  scanner.Expect('-');
  date.day = static_cast<int>(scanner.Number(2, 2));
  if (date.year > kMaxYear || date.month < 1 || date.month > 12 || date.day < 1 || date.day > 31)
    scanner.Fail();
  if (!scanner.Next('T')) scanner.Expect(' ');
  int64_t seconds = scanner.Number(2, 2) * 3600;
  scanner.Expect(':');
  seconds += scanner.Number(2, 2) * 60;
  scanner.Expect(':');
  seconds += scanner.Number(2, 2);
  int64_t fraction = 0;
  if (scanner.Next('.')) fraction = scanner.Fraction();
  const int64_t zone = ScanZone(scanner);
  scanner.ExpectEnd();
  return DayOfDate(date) * kDay + (seconds - zone) * kSecond + fraction;
}

}  // namespace heal
