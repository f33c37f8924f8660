// json_text.h: JSON and timestamps as they stand in row images.

#ifndef HEAL_CORE_JSON_TEXT_H_
#define HEAL_CORE_JSON_TEXT_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace heal {

using Json = nlohmann::json;

// Compact text. Bytes that are not UTF-8 (a SQL_ASCII server) are replaced,
// never an error; numbers that are not finite become null.
std::string JsonText(const Json& value);

// Throws std::invalid_argument with `what` when the text is not JSON.
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
