// client_programs.h: programs known by the application name they give.
//
// A name is what the client says. It can keep a program from being suspected of
// its ordinary work, and whoever knows that can hide behind it.

#ifndef HEAL_CORE_DETECT_CLIENT_PROGRAMS_H_
#define HEAL_CORE_DETECT_CLIENT_PROGRAMS_H_

#include <string_view>

namespace heal {

// Reads or restores everything by trade, errors of a restore included.
inline bool IsDumpProgram(std::string_view application) {
  for (const std::string_view name :
       {"pg_dump", "pg_dumpall", "pg_restore", "pg_upgrade", "pg_basebackup", "pg_amcheck", "pg_rewind", "vacuumdb"})
    if (application == name) return true;
  // Workers and sessions of pg_heal itself, and a session that declares a migration.
  return application == "pg_heal" || application == "pg_heal_migration";
}

}  // namespace heal

#endif  // HEAL_CORE_DETECT_CLIENT_PROGRAMS_H_
