// csv.h: CSV files with a header line, plain or gzip-compressed.

#ifndef HEAL_BENCH_CSV_H_
#define HEAL_BENCH_CSV_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace heal::bench {

struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

// Reads the whole file. Fields may be quoted, with doubled quotes inside but no
// line break; empty lines are skipped.
// Throws std::runtime_error "FILE:LINE: what" for a file that cannot be read, has
// no header, or has a row of another width.
CsvTable ReadCsv(const std::filesystem::path& path);

// A field as a number. Empty, nan and null (in any case) are NaN, inf is infinite.
// Returns false if it is anything else than a number.
bool ParseNumber(const std::string& field, double* value);

}  // namespace heal::bench

#endif  // HEAL_BENCH_CSV_H_
