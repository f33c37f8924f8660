// catalogue_json.h: all shipped rows as one JSON object.

#ifndef HEAL_CORE_CATALOGUE_CATALOGUE_JSON_H_
#define HEAL_CORE_CATALOGUE_CATALOGUE_JSON_H_

#include <string>

namespace heal {

// {"failures": [...], "thresholds": [...], "remedies": [...], "nodes": [...],
//  "edges": [...], "metrics": [...], "rules": [...]}, in catalogue order. The
// shipped rows of the SQL tables and the documentation are generated from it.
std::string CatalogueJson();

}  // namespace heal

#endif  // HEAL_CORE_CATALOGUE_CATALOGUE_JSON_H_
