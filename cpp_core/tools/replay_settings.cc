#include "replay_settings.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string_view>
#include <variant>

#include "csv.h"

namespace heal::tools {
namespace {

// Defaults and ranges are those of src/guc.c; test/t compares them.
struct Switch {
  int32_t hc_settings::*member;
  const char* boot;
};
struct Whole {
  int32_t hc_settings::*member;
  const char* boot;
  double least, most;
};
struct Real {
  double hc_settings::*member;
  const char* boot;
  double least, most;
};
// In milliseconds; a number without a unit is in `unit` milliseconds.
struct Span {
  std::variant<int32_t hc_settings::*, int64_t hc_settings::*> member;
  const char* boot;
  double least, most, unit;
};
struct Mode {
  const char* boot;
};
struct Policy {
  const char* boot;
};

struct Setting {
  const char* name;
  std::variant<Switch, Whole, Real, Span, Mode, Policy> kind;
};

constexpr double kSecond = 1000, kMinute = 60 * kSecond, kHour = 60 * kMinute, kDay = 24 * kHour;

using S = hc_settings;
const Setting kSettings[] = {
    {"mode", Mode{"observe"}},
    {"policy", Policy{"balanced"}},
    {"monitoring_interval", Span{&S::monitoring_interval_ms, "10s", 500, kHour, 1}},
    {"calm_period", Span{&S::calm_period_ms, "10min", 0, kDay, 1}},
    {"confirm_samples", Whole{&S::confirm_samples, "2", 1, 100}},
    {"anomaly_threshold", Real{&S::anomaly_threshold, "3", 0.1, 1000}},
    {"window_size", Whole{&S::window_size, "1000", 10, 10000}},
    {"iqr_multiplier", Real{&S::iqr_multiplier, "1.5", 0.1, 1000}},
    {"min_confidence", Real{&S::min_confidence, "0.7", 0, 1}},
    {"auto_baseline", Switch{&S::auto_baseline, "on"}},
    {"min_baseline_samples", Whole{&S::min_baseline_samples, "30", 2, 10000}},
    {"inference_min_confidence", Real{&S::inference_min_confidence, "0.7", 0, 1}},
    {"inference_max_path_depth", Whole{&S::inference_max_path_depth, "5", 1, 32}},
    {"inference_min_edge_probability", Real{&S::inference_min_edge_probability, "0.3", 0, 1}},
    {"inference_multi_hop", Switch{&S::inference_multi_hop, "on"}},
    {"rollback_enabled", Switch{&S::rollback_enabled, "on"}},
    {"rollback_max_attempts", Whole{&S::rollback_max_attempts, "3", 1, 100}},
    {"rollback_timeout", Span{&S::rollback_timeout_ms, "30s", kSecond, kHour, 1}},
    {"rollback_verify", Switch{&S::rollback_verify, "on"}},
    {"rollback_max_depth", Whole{&S::rollback_max_depth, "3", 1, 3}},
    {"snapshot_retention", Span{&S::snapshot_retention_ms, "1h", kSecond, 365 * kDay, kSecond}},
    {"max_retries", Whole{&S::max_retries, "-1", -1, 100}},
    {"retry_delay", Span{&S::retry_delay_ms, "-1", -1, kHour, 1}},
    {"recovery_timeout", Span{&S::recovery_timeout_ms, "-1", -1, kDay, 1}},
    {"concurrent_recoveries", Whole{&S::concurrent_recoveries, "2", 1, 16}},
};

[[noreturn]] void Refuse(const std::string& name, const std::string& value, const std::string& why) {
  throw std::runtime_error("setting \"" + name + "\" cannot be \"" + value + "\": " + why);
}

std::string Lower(std::string_view text) {
  std::string lower;
  for (const char c : text) lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

double Number(const std::string& name, const std::string& value) {
  double number = 0;
  if (!ParseNumber(value, &number) || !std::isfinite(number)) Refuse(name, value, "it is not a number");
  return number;
}

double Within(const std::string& name, const std::string& value, double number, double least, double most,
              const char* unit) {
  char range[96];
  std::snprintf(range, sizeof range, "it must be between %g%s and %g%s", least, unit, most, unit);
  if (!(number >= least && number <= most)) Refuse(name, value, range);
  return number;
}

int32_t Whole32(const std::string& name, const std::string& value, const Whole& kind) {
  const double number = Within(name, value, Number(name, value), kind.least, kind.most, "");
  if (number != std::floor(number)) Refuse(name, value, "it is not a whole number");
  return static_cast<int32_t>(number);
}

bool IsOn(const std::string& name, const std::string& value) {
  const std::string lower = Lower(value);
  for (const char* on : {"on", "true", "yes", "1"})
    if (lower == on) return true;
  for (const char* off : {"off", "false", "no", "0"})
    if (lower == off) return false;
  Refuse(name, value, "use on or off");
}

int Choice(const std::string& name, const std::string& value, std::initializer_list<const char*> choices) {
  int i = 0;
  std::string list;
  for (const char* choice : choices) {
    if (Lower(value) == choice) return i;
    list += (i++ == 0 ? "" : ", ") + std::string(choice);
  }
  Refuse(name, value, "it is one of " + list);
}

double Milliseconds(const std::string& name, const std::string& value, const Span& kind) {
  constexpr struct {
    const char* name;
    double ms;
  } kUnits[] = {{"ms", 1}, {"s", kSecond}, {"min", kMinute}, {"h", kHour}, {"d", kDay}};
  size_t digits = value.size();
  while (digits > 0 && std::isalpha(static_cast<unsigned char>(value[digits - 1]))) --digits;
  const std::string unit = value.substr(digits);
  double scale = kind.unit;
  bool known = unit.empty();
  for (const auto& candidate : kUnits) {
    if (unit != candidate.name) continue;
    scale = candidate.ms;
    known = true;
  }
  if (!known) Refuse(name, value, "units are ms, s, min, h and d");
  const double number = Number(name, value.substr(0, digits));
  // -1: by policy.
  if (unit.empty() && number == -1 && kind.least == -1) return -1;
  return Within(name, value, number * scale, std::max(kind.least, 0.0), kind.most, "ms");
}

struct Assign {
  hc_settings* settings;
  const std::string& name;
  const std::string& value;

  void operator()(const Switch& kind) const { settings->*kind.member = IsOn(name, value) ? 1 : 0; }
  void operator()(const Whole& kind) const { settings->*kind.member = Whole32(name, value, kind); }
  void operator()(const Real& kind) const {
    settings->*kind.member = Within(name, value, Number(name, value), kind.least, kind.most, "");
  }
  void operator()(const Span& kind) const {
    const double ms = std::round(Milliseconds(name, value, kind));
    if (const auto* small = std::get_if<int32_t hc_settings::*>(&kind.member))
      settings->**small = static_cast<int32_t>(ms);
    else
      settings->*std::get<int64_t hc_settings::*>(kind.member) = static_cast<int64_t>(ms);
  }
  void operator()(const Mode&) const {
    settings->mode = static_cast<hc_mode>(Choice(name, value, {"observe", "approve", "limited", "auto"}));
  }
  void operator()(const Policy&) const {
    settings->policy = static_cast<hc_policy>(Choice(name, value, {"conservative", "balanced", "aggressive"}));
  }
};

const char* BootOf(const Setting& setting) {
  return std::visit([](const auto& kind) { return kind.boot; }, setting.kind);
}

// The shipped limit as JSON; null: there is none.
nlohmann::json FindLimit(const std::string& failure_type, const std::string& name) {
  const nlohmann::json catalogue = nlohmann::json::parse(hc_catalogue_json());
  for (const auto& limit : catalogue["thresholds"])
    if (limit["failure_type"] == failure_type && limit["name"] == name) return limit;
  return nullptr;
}

}  // namespace

ReplaySettings::ReplaySettings() {
  for (const Setting& setting : kSettings)
    std::visit(Assign{&settings_, setting.name, BootOf(setting)}, setting.kind);
}

void ReplaySettings::Set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    throw std::runtime_error("--setting needs name=value, not \"" + assignment + "\"");
  std::string name = assignment.substr(0, equals);
  const std::string value = assignment.substr(equals + 1);
  if (name.starts_with("pg_heal.")) name.erase(0, 8);
  for (const Setting& setting : kSettings) {
    if (name != setting.name) continue;
    std::visit(Assign{&settings_, name, value}, setting.kind);
    interval_was_set_ |= name == "monitoring_interval";
    return;
  }
  if (name.find('.') == std::string::npos)
    throw std::runtime_error("there is no setting \"" + name + "\"; heal-replay --help lists them");
  SetLimit(name, value);
}

void ReplaySettings::SetLimit(const std::string& name, const std::string& value) {
  const size_t dot = name.find('.');
  const nlohmann::json limit = FindLimit(name.substr(0, dot), name.substr(dot + 1));
  if (limit.is_null()) throw std::runtime_error("there is no threshold \"" + name + "\"; heal_thresholds lists them");
  const double number = Number(name, value);
  Within(name, value, number, limit["lowest"].get<double>(), limit["highest"].get<double>(), "");
  names_.push_back({name.substr(0, dot), name.substr(dot + 1)});
  thresholds_.push_back({names_.back().failure_type.c_str(), names_.back().name.c_str(), number});
}

hc_config ReplaySettings::Config() const {
  hc_config config{};
  config.thresholds = thresholds_.data();
  config.n_thresholds = static_cast<uint32_t>(thresholds_.size());
  return config;
}

void ReplaySettings::Print(std::FILE* out) {
  for (const Setting& setting : kSettings) std::fprintf(out, "  %s=%s\n", setting.name, BootOf(setting));
}

}  // namespace heal::tools
