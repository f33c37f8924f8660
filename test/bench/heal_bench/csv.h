// csv.h: CSV files as the programs of the core read them.

#ifndef HEAL_BENCH_CSV_H_
#define HEAL_BENCH_CSV_H_

#include "../../../cpp_core/tools/csv.h"

namespace heal::bench {

using tools::CsvTable;
using tools::ParseNumber;
using tools::ReadCsv;

}  // namespace heal::bench

#endif  // HEAL_BENCH_CSV_H_
