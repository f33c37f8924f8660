// heal-bench outlier: the isolation forest over a table.
//
// Features are standardised by the mean and deviation of the training rows; a
// column "label" is no feature; an empty field is a missing value. The output
// has one number per test row. --margin is IsolationForest::Options::margin.

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "commands.h"
#include "csv.h"
#include "detect/isolation_forest.h"

namespace heal::bench {
namespace {

struct Arguments {
  std::string train, test, out;
  uint64_t seed = 1;
  // Nothing is known of the training rows: between the paper's 0, for rows that hold
  // the outliers sought, and 0.5, for rows known to be calm.
  double margin = 0.25;
};

struct Scaling {
  double mean = 0;
  double deviation = 1;
};

template <typename Number>
Number ParseValue(const std::string& name, const std::string& text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::runtime_error(name + " needs a number, not \"" + text + "\"");
  }
  return number;
}

Arguments ParseArguments(std::span<char* const> args) {
  Arguments arguments;
  for (size_t i = 0; i < args.size(); i += 2) {
    const std::string name = args[i];
    if (i + 1 == args.size()) throw std::runtime_error("\"" + name + "\" needs a value");
    const std::string value = args[i + 1];
    if (name == "--train") {
      arguments.train = value;
    } else if (name == "--test") {
      arguments.test = value;
    } else if (name == "--out") {
      arguments.out = value;
    } else if (name == "--seed") {
      arguments.seed = ParseValue<uint64_t>(name, value);
    } else if (name == "--margin") {
      arguments.margin = ParseValue<double>(name, value);
    } else {
      throw std::runtime_error("unknown argument \"" + name + "\"");
    }
  }
  if (arguments.train.empty() || arguments.test.empty() || arguments.out.empty()) {
    throw std::runtime_error("--train, --test and --out are needed");
  }
  return arguments;
}

// The positions in the table of the named columns.
std::vector<size_t> Positions(const CsvTable& table, const std::vector<std::string>& names,
                              const std::string& file) {
  std::vector<size_t> positions;
  for (const std::string& name : names) {
    const auto found = std::find(table.columns.begin(), table.columns.end(), name);
    if (found == table.columns.end()) throw std::runtime_error(file + ":1: no column \"" + name + "\"");
    positions.push_back(static_cast<size_t>(found - table.columns.begin()));
  }
  return positions;
}

// rows x positions, row-major.
std::vector<double> Numbers(const CsvTable& table, const std::vector<size_t>& positions,
                            const std::string& file) {
  std::vector<double> numbers;
  numbers.reserve(table.rows.size() * positions.size());
  for (size_t row = 0; row < table.rows.size(); ++row) {
    for (const size_t position : positions) {
      double value = 0;
      const std::string& field = table.rows[row][position];
      if (!ParseNumber(field, &value)) {
        throw std::runtime_error(file + ": row " + std::to_string(row + 1) + ", column \"" +
                                 table.columns[position] + "\": not a number: \"" + field + "\"");
      }
      numbers.push_back(value);
    }
  }
  return numbers;
}

// Two passes over one column, values present only.
Scaling ScalingOf(const std::vector<double>& values, size_t column, size_t width) {
  Scaling scaling;
  double sum = 0, squares = 0;
  size_t n = 0;
  for (size_t i = column; i < values.size(); i += width) {
    if (!std::isfinite(values[i])) continue;
    sum += values[i];
    ++n;
  }
  if (n == 0) return scaling;
  scaling.mean = sum / static_cast<double>(n);
  for (size_t i = column; i < values.size(); i += width) {
    if (std::isfinite(values[i])) squares += (values[i] - scaling.mean) * (values[i] - scaling.mean);
  }
  if (squares > 0) scaling.deviation = std::sqrt(squares / static_cast<double>(n));
  return scaling;
}

std::vector<float> Standardise(const std::vector<double>& values, const std::vector<Scaling>& scalings) {
  std::vector<float> out;
  out.reserve(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const Scaling& scaling = scalings[i % scalings.size()];
    out.push_back(IsolationForest::ToFeature((values[i] - scaling.mean) / scaling.deviation));
  }
  return out;
}

void WriteScores(const std::string& path, const std::vector<double>& scores) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "w"), std::fclose);
  if (file == nullptr) throw std::runtime_error(path + ": cannot be written");
  for (const double score : scores) std::fprintf(file.get(), "%.9g\n", score);
  if (std::fflush(file.get()) != 0 || std::ferror(file.get()) != 0) {
    throw std::runtime_error(path + ": cannot be written");
  }
}

}  // namespace

int RunOutlier(std::span<char* const> args) {
  const Arguments arguments = ParseArguments(args);
  const CsvTable train = ReadCsv(arguments.train);
  const CsvTable test = ReadCsv(arguments.test);
  std::vector<std::string> names = train.columns;
  std::erase(names, "label");
  if (names.empty()) throw std::runtime_error(arguments.train + ":1: no feature");
  if (train.rows.empty()) throw std::runtime_error(arguments.train + ":1: no rows");
  const size_t width = names.size();
  const std::vector<double> samples =
      Numbers(train, Positions(train, names, arguments.train), arguments.train);
  const std::vector<double> points = Numbers(test, Positions(test, names, arguments.test), arguments.test);

  std::vector<Scaling> scalings;
  for (size_t column = 0; column < width; ++column) scalings.push_back(ScalingOf(samples, column, width));
  IsolationForest forest(width, train.rows.size(), {.margin = arguments.margin});
  forest.Fit(Standardise(samples, scalings), arguments.seed);
  const std::vector<float> queries = Standardise(points, scalings);
  std::vector<double> scores;
  for (size_t row = 0; row < test.rows.size(); ++row) {
    scores.push_back(forest.Score({queries.data() + row * width, width}));
  }
  WriteScores(arguments.out, scores);
  return 0;
}

}  // namespace heal::bench
