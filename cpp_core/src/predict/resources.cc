#include "predict/resources.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace heal {
namespace {

constexpr size_t kMostSequences = 40;
constexpr size_t kMostSlots = 16;
constexpr size_t kMostDatabases = 10000;
constexpr size_t kLongest = 127;
constexpr int kAbsences = 3;
// Ids are refused 3 million before they would wrap (SetTransactionIdLimit and
// SetMultiXactIdLimit of the server).
constexpr double kIdsUntilStop = 2147483647.0 - 3000000.0;
constexpr double kMostMembers = 4294967296.0;

// A name that is too long keeps its beginning; a hash of all of it tells it from
// others that begin alike. Never cuts a UTF-8 character.
std::string Shortened(std::string text) {
  if (text.size() <= kLongest) return text;
  uint32_t hash = 2166136261U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  size_t keep = kLongest - 9;
  while (keep > 0 && (static_cast<unsigned char>(text[keep]) & 0xC0) == 0x80) --keep;
  char tail[16];
  std::snprintf(tail, sizeof tail, "~%08x", static_cast<unsigned>(hash));
  return text.substr(0, keep) + tail;
}

void Add(Resource resource, const char* subject, double value, double limit,
         std::vector<ResourceReading>* out) {
  if (!std::isfinite(value) || !std::isfinite(limit) || value < 0 || limit <= 0) return;
  ResourceReading reading;
  reading.resource = resource;
  reading.subject = subject;
  reading.value = value;
  reading.limit = limit;
  out->push_back(std::move(reading));
}

double Metric(const hc_observation& o, hc_metric_id id) {
  return o.metrics != nullptr ? o.metrics[id] : std::nan("");
}

void ReadDisks(const hc_server& server, std::vector<ResourceReading>* out) {
  const double limit = static_cast<double>(server.disk_limit_bytes);
  const double used = static_cast<double>(server.disk_used_bytes);
  Add(Resource::kDisk, "data directory", used, limit, out);
  Add(Resource::kWalDisk, "pg_wal", static_cast<double>(server.wal_disk_used_bytes),
      static_cast<double>(server.wal_disk_limit_bytes), out);
  const double temporary = static_cast<double>(server.temp_bytes);
  if (limit > 0) Add(Resource::kTempSpace, "temporary files", temporary, limit - used + temporary, out);
}

void ReadIds(const hc_observation& o, std::vector<ResourceReading>* out) {
  Add(Resource::kXidAge, "transaction ids", Metric(o, HC_M_XID_AGE), kIdsUntilStop, out);
  Add(Resource::kMultixactAge, "multixact ids", Metric(o, HC_M_MXID_AGE), kIdsUntilStop, out);
  const double members = static_cast<double>(o.server->multixact_members);
  if (members > 0) Add(Resource::kMultixactMembers, "multixact members", members, kMostMembers, out);
}

void ReadConnections(const hc_observation& o, std::vector<ResourceReading>* out) {
  if (o.sessions_known == 0) return;
  double clients = 0;
  for (uint32_t i = 0; i < o.n_sessions; ++i) clients += o.sessions[i].kind == HC_BACKEND_CLIENT ? 1 : 0;
  Add(Resource::kConnections, "connection slots", clients, o.server->max_connections, out);
}

// Other databases were looked at, this one is not among them.
bool Dropped(const hc_observation& o, uint32_t database_oid) {
  const std::span inspections(o.inspections, o.n_inspections);
  return !inspections.empty() && std::none_of(inspections.begin(), inspections.end(), [&](const hc_inspection& i) {
    return i.database_oid == database_oid;
  });
}

// The rows of an array that stand nearest to their limits, at most n of them.
template <typename Row, typename Share>
std::vector<const Row*> Nearest(const Row* rows, uint32_t count, size_t n, Share share) {
  std::vector<const Row*> found;
  for (uint32_t i = 0; i < count; ++i)
    if (share(rows[i]) >= 0) found.push_back(&rows[i]);
  if (found.size() <= n) return found;
  std::nth_element(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(n), found.end(),
                   [&](const Row* a, const Row* b) { return share(*a) > share(*b); });
  found.resize(n);
  return found;
}

void ReadSequences(const hc_observation& o, std::vector<ResourceReading>* out) {
  const auto share = [](const hc_sequence& s) { return std::isfinite(s.used) ? s.used : -1.0; };
  for (const hc_sequence* sequence : Nearest(o.sequences, o.n_sequences, kMostSequences, share)) {
    Add(Resource::kSequence, "", sequence->used, 1, out);
    out->back().subject = Shortened(std::string(sequence->qualified) + " (" + sequence->database + ")");
    out->back().database = sequence->database;
    out->back().database_oid = sequence->database_oid;
  }
}

void ReadSlots(const hc_observation& o, std::vector<ResourceReading>* out) {
  const double keep = static_cast<double>(o.server->max_slot_wal_keep_bytes);
  const double free = static_cast<double>(o.server->wal_disk_free_bytes);
  if (keep <= 0 && free < 0) return;
  const auto retained = [](const hc_slot& s) {
    return s.lost != 0 || s.temporary != 0 ? -1.0 : static_cast<double>(s.retained_bytes);
  };
  for (const hc_slot* slot : Nearest(o.slots, o.n_slots, kMostSlots, retained)) {
    const double value = static_cast<double>(slot->retained_bytes);
    const size_t before = out->size();
    Add(Resource::kSlotWal, "", value, keep > 0 ? keep : std::max(1.0, free + value), out);
    if (out->size() == before) continue;
    out->back().subject = Shortened(std::string("slot ") + slot->name);
    out->back().by_setting = keep > 0;
    out->back().slot = slot;
  }
}

}  // namespace

