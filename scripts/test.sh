#!/usr/bin/env bash
# Set up and run every test; the closing line is "N passed, N failed".
#   scripts/test.sh [core|sanitize|boundary|regress|isolation|tap|chaos]...   some suites only
#   PG_HEAL_TAP="test/t/5*.pl" scripts/test.sh tap   some files only
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

suites=("$@")
[ ${#suites[@]} -eq 0 ] && suites=(core sanitize boundary regress isolation tap chaos)
passed=0 failed=0
count() { passed=$((passed + $1)) failed=$((failed + $2)); }

install_packages
make_work
cleanup() {
	if [ "$failed" -eq 0 ] && [ "${keep_work:-0}" = 0 ]; then rm -rf "$work"; else say "logs are in $work"; fi
}
trap cleanup EXIT
build_and_stage

# GoogleTest and the checks of the archive, through ctest.
run_core() { # build directory, further cmake options
	local dir=$root/build/$1 log=$work/$1.log
	shift
	cmake -S "$root" -B "$dir" -G Ninja -DHEAL_CORE_TESTS=ON "$@" >"$log" 2>&1 &&
		cmake --build "$dir" >>"$log" 2>&1 || {
		tail -n 40 "$log"
		count 0 1
		return
	}
	ctest --test-dir "$dir" --output-on-failure -j"$(nproc)" >"$log" 2>&1 || grep -vE '^ *[0-9]+/[0-9]+ Test.*Passed|^ *Start' "$log" | tail -n 60
	local total bad
	total=$(sed -nE 's/.*tests passed, ([0-9]+) tests failed out of ([0-9]+).*/\2 \1/p' "$log")
	bad=${total#* }
	total=${total% *}
	say "$(basename "$dir"): $((${total:-0} - ${bad:-0})) passed, ${bad:-1} failed"
	if [ -n "$total" ] && [ "$total" -gt 0 ]; then count $((total - bad)) "$bad"; else count 0 1; fi
}
suite_core() { run_core core -DCMAKE_BUILD_TYPE=Release; } # the archive is there already
suite_sanitize() { run_core test-sanitize -DCMAKE_BUILD_TYPE=Debug -DHEAL_CORE_SANITIZE=ON; }

# The library exports entry points of the server and nothing else.
suite_boundary() {
	local stray
	stray=$(nm -D --defined-only "$root/pg_heal.so" | awk '{print $3}' |
		grep -vE '^(Pg_magic_func|_PG_init|pg_finfo_.*|heal_.*_0_1|heal_(launcher|healer|worker)_main)$' || true)
	if [ -z "$stray" ]; then count 1 0; else
		say "exported but should not be: $stray"
		count 0 1
	fi
	if grep -l 'heal_core/c_api.h' "$root"/src/*.c "$root"/src/*.h 2>/dev/null | grep -v core_bridge.c; then
		say "only core_bridge.c may include c_api.h"
		count 0 1
	else count 1 0; fi
}

pgxs_dir() { dirname "$(dirname "$(pg_config --pgxs)")"; }

# A tree the database user can read and write.
tree() {
	if [ ! -d "$work/tree" ]; then
		mkdir "$work/tree"
		cp -r "$root/sql" "$root/expected" "$root/test" "$work/tree/"
		{ cat "$root/test/regress.conf"; staged_settings; } >"$work/tree/staged.conf"
		# TAP files say themselves how pg_heal is set.
		{ grep -v '^pg_heal\.' "$root/test/regress.conf"; staged_settings; } >"$work/tree/tap.conf"
		if [ "$(id -u)" -eq 0 ]; then chown -R postgres "$work/tree"; fi
	fi
	echo "$work/tree"
}

# pg_regress and pg_isolation_regress share their output format.
run_regress() { # program, input directory, names...
	local program=$1 input=$2 name=$3 out
	shift 3
	[ $# -eq 0 ] && { say "no $name tests"; count 0 1; return; }
	out=$work/$name.log
	as_db_user "$program" --inputdir="$input" --outputdir="$(tree)/$name" --bindir="$bindir" \
		--temp-instance="$(tree)/$name-instance" --temp-config="$(tree)/staged.conf" --dbname=postgres "$@" >"$out" 2>&1 || {
		cat "$out"
		cat "$(tree)/$name/regression.diffs" 2>/dev/null || true
	}
	local ok bad
	ok=$(grep -cE '\.\.\. ok' "$out" || true)
	bad=$(grep -cE '\.\.\. FAILED' "$out" || true)
	[ "$((ok + bad))" -lt $# ] && bad=$(($# - ok))
	check_log "$(tree)/$name/log/postmaster.log" || bad=$((bad + 1))
	say "$name: $ok passed, $bad failed"
	count "$ok" "$bad"
}

# Every server of ours must have ended well.
check_log() {
	[ -f "$1" ] || return 1
	if ! tail -n 5 "$1" | grep -q 'database system is shut down'; then
		say "$1 does not end with a clean shutdown"
		return 1
	fi
	if grep -E 'terminated by signal (6|11)|PANIC|TRAP' "$1"; then return 1; fi
}

suite_regress() {
	tree >/dev/null
	mkdir -p "$(tree)/regress"
	[ "$(id -u)" -eq 0 ] && chown postgres "$(tree)/regress"
	local names
	mapfile -t names < <(cd "$root/sql" && ls *.sql | sed 's/\.sql$//')
	run_regress "$(pgxs_dir)/test/regress/pg_regress" "$(tree)" regress "${names[@]}"
}

suite_isolation() {
	tree >/dev/null
	mkdir -p "$(tree)/isolation"
	[ "$(id -u)" -eq 0 ] && chown postgres "$(tree)/isolation"
	local names
	mapfile -t names < <(cd "$root/test/isolation/specs" && ls *.spec | sed 's/\.spec$//')
	run_regress "$(pgxs_dir)/test/isolation/pg_isolation_regress" "$(tree)/test/isolation" isolation "${names[@]}"
}

run_prove() { # name, files...
	local name=$1 jobs
	shift
	[ $# -eq 0 ] && { say "no $name tests"; count 0 1; return; }
	jobs=$(($(nproc) > 2 ? 3 : 2))
	mkdir -p "$(tree)/$name"
	[ "$(id -u)" -eq 0 ] && chown postgres "$(tree)/$name"
	(cd "$(tree)" && as_db_user env PATH="$bindir:$PATH" TESTDIR="$(tree)/$name" TESTDATADIR="$(tree)/$name" \
		PG_REGRESS="$(pgxs_dir)/test/regress/pg_regress" PG_HEAL_STAGED_CONF="$(tree)/tap.conf" \
		top_builddir="$(tree)" PGPORT=65432 \
		bash -c 'cd "$0" && shift 0; exec prove "$@"' "$(tree)" \
		-j"$jobs" -I "$(pgxs_dir)/test/perl" -I "$(tree)/test/perl" "$@") >"$work/$name.log" 2>&1 || cat "$work/$name.log"
	local files tests bad
	files=$(sed -nE 's/^Files=([0-9]+), Tests=([0-9]+).*/\1 \2/p' "$work/$name.log")
	tests=${files#* }
	bad=$(sed -nE 's/.*Wstat: .*Failed: ([0-9]+)\).*/\1/p' "$work/$name.log" | awk '{s+=$1} END {print s+0}')
	if grep -q '^Result: PASS' "$work/$name.log"; then bad=0; elif [ "$bad" -eq 0 ]; then bad=1; fi
	say "$name: $((${tests:-0} - bad)) passed, $bad failed"
	count $((${tests:-0} > bad ? ${tests:-0} - bad : 0)) "$bad"
}

suite_tap() {
	tree >/dev/null
	local files
	mapfile -t files < <(cd "$root" && ls ${PG_HEAL_TAP:-test/t/*.pl})
	run_prove tap "${files[@]}"
}

suite_chaos() {
	tree >/dev/null
	local files
	mapfile -t files < <(cd "$root" && ls test/chaos/*.pl)
	run_prove chaos "${files[@]}"
}

for suite in "${suites[@]}"; do
	say "== $suite"
	"suite_$suite"
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
