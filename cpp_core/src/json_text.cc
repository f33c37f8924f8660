#include "json_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace heal {
namespace {

constexpr int kMaxDepth = 64;
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

[[noreturn]] void WrongType(const char* wanted) {
  throw std::invalid_argument(std::string("a JSON value is not ") + wanted);
}

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Length of the UTF-8 sequence at the start of text, 0 when it is none: cut
// short, overlong, a surrogate or beyond U+10FFFF.
size_t SequenceLength(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if (!IsContinuation(text[i])) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  const bool bad = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                   (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F);
  return bad ? 0 : length;
}

void AppendControl(char c, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '\n':
      *out += "\\n";
      break;
    case '\t':
      *out += "\\t";
      break;
    case '\r':
      *out += "\\r";
      break;
    default:
      *out += "\\u00";
      *out += kHex[(c >> 4) & 0xF];
      *out += kHex[c & 0xF];
  }
}

void AppendString(std::string_view text, std::string* out) {
  *out += '"';
  while (!text.empty()) {
    const char c = text[0];
    const size_t length = SequenceLength(text);
    if (length == 0) {
      *out += kReplacement;
    } else if (length > 1) {
      *out += text.substr(0, length);
    } else if (c == '"' || c == '\\') {
      *out += '\\';
      *out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      AppendControl(c, out);
    } else {
      *out += c;
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  *out += '"';
}

template <typename Number>
void AppendNumber(Number value, std::string* out) {
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  if (error == std::errc()) out->append(text, end);
}

void AppendDouble(double value, std::string* out) {
  if (!std::isfinite(value)) {
    *out += "null";
    return;
  }
  const size_t start = out->size();
  AppendNumber(value, out);
  // A number without a fraction stays a double when it is read again.
  if (out->find_first_of(".e", start) == std::string::npos) *out += ".0";
}

// ---- reading ----

class Parser {
 public:
  Parser(std::string_view text, const char* what) : text_(text), what_(what) {}

  Json Document() {
    Json value = Value(0);
    SkipSpace();
    if (at_ != text_.size()) Fail("text after the value");
    return value;
  }

 private:
  [[noreturn]] void Fail(const char* why) const {
    throw std::invalid_argument(std::string(what_) + " is not valid JSON: " + why + " at byte " + std::to_string(at_));
  }

  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }

  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool Skip(char c) {
    SkipSpace();
    if (Peek() != c) return false;
    ++at_;
    return true;
  }

  Json Value(int depth) {
    if (depth > kMaxDepth) Fail("nesting too deep");
    SkipSpace();
    switch (Peek()) {
      case '{':
        return ObjectValue(depth);
      case '[':
        return ArrayValue(depth);
      case '"':
        return Json(String());
      case 't':
        return Word("true", Json(true));
      case 'f':
        return Word("false", Json(false));
      case 'n':
        return Word("null", Json());
      default:
        return Number();
    }
  }

  Json Word(std::string_view word, Json value) {
    if (text_.substr(at_, word.size()) != word) Fail("unknown word");
    at_ += word.size();
    return value;
  }

  Json ObjectValue(int depth) {
    ++at_;
    Json object = Json::object();
    if (Skip('}')) return object;
    do {
      SkipSpace();
      if (Peek() != '"') Fail("a key is missing");
      const std::string key = String();
      if (!Skip(':')) Fail("a colon is missing");
      object[key] = Value(depth + 1);
    } while (Skip(','));
    if (!Skip('}')) Fail("a brace is missing");
    return object;
  }

  Json ArrayValue(int depth) {
    ++at_;
    Json array = Json::array();
    if (Skip(']')) return array;
    do array.push_back(Value(depth + 1));
    while (Skip(','));
    if (!Skip(']')) Fail("a bracket is missing");
    return array;
  }

  size_t Digits() {
    const size_t start = at_;
    while (Peek() >= '0' && Peek() <= '9') ++at_;
    return at_ - start;
  }

  Json Number() {
    const size_t start = at_;
    if (Peek() == '-') ++at_;
    const size_t first = at_;
    const size_t digits = Digits();
    if (digits == 0 || (digits > 1 && text_[first] == '0')) Fail("a value is missing");
    bool whole = true;
    if (Peek() == '.') {
      ++at_;
      whole = false;
      if (Digits() == 0) Fail("a digit is missing");
    }
    if (Peek() == 'e' || Peek() == 'E') {
      ++at_;
      whole = false;
      if (Peek() == '+' || Peek() == '-') ++at_;
      if (Digits() == 0) Fail("a digit is missing");
    }
    return Number(text_.substr(start, at_ - start), whole);
  }

  Json Number(std::string_view text, bool whole) const {
    const char* end = text.data() + text.size();
    if (whole) {
      int64_t value = 0;
      if (std::from_chars(text.data(), end, value).ec == std::errc()) return Json(value);
      uint64_t large = 0;
      if (std::from_chars(text.data(), end, large).ec == std::errc()) return Json(large);
    }
    double value = 0;
    if (std::from_chars(text.data(), end, value).ec != std::errc()) Fail("a number is out of range");
    return Json(value);
  }

  std::string String() {
    ++at_;
    std::string out;
    while (true) {
      if (at_ >= text_.size()) Fail("a string has no end");
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) Fail("a control character in a string");
      if (c == '\\')
        Escape(&out);
      else
        out += c;
    }
  }

  void Escape(std::string* out) {
    constexpr std::string_view kShort = "\"\\/bfnrt";
    constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
    const char c = Peek();
    ++at_;
    if (c == 'u') return Unicode(out);
    const size_t which = kShort.find(c);
    if (c == '\0' || which == std::string_view::npos) Fail("an unknown escape");
    *out += kMeant[which];
  }

  uint32_t Hex4() {
    uint32_t value = 0;
    const std::string_view digits = text_.substr(std::min(at_, text_.size()), 4);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) Fail("an escape is cut short");
    at_ += 4;
    return value;
  }

  void Unicode(std::string* out) {
    uint32_t code = Hex4();
    if (code >= 0xD800 && code < 0xDC00) {
      if (text_.substr(std::min(at_, text_.size()), 2) != "\\u") Fail("half a surrogate pair");
      at_ += 2;
      const uint32_t low = Hex4();
      if (low < 0xDC00 || low > 0xDFFF) Fail("half a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
      Fail("half a surrogate pair");
    }
    AppendCode(code, out);
  }

  static void AppendCode(uint32_t code, std::string* out) {
    const auto tail = [out, code](int shift) { *out += static_cast<char>(0x80 | ((code >> shift) & 0x3F)); };
    if (code < 0x80) {
      *out += static_cast<char>(code);
    } else if (code < 0x800) {
      *out += static_cast<char>(0xC0 | (code >> 6));
      tail(0);
    } else if (code < 0x10000) {
      *out += static_cast<char>(0xE0 | (code >> 12));
      tail(6);
      tail(0);
    } else {
      *out += static_cast<char>(0xF0 | (code >> 18));
      tail(12);
      tail(6);
      tail(0);
    }
  }

  std::string_view text_;
  const char* what_;
  size_t at_ = 0;
};

}  // namespace

