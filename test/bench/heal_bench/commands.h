// commands.h: what heal-bench can do. Each takes the arguments after its name,
// throws std::runtime_error with one line for bad input, returns the exit status.

#ifndef HEAL_BENCH_COMMANDS_H_
#define HEAL_BENCH_COMMANDS_H_

#include <span>

namespace heal::bench {

int RunOutlier(std::span<char* const> args);
int RunScores(std::span<char* const> args);

}  // namespace heal::bench

#endif  // HEAL_BENCH_COMMANDS_H_
