// heal-replay: recorded metrics through the engine of pg_heal, as the server
// would have judged them. See docs/replay.md.
//
// Exit status 2 and one line on standard error for bad input.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "csv.h"
#include "heal_core/c_api.h"
#include "replay_settings.h"

namespace heal::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kEpoch2000Us = 946'684'800'000'000;  // of a PostgreSQL timestamp, since 1970
constexpr int64_t kFirstMonoUs = 1'000'000;
constexpr int64_t kDayUs = 86'400'000'000;
// So many steps tell the interval of a file.
constexpr size_t kIntervalSteps = 1000;

struct Arguments {
  ReplaySettings settings;
  bool json = false;
  std::string file;
};

// One row of the file.
struct Frame {
  int64_t time_us = 0;  // since 1970
  std::vector<double> values;
};

struct Column {
  std::string name;
  std::optional<size_t> metric;  // of the server; else a user metric
};

struct EngineDeleter {
  void operator()(hc_engine* engine) const { hc_engine_destroy(engine); }
};

// Where each column of the file goes.
std::vector<Column> ColumnsOf(const CsvReader& reader) {
  const std::vector<std::string>& names = reader.columns();
  if (names.empty() || names[0] != "timestamp") reader.Fail("the first column must be \"timestamp\"");
  if (names.size() < 2) reader.Fail("there is no metric");
  uint32_t n = 0;
  const hc_metric_info* metrics = hc_catalogue_metrics(&n);
  std::vector<Column> columns;
  std::set<std::string> seen;
  size_t others = 0;
  for (size_t i = 1; i < names.size(); ++i) {
    if (names[i].empty()) reader.Fail("column " + std::to_string(i + 1) + " has no name");
    if (!seen.insert(names[i]).second) reader.Fail("column \"" + names[i] + "\" is there twice");
    Column column{names[i], std::nullopt};
    for (uint32_t m = 0; m < n; ++m)
      if (names[i] == metrics[m].name) column.metric = m;
    if (!column.metric && ++others > HC_MAX_USER_METRICS)
      reader.Fail("more than " + std::to_string(HC_MAX_USER_METRICS) + " columns are no metrics of pg_heal");
    columns.push_back(column);
  }
  return columns;
}

// Rows of the file as numbers.
class Frames {
 public:
  explicit Frames(const std::string& file) : reader_(file), columns_(ColumnsOf(reader_)) {}

  const std::vector<Column>& columns() const { return columns_; }

  bool Next(Frame* frame) {
    if (!reader_.Next(&fields_)) return false;
    if (!ParseTime(fields_[0], &frame->time_us)) reader_.Fail("not a timestamp: \"" + fields_[0] + "\"");
    if (any_ && frame->time_us < last_us_) reader_.Fail("time goes backwards; sort the rows by timestamp");
    any_ = true;
    last_us_ = frame->time_us;
    frame->values.resize(columns_.size());
    for (size_t i = 0; i < columns_.size(); ++i)
      if (!ParseNumber(fields_[i + 1], &frame->values[i]))
        reader_.Fail("column \"" + columns_[i].name + "\": not a number: \"" + fields_[i + 1] + "\"");
    return true;
  }

 private:
  CsvReader reader_;
  std::vector<Column> columns_;
  std::vector<std::string> fields_;
  bool any_ = false;
  int64_t last_us_ = 0;
};

// The usual step between the first rows, in milliseconds; 0 when it cannot be told.
int32_t UsualStep(const std::string& file) {
  Frames frames(file);
  std::vector<int64_t> steps;
  Frame frame;
  int64_t last = 0;
  for (size_t i = 0; i <= kIntervalSteps && frames.Next(&frame); ++i) {
    if (i > 0) steps.push_back(frame.time_us - last);
    last = frame.time_us;
  }
  if (steps.empty()) return 0;
  std::nth_element(steps.begin(), steps.begin() + static_cast<ptrdiff_t>(steps.size() / 2), steps.end());
  return static_cast<int32_t>(std::min<int64_t>(steps[steps.size() / 2] / 1000, std::numeric_limits<int32_t>::max()));
}

std::string Text(const Json& row, const char* key) {
  const auto found = row.find(key);
  return found == row.end() || found->is_null() ? "" : found->is_string() ? found->get<std::string>() : found->dump();
}

std::string Decimal(const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_number()) return "unknown";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", found->get<double>());
  return text;
}

// Prints what the engine wrote down and counts it.
class Report {
 public:
  explicit Report(bool json) : json_(json) {}

  void Take(const hc_record& record) {
    if (record.table == HC_T_ANOMALIES)
      Anomaly(Json::parse(record.json));
    else if (record.table == HC_T_INCIDENTS)
      Incident(Json::parse(record.json));
  }