Json::Json(std::initializer_list<Ref> list) {
  const bool pairs = std::all_of(list.begin(), list.end(), [](const Ref& ref) {
    const Json& json = ref.peek();
    return json.is_array() && json.size() == 2 && json.elements()[0].is_string();
  });
  if (!pairs) {
    *this = array(list);
    return;
  }
  *this = object();
  for (const Ref& ref : list) {
    const Json pair = ref.take();
    Array& parts = *std::get<ArrayPtr>(pair.value_);
    (*this)[parts[0].text()] = std::move(parts[1]);
  }
}

Json::Json(const std::vector<std::string>& texts) : value_(std::make_unique<Array>()) {
  for (const std::string& text : texts) push_back(text);
}

Json::Json(const std::map<std::string, double>& numbers) : value_(std::make_unique<Object>()) {
  for (const auto& [name, number] : numbers) (*this)[name] = number;
}

Json::Json(const Json& other) { *this = other; }

Json& Json::operator=(const Json& other) {
  if (this == &other) return *this;
  if (other.is_array())
    value_ = std::make_unique<Array>(other.elements());
  else if (other.is_object())
    value_ = std::make_unique<Object>(other.members());
  else if (other.is_string())
    value_ = other.text();
  else
    std::visit(
        [this](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_trivially_copyable_v<T>) value_ = value;
        },
        other.value_);
  return *this;
}

