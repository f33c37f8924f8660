// heal-bench: the core of pg_heal over data of others, to be scored outside.
// Exit status 2 and one line on standard error for bad input.

#include <cstdio>
#include <cstring>
#include <exception>
#include <span>

#include "commands.h"

namespace {

struct Command {
  const char* name;
  const char* arguments;
  const char* purpose;
  int (*run)(std::span<char* const> args);
};

constexpr Command kCommands[] = {
    {"outlier", "--train TRAIN.csv --test TEST.csv --out SCORES [--seed N] [--margin M]",
     "isolation forest: one score per test row, higher is more anomalous", heal::bench::RunOutlier},
    {"scores", "IN_DIR OUT_DIR", "anomaly scores of time series, one pass, in time order", heal::bench::RunScores},
};

void PrintUsage() {
  std::printf("usage: heal-bench COMMAND ARGUMENTS\n\n");
  for (const Command& command : kCommands) {
    std::printf("  heal-bench %s %s\n      %s\n", command.name, command.arguments, command.purpose);
  }
  std::printf("\nCSV files have a header line and may be gzip-compressed.\n");
}

}  // namespace

int main(int argc, char** argv) {
  const char* name = argc > 1 ? argv[1] : "";
  if (std::strcmp(name, "--help") == 0) {
    PrintUsage();
    return 0;
  }
  try {
    for (const Command& command : kCommands) {
      if (std::strcmp(name, command.name) == 0) return command.run({argv + 2, argv + argc});
    }
    std::fprintf(stderr, "heal-bench: no command \"%s\"; see heal-bench --help\n", name);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "heal-bench %s: %s\n", name, error.what());
  }
  return 2;
}
