#include "detect/usual_hours.h"

#include <algorithm>
#include <cfloat>
#include <limits>

namespace heal {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr int64_t kHourUs = 3'600'000'000;

int64_t HourOf(int64_t time_us) { return time_us / kHourUs - (time_us % kHourUs < 0 ? 1 : 0); }

size_t Bin(int64_t hour) { return static_cast<size_t>((hour % 24 + 24) % 24); }

float Narrow(double value) { return static_cast<float>(std::clamp<double>(value, -FLT_MAX, FLT_MAX)); }

// The second largest of three.
float Second(float a, float b, float c) { return std::max(std::min(a, b), std::min(std::max(a, b), c)); }

}  // namespace

UsualHours::UsualHours() : now_{-kInf, kInf} {
  for (auto& days : hours_) days.fill({-kInf, kInf});
}

void UsualHours::Learn(int64_t time_us, double value) {
  const int64_t hour = HourOf(time_us);
  if (hour != hour_) {
    if (hour_ != INT64_MIN) {
      const size_t bin = Bin(hour_);
      newest_[bin] = static_cast<uint8_t>((newest_[bin] + 1) % kKept);
      hours_[bin][newest_[bin]] = now_;
    }
    hour_ = hour;
    now_ = {-kInf, kInf};
  }
  now_.high = std::max(now_.high, Narrow(value));
  now_.low = std::min(now_.low, Narrow(value));
}

double UsualHours::High(int64_t time_us) const {
  const int64_t hour = HourOf(time_us);
  float days[kDays] = {-kInf, -kInf, -kInf};
  for (int64_t h = hour - 1; h <= hour + 1; ++h) {
    const size_t bin = Bin(h);
    // The hour just left is not an earlier day's.
    const size_t from = h < hour ? newest_[bin] + kKept - 1 : newest_[bin];
    for (size_t day = 0; day < kDays; ++day) {
      days[day] = std::max(days[day], hours_[bin][(from + kKept - day) % kKept].high);
    }
  }
  return static_cast<double>(Second(days[0], days[1], days[2]));
}

double UsualHours::Low(int64_t time_us) const {
  const int64_t hour = HourOf(time_us);
  float days[kDays] = {kInf, kInf, kInf};
  for (int64_t h = hour - 1; h <= hour + 1; ++h) {
    const size_t bin = Bin(h);
    const size_t from = h < hour ? newest_[bin] + kKept - 1 : newest_[bin];
    for (size_t day = 0; day < kDays; ++day) {
      days[day] = std::min(days[day], hours_[bin][(from + kKept - day) % kKept].low);
    }
  }
  return static_cast<double>(-Second(-days[0], -days[1], -days[2]));
}

}  // namespace heal
