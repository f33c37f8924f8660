// csv.h: CSV files with a header line, plain or gzip-compressed, for the programs.
//
// A compressed file is read through the program gzip, so that no library is
// needed to build what users install.

#ifndef HEAL_TOOLS_CSV_H_
#define HEAL_TOOLS_CSV_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace heal::tools {

// Reads a file line by line. Fields may be quoted, with doubled quotes inside
// but no line break; empty lines are skipped.
//
// All that is wrong with a file (it cannot be read, has no header, a row of
// another width, damaged compression) is a std::runtime_error "FILE:LINE: what".
class CsvReader {
 public:
  explicit CsvReader(const std::filesystem::path& path);
  ~CsvReader();
  CsvReader(const CsvReader&) = delete;
  CsvReader& operator=(const CsvReader&) = delete;

  // As the header line names them.
  const std::vector<std::string>& columns() const { return columns_; }
  // Of the row read last, counted from 1.
  size_t line() const { return line_; }
  // As many fields as there are columns. False at the end of the file.
  bool Next(std::vector<std::string>* fields);
  // Throws with the file and the line of the row read last.
  [[noreturn]] void Fail(const std::string& what) const;

 private:
  void Open();
  void OpenThroughGzip();
  void Close();
  bool NextLine();
  void CheckEnd();
  void Split(std::vector<std::string>* fields) const;

  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
  int gzip_pid_ = -1;
  char* buffer_ = nullptr;  // of getline
  size_t buffer_size_ = 0;
  std::string text_;
  size_t line_ = 0;
  std::vector<std::string> columns_;
};

struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;
};

// The whole file at once.
CsvTable ReadCsv(const std::filesystem::path& path);

// A field as a number. Empty, nan and null (in any case) are NaN, inf is infinite.
// Returns false if it is anything else than a number.
bool ParseNumber(const std::string& field, double* value);

// Microseconds since 1970-01-01 UTC of "2014-04-01 00:05:00[.fraction]", also with
// a T between and a Z or +00 behind, or of seconds since 1970. False if it is
// neither.
bool ParseTime(const std::string& field, int64_t* time_us);

}  // namespace heal::tools

#endif  // HEAL_TOOLS_CSV_H_
