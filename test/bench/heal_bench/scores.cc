// scores.cc: heal-bench scores: anomaly scores of series in CSV files.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "commands.h"
#include "csv.h"
#include "detect/series_detector.h"

namespace heal::bench {
namespace {

namespace fs = std::filesystem;

// Microseconds since 1970. UTC.
int64_t ParseTime(const std::string& text) {
  int64_t time_us = 0;
  if (!tools::ParseTime(text, &time_us)) throw std::runtime_error("not a timestamp: \"" + text + "\"");
  return time_us;
}

// What is not a number is a gap.
double ParseValue(const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  return end == text.c_str() ? std::numeric_limits<double>::quiet_NaN() : value;
}

size_t TimeColumn(const CsvTable& table) {
  const auto found = std::find(table.columns.begin(), table.columns.end(), "timestamp");
  if (found == table.columns.end()) throw std::runtime_error("no column \"timestamp\"");
  return static_cast<size_t>(found - table.columns.begin());
}

// The score of a row is the highest of its columns'.
std::vector<double> Score(const CsvTable& table) {
  const size_t time_column = TimeColumn(table);
  std::vector<SeriesDetector> detectors(table.columns.size());
  std::vector<double> scores;
  scores.reserve(table.rows.size());
  for (const std::vector<std::string>& row : table.rows) {
    if (row.size() != table.columns.size()) throw std::runtime_error("rows of different length");
    const int64_t time_us = ParseTime(row[time_column]);
    double score = 0;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i != time_column) score = std::max(score, detectors[i].Observe(time_us, ParseValue(row[i])));
    }
    scores.push_back(score);
  }
  return scores;
}

void Write(const fs::path& path, const CsvTable& table, const std::vector<double>& scores) {
  fs::create_directories(path.parent_path());
  std::ofstream out(path);
  out << "timestamp,anomaly_score\n";
  const size_t time_column = TimeColumn(table);
  for (size_t i = 0; i < scores.size(); ++i) {
    char number[32];
    std::snprintf(number, sizeof(number), "%.9g", scores[i]);
    out << table.rows[i][time_column] << ',' << number << '\n';
  }
  out.close();
  if (!out) throw std::runtime_error("cannot write");
}

bool IsCsv(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".csv") || name.ends_with(".csv.gz");
}

std::vector<fs::path> Inputs(const fs::path& directory) {
  std::vector<fs::path> paths;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory)) {
    if (entry.is_regular_file() && IsCsv(entry.path())) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

void ScoreFile(const fs::path& in, const fs::path& in_directory, const fs::path& out_directory) {
  const CsvTable table = ReadCsv(in);
  fs::path out = out_directory / fs::relative(in, in_directory);
  if (out.extension() == ".gz") out.replace_extension();
  try {
    Write(out, table, Score(table));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(in.string() + ": " + error.what());
  }
}

}  // namespace

int RunScores(std::span<char* const> args) {
  if (args.size() != 2) throw std::runtime_error("scores needs a directory to read and one to write");
  const std::vector<fs::path> inputs = Inputs(args[0]);
  if (inputs.empty()) throw std::runtime_error(std::string(args[0]) + ": there is no CSV file below it");
  for (const fs::path& path : inputs) ScoreFile(path, args[0], args[1]);
  return 0;
}

}  // namespace heal::bench
