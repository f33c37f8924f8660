#include "csv.h"

#include <zlib.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace heal::bench {
namespace {

[[noreturn]] void Fail(const std::filesystem::path& path, size_t line, const std::string& what) {
  throw std::runtime_error(path.string() + ":" + std::to_string(line) + ": " + what);
}

struct CloseGz {
  void operator()(gzFile file) const { gzclose(file); }
};

// Lines of a file; zlib passes one that is not compressed through.
class Lines {
 public:
  explicit Lines(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (file_ == nullptr) Fail(path_, 1, "cannot be opened");
    gzbuffer(file_.get(), 1 << 17);
  }

  size_t number() const { return number_; }

  // Without the line end. Returns false at the end of the file.
  bool Next(std::string* line) {
    line->clear();
    ++number_;
    char chunk[1 << 14];
    while (gzgets(file_.get(), chunk, sizeof(chunk)) != nullptr) {
      *line += chunk;
      if (line->back() == '\n') return Trim(line);
    }
    CheckEnd();
    return !line->empty() && Trim(line);
  }

 private:
  static bool Trim(std::string* line) {
    while (!line->empty() && (line->back() == '\n' || line->back() == '\r')) line->pop_back();
    return true;
  }

  // The end of a truncated file shows as an error that gzgets does not return.
  void CheckEnd() {
    int error = Z_OK;
    gzerror(file_.get(), &error);
    if (error != Z_OK && error != Z_STREAM_END) {
      Fail(path_, number_, error == Z_ERRNO ? "cannot be read" : "the compressed file is damaged");
    }
  }

  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, CloseGz> file_;
  size_t number_ = 0;
};

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

std::vector<std::string> Fields(const Lines& lines, const std::filesystem::path& path,
                                std::string_view line) {
  std::vector<std::string> fields;
  bool closed = true;
  for (size_t position = 0; position <= line.size();) fields.push_back(TakeField(line, &position, &closed));
  if (!closed) Fail(path, lines.number(), "a quote is not closed");
  return fields;
}

}  // namespace

CsvTable ReadCsv(const std::filesystem::path& path) {
  Lines lines(path);
  CsvTable table;
  std::string line;
  if (!lines.Next(&line)) Fail(path, 1, "the file is empty");
  if (line.starts_with("\xef\xbb\xbf")) line.erase(0, 3);
  table.columns = Fields(lines, path, line);
  while (lines.Next(&line)) {
    if (line.empty()) continue;
    std::vector<std::string> fields = Fields(lines, path, line);
    if (fields.size() != table.columns.size()) {
      Fail(path, lines.number(),
           std::to_string(fields.size()) + " fields instead of " + std::to_string(table.columns.size()));
    }
    table.rows.push_back(std::move(fields));
  }
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

}  // namespace heal::bench
