// replay_settings.h: the settings of heal-replay: those of the server that the
// engine works by, and the limits of failures, by the names users know.

#ifndef HEAL_TOOLS_REPLAY_SETTINGS_H_
#define HEAL_TOOLS_REPLAY_SETTINGS_H_

#include <cstdio>
#include <list>
#include <string>
#include <vector>

#include "heal_core/c_api.h"

namespace heal::tools {

// Begins with the shipped defaults.
class ReplaySettings {
 public:
  ReplaySettings();

  // "name=value": a setting with or without "pg_heal." and with units as in
  // postgresql.conf, or failure_type.threshold. Throws std::runtime_error.
  void Set(const std::string& assignment);

  bool interval_was_set() const { return interval_was_set_; }
  void SetInterval(int32_t ms) { settings_.monitoring_interval_ms = ms; }

  const hc_settings& settings() const { return settings_; }
  // Limits that differ from their defaults; points into this object.
  hc_config Config() const;

  // One line per setting: name and default.
  static void Print(std::FILE* out);

 private:
  struct Limit {
    std::string failure_type, name;
  };

  void SetLimit(const std::string& name, const std::string& value);

  hc_settings settings_{};
  bool interval_was_set_ = false;
  std::list<Limit> names_;  // thresholds_ points to them
  std::vector<hc_threshold> thresholds_;
};

}  // namespace heal::tools

#endif  // HEAL_TOOLS_REPLAY_SETTINGS_H_
