// outbox.h: what a step hands to the shell: owns every string of it.

#ifndef HEAL_CORE_OUTBOX_H_
#define HEAL_CORE_OUTBOX_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "heal_core/decisions.h"

namespace heal {

// What is asked of the shell, with strings of its own.
struct Command {
  uint64_t id = 0;
  hc_command_kind kind = HC_CMD_INSPECT;
  int64_t incident_id = 0;
  int64_t attempt_id = 0;
  hc_session_identity target{};
  hc_signal_guard guard = HC_GUARD_IDLE;
  uint32_t relation_oid = 0;
  uint32_t database_oid = 0;
  bool as_owner = false;
  std::string guard_sql, sql, probe_sql, items;
  int32_t lock_timeout_ms = 0;
  int32_t statement_timeout_ms = 0;
};

struct Reply {
  uint64_t id_request = 0;
  std::string sqlstate = "00000";
  std::string message, detail, hint, json;
};

// Strings handed out stay where they are until Clear.
class Outbox {
 public:
  void Clear();

  void Record(hc_table_kind table, int64_t id, std::string json);
  void Issue(const Command& command);
  void Answer(const Reply& reply);
  void Component(const hc_component_status& status);  // copies its strings
  void Log(bool warning, std::string text);

  size_t commands() const { return commands_.size(); }
  size_t records() const { return records_.size(); }

  // Fills the arrays of *out; the rest of it is the engine's.
  void Fill(hc_decisions* out) const;

 private:
  const char* Keep(std::string_view text);

  // A deque: its elements never move.
  std::deque<std::string> strings_;
  std::vector<hc_record> records_;
  std::vector<hc_command> commands_;
  std::vector<hc_reply> replies_;
  std::vector<hc_component_status> components_;
  std::vector<hc_log_line> log_;
};

}  // namespace heal

#endif  // HEAL_CORE_OUTBOX_H_