Json Json::array(std::initializer_list<Ref> list) {
  Json json;
  json.value_ = std::make_unique<Array>();
  for (const Ref& ref : list) json.push_back(ref.take());
  return json;
}

Json Json::object() {
  Json json;
  json.value_ = std::make_unique<Object>();
  return json;
}

bool Json::is_integer() const {
  if (std::holds_alternative<int64_t>(value_)) return true;
  const uint64_t* large = std::get_if<uint64_t>(&value_);
  return large != nullptr && *large <= static_cast<uint64_t>(INT64_MAX);
}

bool Json::is_number() const {
  return std::holds_alternative<int64_t>(value_) || std::holds_alternative<uint64_t>(value_) ||
         std::holds_alternative<double>(value_);
}

bool Json::boolean() const {
  if (!is_boolean()) WrongType("a boolean");
  return std::get<bool>(value_);
}

int64_t Json::integer() const {
  if (!is_integer()) WrongType("an integer");
  const int64_t* value = std::get_if<int64_t>(&value_);
  return value != nullptr ? *value : static_cast<int64_t>(std::get<uint64_t>(value_));
}

double Json::number() const {
  if (const double* value = std::get_if<double>(&value_)) return *value;
  if (const int64_t* value = std::get_if<int64_t>(&value_)) return static_cast<double>(*value);
  if (const uint64_t* value = std::get_if<uint64_t>(&value_)) return static_cast<double>(*value);
  WrongType("a number");
}

const std::string& Json::text() const {
  if (!is_string()) WrongType("text");
  return std::get<std::string>(value_);
}

const Json::Array& Json::elements() const {
  if (!is_array()) WrongType("an array");
  return *std::get<ArrayPtr>(value_);
}

const Json::Object& Json::members() const {
  if (!is_object()) WrongType("an object");
  return *std::get<ObjectPtr>(value_);
}

const Json* Json::find(std::string_view key) const {
  if (!is_object()) return nullptr;
  const auto found = members().find(key);
  return found == members().end() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr) throw std::invalid_argument("a JSON object has no key " + std::string(key));
  return *found;
}

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_ = std::make_unique<Object>();
  if (!is_object()) WrongType("an object");
  Object& object = *std::get<ObjectPtr>(value_);
  const auto found = object.find(key);
  return found != object.end() ? found->second : object.emplace(std::string(key), Json()).first->second;
}

void Json::erase(std::string_view key) {
  if (!is_object()) return;
  Object& object = *std::get<ObjectPtr>(value_);
  if (const auto found = object.find(key); found != object.end()) object.erase(found);
}

void Json::push_back(Json element) {
  if (is_null()) value_ = std::make_unique<Array>();
  if (!is_array()) WrongType("an array");
  std::get<ArrayPtr>(value_)->push_back(std::move(element));
}

size_t Json::size() const {
  if (is_array()) return elements().size();
  return is_object() ? members().size() : 0;
}

void AppendJson(const Json& value, std::string* out) {
  const char* separator = "";
  if (value.is_array()) {
    *out += '[';
    for (const Json& element : value.elements()) {
      *out += separator;
      AppendJson(element, out);
      separator = ",";
    }
    *out += ']';
  } else if (value.is_object()) {
    *out += '{';
    for (const auto& [key, member] : value.members()) {
      *out += separator;
      AppendString(key, out);
      *out += ':';
      AppendJson(member, out);
      separator = ",";
    }
    *out += '}';
  } else if (value.is_string()) {
    AppendString(value.text(), out);
  } else if (value.is_null()) {
    *out += "null";
  } else if (value.is_boolean()) {
    *out += value.boolean() ? "true" : "false";
  } else if (const int64_t* integer = std::get_if<int64_t>(&value.value_)) {
    AppendNumber(*integer, out);
  } else if (const uint64_t* large = std::get_if<uint64_t>(&value.value_)) {
    AppendNumber(*large, out);
  } else {
    AppendDouble(value.number(), out);
  }
}

std::string JsonText(const Json& value) {
  std::string text;
  AppendJson(value, &text);
  return text;
}

Json ParseJson(std::string_view text, const char* what) { return Parser(text, what).Document(); }

}  // namespace heal
