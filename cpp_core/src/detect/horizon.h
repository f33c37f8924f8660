// horizon.h: who keeps dead rows from being removed.

#ifndef HEAL_CORE_DETECT_HORIZON_H_
#define HEAL_CORE_DETECT_HORIZON_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "detect/matcher.h"

namespace heal {

// Follows everything that holds an xmin: sessions, replication slots, standbys
// with feedback, prepared transactions. A holder is stuck since a time if its
// age never fell since then: then rows that died later cannot be removed. A
// lost slot holds nothing, whatever it shows.
class HorizonHolders {
 public:
  void Observe(const MatchInput& input);

  // Evidence horizon_stuck and horizon_held_by_* for a table of this database
  // whose rows die since a time on the monotonic clock. Of several stuck
  // holders only the oldest, and those of about its age, are the cause.
  void AddEvidence(uint32_t database_oid, int64_t since_mono, Match* match) const;

 private:
  enum Source { kSession, kSlot, kStandby, kPrepared, kSources };

  struct Holder {
    Source source = kSession;
    std::string name;
    uint32_t database_oid = 0;  // 0: holds the horizon of all
    std::string database;       // of a prepared transaction: known by name
    uint32_t age = 0;
    int64_t stuck_since = 0;  // monotonic
    bool seen = false;
  };

  void Note(const MatchInput& input, const std::string& key, Holder holder);
  void NoteSessions(const MatchInput& input);

  std::map<std::string, Holder> holders_;
  bool sessions_known_ = false;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_HORIZON_H_
