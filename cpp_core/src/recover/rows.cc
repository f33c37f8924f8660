#include "recover/rows.h"

#include <algorithm>
#include <stdexcept>

#include "json_text.h"

namespace heal {
namespace {

// null for the empty text: columns that are unknown until later.
Json TextOrNull(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }
Json IdOrNull(int64_t id) { return id == 0 ? Json(nullptr) : Json(id); }
Json NumberOrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

// Reads the columns of one image; every complaint names table and column.
class RowReader {
 public:
  RowReader(const char* table, std::string_view text) : table_(table), row_(ParseJson(text, table)) {
    if (!row_.is_object()) throw std::invalid_argument(std::string(table) + ": the row is not a JSON object");
  }

  // Null or missing.
  bool Null(const char* column) const {
    const Json* found = row_.find(column);
    return found == nullptr || found->is_null();
  }

  std::string Text(const char* column) const {
    const Json& value = At(column);
    if (!value.is_string()) Fail(column, "text");
    return value.text();
  }
  // "" for null and for a column that is missing.
  std::string OptionalText(const char* column) const { return Null(column) ? std::string() : Text(column); }

  int64_t Integer(const char* column) const {
    const Json& value = At(column);
    if (!value.is_integer()) Fail(column, "an integer");
    return value.integer();
  }
  int64_t OptionalInteger(const char* column) const { return Null(column) ? 0 : Integer(column); }
  int SmallInteger(const char* column) const {
    const int64_t value = Integer(column);
    if (value < 0 || value > INT32_MAX) Fail(column, "a count");
    return static_cast<int>(value);
  }
  uint32_t Oid(const char* column) const {
    // to_jsonb() prints an oid as text.
    const Json& value = At(column);
    if (value.is_string()) return OidFromText(column, value.text());
    const int64_t oid = Integer(column);
    if (oid < 0 || oid > UINT32_MAX) Fail(column, "an oid");
    return static_cast<uint32_t>(oid);
  }
  int64_t Id(const char* column) const {
    const int64_t id = Integer(column);
    if (id <= 0) Fail(column, "a positive id");
    return id;
  }

  double Number(const char* column) const {
    const Json& value = At(column);
    if (!value.is_number()) Fail(column, "a number");
    return value.number();
  }
  std::optional<double> OptionalNumber(const char* column) const {
    if (Null(column)) return std::nullopt;
    return Number(column);
  }

  bool Boolean(const char* column) const {
    const Json& value = At(column);
    if (!value.is_boolean()) Fail(column, "a boolean");
    return value.boolean();
  }

  int64_t Time(const char* column) const {
    try {
      return ParseTimestamp(Text(column));
    } catch (const std::invalid_argument&) {
      Fail(column, "a timestamp");
    }
  }
  int64_t OptionalTime(const char* column) const { return Null(column) ? 0 : Time(column); }

  std::string Object(const char* column) const {
    const Json& value = At(column);
    if (!value.is_object()) Fail(column, "a JSON object");
    return JsonText(value);
  }

  [[noreturn]] void Fail(const char* column, const char* wanted) const {
    throw std::invalid_argument(std::string(table_) + ": column " + column + " is not " + wanted);
  }

 private:
  const Json& At(const char* column) const {
    const Json* found = row_.find(column);
    if (found == nullptr) throw std::invalid_argument(std::string(table_) + ": no column " + column);
    return *found;
  }
  uint32_t OidFromText(const char* column, const std::string& text) const {
    uint64_t oid = 0;
    if (text.empty() || text.size() > 10) Fail(column, "an oid");
    for (char c : text) {
      if (c < '0' || c > '9') Fail(column, "an oid");
      oid = oid * 10 + static_cast<uint64_t>(c - '0');
    }
    if (oid > UINT32_MAX) Fail(column, "an oid");
    return static_cast<uint32_t>(oid);
  }

