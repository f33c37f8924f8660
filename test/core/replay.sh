#!/usr/bin/env bash
# heal-replay from outside: what it finds, what it keeps silent about, what it refuses.
set -u
replay=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
fail() { echo "FAILED: $*"; failed=1; }

# 1000 samples of a latency and of a gauge nobody knows, with the noise of a
# fixed generator; from row $2 on the latency is $3 higher.
series() { # file, first shifted row, shift
	awk -v from="$2" -v shift="$3" 'BEGIN {
		print "timestamp,exec_latency_mean,queue_length"
		seed = 12345
		for (i = 0; i < 1000; i++) {
			s = 0
			for (k = 0; k < 12; k++) { seed = (seed * 16807) % 2147483647; s += seed / 2147483647 }
			seed = (seed * 16807) % 2147483647
			printf "2026-03-01T%02d:%02d:%02d.250000Z,%.4f,%.4f\n", int(i / 360), int(i / 6) % 60, i % 6 * 10,
				20 + (s - 6) + (i >= from ? shift : 0), 5 + seed / 2147483647
		}
	}' >"$1"
}

series "$dir/clean.csv" 2000 0
series "$dir/shift.csv" 700 15

out=$("$replay" "$dir/clean.csv") || fail "a clean file: status $?"
[ "$(wc -l <<<"$out")" = 1 ] || fail "a clean file is not silent: $out"
grep -q '^1000 samples over 9990 s, 2 metrics, 2000 values: 0 anomalies, 0 incidents' <<<"$out" || fail "summary: $out"

# Row 700 is at 01:56:40.25; two samples confirm it.
out=$("$replay" "$dir/shift.csv") || fail "a shifted file: status $?"
grep -qE '^2026-03-01T01:5[67]:[0-9.]+Z anomaly exec_latency_mean: level_shift, value 3[0-9]' <<<"$out" || fail "no level shift: $out"
[ "$(grep -c anomaly\  <<<"$out")" -le 3 ] || fail "too much is said of one shift: $out"

gzip -k "$dir/shift.csv"
[ "$("$replay" "$dir/shift.csv.gz")" = "$out" ] || fail "compressed, the same file gives something else"
[ "$("$replay" "$dir/shift.csv")" = "$out" ] || fail "the same file twice gives something else"
sed 's/Z,/,/; s/T/ /' "$dir/shift.csv" >"$dir/spaces.csv"
[ "$("$replay" "$dir/spaces.csv")" = "$out" ] || fail "timestamps with a space give something else"
"$replay" --json "$dir/shift.csv" | grep -q '^{"kind":"anomaly","category":"performance",.*"shape":"level_shift"' || fail "--json: $("$replay" --json "$dir/shift.csv")"
"$replay" --setting pg_heal.anomaly_threshold=1000 --setting=min_confidence=1 "$dir/shift.csv" | grep -q ' 0 anomalies' || fail "a setting has no effect"
"$replay" --setting window_size=50 --setting calm_period=1h --setting checkpoint_storm.window_s=600 --setting auto_baseline=off "$dir/clean.csv" >/dev/null ||
	fail "good settings are refused"

# Status 2, nothing but one line on standard error.
refused() { # what it says, arguments...
	local want=$1 status err
	shift
	"$replay" "$@" >"$dir/out" 2>"$dir/err"
	status=$?
	err=$(cat "$dir/err")
	[ "$status" = 2 ] || fail "$*: status $status instead of 2"
	[ "$(wc -l <"$dir/err")" = 1 ] || fail "$*: standard error has not one line: $err"
	grep -q "^heal-replay: .*$want" <<<"$err" || fail "$*: \"$err\" instead of \"$want\""
}
bad() { # what it says, text of the file
	printf "$2" >"$dir/bad.csv"
	refused "$1" "$dir/bad.csv"
}
refused 'no file is given'
refused 'one file at a time' "$dir/clean.csv" "$dir/shift.csv"
refused 'unknown argument' --sett "$dir/clean.csv"
refused 'needs name=value' --setting
refused 'needs name=value' --setting foo "$dir/clean.csv"
refused 'there is no setting "foo"' --setting foo=1 "$dir/clean.csv"
refused 'there is no setting "inspect_interval"' --setting pg_heal.inspect_interval=1s "$dir/clean.csv"
refused 'not a whole number' --setting window_size=20.5 "$dir/clean.csv"
refused 'between 10 and 10000' --setting window_size=1 "$dir/clean.csv"
refused 'not a number' --setting anomaly_threshold=high "$dir/clean.csv"
refused 'not a number' --setting anomaly_threshold=nan "$dir/clean.csv"
refused 'use on or off' --setting auto_baseline=maybe "$dir/clean.csv"
refused 'one of observe, approve' --setting mode=wild "$dir/clean.csv"
refused 'units are' --setting calm_period=3weeks "$dir/clean.csv"
refused 'no threshold "checkpoint_storm.foo"' --setting checkpoint_storm.foo=1 "$dir/clean.csv"
refused 'must be between' --setting checkpoint_storm.window_s=-1 "$dir/clean.csv"
refused 'cannot be opened' "$dir/missing.csv"
refused 'is a directory' "$dir"
head -c 3000 "$dir/shift.csv.gz" >"$dir/cut.csv.gz"
refused 'compressed file is damaged' "$dir/cut.csv.gz"
bad 'the file is empty' ''
bad 'first column must be "timestamp"' 'time,a\n1,2\n'
bad 'there is no metric' 'timestamp\n1\n'
bad 'has no name' 'timestamp,a,\n1,2,3\n'
bad 'is there twice' 'timestamp,a,a\n1,2,3\n'
bad ':3: 3 fields instead of 2' 'timestamp,a\n1,2\n2,3,4\n'
bad ':2: not a timestamp: "yesterday"' 'timestamp,a\nyesterday,2\n'
bad ':2: not a timestamp: ""' 'timestamp,a\n,2\n'
bad ':3: time goes backwards' 'timestamp,a\n2,2\n1,2\n'
bad ':2: column "a": not a number: "x"' 'timestamp,a\n1,x\n'
bad 'a quote is not closed' 'timestamp,a\n1,"2\n'
bad 'more than 128 columns' "timestamp$(printf ',m%s' $(seq 129))\n"
printf 'timestamp,a,wal_bytes\n1,,\n2,nan,inf\n3,1e400,-inf\n3,null,1\n' >"$dir/odd.csv"
"$replay" "$dir/odd.csv" | grep -q '^4 samples over 2 s, 2 metrics, 1 values: 0 anomalies' || fail "odd numbers: $("$replay" "$dir/odd.csv" 2>&1)"
[ -n "$("$replay" --help)" ] || fail "--help"

[ "$failed" = 0 ] && echo "heal-replay: all as expected"
exit "$failed"
