// P15 invalid_index: an index is invalid and nobody is building it.

#include <algorithm>
#include <string>

#include "detect/matcher.h"
#include "detect/object_tracker.h"

namespace heal {
namespace {

constexpr char kType[] = "invalid_index";

struct Suspect {
  bool seen = false;
  int looks = 0;
  int64_t since = 0;
  bool raised = false;
  std::string index_name;  // plain, as it may stand in a statement
  std::string table_name;
  Match match;
};

class InvalidIndexMatcher : public Matcher {
 public:
  void Run(const MatchInput& input, std::vector<Match>* out) override;

 private:
  void LookAt(const MatchInput& input, const Look& look, const hc_index& index);

  ObjectTracker<Suspect> suspects_;
};

// "sch"."ta""b" -> ta"b, or sch.ta"b with its schema.
std::string PlainName(std::string_view qualified, bool with_schema) {
  std::string plain;
  bool quoted = false;
  for (size_t i = 0; i < qualified.size(); ++i) {
    const char c = qualified[i];
    if (c == '"' && quoted && i + 1 < qualified.size() && qualified[i + 1] == '"') {
      plain += c;
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == '.' && !quoted && !with_schema) {
      plain.clear();
    } else {
      plain += c;
    }
  }
  return plain;
}

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '$' ||
         (c & 0x80) != 0;
}

// Does the statement contain this name, not only a longer one around it?
bool Names(std::string_view text, std::string_view name) {
  for (size_t at = 0; at + name.size() <= text.size(); ++at) {
    if (!StartsWith(text.substr(at), name)) continue;
    const bool begins = at == 0 || !IsNameCharacter(text[at - 1]);
    const size_t end = at + name.size();
    if (begins && (end == text.size() || !IsNameCharacter(text[end]))) {
      return true;
    }
  }
  return false;
}

// The inspection may be older than this step: a statement that names the index
// or its table and may build, rebuild or drop it counts as a build.
bool IsBeingWorkedOn(const MatchInput& input, uint32_t database_oid, const Suspect& suspect) {
  const hc_observation& observation = input.observation;
  for (uint32_t i = 0; i < observation.n_sessions; ++i) {
    const hc_session& session = observation.sessions[i];
    if (session.database_oid != database_oid || session.state != HC_STATE_ACTIVE) {
      continue;
    }
    const std::string_view query = session.query;
    const size_t start = query.find_first_not_of(" \t\r\n(");
    if (start == std::string_view::npos) continue;
    const std::string_view text = query.substr(start);
    if (!StartsWith(text, "create") && !StartsWith(text, "reindex") && !StartsWith(text, "alter")) {
      continue;
    }
    if (Names(text, suspect.index_name) || Names(text, suspect.table_name)) {
      return true;
    }
  }
  return false;
}

Match Describe(const hc_index& index, const std::string& name, int looks) {
  Match match =
      NewMatch(kType, Text("%u/%u", index.database_oid, index.index_oid), name,
               Text("index %s is invalid in %d inspections and nobody is building it", name.c_str(), looks));
  match.database = index.database;
  match.database_oid = index.database_oid;
  match.relation_oid = index.index_oid;
  AddEvidence(&match, "index_not_valid", true, Text("%s is not valid", name.c_str()));
  AddEvidence(&match, "index_build_running", false, "no CREATE INDEX or REINDEX runs on its table");
  const bool leftover = (index.flags & HC_INDEX_LEFTOVER_NAME) != 0;
  AddEvidence(&match, "index_leftover_name", leftover,
              leftover ? "its name is that of a concurrent reindex" : "its name was chosen by a user");
  match.params["index"] = index.qualified;
  match.params["table"] = index.table_qualified;
  match.params["owner"] = index.owner;
  match.params["definition"] = index.definition;
  match.params["index_oid"] = std::to_string(index.index_oid);
  match.params["table_oid"] = std::to_string(index.table_oid);
  const auto flag = [&](uint32_t mask) { return (index.flags & mask) != 0 ? 1.0 : 0.0; };
  match.values["unique"] = flag(HC_INDEX_UNIQUE | HC_INDEX_PRIMARY | HC_INDEX_EXCLUSION);
  match.values["constraint"] = flag(HC_INDEX_CONSTRAINT | HC_INDEX_PRIMARY | HC_INDEX_EXCLUSION);
  match.values["leftover"] = flag(HC_INDEX_LEFTOVER_NAME);
  match.values["bytes"] = static_cast<double>(index.bytes);
  return match;
}

void InvalidIndexMatcher::LookAt(const MatchInput& input, const Look& look, const hc_index& index) {
  if ((index.flags & (HC_INDEX_PARTITION | HC_INDEX_SYSTEM)) != 0) return;
  Suspect* suspect = suspects_.Find(index.database_oid, index.index_oid);
  if (suspect == nullptr) {
    suspect = suspects_.Add(index.database_oid, index.index_oid);
    if (suspect == nullptr) return;
    suspect->since = look.inspected_at;
  }
  suspect->index_name = PlainName(index.qualified, false);
  suspect->table_name = PlainName(index.table_qualified, false);
  if ((index.flags & HC_INDEX_BUILDING) != 0 || IsBeingWorkedOn(input, index.database_oid, *suspect)) {
    // What it looked like before the build says nothing about after it.
    suspect->looks = 0;
    suspect->raised = false;
    suspect->since = look.inspected_at;
    suspect->seen = true;
    return;
  }
  if (suspect->looks == 0) suspect->since = look.inspected_at;
  suspect->seen = true;
  suspect->looks = std::min(suspect->looks + 1, 1 << 20);
  suspect->raised = suspect->looks >= input.thresholds.Get(kType, "samples");
  if (!suspect->raised) return;
  const std::string name = PlainName(index.qualified, true);
  suspect->match = Describe(index, name, suspect->looks);
  suspect->match.since_us = suspect->since;
}

void InvalidIndexMatcher::Run(const MatchInput& input, std::vector<Match>* out) {
  suspects_.BeginLooks();
  for (uint32_t i = 0; i < input.observation.n_indexes; ++i) {
    const hc_index& index = input.observation.indexes[i];
    const Look* look = input.FindLook(index.database_oid);
    if (look != nullptr) LookAt(input, *look, index);
  }
  suspects_.EndLooks(input);
  for (auto& [key, suspect] : suspects_.states()) {
    if (!suspect.raised) continue;
    if (input.observation.sessions_known == 0) {
      out->push_back(HeldUnknown(suspect.match));
    } else if (!IsBeingWorkedOn(input, key.first, suspect)) {
      out->push_back(suspect.match);
    }
  }
}

}  // namespace

std::unique_ptr<Matcher> MakeInvalidIndexMatcher() { return std::make_unique<InvalidIndexMatcher>(); }

}  // namespace heal
