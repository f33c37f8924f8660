#include "csv.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <utility>

extern char** environ;

namespace heal::tools {
namespace {

// The field at *position, which is moved behind its comma or to the end.
std::string TakeField(std::string_view line, size_t* position, bool* closed) {
  std::string field;
  bool quoted = false;
  size_t i = *position;
  for (; i < line.size() && (quoted || line[i] != ','); ++i) {
    if (line[i] != '"') {
      field += line[i];
    } else if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
      field += line[i++];
    } else {
      quoted = !quoted;
    }
  }
  *position = i + 1;
  *closed = !quoted;
  return field;
}

bool IsGzip(std::FILE* file) {
  const int first = std::getc(file);
  const int second = std::getc(file);
  std::rewind(file);
  return first == 0x1f && second == 0x8b;
}

// Days from 1970-01-01 to a date of the Gregorian calendar.
// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
int64_t DaysFromCivil(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  const int64_t era = (year >= 0 ? year : year - 399) / 400;
  const int64_t year_of_era = year - era * 400;
  const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

// Digits behind a decimal point, at most six of them counted, as microseconds.
bool TakeFraction(std::string_view* text, int64_t* micros) {
  *micros = 0;
  if (!text->starts_with('.')) return true;
  text->remove_prefix(1);
  int64_t unit = 100000;
  size_t digits = 0;
  for (; digits < text->size() && std::isdigit(static_cast<unsigned char>((*text)[digits])); ++digits) {
    *micros += ((*text)[digits] - '0') * unit;
    unit /= 10;
  }
  text->remove_prefix(digits);
  return digits > 0;
}

}  // namespace

CsvReader::CsvReader(const std::filesystem::path& path) : path_(path) {
  try {
    Open();
    if (!NextLine()) Fail("the file is empty");
    if (text_.starts_with("\xef\xbb\xbf")) text_.erase(0, 3);
    Split(&columns_);
  } catch (...) {
    Close();
    throw;
  }
}

CsvReader::~CsvReader() { Close(); }

void CsvReader::Fail(const std::string& what) const {
  throw std::runtime_error(path_.string() + ":" + std::to_string(line_ == 0 ? 1 : line_) + ": " + what);
}

void CsvReader::Open() {
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) Fail("is a directory");
  file_ = std::fopen(path_.c_str(), "rbe");
  if (file_ == nullptr) Fail("cannot be opened");
  if (IsGzip(file_)) OpenThroughGzip();
}

// What it says about a damaged file is said by CheckEnd.
void CsvReader::OpenThroughGzip() {
  std::fclose(std::exchange(file_, nullptr));
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) Fail("cannot be opened");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, path_.c_str(), O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  char program[] = "gzip", decompress[] = "-dc";
  char* const arguments[] = {program, decompress, nullptr};
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, program, &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) {
    close(ends[0]);
    Fail("is compressed, and the program gzip cannot be run");
  }
  gzip_pid_ = pid;
  file_ = fdopen(ends[0], "rb");
  if (file_ == nullptr) {
    close(ends[0]);
    Fail("cannot be read");
  }
}

void CsvReader::Close() {
  if (file_ != nullptr) std::fclose(std::exchange(file_, nullptr));
  if (gzip_pid_ > 0) waitpid(std::exchange(gzip_pid_, -1), nullptr, 0);
  std::free(std::exchange(buffer_, nullptr));
}

bool CsvReader::NextLine() {
  ++line_;
  const ssize_t length = getline(&buffer_, &buffer_size_, file_);
  if (length < 0) {
    CheckEnd();
    return false;
  }
  text_.assign(buffer_, static_cast<size_t>(length));
  // A last line without an end may be what is left of one.
  if (text_.back() != '\n') CheckEnd();
  while (!text_.empty() && (text_.back() == '\n' || text_.back() == '\r')) text_.pop_back();
  return true;
}

// The end of the pipe may be the end of a truncated file.
void CsvReader::CheckEnd() {
  if (std::ferror(file_) != 0) Fail("cannot be read");
  if (gzip_pid_ <= 0) return;
  int status = 0;
  if (waitpid(std::exchange(gzip_pid_, -1), &status, 0) < 0 || status != 0) Fail("the compressed file is damaged");
}

void CsvReader::Split(std::vector<std::string>* fields) const {
  fields->clear();
  bool closed = true;
  for (size_t position = 0; position <= text_.size();) fields->push_back(TakeField(text_, &position, &closed));
  if (!closed) Fail("a quote is not closed");
}

bool CsvReader::Next(std::vector<std::string>* fields) {
  do {
    if (!NextLine()) return false;
  } while (text_.empty());
  Split(fields);
  if (fields->size() != columns_.size()) {
    Fail(std::to_string(fields->size()) + " fields instead of " + std::to_string(columns_.size()));
  }
  return true;
}

CsvTable ReadCsv(const std::filesystem::path& path) {
  CsvReader reader(path);
  CsvTable table;
  table.columns = reader.columns();
  for (std::vector<std::string> fields; reader.Next(&fields);) table.rows.push_back(std::move(fields));
  return table;
}

bool ParseNumber(const std::string& field, double* value) {
  std::string lower;
  for (const char c : field) {
    if (c != ' ') lower += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (lower.empty() || lower == "nan" || lower == "null") {
    *value = std::numeric_limits<double>::quiet_NaN();
    return true;
  }
  const char* begin = lower.data() + (lower[0] == '+' ? 1 : 0);
  const char* end = lower.data() + lower.size();
  const auto [rest, error] = std::from_chars(begin, end, *value);
  // Too large or too small: strtod gives infinity or zero.
  if (error == std::errc::result_out_of_range) *value = std::strtod(lower.c_str(), nullptr);
  return rest == end && error != std::errc::invalid_argument;
}

bool ParseTime(const std::string& field, int64_t* time_us) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, used = 0;
  const int fields = std::sscanf(field.c_str(), "%5d-%2d-%2d%n%*[ T]%2d:%2d:%2d%n", &year, &month, &day, &used, &hour,
                                 &minute, &second, &used);
  if (fields == 3 || fields == 6) {
    std::string_view rest = std::string_view(field).substr(static_cast<size_t>(used));
    int64_t micros = 0;
    if (!TakeFraction(&rest, &micros)) return false;
    if (!rest.empty() && rest != "Z" && rest != "+00" && rest != "+00:00") return false;
    if (month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 24 || minute < 0 || minute > 59 ||
        second < 0 || second > 60)
      return false;
    const int64_t seconds = ((DaysFromCivil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    *time_us = seconds * 1000000 + micros;
    return true;
  }
  double seconds = 0;
  if (!ParseNumber(field, &seconds) || !(std::fabs(seconds) < 1e11)) return false;
  *time_us = std::llround(seconds * 1e6);
  return true;
}

}  // namespace heal::tools