  void Count(const Frame& frame) {
    if (samples_++ == 0) first_us_ = frame.time_us;
    last_us_ = frame.time_us;
    for (const double value : frame.values) values_ += std::isfinite(value) ? 1 : 0;
  }

  void Summary(size_t metrics) const {
    const double span_s = static_cast<double>(last_us_ - first_us_) / 1e6;
    const double per_1000 = values_ == 0 ? 0 : 1000.0 * static_cast<double>(anomalies_) / static_cast<double>(values_);
    if (json_) {
      Print({{"kind", "summary"},
             {"samples", samples_},
             {"span_s", span_s},
             {"metrics", metrics},
             {"values", values_},
             {"anomalies", anomalies_},
             {"incidents", incidents_.size()},
             {"anomalies_per_1000_values", per_1000}});
      return;
    }
    std::printf("%zu samples over %.0f s, %zu metrics, %zu values: %zu anomalies, %zu incidents; "
                "%.3g anomalies per 1000 values\n",
                samples_, span_s, metrics, values_, anomalies_, incidents_.size(), per_1000);
  }

 private:
  static void Print(const Json& line) { std::printf("%s\n", line.dump().c_str()); }

  void Anomaly(Json row) {
    ++anomalies_;
    if (json_) {
      row.erase("anomaly_id");
      Json line = {{"kind", "anomaly"}};
      line.update(row);
      Print(line);
      return;
    }
    std::printf("%s anomaly %s: %s, value %s, score %s by %s, confidence %s\n", Text(row, "observed_at").c_str(),
                Text(row, "metric").c_str(), Text(row, "shape").c_str(), Decimal(row, "value").c_str(),
                Decimal(row, "score").c_str(), Text(row, "method").c_str(), Decimal(row, "confidence").c_str());
  }

  // An incident is told when it opens, when its cause is known and when it ends.
  void Incident(Json row) {
    const std::string state = Text(row, "state");
    const std::string cause = Text(row, "root_cause");
    const bool ended = !Text(row, "resolved_at").empty();
    const std::string told = cause + (ended ? "|" + state : "");
    const auto [known, is_new] = incidents_.try_emplace(Text(row, "incident_id"), told);
    if (!is_new && known->second == told) return;
    known->second = told;
    if (json_) {
      row.erase("explanation");
      Json line = {{"kind", "incident"}};
      line.update(row);
      Print(line);
      return;
    }
    const std::string id = Text(row, "incident_id");
    if (ended)
      std::printf("%s incident %s: %s, %s\n", Text(row, "resolved_at").c_str(), id.c_str(), state.c_str(),
                  Text(row, "outcome").c_str());
    else
      std::printf("%s incident %s: %s (%s) of %s: %s; cause: %s\n", Text(row, "opened_at").c_str(), id.c_str(),
                  Text(row, "failure_type").c_str(), Text(row, "severity").c_str(), Text(row, "component").c_str(),
                  Text(row, "subject").c_str(), cause.empty() ? "not known" : cause.c_str());
  }

  bool json_;
  size_t samples_ = 0, values_ = 0, anomalies_ = 0;
  int64_t first_us_ = 0, last_us_ = 0;
  std::map<std::string, std::string> incidents_;  // what was told of each
};

// The engine, and the shell around it: time comes from the file, and nothing
// that the engine orders is carried out.
class Replay {
 public:
  Replay(const ReplaySettings& settings, const std::vector<Column>& columns, Report* report)
      : settings_(settings), columns_(columns), report_(report) {
    hc_engine* engine = nullptr;
    hc_error error{};
    const hc_limits limits{};
    Check(hc_engine_create(&limits, 1, &engine, &error), error);
    engine_.reset(engine);
    server_.wal_disk_free_bytes = server_.wal_disk_total_bytes = -1;
    server_.autovacuum_max_workers = 3;
    server_.max_wal_size_mb = 1024;
    server_.min_wal_size_mb = 80;
    server_.checkpoint_timeout_s = 300;
    for (const Column& column : columns_)
      if (!column.metric) user_.push_back(UserMetric(column.name));
  }

  void Step(const Frame& frame) {
    hc_observation observation{};
    observation.now_us = frame.time_us - kEpoch2000Us;
    if (first_us_ == std::nullopt) {
      first_us_ = frame.time_us;
      server_.started_at = observation.now_us - kDayUs;
    }
    observation.mono_us = frame.time_us - *first_us_ + kFirstMonoUs;
    observation.full_tick = 1;
    const hc_config config = settings_.Config();
    if (!configured_) observation.config = &config;
    configured_ = true;
    observation.settings = &settings_.settings();
    observation.server = &server_;
    Fill(frame, &observation);
    observation.outcomes = outcomes_.data();
    observation.n_outcomes = static_cast<uint32_t>(outcomes_.size());

    hc_decisions decisions{};
    hc_error error{};
    Check(hc_engine_step(engine_.get(), &observation, &decisions, &error), error);
    for (uint32_t i = 0; i < decisions.n_records; ++i) report_->Take(decisions.records[i]);
    Refuse(decisions);
  }