std::string FingerprintKey(Resource resource, std::string_view subject) {
  return resource == Resource::kConnections ? "server" : std::string(subject);
}

void ReadResources(const hc_observation& observation, std::vector<ResourceReading>* readings) {
  readings->clear();
  if (observation.server == nullptr) return;
  ReadDisks(*observation.server, readings);
  ReadIds(observation, readings);
  ReadConnections(observation, readings);
  ReadSlots(observation, readings);
  ReadSequences(observation, readings);
}

bool ResourceKnown(const hc_observation& observation, Resource resource, uint32_t database_oid) {
  if (resource == Resource::kSlotWal) return std::isfinite(Metric(observation, HC_M_SLOT_RETAINED));
  if (resource != Resource::kSequence) return false;
  if (Dropped(observation, database_oid)) return true;
  const std::span inspections(observation.inspections, observation.n_inspections);
  return std::any_of(inspections.begin(), inspections.end(), [&](const hc_inspection& i) {
    return i.database_oid == database_oid && i.complete != 0;
  });
}

// ---- the watch ----

void ResourceWatch::FindLooks(const hc_observation& o) {
  new_looks_.clear();
  for (uint32_t i = 0; i < o.n_inspections; ++i) {
    const hc_inspection& inspection = o.inspections[i];
    if (looks_.size() >= kMostDatabases && !looks_.contains(inspection.database_oid)) continue;
    const auto [at, added] = looks_.try_emplace(inspection.database_oid, inspection.inspected_at);
    if (!added && at->second == inspection.inspected_at) continue;
    at->second = inspection.inspected_at;
    new_looks_.push_back(inspection.database_oid);
  }
  // Databases that are gone make room.
  if (looks_.size() > 2 * static_cast<size_t>(o.n_inspections) + 16) looks_.clear();
}

bool ResourceWatch::NewLook(uint32_t database_oid) const {
  return std::find(new_looks_.begin(), new_looks_.end(), database_oid) != new_looks_.end();
}

void ResourceWatch::Read(const hc_observation& observation) {
  ReadResources(observation, &readings_);
  FindLooks(observation);
  samples_.clear();
  for (auto& [key, watched] : watched_) watched.seen = false;
  for (const ResourceReading& reading : readings_) {
    const bool comes_and_goes = reading.resource == Resource::kSlotWal || reading.resource == Resource::kSequence;
    if (comes_and_goes) watched_[{reading.resource, reading.subject}] = {reading.database_oid, 0, true};
    if (reading.resource == Resource::kSequence && !NewLook(reading.database_oid)) continue;
    samples_.push_back({reading.resource, reading.subject, reading.value, reading.limit});
  }
  FindGone(observation);
}

void ResourceWatch::FindGone(const hc_observation& observation) {
  gone_.clear();
  gone_names_.clear();
  gone_names_.reserve(watched_.size());
  for (auto it = watched_.begin(); it != watched_.end();) {
    const Resource resource = it->first.first;
    Watched& watched = it->second;
    const bool looked = ResourceKnown(observation, resource, watched.database_oid) &&
                        (resource != Resource::kSequence || NewLook(watched.database_oid) ||
                         Dropped(observation, watched.database_oid));
    if (!watched.seen && looked) ++watched.absent;
    if (watched.absent < kAbsences) {
      ++it;
      continue;
    }
    gone_names_.push_back(it->first.second);
    gone_.push_back({resource, gone_names_.back(), 0, 0});
    it = watched_.erase(it);
  }
}

void ResourceWatch::Expect(Resource resource, std::string_view subject) {
  if (resource == Resource::kSlotWal) watched_[{resource, std::string(subject)}] = {};
}

}  // namespace heal
