// The C ABI: every entry point is noexcept and runs its body inside Contain,
// the one catch-all. Nothing on the error path allocates.

#include "heal_core/c_api.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "catalogue/catalogue_json.h"
#include "catalogue/failures.h"
#include "catalogue/metrics.h"
#include "core_error.h"
#include "detect/detector_grades.h"
#include "diagnose/diagnose_json.h"
#include "diagnose/diagnoser.h"
#include "engine.h"
#include "observation_check.h"

struct hc_engine {
  hc_engine(const hc_limits& limits, uint64_t seed) : engine(limits, seed) {}
  heal::Engine engine;
};

namespace {

// Constant-initialised: no code of ours runs before main.
constinit std::atomic<int64_t> live_engines{0};

void SetMessage(hc_error* err, const char* text) noexcept {
  if (err == nullptr) return;
  const size_t length = std::min(std::strlen(text), sizeof err->message - 1);
  std::memcpy(err->message, text, length);
  err->message[length] = '\0';
}

// The status of the exception in flight. Call from a catch block only.
hc_status StatusOfException(hc_error* err) noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    SetMessage(err, "out of memory");
    return HC_ENOMEM;
  } catch (const std::length_error&) {
    SetMessage(err, "out of memory: a size is too large");
    return HC_ENOMEM;
  } catch (const heal::CanceledError& e) {
    SetMessage(err, e.what());
    return HC_ECANCELED;
  } catch (const heal::LimitError& e) {
    SetMessage(err, e.what());
    return HC_ELIMIT;
  } catch (const heal::GraphError& e) {
    SetMessage(err, e.what());
    return HC_EINVAL;
  } catch (const heal::EvidenceError& e) {
    SetMessage(err, e.what());
    return HC_EINVAL;
  } catch (const std::invalid_argument& e) {
    SetMessage(err, e.what());
    return HC_EINVAL;
  } catch (const std::exception& e) {
    SetMessage(err, e.what());
    return HC_EINTERNAL;
  } catch (...) {
    SetMessage(err, "unknown exception");
    return HC_EINTERNAL;
  }
}

template <typename Body>
hc_status Contain(hc_error* err, Body body) noexcept {
  SetMessage(err, "");
  try {
    body();
    return HC_OK;
  } catch (...) {
    return StatusOfException(err);
  }
}

void Require(bool condition, const char* what) {
  if (!condition) throw std::invalid_argument(what);
}

hc_limits LimitsOrDefaults(const hc_limits* limits) { return limits == nullptr ? hc_limits{} : *limits; }

// A copy made with malloc, so that C frees it by hc_free.
char* MallocCopy(const std::string& text) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));  // NOLINT(cppcoreguidelines-owning-memory)
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  return copy;
}

// Built at the first call and never destroyed: nothing runs at exit.
const std::vector<hc_metric_info>& MetricInfos() {
  static const auto* infos = [] {
    auto list = std::make_unique<std::vector<hc_metric_info>>();
    for (const heal::MetricDef& def : heal::Metrics())
      list->push_back({def.name, def.component, def.category, def.unit, heal::MetricKindName(def.kind),
                       heal::BadDirectionName(def.bad), def.description});
    return list.release();
  }();
  return *infos;
}

const std::vector<hc_threshold_info>& ThresholdInfos() {
  static const auto* infos = [] {
    auto list = std::make_unique<std::vector<hc_threshold_info>>();
    for (const heal::FailureDef& failure : heal::Failures())
      for (const heal::ThresholdDef& def : failure.thresholds)
        list->push_back({failure.type, def.name, def.unit, def.description, def.default_value});
    return list.release();
  }();
  return *infos;
}

template <typename Info>
const Info* ArrayOf(const std::vector<Info>& (*infos)(), uint32_t* n) noexcept {
  if (n != nullptr) *n = 0;
  try {
    const std::vector<Info>& list = infos();
    if (n != nullptr) *n = static_cast<uint32_t>(list.size());
    return list.data();
  } catch (...) {
    return nullptr;
  }
}

}  // namespace

