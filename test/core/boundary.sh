#!/bin/sh
# The archive of the core must stand on the C++ runtime alone: no symbol of
# PostgreSQL, no clock, no input or output, no thread, no code that runs
# before main, and no header of PostgreSQL in its sources.
#   boundary.sh libheal_core.a SOURCE_ROOT
set -u
archive=$1
root=$2
failed=0

fail() {
	echo "boundary: $1" >&2
	failed=1
}

undefined=$(nm -u "$archive" 2>/dev/null | awk '$1 == "U" { sub(/@.*/, "", $2); print $2 }' | sort -u)
[ -n "$undefined" ] || fail "nm shows nothing of $archive"

servers=$(echo "$undefined" | grep -E '^(palloc|pfree|repalloc|MemoryContext|CurrentMemoryContext|errstart|errfinish|errmsg|elog|ereport|SPI_|heap_|LWLock|pg_|Pg|PG|PQ|pq_|ProcessInterrupts|InterruptPending|MyProc|GUC|DefineCustom|WaitLatch|Datum|DirectFunctionCall|hash_create|appendStringInfo|text_to_cstring)')
[ -z "$servers" ] || fail "symbols of PostgreSQL: $servers"

effects=$(echo "$undefined" | grep -xE 'f?open(64|at)?|freopen|fdopen|read|write|f?printf|puts|putchar|fwrite|fread|fputs|socket|connect|send|recv|getenv|secure_getenv|setenv|time|gettimeofday|clock|clock_gettime|localtime(_r)?|gmtime(_r)?|nanosleep|sleep|usleep|rand|random|srand|getrandom|arc4random|pthread_create|fork|exec.*|system|kill|raise|signal|sigaction|exit|_exit|quick_exit|abort|__assert_fail|dlopen')
[ -z "$effects" ] || fail "effects: $effects"

cxx=$(echo "$undefined" | grep -E '^_ZN?St(13random_device|6chrono3_V212(steady|system)_clock|6thread|14basic_[io]?fstream|4cout|4cerr|3cin)|^_ZSt(4cout|4cerr|3cin)$')
[ -z "$cxx" ] || fail "effects of the C++ library: $cxx"

# Boost's boost::none is empty but carries a guard: setting it is no work.
early=$(objdump -dr --no-show-raw-insn "$archive" 2>/dev/null |
	awk '/^[0-9a-f]+ <_GLOBAL__/ { inside = 1; name = $2 } /^$/ { inside = 0 }
		inside && (/R_[A-Z0-9_]+/ || /call/) && !/_ZGVN5boost4noneE/ { print name, $NF }')
[ -z "$early" ] || fail "code that runs before main: $early"

headers=$(grep -rnE '#[[:space:]]*include[[:space:]]*[<"](postgres|c\.h|fmgr|libpq|utils/|storage/|access/|catalog/|executor/|miscadmin|port/)' \
	"$root/cpp_core" || true)
[ -z "$headers" ] || fail "headers of PostgreSQL: $headers"

[ $failed -eq 0 ] && echo "boundary: nothing crosses it"
exit $failed
