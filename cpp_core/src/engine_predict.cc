// What will run out, and when. Every full tick teaches the forecaster; its
// predictions are rows, graded by what happens. With pg_heal.predictive one that
// is believed opens an incident under the fingerprint of the failure itself, so
// that it is the same incident when it comes true.

#include <cmath>
#include <string>
#include <utility>

#include "engine.h"

namespace heal {
namespace {

// A record of outcomes says something from so many on; predictions of a
// resource of which fewer than half were hits are not believed. (An honest 80 %
// interval is hit four times in five.)
constexpr uint32_t kFewGraded = 4;
constexpr double kLeastHitRate = 0.5;

std::string Span(double seconds) {
  struct Unit {
    double seconds;
    const char* name;
  };
  static constexpr Unit kUnits[] = {{86400, "d"}, {3600, "h"}, {60, "min"}};
  for (const Unit& unit : kUnits)
    if (seconds >= 2 * unit.seconds) return Text("%.0f %s", seconds / unit.seconds, unit.name);
  return Text("%.0f s", std::fmax(seconds, 0));
}

double SecondsUntil(int64_t at, int64_t now) { return static_cast<double>(at - now) / 1e6; }

// The failures whose matcher knows no more than the resource itself.
bool IsExhaustion(const Match& match, const ResourceDef& def) {
  return match.failure_type == def.failure_type && def.resource != Resource::kConnections;
}

}  // namespace

// Open predictions of an earlier life go on; those that cannot are withdrawn.
void Engine::ResumePredictions() {
  for (auto& [id, prediction] : book_.TakePredictions()) {
    const bool open = prediction.outcome == PredictionOutcome::kOpen;
    // On another server they say nothing; their ids were given out all the same.
    if (foreign_) prediction.outcome = PredictionOutcome::kWithdrawn;
    const bool taken = forecaster_.Restore(prediction);
    if (!open) continue;
    if (taken && !foreign_) {
      watch_.Expect(prediction.resource, prediction.subject.data());
      continue;
    }
    prediction.outcome = PredictionOutcome::kWithdrawn;
    prediction.graded_at = now_;
    book_.Append(prediction);
  }
}

void Engine::Predict() {
  if (observation_->full_tick == 0) return;
  watch_.Read(*observation_);
  forecaster_.set_min_samples(static_cast<size_t>(settings().min_baseline_samples));
  for (const Prediction& event : forecaster_.Observe(now_, watch_.samples(), watch_.gone())) book_.Append(event);
}

bool Engine::Believed(const Prediction& prediction) const {
  // Spills come and go within a statement: too short for a warning.
  if (prediction.resource == Resource::kTempSpace || prediction.eta_high == 0) return false;
  const char* type = DefOf(prediction.resource).failure_type;
  if (!(prediction.confidence >= thresholds_.Get(type, "predict_confidence"))) return false;
  if (!(SecondsUntil(prediction.eta_high, now_) <= thresholds_.Get(type, "predict_within_s"))) return false;
  return forecaster_.Graded(prediction.resource) < kFewGraded ||
         forecaster_.HitRate(prediction.resource, 1) >= kLeastHitRate;
}

// What the forecast says now about a failure that is there already.
void Engine::AddForecast(Resource resource, Match* match) const {
  const Exhaustion* latest = forecaster_.Latest(resource, match->subject);
  if (latest == nullptr || latest->state == Exhaustion::State::kNoTrend) {
    AddEvidence(match, "usage_rising", Truth::kUnknown, "the history is too short for a forecast");
    return;
  }
  const bool rising = latest->state == Exhaustion::State::kPredicted;
  AddEvidence(match, "usage_rising", rising,
              rising ? "the limit is forecast to be reached" : "no trend towards the limit");
  if (!rising) return;
  const double seconds = SecondsUntil(latest->eta_us, now_);
  match->values["eta_s"] = seconds;
  match->values["eta_confidence"] = latest->confidence;
  match->params["forecast"] = "the limit is forecast to be reached in about " + Span(seconds);
}

Match Engine::PredictedMatch(const Prediction& p) const {
  const ResourceDef& def = DefOf(p.resource);
  const std::string subject = p.subject.data();
  const std::string why =
      Text("predicted to reach its limit in %s to %s, most probably in %s, with confidence %.2f",
           Span(SecondsUntil(p.eta_low, now_)).c_str(), Span(SecondsUntil(p.eta_high, now_)).c_str(),
           Span(SecondsUntil(p.eta, now_)).c_str(), p.confidence);
  Match match = NewMatch(def.failure_type, FingerprintKey(p.resource, subject), subject, why);
  match.evidence.front().truth = Truth::kUnknown;  // it has not happened
  match.severity = "warning";
  match.since_us = p.predicted_at;
  AddEvidence(&match, "usage_rising", true, why);
  for (const ResourceReading& reading : watch_.readings()) {
    if (reading.resource != p.resource || reading.subject != subject) continue;
    match.database = reading.database;
    match.database_oid = reading.database_oid;
    match.values["value"] = reading.value;
  }
  match.values["predicted"] = 1;
  match.values["prediction_id"] = static_cast<double>(p.id);
  match.values["eta_s"] = SecondsUntil(p.eta, now_);
  match.values["eta_low_s"] = SecondsUntil(p.eta_low, now_);
  match.values["eta_high_s"] = SecondsUntil(p.eta_high, now_);
  match.values["eta_confidence"] = p.confidence;
  match.values["limit"] = p.limit;
  return match;
}

// Behind the failures that are there: of one fingerprint the first counts.
void Engine::AddPredicted() {
  for (Match& match : matches_)
    for (const ResourceDef& def : Resources())
      if (IsExhaustion(match, def) && forecaster_.Latest(def.resource, match.subject) != nullptr)
        AddForecast(def.resource, &match);
  if (settings().predictive == 0) return;
  forecaster_.ForEachOpen([this](const Prediction& prediction) {
    if (Believed(prediction)) matches_.push_back(PredictedMatch(prediction));
  });
}

}  // namespace heal
