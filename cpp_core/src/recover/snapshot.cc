#include "recover/snapshot.h"

#include <algorithm>
#include <map>
#include <set>

#include "json_text.h"

namespace heal {
namespace {

using std::string_view;

constexpr size_t kMaxField = size_t{1} << 20;
constexpr string_view kKinds[] = {"server_setting", "role_setting", "storage_option", "index"};
// Ends the image of an index that is not valid; capture.c writes it.
constexpr string_view kInvalidMark = " /* invalid */";
constexpr string_view kComponents[] = {"settings", "storage", "indexes", "roles"};

[[noreturn]] void Fail(size_t position, const std::string& why) {
  throw SnapshotError("snapshot item " + std::to_string(position) + ": " + why);
}

std::string Text(const Json& item, const char* key, size_t position) {
  const Json* found = item.find(key);
  if (found == nullptr || !found->is_string()) Fail(position, std::string(key) + " is not a text");
  const std::string& text = found->text();
  if (text.size() > kMaxField) Fail(position, std::string(key) + " is too long");
  if (text.find('\0') != std::string::npos) Fail(position, std::string(key) + " holds a zero byte");
  return text;
}

std::optional<std::string> OptionalText(const Json& item, const char* key, size_t position) {
  const Json* found = item.find(key);
  if (found == nullptr) Fail(position, std::string(key) + " is missing");
  return found->is_null() ? std::nullopt : std::optional<std::string>(Text(item, key, position));
}

uint32_t Oid(const Json& item, const char* key, size_t position) {
  const Json* found = item.find(key);
  if (found == nullptr || !found->is_integer()) Fail(position, std::string(key) + " is not an integer");
  if (found->integer() < 0 || found->integer() > int64_t{UINT32_MAX})
    Fail(position, std::string(key) + " is out of range");
  return static_cast<uint32_t>(found->integer());
}

SnapshotItem ParseItem(const Json& image, size_t position) {
  if (!image.is_object()) Fail(position, "not an object");
  SnapshotItem item;
  item.kind = Text(image, "kind", position);
  if (std::find(std::begin(kKinds), std::end(kKinds), item.kind) == std::end(kKinds))
    Fail(position, "unknown kind");
  item.database = Text(image, "database", position);
  item.database_oid = Oid(image, "database_oid", position);
  item.object = Text(image, "object", position);
  item.name = Text(image, "name", position);
  item.value = OptionalText(image, "value", position);
  item.restore_sql = Text(image, "restore_sql", position);
  item.reset_sql = Text(image, "reset_sql", position);
  item.has_expected = image.contains("expected");
  if (item.has_expected) item.expected = OptionalText(image, "expected", position);
  return item;
}

Json OptionalJson(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

// A statement that carries its own separator would be cut in two: not run.
bool HoldsSeparator(const SnapshotItem& item) {
  const auto holds = [](const std::string& text) { return text.find(";\n") != std::string::npos; };
  return holds(item.object) || holds(item.name) || (item.value && holds(*item.value));
}

using Images = std::map<ItemKey, const SnapshotItem*>;

Images Index(std::span<const SnapshotItem> items) {
  Images images;
  for (const SnapshotItem& item : items) images.emplace(item.key(), &item);
  return images;
}

std::string ResetSql(const SnapshotItem& before, const SnapshotItem& now) {
  return before.reset_sql.empty() ? now.reset_sql : before.reset_sql;
}

// A valid index where an invalid one was is as good as it was.
bool IsBack(const SnapshotItem& before, const std::optional<std::string>& now) {
  if (now == before.value) return true;
  return before.kind == "index" && before.value && now && *before.value == *now + std::string(kInvalidMark);
}

// An index of that name is there, but not as it was: built otherwise by
// somebody, who has to be asked, or left behind invalid by a build that failed.
void DecideReplacement(const SnapshotItem& before, const SnapshotItem& now, const DiffOptions& options,
                       ItemDiff* diff) {
  const bool leftover = *now.value == *before.value + std::string(kInvalidMark);
  diff->needed = leftover || options.force ? ItemNeed::kRestore : ItemNeed::kDrift;
  if (diff->needed == ItemNeed::kRestore && !now.reset_sql.empty() && !before.restore_sql.empty())
    diff->sql = now.reset_sql + ";\n" + before.restore_sql;
}

// What must be done with an item that differs from its before-image.
void Decide(const SnapshotItem& before, const SnapshotItem* now, const DiffOptions& options, ItemDiff* diff) {
  const bool drift = before.has_expected && diff->now != before.expected;
  if (drift && !options.force) {
    diff->needed = ItemNeed::kDrift;
    return;
  }
  if (before.kind == "index" && before.value && diff->now)
    return DecideReplacement(before, *now, options, diff);
  if (before.value) {
    diff->needed = ItemNeed::kRestore;
    diff->sql = before.restore_sql;
    return;
  }
  const std::string reset = ResetSql(before, *now);
  // An index that came later is its maker's: dropped only by force.
  const bool may_reset = !reset.empty() && (before.kind != "index" || options.force);
  diff->needed = may_reset ? ItemNeed::kReset : ItemNeed::kKept;
  if (may_reset) diff->sql = reset;
}

ItemDiff DiffListed(const SnapshotItem& before, const Images& images, const DiffOptions& options) {
  ItemDiff diff{before, std::nullopt, ItemNeed::kNone, ""};
  const auto found = images.find(before.key());
  const SnapshotItem* now = found == images.end() ? nullptr : found->second;
  if (now != nullptr) diff.now = now->value;
  if (!IsBack(before, diff.now)) Decide(before, now, options, &diff);
  if (HoldsSeparator(before)) diff.sql.clear();
  return diff;
}

ItemDiff DiffLater(const SnapshotItem& now, const DiffOptions& options) {
  SnapshotItem before = now;
  before.value.reset();
  before.restore_sql.clear();
  ItemDiff diff{before, now.value, ItemNeed::kNone, ""};
  if (now.value) Decide(before, &now, options, &diff);
  if (HoldsSeparator(now)) diff.sql.clear();
  return diff;
}

std::string RequestOf(string_view component) {
  Json request = {{"kind", "all"}};
  if (!component.empty()) request["component"] = component;
  return JsonText(request);
}

string_view ComponentOf(const SnapshotItem& item) {
  return item.kind == "storage_option" ? "storage" : "indexes";
}

// Settings are named by their item; what hangs on an object is asked for as a
// whole, because the object may have gone and come back under another number.
std::string RequestOf(const SnapshotItem& item) {
  if (item.kind == "server_setting") return JsonText({{"kind", item.kind}, {"name", item.name}});
  if (item.kind == "role_setting") return RequestOf("roles");
  return RequestOf(ComponentOf(item));
}

std::string Array(const std::set<std::string>& requests) {
  std::string out;
  for (const std::string& request : requests) out += (out.empty() ? "[" : ",") + request;
  return out + "]";
}

}  // namespace

std::string SnapshotItem::Label() const {
  std::string label = kind;
  for (const std::string* part : {&object, &name})
    if (!part->empty()) label += " " + *part;
  return database_oid == 0 || database.empty() ? label : label + " in " + database;
}

std::vector<SnapshotItem> ParseItems(string_view text) {
  if (text.size() > kMaxSnapshotBytes) throw SnapshotError("snapshot items are too large");
  Json list;
  try {
    list = ParseJson(text, "the list of snapshot items");
  } catch (const std::invalid_argument& error) {
    throw SnapshotError(error.what());
  }
  if (!list.is_array()) throw SnapshotError("snapshot items are not a JSON array");
  if (list.size() > kMaxSnapshotItems) throw SnapshotError("there are too many snapshot items");
  std::vector<SnapshotItem> items;
  std::set<ItemKey> keys;
  items.reserve(list.size());
  for (size_t i = 0; i < list.size(); ++i) {
    items.push_back(ParseItem(list.elements()[i], i));
    if (!keys.insert(items.back().key()).second) Fail(i, "listed twice");
  }
  return items;
}

std::string ItemsJson(std::span<const SnapshotItem> items) {
  Json list = Json::array();
  for (const SnapshotItem& item : items) {
    Json image = {{"kind", item.kind},
                  {"database", item.database},
                  {"database_oid", item.database_oid},
                  {"object", item.object},
                  {"name", item.name},
                  {"value", OptionalJson(item.value)},
                  {"restore_sql", item.restore_sql},
                  {"reset_sql", item.reset_sql}};
    if (item.has_expected) image["expected"] = OptionalJson(item.expected);
    list.push_back(std::move(image));
  }
  // Names in an encoding other than UTF-8 must not make printing fail.
  return JsonText(list);
}

void SetExpected(std::span<const ExpectedValue> expected, std::vector<SnapshotItem>* items) {
  for (SnapshotItem& item : *items) {
    // An item the action does not touch is expected to stay.
    item.has_expected = true;
    item.expected = item.value;
    for (const ExpectedValue& change : expected)
      if (change.kind == item.kind && (change.name.empty() || change.name == item.name))
        item.expected = change.value;
  }
}

const char* ItemNeedName(ItemNeed need) {
  constexpr const char* kNames[] = {"none", "restore", "reset", "kept", "drift"};
  return kNames[static_cast<int>(need)];
}

std::vector<ItemDiff> Diff(std::span<const SnapshotItem> before, std::span<const SnapshotItem> now,
                           const DiffOptions& options) {
  const Images images = Index(now);
  std::set<ItemKey> listed;
  std::vector<ItemDiff> diffs;
  for (const SnapshotItem& item : before) {
    listed.insert(item.key());
    diffs.push_back(DiffListed(item, images, options));
  }
  if (options.only_listed) return diffs;
  for (const auto& [key, item] : images)
    if (listed.count(key) == 0 && item->value) diffs.push_back(DiffLater(*item, options));
  return diffs;
}

std::vector<CaptureRequest> RecaptureRequests(std::span<const SnapshotItem> items) {
  std::map<uint32_t, std::set<std::string>> databases;
  for (const SnapshotItem& item : items) databases[item.database_oid].insert(RequestOf(item));
  std::vector<CaptureRequest> requests;
  for (const auto& [database, wanted] : databases) requests.push_back({database, Array(wanted)});
  return requests;
}

std::vector<CaptureRequest> MergeRequests(std::span<const CaptureRequest> requests) {
  std::map<uint32_t, std::string> lists;  // without brackets
  for (const CaptureRequest& request : requests) {
    std::string& list = lists[request.database_oid];
    const std::string items = request.items.substr(1, request.items.size() - 2);
    if (!list.empty() && !items.empty()) list += ",";
    list += items;
  }
  std::vector<CaptureRequest> merged;
  for (const auto& [database, list] : lists) merged.push_back({database, "[" + list + "]"});
  return merged;
}

std::vector<CaptureRequest> ManualRequests(string_view component, std::span<const uint32_t> databases) {
  const bool known =
      std::find(std::begin(kComponents), std::end(kComponents), component) != std::end(kComponents);
  if (!component.empty() && !known)
    throw SnapshotError("unknown snapshot component \"" + std::string(component) + "\"");
  std::vector<CaptureRequest> requests;
  for (const uint32_t database : databases) requests.push_back({database, Array({RequestOf(component)})});
  return requests;
}

}  // namespace heal
