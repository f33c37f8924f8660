// json_text.h: JSON and timestamps as they stand in row images.
//
// Json is a value of its own and not a library's because destroying it must
// not allocate: a destructor that runs out of memory ends the process, and with
// it the server. (nlohmann's flattens nested values into a vector first.)

#ifndef HEAL_CORE_JSON_TEXT_H_
#define HEAL_CORE_JSON_TEXT_H_

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace heal {

// A JSON value. An initializer list whose elements are all pairs with a text
// first makes an object, any other list an array, as in
//   Json row = {{"id", 1}, {"names", Json::array({"a", "b"})}};
// Keys of objects are kept in their order, so equal values have equal texts.
class Json {
 public:
  class Ref;  // an element of an initializer list
  using Array = std::vector<Json>;
  using Object = std::map<std::string, Json, std::less<>>;

  Json() = default;
  Json(std::nullptr_t) {}
  Json(std::initializer_list<Ref> list);
  Json(const char* text) : value_(std::string(text)) {}
  Json(std::string_view text) : value_(std::string(text)) {}
  Json(std::string text) : value_(std::move(text)) {}
  Json(bool value) : value_(value) {}
  Json(std::floating_point auto value) : value_(static_cast<double>(value)) {}
  template <std::integral T>
    requires(!std::same_as<T, bool>)
  Json(T value) {
    if constexpr (std::signed_integral<T>)
      value_ = static_cast<int64_t>(value);
    else
      value_ = static_cast<uint64_t>(value);
  }
  Json(const std::vector<std::string>& texts);
  Json(const std::map<std::string, double>& numbers);

  Json(const Json& other);
  Json(Json&& other) noexcept = default;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept = default;
  ~Json() = default;

  static Json array(std::initializer_list<Ref> list = {});
  static Json object();

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  bool is_boolean() const { return std::holds_alternative<bool>(value_); }
  bool is_string() const { return std::holds_alternative<std::string>(value_); }
  bool is_array() const { return std::holds_alternative<ArrayPtr>(value_); }
  bool is_object() const { return std::holds_alternative<ObjectPtr>(value_); }
  // An integer that fits int64_t; other numbers are doubles.
  bool is_integer() const;
  bool is_number() const;

  // These throw std::invalid_argument when the value is something else.
  bool boolean() const;
  int64_t integer() const;
  double number() const;
  const std::string& text() const;
  const Array& elements() const;
  const Object& members() const;

  // Of an object: nullptr when there is no such key, or no object.
  const Json* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  // Throws std::invalid_argument when there is no such key.
  const Json& at(std::string_view key) const;
  // Makes the key, and an object of null.
  Json& operator[](std::string_view key);
  void erase(std::string_view key);

  // Of an array; makes one of null.
  void push_back(Json element);
  // Of an array or object, else 0.
  size_t size() const;

 private:
  using ArrayPtr = std::unique_ptr<Array>;
  using ObjectPtr = std::unique_ptr<Object>;
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, ArrayPtr, ObjectPtr> value_;

  friend void AppendJson(const Json& value, std::string* out);
};

// Moves what can be moved out of an initializer list.
class Json::Ref {
 public:
  Ref(std::initializer_list<Ref> list) : value_(list) {}
  template <typename T>
    requires std::constructible_from<Json, T&&>
  Ref(T&& value) : value_(std::forward<T>(value)) {}

  const Json& peek() const { return value_; }
  Json take() const { return std::move(value_); }

 private:
  mutable Json value_;
};

// Compact text. Bytes that are not UTF-8 (a SQL_ASCII server) are replaced,
// never an error; numbers that are not finite become null.
std::string JsonText(const Json& value);

// Throws std::invalid_argument with `what` when the text is not JSON, or nests
// deeper than 64 levels.
Json ParseJson(std::string_view text, const char* what);

// Microseconds since 2000-01-01 UTC as "2026-03-01T12:00:00.000000Z".
std::string TimestampText(int64_t at);
// null for 0, which means "none".
Json TimestampJson(int64_t at);

// Reads what TimestampText writes and what PostgreSQL's to_jsonb() writes
// ("2026-03-01T13:00:00.5+01:00"). Throws std::invalid_argument.
int64_t ParseTimestamp(std::string_view text);

}  // namespace heal

#endif  // HEAL_CORE_JSON_TEXT_H_
