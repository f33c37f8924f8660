// A server and a shell around the engine: what tests of the whole loop share.

#ifndef HEAL_TEST_CORE_ENGINE_FIXTURE_H_
#define HEAL_TEST_CORE_ENGINE_FIXTURE_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "engine.h"
#include "matchers_fixture.h"

namespace heal {

// A row image, or the result of a request.
using Row = nlohmann::json;

inline hc_settings AutoSettings() {
  hc_settings s{};
  s.mode = HC_MODE_AUTO;
  s.policy = HC_POLICY_BALANCED;
  s.monitoring_interval_ms = 1000;
  s.confirm_samples = 2;
  s.anomaly_threshold = 3;
  s.window_size = 100;
  s.iqr_multiplier = 1.5;
  s.min_confidence = 0.7;
  s.auto_baseline = 1;
  s.min_baseline_samples = 30;
  s.inference_min_confidence = 0.7;
  s.inference_max_path_depth = 5;
  s.inference_min_edge_probability = 0.3;
  s.inference_multi_hop = 1;
  s.rollback_enabled = 1;
  s.rollback_max_attempts = 3;
  s.rollback_timeout_ms = 30000;
  s.rollback_verify = 1;
  s.rollback_max_depth = 3;
  s.snapshot_retention_ms = 3600000;
  s.max_retries = s.retry_delay_ms = s.recovery_timeout_ms = -1;
  s.concurrent_recoveries = 2;
  return s;
}

// A command as the shell received it.
struct Sent {
  hc_command command;
  std::string guard_sql, sql, probe_sql, items;
};

// What the shell reports back.
struct Reported {
  hc_outcome_status status = HC_OUT_DONE;
  std::string json;
  std::string message;
  std::string sqlstate;
};

struct Answered {
  uint64_t id;
  std::string sqlstate, message, detail, hint;
  Row json;
};

// Plays the shell: steps the engine, keeps its journal, carries out commands.
class Shell {
 public:
  Shell() { Start(); }

  // ---- the loop ----

  void Start() { engine_ = std::make_unique<Engine>(limits, 1); }

  // The engine dies; a new one comes up from the rows of the journal.
  void Crash(bool foreign = false) {
    Start();
    outcomes_.clear();
    std::vector<hc_record> records;
    for (const auto& [table, id, json] : journal) records.push_back({table, id, json.c_str()});
    engine_->Restore(records, foreign);
  }

  // One step, `seconds` after the one before; its commands are carried out and
  // their outcomes wait for the next one.
  void Step(double seconds = 1) {
    world.Advance(seconds);
    hc_observation o = world.Observe();
    o.settings = &settings;
    o.config = config;
    config = nullptr;
    std::vector<hc_request> requests(requests_.begin(), requests_.end());
    o.requests = requests.data();
    o.n_requests = static_cast<uint32_t>(requests.size());
    std::vector<hc_outcome> outcomes;
    for (const auto& [id, reported] : outcomes_)
      outcomes.push_back({id, reported.status, reported.sqlstate.c_str(), reported.message.c_str(),
                          reported.json.c_str(), 1000});
    o.outcomes = outcomes.data();
    o.n_outcomes = static_cast<uint32_t>(outcomes.size());
    hc_decisions d{};
    engine_->Step(o, &d);
    outcomes_.clear();
    requests_.clear();
    Take(d);
  }

  // Steps until nothing is open, at most n; looks again when asked to.
  void Settle(int n = 60) {
    for (int i = 0; i < n && (i == 0 || open > 0); ++i)
      Step(look_again_us > 0 ? static_cast<double>(look_again_us) / 1e6 : 1);
  }

  uint64_t Ask(hc_request_kind kind, int64_t id = 0, const char* text = "", int flag = 0, const char* component = "") {
    hc_request r{};
    r.id_request = ++last_request_;
    r.kind = kind;
    r.id = id;
    r.flag = flag;
    r.role = "dba";
    r.text = text;
    r.component = component;
    requests_.push_back(r);
    return r.id_request;
  }

  // The answer to a request, after as many steps as it takes.
  Answered Answer(uint64_t id, int steps = 20) {
    for (int i = 0; i <= steps; ++i) {
      for (const Answered& a : answers)
        if (a.id == id) return a;
      Step(0.1);
    }
    ADD_FAILURE() << "request " << id << " was not answered";
    return {id, "", "", "", "", {}};
  }

  // ---- what the tables would show ----

  std::vector<Row> Rows(hc_table_kind table) const {
    std::map<int64_t, Row> rows;
    for (const auto& [kind, id, json] : journal)
      if (kind == table) rows[id] = Row::parse(json);
    std::vector<Row> list;
    for (auto& [id, row] : rows) list.push_back(row);
    return list;
  }
  Row Last(hc_table_kind table) const {
    const std::vector<Row> rows = Rows(table);
    return rows.empty() ? Row() : rows.back();
  }
  std::string State() const {
    const Row row = Last(HC_T_INCIDENTS);
    return row.is_null() ? "" : row["state"].get<std::string>();
  }
  std::vector<std::string> Path() const {
    std::vector<std::string> path;
    for (const Row& row : Rows(HC_T_TRANSITIONS)) path.push_back(row["to_state"]);
    return path;
  }
  const Row& Component(const std::string& name) const { return components.at(name); }
  std::vector<Sent> Acts() const {
    std::vector<Sent> acts;
    for (const Sent& s : sent)
      if (s.command.kind != HC_CMD_CAPTURE && s.command.kind != HC_CMD_INSPECT) acts.push_back(s);
    return acts;
  }