  const char* table_;
  Json row_;
};

}  // namespace

std::string RowText(const Incident& row) {
  return JsonText({{"incident_id", row.id},
                   {"component", row.component},
                   {"failure_type", row.failure_type},
                   {"category", row.category},
                   {"severity", row.severity},
                   {"subject", row.subject},
                   {"database", row.database},
                   {"fingerprint", row.fingerprint},
                   {"state", StateName(row.state)},
                   {"opened_at", TimestampText(row.opened_at)},
                   {"detected_after_ms", NumberOrNull(row.detected_after_ms)},
                   {"root_cause", TextOrNull(row.root_cause)},
                   {"confidence", NumberOrNull(row.confidence)},
                   {"remedy", TextOrNull(row.remedy)},
                   {"attempts", row.attempts},
                   {"outcome", TextOrNull(row.outcome)},
                   {"resolved_at", TimestampJson(row.resolved_at)},
                   {"recovery_ms", NumberOrNull(row.recovery_ms)},
                   {"explanation", ParseJson(row.explanation, "explanation")}});
}

std::string RowText(const Transition& row) {
  return JsonText({{"transition_id", row.id},
                   {"incident_id", row.incident_id},
                   {"at", TimestampText(row.at)},
                   {"from_state", TextOrNull(row.from)},
                   {"to_state", row.to},
                   {"reason", row.reason},
                   {"evidence", ParseJson(row.evidence, "evidence")}});
}

std::string RowText(const Attempt& row) {
  return JsonText({{"attempt_id", row.id},
                   {"incident_id", row.incident_id},
                   {"component", row.component},
                   {"failure_type", row.failure_type},
                   {"subject", row.subject},
                   {"database", row.database},
                   {"remedy", row.remedy},
                   {"action", row.action},
                   {"mode", row.mode},
                   {"state", AttemptStateName(row.state)},
                   {"started_at", TimestampText(row.started_at)},
                   {"duration_ms", NumberOrNull(row.duration_ms)},
                   {"attempt_no", row.attempt_no},
                   {"outcome", TextOrNull(row.outcome)},
                   {"verified", row.verified},
                   {"snapshot_id", IdOrNull(row.snapshot_id)},
                   {"sql", row.sql},
                   {"undo_sql", row.undo_sql},
                   {"detail", row.detail}});
}

std::string RowText(const Recommendation& row) {
  return JsonText({{"recommendation_id", row.id},
                   {"incident_id", row.incident_id},
                   {"rank", row.rank},
                   {"failure_type", row.failure_type},
                   {"root_cause", TextOrNull(row.root_cause)},
                   {"confidence", NumberOrNull(row.confidence)},
                   {"remedy", row.remedy},
                   {"action", row.action},
                   {"risk_class", row.risk_class},
                   {"reversible", row.reversible},
                   {"sql", row.sql},
                   {"undo_sql", row.undo_sql},
                   {"expected_success", row.expected_success},
                   {"reason", row.reason},
                   {"state", row.state},
                   {"decided_by", TextOrNull(row.decided_by)},
                   {"decided_at", TimestampJson(row.decided_at)}});
}

std::string RowText(const SnapshotRow& row) {
  return JsonText({{"snapshot_id", row.id},
                   {"parent_id", IdOrNull(row.parent_id)},
                   {"incident_id", IdOrNull(row.incident_id)},
                   {"depth", row.depth},
                   {"label", row.label},
                   {"component", TextOrNull(row.component)},
                   {"taken_at", TimestampText(row.taken_at)},
                   {"taken_by", row.taken_by},
                   {"expires_at", TimestampText(row.expires_at)},
                   {"items", row.items},
                   {"state", row.state},
                   {"rollback_status", TextOrNull(row.rollback_status)}});
}

std::string RowText(const SnapshotItemRow& row) {
  const SnapshotItem& item = row.item;
  return JsonText({{"item_id", row.id},
                   {"snapshot_id", row.snapshot_id},
                   {"kind", item.kind},
                   {"database", item.database},
                   {"database_oid", item.database_oid},
                   {"object", item.object},
                   {"name", item.name},
                   {"value", item.value ? Json(*item.value) : Json(nullptr)},
                   {"has_expected", item.has_expected},
                   {"expected", item.has_expected && item.expected ? Json(*item.expected) : Json(nullptr)},
                   {"restore_sql", item.restore_sql},
                   {"reset_sql", item.reset_sql},
                   {"status", TextOrNull(row.status)},
                   {"detail", TextOrNull(row.detail)}});
}

std::string RowText(const AnomalyRow& row) {
  return JsonText({{"anomaly_id", row.id},
                   {"observed_at", TimestampText(row.observed_at)},
                   {"category", row.category},
                   {"metric", row.metric},
                   {"component", row.component},
                   {"value", row.value},
                   {"score", row.score},
                   {"method", row.method},
                   {"shape", row.shape},
                   {"confidence", row.confidence},
                   {"incident_id", IdOrNull(row.incident_id)},
                   {"direction", row.direction},
                   {"onset_at", TimestampText(row.onset_at)}});
}

std::string RowText(const AuditEntry& row) {
  return JsonText({{"audit_id", row.id},
                   {"at", TimestampText(row.at)},
                   {"actor", row.actor},
                   {"action", row.action},
                   {"subject", row.subject},
                   {"outcome", row.outcome},
                   {"detail", ParseJson(row.detail, "detail")},
                   {"hash", nullptr}});
}

std::string RowText(const Prediction& row) {
  const ResourceDef& def = DefOf(row.resource);
  return JsonText({{"prediction_id", row.id},
                   {"failure_type", def.failure_type},
                   {"component", def.component},
                   {"subject", row.subject.data()},
                   {"predicted_at", TimestampText(row.predicted_at)},
                   {"eta", TimestampText(row.eta)},
                   {"eta_low", TimestampText(row.eta_low)},
                   {"eta_high", TimestampJson(row.eta_high)},
                   {"confidence", row.confidence},
                   {"outcome", PredictionOutcomeName(row.outcome)},
                   {"graded_at", TimestampJson(row.graded_at)},
                   {"resource", def.name},
                   {"value", row.value},
                   {"limit_value", row.limit},
                   {"slope", row.slope},
                   {"unit", def.unit},
                   {"horizon", TimestampText(row.horizon)}});
}

Incident ParseIncident(std::string_view json) {
  const RowReader in("heal.incidents", json);
  Incident row;
  row.id = in.Id("incident_id");
  row.component = in.Text("component");
  row.failure_type = in.Text("failure_type");
  row.category = in.Text("category");
  row.severity = in.Text("severity");
  row.subject = in.Text("subject");
  row.database = in.Text("database");
  row.fingerprint = in.Text("fingerprint");
  const auto state = StateFromName(in.Text("state"));
  if (!state) in.Fail("state", "a state of an incident");
  row.state = *state;
  row.opened_at = in.Time("opened_at");
  row.detected_after_ms = in.OptionalNumber("detected_after_ms");
  row.root_cause = in.OptionalText("root_cause");
  row.confidence = in.OptionalNumber("confidence");
  row.remedy = in.OptionalText("remedy");
  row.attempts = in.SmallInteger("attempts");
  row.outcome = in.OptionalText("outcome");
  row.resolved_at = in.OptionalTime("resolved_at");
  row.recovery_ms = in.OptionalNumber("recovery_ms");
  row.explanation = in.Object("explanation");
  return row;
}

Attempt ParseAttempt(std::string_view json) {
  const RowReader in("heal.attempts", json);
  Attempt row;
  row.id = in.Id("attempt_id");
  row.incident_id = in.Id("incident_id");
  row.component = in.Text("component");
  row.failure_type = in.Text("failure_type");
  row.subject = in.Text("subject");
  row.database = in.OptionalText("database");
  row.remedy = in.Text("remedy");
  row.action = in.Text("action");
  row.mode = in.Text("mode");
  const auto state = AttemptStateFromName(in.Text("state"));
  if (!state) in.Fail("state", "a state of an attempt");
  row.state = *state;
  row.started_at = in.Time("started_at");
  row.duration_ms = in.OptionalNumber("duration_ms");
  row.attempt_no = in.SmallInteger("attempt_no");
  row.outcome = in.OptionalText("outcome");
  row.verified = in.Boolean("verified");
  row.snapshot_id = in.OptionalInteger("snapshot_id");
  row.sql = in.Text("sql");
  row.undo_sql = in.Text("undo_sql");
  row.detail = in.Text("detail");
  return row;
}

Recommendation ParseRecommendation(std::string_view json) {
  const RowReader in("heal.recommendations", json);
  Recommendation row;
  row.id = in.Id("recommendation_id");
  row.incident_id = in.Id("incident_id");
  row.rank = in.SmallInteger("rank");
  row.failure_type = in.Text("failure_type");
  row.root_cause = in.OptionalText("root_cause");
  row.confidence = in.OptionalNumber("confidence");
  row.remedy = in.Text("remedy");
  row.action = in.Text("action");
  row.risk_class = in.Text("risk_class");
  row.reversible = in.Boolean("reversible");
  row.sql = in.Text("sql");
  row.undo_sql = in.Text("undo_sql");
  row.expected_success = in.Number("expected_success");
  row.reason = in.Text("reason");
  row.state = in.Text("state");
  row.decided_by = in.OptionalText("decided_by");
  row.decided_at = in.OptionalTime("decided_at");
  return row;
}

SnapshotRow ParseSnapshot(std::string_view json) {
  const RowReader in("heal.snapshots", json);
  SnapshotRow row;
  row.id = in.Id("snapshot_id");
  row.parent_id = in.OptionalInteger("parent_id");
  row.incident_id = in.OptionalInteger("incident_id");
  row.depth = in.SmallInteger("depth");
  row.label = in.Text("label");
  row.component = in.OptionalText("component");
  row.taken_at = in.Time("taken_at");
  row.taken_by = in.Text("taken_by");
  row.expires_at = in.Time("expires_at");
  row.items = in.SmallInteger("items");
  row.state = in.Text("state");
  row.rollback_status = in.OptionalText("rollback_status");
  return row;
}

SnapshotItemRow ParseSnapshotItem(std::string_view json) {
  const RowReader in("heal.snapshot_items", json);
  SnapshotItemRow row;
  row.id = in.Id("item_id");
  row.snapshot_id = in.Id("snapshot_id");
  row.item.kind = in.Text("kind");
  row.item.database = in.Text("database");
  row.item.database_oid = in.Oid("database_oid");
  row.item.object = in.Text("object");
  row.item.name = in.Text("name");
  if (!in.Null("value")) row.item.value = in.Text("value");
  row.item.has_expected = in.Boolean("has_expected");
  if (!in.Null("expected")) row.item.expected = in.Text("expected");
  row.item.restore_sql = in.Text("restore_sql");
  row.item.reset_sql = in.Text("reset_sql");
  row.status = in.OptionalText("status");
  row.detail = in.OptionalText("detail");
  return row;
}

Prediction ParsePrediction(std::string_view json) {
  const RowReader in("heal.predictions", json);
  Prediction row;
  row.id = static_cast<uint64_t>(in.Id("prediction_id"));
  const std::string name = in.Text("resource");
  const auto resource = std::find_if(Resources().begin(), Resources().end(),
                                     [&](const ResourceDef& def) { return name == def.name; });
  if (resource == Resources().end()) in.Fail("resource", "a resource");
  row.resource = resource->resource;
  const std::string subject = in.Text("subject");
  subject.copy(row.subject.data(), row.subject.size() - 1);
  row.predicted_at = in.Time("predicted_at");
  row.eta = in.Time("eta");
  row.eta_low = in.Time("eta_low");
  row.eta_high = in.OptionalTime("eta_high");
  row.horizon = in.Time("horizon");
  row.confidence = in.Number("confidence");
  const auto outcome = PredictionOutcomeFromName(in.Text("outcome"));
  if (!outcome) in.Fail("outcome", "an outcome of a prediction");
  row.outcome = *outcome;
  row.graded_at = in.OptionalTime("graded_at");
  row.value = in.Number("value");
  row.limit = in.Number("limit_value");
  row.slope = in.Number("slope");
  return row;
}

}  // namespace heal
