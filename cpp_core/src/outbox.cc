#include "outbox.h"

namespace heal {

void Outbox::Clear() {
  strings_.clear();
  records_.clear();
  commands_.clear();
  replies_.clear();
  components_.clear();
  log_.clear();
}

const char* Outbox::Keep(std::string_view text) {
  if (text.empty()) return "";
  return strings_.emplace_back(text).c_str();
}

void Outbox::Record(hc_table_kind table, int64_t id, std::string json) {
  records_.push_back({table, id, strings_.emplace_back(std::move(json)).c_str()});
}

void Outbox::Issue(const Command& command) {
  hc_command out{};
  out.id = command.id;
  out.kind = command.kind;
  out.incident_id = command.incident_id;
  out.attempt_id = command.attempt_id;
  out.target = command.target;
  out.guard = command.guard;
  out.relation_oid = command.relation_oid;
  out.database_oid = command.database_oid;
  out.as_owner = command.as_owner ? 1 : 0;
  out.guard_sql = Keep(command.guard_sql);
  out.sql = Keep(command.sql);
  out.probe_sql = Keep(command.probe_sql);
  out.items = Keep(command.items);
  out.lock_timeout_ms = command.lock_timeout_ms;
  out.statement_timeout_ms = command.statement_timeout_ms;
  commands_.push_back(out);
}

void Outbox::Answer(const Reply& reply) {
  replies_.push_back({reply.id_request, Keep(reply.sqlstate), Keep(reply.message), Keep(reply.detail),
                      Keep(reply.hint), Keep(reply.json)});
}

void Outbox::Component(const hc_component_status& status) {
  hc_component_status out = status;
  out.component = Keep(status.component);
  out.state = Keep(status.state);
  out.worst_failure = Keep(status.worst_failure);
  out.detail = Keep(status.detail);
  components_.push_back(out);
}

void Outbox::Log(bool warning, std::string text) {
  log_.push_back({warning ? 1 : 0, strings_.emplace_back(std::move(text)).c_str()});
}

void Outbox::Fill(hc_decisions* out) const {
  out->records = records_.data();
  out->n_records = static_cast<uint32_t>(records_.size());
  out->commands = commands_.data();
  out->n_commands = static_cast<uint32_t>(commands_.size());
  out->replies = replies_.data();
  out->n_replies = static_cast<uint32_t>(replies_.size());
  out->components = components_.data();
  out->n_components = static_cast<uint32_t>(components_.size());
  out->log = log_.data();
  out->n_log = static_cast<uint32_t>(log_.size());
}

}  // namespace heal
