// resources.h: what of a server can run out, read from an observation.

#ifndef HEAL_CORE_PREDICT_RESOURCES_H_
#define HEAL_CORE_PREDICT_RESOURCES_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "heal_core/observation.h"
#include "predict/forecaster.h"

namespace heal {

// One thing that can run out. Its subject is that of its incidents and of its
// predictions, stable from tick to tick, and at most 127 bytes.
struct ResourceReading {
  Resource resource = Resource::kDisk;
  std::string subject;
  std::string database;       // of a sequence, else ""
  uint32_t database_oid = 0;  // of a sequence, else 0
  double value = 0;
  double limit = 0;             // above 0
  bool by_setting = false;      // the limit is somebody's decision, not what there is
  const hc_slot* slot = nullptr;  // of the observation

  double share() const { return value / limit; }
};

// The subject by which the incidents of a resource are told apart: a failure
// of the whole server has one fingerprint whatever its subject says.
std::string FingerprintKey(Resource resource, std::string_view subject);

// All that could be read, replacing *readings. Of sequences and slots the 40 and
// 16 nearest to their limits; slots that are lost or temporary are none.
// Cost: linear in the facts, a text of its own for each reading.
void ReadResources(const hc_observation& observation, std::vector<ResourceReading>* readings);

// Were the slots, or the sequences of this database, read at all, so that one
// that is not listed has gone? Never so for resources there is one of.
bool ResourceKnown(const hc_observation& observation, Resource resource, uint32_t database_oid);

// Turns observations into samples for the forecaster. A sequence is a sample
// only when its database was looked at anew; slots and sequences that are no
// longer there are named, once, after three looks without them.
class ResourceWatch {
 public:
  // Call on full ticks. What the spans refer to is valid until the next call.
  void Read(const hc_observation& observation);

  std::span<const ResourceReading> readings() const { return readings_; }
  std::span<const ResourceSample> samples() const { return samples_; }
  std::span<const ResourceSample> gone() const { return gone_; }

  // A subject that was there before a restart.
  void Expect(Resource resource, std::string_view subject);

 private:
  struct Watched {
    uint32_t database_oid = 0;
    int absent = 0;
    bool seen = false;
  };

  bool NewLook(uint32_t database_oid) const;
  void FindLooks(const hc_observation& observation);
  void FindGone(const hc_observation& observation);

  std::vector<ResourceReading> readings_;
  std::vector<ResourceSample> samples_;
  std::vector<ResourceSample> gone_;
  std::vector<std::string> gone_names_;
  std::map<std::pair<Resource, std::string>, Watched, std::less<>> watched_;
  std::map<uint32_t, int64_t> looks_;  // database -> inspected_at
  std::vector<uint32_t> new_looks_;
};

}  // namespace heal

#endif  // HEAL_CORE_PREDICT_RESOURCES_H_
