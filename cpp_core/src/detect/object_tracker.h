// object_tracker.h: what is remembered of inspected objects between looks.

#ifndef HEAL_CORE_DETECT_OBJECT_TRACKER_H_
#define HEAL_CORE_DETECT_OBJECT_TRACKER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>

#include "detect/matcher.h"

namespace heal {

// State per suspect object, key database and object. An object is forgotten
// when a complete look at its database does not list it any more; facts that
// are merely older than this step change nothing. State must have a member
// bool seen.
template <typename State>
class ObjectTracker {
 public:
  using Key = std::pair<uint32_t, uint32_t>;

  // nullptr if the object is not tracked.
  State* Find(uint32_t database, uint32_t object) {
    const auto at = states_.find({database, object});
    return at == states_.end() ? nullptr : &at->second;
  }

  // nullptr when full: an object more is not watched, none is forgotten.
  State* Add(uint32_t database, uint32_t object) {
    if (states_.size() >= kMost) return nullptr;
    return &states_[{database, object}];
  }

  void Forget(uint32_t database, uint32_t object) { states_.erase({database, object}); }

  // Call before and after the rows of a step were gone through.
  void BeginLooks() {
    for (auto& [key, state] : states_) state.seen = false;
  }
  void EndLooks(const MatchInput& input) {
    std::erase_if(states_, [&](const auto& entry) {
      const uint32_t database = entry.first.first;
      const Look* look = input.FindLook(database);
      const bool gone = look != nullptr && look->complete && !entry.second.seen;
      return gone ||
             std::find(input.forgotten.begin(), input.forgotten.end(), database) != input.forgotten.end();
    });
  }

  std::map<Key, State>& states() { return states_; }

 private:
  static constexpr size_t kMost = 512;

  std::map<Key, State> states_;
};

}  // namespace heal

#endif  // HEAL_CORE_DETECT_OBJECT_TRACKER_H_