uint32_t hc_abi_version(void) noexcept { return HC_ABI_VERSION; }

const char* hc_status_name(hc_status status) noexcept {
  switch (status) {
    case HC_OK:
      return "ok";
    case HC_ENOMEM:
      return "out of memory";
    case HC_EINVAL:
      return "invalid argument";
    case HC_ELIMIT:
      return "limit reached";
    case HC_ECANCELED:
      return "canceled";
    case HC_EINTERNAL:
      return "internal error";
  }
  return "unknown status";
}

hc_status hc_engine_create(const hc_limits* limits, uint64_t seed, hc_engine** out, hc_error* err) noexcept {
  if (out != nullptr) *out = nullptr;
  return Contain(err, [&] {
    Require(out != nullptr, "out is missing");
    *out = new hc_engine(LimitsOrDefaults(limits), seed);  // NOLINT(cppcoreguidelines-owning-memory)
    live_engines.fetch_add(1, std::memory_order_relaxed);
  });
}

void hc_engine_destroy(hc_engine* engine) noexcept {
  if (engine == nullptr) return;
  delete engine;  // NOLINT(cppcoreguidelines-owning-memory)
  live_engines.fetch_sub(1, std::memory_order_relaxed);
}

hc_status hc_engine_restore(hc_engine* engine, const hc_record* records, uint32_t n, int foreign,
                            hc_error* err) noexcept {
  return Contain(err, [&] {
    Require(engine != nullptr, "engine is missing");
    Require(n == 0 || records != nullptr, "records are missing");
    engine->engine.Restore(std::span<const hc_record>(records, n), foreign != 0);
  });
}

hc_status hc_engine_step(hc_engine* engine, const hc_observation* observation, hc_decisions* out,
                         hc_error* err) noexcept {
  if (out != nullptr) *out = hc_decisions{};
  return Contain(err, [&] {
    Require(engine != nullptr, "engine is missing");
    Require(observation != nullptr, "observation is missing");
    Require(out != nullptr, "out is missing");
    engine->engine.Step(*observation, out);
  });
}

int64_t hc_engine_live_count(void) noexcept { return live_engines.load(std::memory_order_relaxed); }

const hc_metric_info* hc_catalogue_metrics(uint32_t* n) noexcept { return ArrayOf(MetricInfos, n); }

const hc_threshold_info* hc_catalogue_thresholds(uint32_t* n) noexcept { return ArrayOf(ThresholdInfos, n); }

const char* hc_catalogue_json(void) noexcept {
  try {
    static const std::string* json = std::make_unique<std::string>(heal::CatalogueJson()).release();
    return json->c_str();
  } catch (...) {
    return "{}";
  }
}

hc_status hc_diagnose(const hc_config* config, const hc_settings* settings, const hc_limits* limits,
                      const char* evidence_json, char** result_json, hc_error* err) noexcept {
  if (result_json != nullptr) *result_json = nullptr;
  return Contain(err, [&] {
    Require(settings != nullptr, "settings are missing");
    Require(evidence_json != nullptr, "evidence is missing");
    Require(result_json != nullptr, "result_json is missing");
    heal::CheckSettings(*settings);
    if (config != nullptr) heal::CheckConfig(*config);
    *result_json = MallocCopy(heal::DiagnoseJson(config, *settings, LimitsOrDefaults(limits), evidence_json));
  });
}

hc_status hc_graph_check(const hc_config* config, hc_error* err) noexcept {
  return Contain(err, [&] {
    if (config != nullptr) heal::CheckConfig(*config);
    heal::Diagnoser diagnoser;
    diagnoser.SetGraph(config);
  });
}

hc_grade hc_detector_grade(double confirmed, double refuted, double unexplained) noexcept {
  const heal::DetectorGrade grade = heal::GradeDetector(confirmed, refuted, unexplained);
  return {grade.precision, grade.low, grade.high, grade.demoted ? 1 : 0};
}

void hc_free(void* p) noexcept { std::free(p); }  // NOLINT(cppcoreguidelines-owning-memory)