 private:
  static hc_user_metric UserMetric(const std::string& name) {
    hc_user_metric metric{};
    metric.name = name.c_str();
    metric.component = "workload";
    metric.category = "performance";
    metric.unit = "";
    metric.value = std::numeric_limits<double>::quiet_NaN();
    return metric;
  }

  static void Check(hc_status status, const hc_error& error) {
    if (status != HC_OK) throw std::runtime_error(std::string("the engine failed: ") + error.message);
  }

  void Fill(const Frame& frame, hc_observation* observation) {
    metrics_.assign(HC_METRIC_COUNT, std::numeric_limits<double>::quiet_NaN());
    size_t user = 0;
    for (size_t i = 0; i < columns_.size(); ++i) {
      const double value = frame.values[i];
      if (columns_[i].metric) {
        metrics_[*columns_[i].metric] = value;
        continue;
      }
      hc_user_metric& metric = user_[user++];
      if (!std::isfinite(value)) continue;  // no new sample
      metric.value = value;
      metric.observed_at = observation->now_us;
    }
    observation->metrics = metrics_.data();
    observation->user_metrics = user_.data();
    observation->n_user_metrics = static_cast<uint32_t>(user_.size());
  }

  void Refuse(const hc_decisions& decisions) {
    outcomes_.clear();
    for (uint32_t i = 0; i < decisions.n_commands; ++i)
      outcomes_.push_back({decisions.commands[i].id, HC_OUT_REFUSED, "", "nothing is done in a replay", "", 0});
  }

  const ReplaySettings& settings_;
  const std::vector<Column>& columns_;
  Report* report_;
  std::unique_ptr<hc_engine, EngineDeleter> engine_;
  hc_server server_{};
  std::vector<double> metrics_;
  std::vector<hc_user_metric> user_;
  std::vector<hc_outcome> outcomes_;
  std::optional<int64_t> first_us_;
  bool configured_ = false;
};

void PrintUsage() {
  std::printf(
      "usage: heal-replay [--setting NAME=VALUE]... [--json] METRICS.csv\n\n"
      "Prints the anomalies and incidents pg_heal would have raised over recorded metrics.\n"
      "The file, which may be gzip-compressed, has a header line; its first column is \"timestamp\",\n"
      "every other one a metric. heal_export_metrics() writes such a file.\n\n"
      "  --setting NAME=VALUE  one of the settings below, or FAILURE_TYPE.THRESHOLD=VALUE\n"
      "  --json                one JSON object per line\n\n"
      "Settings and their defaults (monitoring_interval: the usual step of the file):\n");
  ReplaySettings::Print(stdout);
}

Arguments ParseArguments(std::span<char* const> args) {
  Arguments arguments;
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string arg = args[i];
    if (arg == "--setting") {
      if (i + 1 == args.size()) throw std::runtime_error("--setting needs name=value");
      arguments.settings.Set(args[++i]);
    } else if (arg.starts_with("--setting=")) {
      arguments.settings.Set(arg.substr(10));
    } else if (arg == "--json") {
      arguments.json = true;
    } else if (arg.starts_with('-') && arg != "-") {
      throw std::runtime_error("unknown argument \"" + arg + "\"; see heal-replay --help");
    } else if (!arguments.file.empty()) {
      throw std::runtime_error("one file at a time, not also \"" + arg + "\"");
    } else {
      arguments.file = arg;
    }
  }
  if (arguments.file.empty()) throw std::runtime_error("no file is given; see heal-replay --help");
  return arguments;
}

void Run(Arguments arguments) {
  if (const int32_t step = UsualStep(arguments.file); step > 0 && !arguments.settings.interval_was_set())
    arguments.settings.SetInterval(step);
  Frames frames(arguments.file);
  Report report(arguments.json);
  Replay replay(arguments.settings, frames.columns(), &report);
  for (Frame frame; frames.Next(&frame);) {
    report.Count(frame);
    replay.Step(frame);
  }
  report.Summary(frames.columns().size());
}

}  // namespace
}  // namespace heal::tools

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) {
    heal::tools::PrintUsage();
    return 0;
  }
  try {
    heal::tools::Run(heal::tools::ParseArguments({argv + 1, argv + argc}));
    if (std::fflush(stdout) != 0) throw std::runtime_error("standard output cannot be written");
    return 0;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "heal-replay: %s\n", error.what());
  }
  return 2;
}
