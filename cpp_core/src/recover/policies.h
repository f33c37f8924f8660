// policies.h: what the owner of the server decided, from heal.policies.
//
// scope      subject                       setting   value
// server     anything                      autonomy  observe approve limited auto
// component  name                          forbid    name of a remedy
// database   name                          allow     superusers
// schema     name                          critical  on
// object     schema.name, quoted or not    exempt    on
// role       name                          window    HH:MM-HH:MM, UTC
// application name
// A subject may end in * and then stands for all that begin so.
//
// A policy can only take autonomy away. A row that cannot be understood is read
// in its strictest sense: an unknown autonomy is observe, a bad window is closed.

#ifndef HEAL_CORE_RECOVER_POLICIES_H_
#define HEAL_CORE_RECOVER_POLICIES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heal_core/observation.h"
#include "model.h"

namespace heal {

// What a row's scope and subject are compared with. An empty field matches
// nothing but the scope server.
struct PolicySubject {
  std::string component, database, schema;
  std::string object;  // "schema.table", not quoted
  std::string index;   // "schema.index", where the match is about one: of scope object too
  std::string role, application;
};

// Of the match itself. schema and object come from its quoted relation or index.
PolicySubject SubjectOf(const Match& match);
// Of one session the remedy would signal, inside the match.
PolicySubject SubjectOf(const Match& match, const Target& target);

class Policies {
 public:
  Policies() = default;
  explicit Policies(std::span<const hc_policy_row> rows);

  // The server's mode, lowered by every autonomy row that applies.
  hc_mode Autonomy(hc_mode server, const PolicySubject& subject) const;
  // Reason, "" when not exempt.
  std::string Exempt(const PolicySubject& subject) const;
  // Reason, "" when the remedy is not forbidden.
  std::string Forbidden(std::string_view remedy, const PolicySubject& subject) const;
  // A row setting allow, value superusers.
  bool AllowsSuperusers(const PolicySubject& subject) const;
  bool Critical(const PolicySubject& subject) const;
  // Reason, "" when no window applies or now_us lies in all that do.
  std::string OutsideWindow(int64_t now_us, const PolicySubject& subject) const;

 private:
  struct Row {
    std::string scope, subject, setting, value;
  };
  template <typename Visit>
  void ForEach(std::string_view setting, const PolicySubject& subject, Visit visit) const;

  std::vector<Row> rows_;
};

// "observe" .. "auto"; false when unknown.
bool ParseMode(std::string_view text, hc_mode* mode);
const char* ModeName(hc_mode mode);

// Minutes of the day from "HH:MM-HH:MM"; the end is exclusive and may lie past
// midnight. False when malformed.
bool ParseWindow(std::string_view text, int32_t* from, int32_t* to);

}  // namespace heal

#endif  // HEAL_CORE_RECOVER_POLICIES_H_