  World world;
  hc_settings settings = AutoSettings();
  hc_limits limits{};
  const hc_config* config = nullptr;
  // How a command ends; default: done, without effect on the world.
  std::function<Reported(const Sent&)> run = [](const Sent&) { return Reported{}; };
  // Whether outcomes are delivered at all.
  bool deliver = true;

  std::vector<std::tuple<hc_table_kind, int64_t, std::string>> journal;
  std::vector<Sent> sent;
  std::vector<Answered> answers;
  std::vector<std::string> log;
  std::map<std::string, Row> components;
  int32_t open = 0;
  int32_t paused = 0;
  int64_t look_again_us = -1;
  std::string bytes;  // everything handed out, for comparing runs

 private:
  void Take(const hc_decisions& d) {
    for (uint32_t i = 0; i < d.n_records; ++i) {
      journal.emplace_back(d.records[i].table, d.records[i].id, d.records[i].json);
      bytes += std::to_string(d.records[i].table) + " " + d.records[i].json + "\n";
    }
    for (uint32_t i = 0; i < d.n_replies; ++i) {
      const hc_reply& r = d.replies[i];
      answers.push_back({r.id_request, r.sqlstate, r.message, r.detail, r.hint,
                         r.json[0] == '\0' ? Row() : Row::parse(r.json)});
      bytes += std::string(r.sqlstate) + r.message + r.detail + r.hint + r.json + "\n";
    }
    components.clear();
    for (uint32_t i = 0; i < d.n_components; ++i) {
      const hc_component_status& c = d.components[i];
      components[c.component] = {{"state", c.state},         {"since", c.since},
                                 {"open", c.open_incidents}, {"worst", c.worst_failure},
                                 {"recovered", c.last_recovery_at}, {"detail", c.detail}};
      bytes += components[c.component].dump() + "\n";
    }
    for (uint32_t i = 0; i < d.n_log; ++i) {
      log.emplace_back(d.log[i].text);
      bytes += log.back() + "\n";
    }
    open = d.open_incidents;
    paused = d.paused;
    settings.paused = d.paused;  // the shell keeps it in shared memory
    look_again_us = d.look_again_us;
    bytes += std::to_string(look_again_us) + "\n";
    for (uint32_t i = 0; i < d.n_commands; ++i) Carry(d.commands[i]);
  }

  void Carry(const hc_command& command) {
    const Sent s{command, command.guard_sql, command.sql, command.probe_sql, command.items};
    bytes += std::to_string(command.id) + s.sql + s.items + std::to_string(command.target.pid) + "\n";
    sent.push_back(s);
    if (command.kind == HC_CMD_INSPECT) {
      world.inspections.assign(1, {World::kDatabase, "shop", world.now, 1});
      return;
    }
    const Reported reported = run(s);
    if (deliver) outcomes_.emplace_back(command.id, reported);
  }

  std::unique_ptr<Engine> engine_;
  std::vector<hc_request> requests_;
  std::vector<std::pair<uint64_t, Reported>> outcomes_;
  uint64_t last_request_ = 0;
};

// Faults, and what the server does when they are treated.
class EngineTest : public ::testing::Test {
 protected:
  using Path = std::vector<std::string>;

  EngineTest() {
    shell_.world.server().wal_disk_total_bytes = int64_t{200} << 30;
    shell_.world.server().min_wal_size_mb = 80;
  }

  World& world() { return shell_.world; }

  void RemoveSession(int32_t pid) {
    std::erase_if(world().sessions, [pid](const hc_session& s) { return s.id.pid == pid; });
  }

  // P01: pid 100 idles in a transaction that pid 200 waits for.
  void IdleBlocker() {
    world().AddSession(100, HC_STATE_IDLE_IN_TRANSACTION, 120);
    world().AddWaiting(200, 20);
    world().AddLock(HC_LOCK_RELATION, 77, "public.orders", {{100, 8}}, {{200, 1, 20}});
    shell_.run = [this](const Sent& s) {
      if (s.command.kind == HC_CMD_TERMINATE) {
        RemoveSession(s.command.target.pid);
        world().ClearLocks();
        for (hc_session& session : world().sessions) session.flags = 0;
      }
      return Reported{};
    };
  }

  // P02: pid 300 waits with a DDL behind reader 100, readers wait behind it.
  void DdlQueue() {
    world().AddSession(100, HC_STATE_ACTIVE, 300);
    for (int pid : {300, 301, 302, 303}) world().AddWaiting(pid, 10);
    world().AddLock(HC_LOCK_RELATION, 77, "public.orders", {{100, 1}},
                    {{300, 8, 10}, {301, 1, 9}, {302, 1, 8}, {303, 1, 7}});
    shell_.run = [this](const Sent& s) {
      if (s.command.kind == HC_CMD_CANCEL) {
        world().ClearLocks();
        for (hc_session& session : world().sessions) session.flags = 0;
      }
      return Reported{};
    };
  }

  Shell shell_;
};

}  // namespace heal

#endif  // HEAL_TEST_CORE_ENGINE_FIXTURE_H_
