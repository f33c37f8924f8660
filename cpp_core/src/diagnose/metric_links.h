// metric_links.h: nodes of the causal graph that users tied to a metric.

#ifndef HEAL_CORE_DIAGNOSE_METRIC_LINKS_H_
#define HEAL_CORE_DIAGNOSE_METRIC_LINKS_H_

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "heal_core/observation.h"
#include "model.h"

namespace heal {

// A node that a user added with a metric is present while that metric had an
// anomaly in one of the last two full ticks. Shipped nodes are left out: what
// they mean is told by the evidence of the matchers.
class MetricLinks {
 public:
  // The graph of the tables; null: the shipped one, without links.
  void SetGraph(const hc_config* config);
  // A full tick begins.
  void Tick();
  // The metric left its baseline in this tick.
  void Note(std::string_view metric);
  // Adds what is present and not told of yet.
  void AddEvidence(Match* match) const;

 private:
  std::map<std::string, std::string> metric_of_;  // by node
  std::set<std::string, std::less<>> now_, before_;
};

}  // namespace heal

#endif  // HEAL_CORE_DIAGNOSE_METRIC_LINKS_H_
