#!/usr/bin/env bash
# Overhead and speed, as docs/performance.md explains: ratios from interleaved
# runs on one CPU, the control first; CPU time from the scheduler's accounting.
#   scripts/bench.sh [throughput|executor|healer|graph|release|recovery|detect|silence]...   some parts only
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

parts=("$@")
[ ${#parts[@]} -eq 0 ] && parts=(throughput executor healer graph release recovery detect silence)

install_packages
make_work
build_and_stage
restarts=${PG_HEAL_BENCH_RESTARTS:-30}
pairs=${PG_HEAL_BENCH_PAIRS:-400}
idle_s=${PG_HEAL_BENCH_IDLE_S:-60}
cycle_starts=15
gcc -O2 -I"$(pg_config --includedir)" "$root/test/bench/overhead.c" -o "$work/overhead" -L"$(pg_config --libdir)" -lpq -lm
export PGHOST=$work PGUSER=postgres PGDATABASE=postgres
declare -A port=([a]=54331 [c]=54332 [b]=54333 [s]=54334)

stop_all() {
	trap - EXIT
	exec 8>&- 9>&- || true
	for n in "${!port[@]}"; do
		[ -f "$work/$n/postmaster.pid" ] && as_db_user "$bindir/pg_ctl" -D "$work/$n" -m fast -s stop || true
	done
	rm -rf "$work"
}
trap stop_all EXIT

sql() { "$bindir/psql" -XAtq -v ON_ERROR_STOP=1 -p "${port[$1]}" "${@:2}"; }

# a: without, c: its twin for the control, b: pg_heal in auto at 1 s, s: pg_stat_statements
make_cluster() {
	as_db_user "$bindir/initdb" -D "$work/$1" -U postgres -A trust --no-sync >/dev/null
	{
		printf "port = %s\nunix_socket_directories = '%s'\nlisten_addresses = ''\n" "${port[$1]}" "$work"
		printf 'fsync = off\nmax_connections = 400\nautovacuum = off\nlog_line_prefix = \x27%%n \x27\nshared_buffers = 256MB\nmax_worker_processes = 16\n'
		case $1 in
		b)
			staged_settings
			printf 'pg_heal.mode = auto\npg_heal.policy = aggressive\npg_heal.monitoring_interval = 1s\npg_heal.calm_period = 0\nlog_lock_waits = on\ndeadlock_timeout = 200ms\n'
			;;
		s) printf "shared_preload_libraries = 'pg_stat_statements'\npg_stat_statements.track = all\n" ;;
		esac
	} | as_db_user tee -a "$work/$1/postgresql.conf" >/dev/null
}
start() { as_db_user ${2:+taskset -c "$2"} "$bindir/pg_ctl" -D "$work/$1" -l "$work/$1.log" -w -s start; }
stop() { as_db_user "$bindir/pg_ctl" -D "$work/$1" -m fast -s stop; }
for n in a c b s; do
	make_cluster "$n"
	start "$n"
	"$bindir/pgbench" -i -s 1 -q -p "${port[$n]}" >/dev/null 2>&1
	sql "$n" -c 'VACUUM ANALYZE' -c CHECKPOINT
	[ "$n" = b ] && sql b -c 'CREATE EXTENSION pg_heal'
	stop "$n"
done

median() { sort -g | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }
cpu=$(taskset -cp $$ | sed -E 's/.*: ([0-9]+).*/\1/')
fail=0
report() { # what, figure, relation, limit
	local ok
	ok=$(awk -v x="$2" -v y="$4" -v r="$3" 'BEGIN {print (r == "<=" ? x <= y : x >= y) ? "held" : "NOT HELD"}')
	printf '%-62s %10s  %s %-8s %s\n' "$1" "$2" "$3" "$4" "$ok"
	[ "$ok" = held ] || fail=1
}
wait_for_s() { read -r -t "$1" <> <(:) || true; }
note() { printf '%-62s %10s\n' "$1" "$2"; }

# ---- select throughput, pinned ----
tps() { # first, second
	for _ in $(seq "$restarts"); do
		start "$1" "$cpu"
		start "$2" "$cpu"
		taskset -c "$cpu" "$work/overhead" tps "port=${port[$1]}" "port=${port[$2]}" "$pairs"
		stop "$1"
		stop "$2"
	done | median
}
part_throughput() {
	note 'control: select TPS of a server over its twin' "$(tps a c)"
	report 'select TPS with pg_heal over without' "$(tps a b)" '>=' 0.99
}

# ---- in-backend cost ----
cycles() { # base, what pg_heal adds, what pg_stat_statements adds; one line a start
	local n
	for _ in $(seq "$cycle_starts"); do
		for n in a b s; do start "$n" "$cpu"; done
		taskset -c "$cpu" "$work/overhead" exec "port=${port[a]}" "port=${port[b]}" "port=${port[s]}" 60
		for n in a b s; do stop "$n"; done
	done
}
part_executor() {
	local base heal pgss
	cycles >"$work/cycles"
	base=$(awk '{print $1}' "$work/cycles" | median)
	heal=$(awk '{print $2}' "$work/cycles" | median)
	pgss=$(awk '{print $3}' "$work/cycles" | median)
	note 'executor cycle without, us' "$base"
	note 'pg_stat_statements adds, us' "$pgss"
	report 'pg_heal adds per executor cycle, us' "$heal" '<=' 0.15
	report 'pg_heal over pg_stat_statements' "$(awk -v a="$heal" -v b="$pgss" 'BEGIN {printf "%.2f", (b > 0 ? a / b : 9)}')" '<=' 0.5
}

# ---- the healer's own cost ----
healer() { sql b -c "SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'"; }
start_healer() {
	: >"$work/b.log"
	start b
	until pid=$(healer) && [ -n "$pid" ] && [ "$(ticks)" ]; do :; done
}
cpu_ns() { awk '{print $1}' "/proc/$1/schedstat"; }
ticks() { sql b -c "SELECT extract(epoch FROM max(observed_at)) FROM heal_metrics"; }
parts_us() { sql b -c "SELECT coalesce(sum(cpu_ms), 0) FROM heal_overhead WHERE part IN ('inspectors', 'actions')"; }

part_healer() {
	local pid before after parts parts_after idle_clients waiting others t0 t1
	start_healer
	sql b -c "DO \$\$BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', i); END LOOP; END\$\$"
	mkfifo "$work/idle"
	"$bindir/pgbench" -n -p "${port[b]}" -c 100 -j 1 -T 900 -R 1 -f <(echo 'SELECT 1;') >/dev/null 2>&1 &
	idle_clients=$!
	until [ "$(sql b -c "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'")" -ge 100 ]; do :; done
	wait_for_s 5
	before=$(cpu_ns "$pid") parts=$(parts_us)
	wait_for_s "$idle_s"
	after=$(cpu_ns "$pid") parts_after=$(parts_us)
	report 'healer CPU at 1 s, 100 connections, 1,000 tables, ms per minute' \
		"$(awk -v a="$before" -v b="$after" -v s="$idle_s" 'BEGIN {printf "%.1f", (b - a) / 1e6 * 60 / s}')" '<=' 60
	note 'inspectors and actions in the same time, ms per minute' \
		"$(awk -v a="$parts" -v b="$parts_after" -v s="$idle_s" 'BEGIN {printf "%.1f", (b - a) * 60 / s}')"
	kill "$idle_clients"
	wait "$idle_clients" 2>/dev/null || true

	# one tick, 50 of 100 sessions waiting
	sql b -c 'ALTER SYSTEM SET pg_heal.mode = observe' -c 'SELECT pg_reload_conf()' >/dev/null
	mkfifo "$work/holder"
	"$bindir/psql" -XAtq -p "${port[b]}" <"$work/holder" >/dev/null 2>&1 &
	exec 9>"$work/holder"
	echo 'BEGIN; UPDATE pgbench_branches SET bbalance = 0 WHERE bid = 1;' >&9
	wait_for_s 1
	"$bindir/pgbench" -n -p "${port[b]}" -c 50 -j 1 -T 600 -f <(echo 'UPDATE pgbench_branches SET bbalance = 1 WHERE bid = 1;') >/dev/null 2>&1 &
	waiting=$!
	"$bindir/pgbench" -n -p "${port[b]}" -c 50 -j 1 -T 600 -R 1 -f <(echo 'SELECT 1;') >/dev/null 2>&1 &
	others=$!
	until [ "$(sql b -c "SELECT count(*) FROM pg_locks WHERE NOT granted")" -ge 50 ]; do :; done
	wait_for_s 5
	t0=$(ticks) before=$(cpu_ns "$pid")
	wait_for_s 20
	t1=$(ticks) after=$(cpu_ns "$pid")
	report 'one tick, 100 sessions of which 50 wait, ms CPU (all looks included)' \
		"$(awk -v a="$before" -v b="$after" -v s="$t0" -v t="$t1" 'BEGIN {printf "%.3f", (b - a) / 1e6 / (t - s)}')" '<=' 1
	kill "$waiting" "$others"
	echo 'ROLLBACK;' >&9

	report 'anonymous memory of the healer, MiB' \
		"$(awk '/^Anonymous:/ {printf "%.1f", $2 / 1024}' "/proc/$pid/smaps_rollup")" '<=' 16
	exec 9>&-
	stop b
}

# ---- blocking graph ----
micro() { "$root/build/core/bin/heal-bench-micro" --benchmark_filter="$1" --benchmark_format=csv 2>/dev/null | awk -F, -v n="\"$1\"" '$1 == n {print $3}'; }
part_graph() {
	local g100 g300
	g100=$(micro BM_WaitGraph/100) g300=$(micro BM_WaitGraph/300)
	report 'blocking graph of 300 waiters, ms' "$(awk -v x="$g300" 'BEGIN {printf "%.4f", x / 1e6}')" '<=' 0.3
	report 'blocking graph, time at 300 over time at 100' "$(awk -v a="$g100" -v b="$g300" 'BEGIN {printf "%.2f", b / a}')" '<=' 4
}

# ---- decision to locks released ----
part_release() {
	local pid rounds i latency n
	start_healer
	sql b -c 'ALTER SYSTEM SET pg_heal.mode = auto' -c "SELECT pg_reload_conf()" \
		-c "SELECT heal_set_threshold('idle_in_transaction_blocker', 'idle_s', 0.2), heal_set_threshold('idle_in_transaction_blocker', 'wait_s', 0.2)" \
		-c "CREATE ROLE app LOGIN" -c 'CREATE TABLE held (id int, v int)' -c 'INSERT INTO held SELECT i, 0 FROM generate_series(1, 100) i' \
		-c 'GRANT ALL ON held TO app' -c 'CREATE TABLE released (id int, at timestamptz)' -c 'GRANT ALL ON released TO app' >/dev/null
	rounds=25 # within the budget of signals
	for i in $(seq "$rounds"); do
		mkfifo "$work/h$i"
		PGUSER=app "$bindir/psql" -XAtq -p "${port[b]}" <"$work/h$i" >/dev/null 2>&1 &
		exec 8>"$work/h$i"
		echo "BEGIN; UPDATE held SET v = 1 WHERE id = $i;" >&8
		until [ "$(sql b -c "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state = 'idle in transaction'")" = 1 ]; do :; done
		PGUSER=app timeout 30 "$bindir/psql" -XAtq -p "${port[b]}" -c "WITH u AS (UPDATE held SET v = 2 WHERE id = $i RETURNING clock_timestamp() AS at) INSERT INTO released SELECT $i, at FROM u" || true
		exec 8>&-
	done
	latency=$(sql b -c "SELECT round((extract(epoch FROM percentile_cont(0.95) WITHIN GROUP (ORDER BY r.at - a.started_at)) * 1000)::numeric, 2)
		FROM (SELECT at, row_number() OVER (ORDER BY at) n FROM released) r
		JOIN (SELECT started_at, row_number() OVER (ORDER BY started_at) n FROM heal_history WHERE remedy = 'terminate_idle_blocker') a USING (n)")
	n=$(sql b -c 'SELECT count(*) FROM released')
	note 'rounds healed for the next figure' "$n of $rounds"
	report 'decision to locks released, 95th percentile, ms' "${latency:-9999}" '<=' 3
	report 'P01: lock wait in the log to incident open, largest, ms' "$(hook_to_incident 'still waiting for' idle_in_transaction_blocker)" '<=' 100
	report_recovery P01 idle_in_transaction_blocker
	stop b
}

# ---- time to heal ----
# From the log line a hook saw to the incident, each line with the incident after it.
hook_to_incident() { # text of the line, failure
	{
		# A look without the hook may come first by a little.
		grep -F "$1" "$work/b.log" | awk '{printf "%.4f line\n", $1 - 0.02}'
		sql b -F ' ' -c "SELECT round(extract(epoch FROM opened_at), 4), 'incident' FROM heal_incidents WHERE failure_type = '$2'"
	} | sort -n | awk '$2 == "line" && ! t {t = $1} $2 == "incident" && t {d = ($1 - t) * 1000 - 20; if (d > most) most = d; n++; t = 0}
		END {if (n) printf "%.1f", most; else print 9999}'
}
report_recovery() { # P01, failure
	report "$1: definition holds to incident open, largest, ms" \
		"$(sql b -c "SELECT coalesce(round(max(detected_after_ms)::numeric, 1), 99999) FROM heal_incidents WHERE failure_type = '$2'")" '<=' 1000
	report "$1: incident open to verified, largest, ms" \
		"$(sql b -c "SELECT coalesce(round(max(recovery_ms)::numeric, 1), 99999) FROM heal_incidents WHERE failure_type = '$2' AND outcome = 'healed'")" '<=' 3000
}
# A psql session that reads statements from a descriptor, which is left in session.
open_session() { # role
	local fifo
	fifo=$work/session.$((++sessions))
	mkfifo "$fifo"
	PGUSER=$1 "$bindir/psql" -XAtq -p "${port[b]}" <"$fifo" >/dev/null 2>&1 &
	exec {session}>"$fifo"
}
sessions=0
await() { # condition
	local deadline=$((SECONDS + 60))
	until [ "$(sql b -c "SELECT $1")" = t ] || [ $SECONDS -ge $deadline ]; do wait_for_s 0.02; done
}
incidents_over() { await "(SELECT count(*) FROM heal_incidents WHERE failure_type = '$1' AND resolved_at IS NOT NULL) >= $2"; }

part_recovery() {
	local pid i session reader rounds=5
	echo 'max_connections = 60' | as_db_user tee -a "$work/b/postgresql.conf" >/dev/null
	start_healer
	sql b -c "SELECT heal_set_threshold('ddl_lock_queue', 'wait_s', 0.2), heal_set_threshold('ddl_lock_queue', 'queue', 1), heal_set_threshold('connection_exhaustion', 'quiet_s', 0.2),
			heal_set_threshold('connection_exhaustion', 'leak_idle_s', 0.2), heal_set_threshold('connection_exhaustion', 'used', 1)" \
		-c 'CREATE ROLE busy LOGIN; CREATE ROLE leaky LOGIN; CREATE ROLE deployer LOGIN; GRANT ALL ON SCHEMA public TO deployer' >/dev/null

	# P02: a reader, a deploy behind it, another reader behind the deploy; each time another table
	for i in $(seq $rounds); do
		PGUSER=deployer sql b -c "CREATE TABLE queue$i (id int); GRANT ALL ON queue$i TO busy"
		open_session busy
		reader=$session
		echo "BEGIN; SELECT count(*) FROM queue$i; SELECT count(*) FROM generate_series(1, 400000000);" >&"$reader"
		await "EXISTS (SELECT FROM pg_locks WHERE relation = 'queue$i'::regclass AND granted)"
		PGUSER=deployer "$bindir/psql" -XAtq -p "${port[b]}" -c "ALTER TABLE queue$i ADD COLUMN note text" >/dev/null 2>&1 &
		await "EXISTS (SELECT FROM pg_locks WHERE relation = 'queue$i'::regclass AND NOT granted)"
		PGUSER=busy "$bindir/psql" -XAtq -p "${port[b]}" -c "SELECT count(*) FROM queue$i" >/dev/null 2>&1
		incidents_over ddl_lock_queue "$i"
		sql b -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'busy'" >/dev/null
		await "NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'busy')"
		exec {reader}>&-
	done
	report_recovery P02 ddl_lock_queue

	# R04: idle sessions of one role take every slot, and one more client is refused
	wait_for_s 10 # with the usual number of sessions
	for i in $(seq 60); do
		PGUSER=busy "$bindir/psql" -XAtq -p "${port[b]}" -c '' >/dev/null 2>&1 || break
		open_session leaky
	done
	incidents_over connection_exhaustion 1
	report 'R04: 53300 in the log to incident open, ms' "$(hook_to_incident 'connection slots are reserved' connection_exhaustion)" '<=' 100
	report_recovery R04 connection_exhaustion
	stop b
}

# ---- detectors, beside their peers ----
micro_of() { awk -v n="$1" '$1 == n {print $4}' "$work/micro"; } # CPU time, in the unit of the benchmark
peer() { awk -v n="$1" '$1 == n {print $2}' "$work/peers"; }
part_detect() {
	taskset -c "$cpu" "$root/build/core/bin/heal-bench-micro" \
		--benchmark_filter='RollingZScore|RollingIqr|ForestScore|ForestFit|DetectorStage' >"$work/micro" 2>/dev/null
	if taskset -c "$cpu" /usr/bin/python3 "$root/test/bench/peers.py" >"$work/peers"; then
		note 'pandas: z-score of a column, ns per value' "$(peer zscore | awk '{printf "%.0f", $1}')"
		note 'pandas: quartiles, window 1000, 50 series, ns per value' "$(peer iqr | awk '{printf "%.0f", $1}')"
		note 'scikit-learn: forest score in a batch / one row, us' "$(awk '/score_batch/ {b = $2} /score_single/ {s = $2} END {printf "%.0f / %.0f", b / 1e3, s / 1e3}' "$work/peers")"
		note 'scikit-learn: forest fit, 256 x 100, ms' "$(peer fit | awk '{printf "%.0f", $1 / 1e6}')"
	else
		note 'pandas and scikit-learn' 'not here'
	fi
	report 'z-score update, ns' "$(micro_of BM_RollingZScore | awk '{printf "%.1f", $1}')" '<=' 12
	report 'exact quartiles, window 1000, 50 series, ns' "$(micro_of BM_RollingIqr | awk '{printf "%.0f", $1}')" '<=' 250
	report 'forest score, 20 features, 100 trees, us' "$(micro_of BM_ForestScore | awk '{printf "%.2f", $1 / 1e3}')" '<=' 3
	report 'forest fit, 256 x 100, ms' "$(micro_of BM_ForestFit | awk '{printf "%.2f", $1 / 1e3}')" '<=' 2.5
	report '200 metrics through the whole stage, us per tick' "$(micro_of BM_DetectorStage/116 | awk '{printf "%.0f", $1}')" '<=' 100
}

# ---- silence on a healthy server ----
# pgbench at a rate that follows the phase: steady, ramp, days of a minute with a nightly batch each; checkpoints and
# vacuum as they come. Nothing of it is a failure.
load_at() { # rate, seconds
	"$bindir/pgbench" -n -p "${port[b]}" -c 8 -j 1 -R "$1" -T "$2" >/dev/null 2>&1 || true
}
part_silence() {
	local s=${PG_HEAL_BENCH_SILENCE_S:-600} i day pid
	{
		printf 'autovacuum = on\nautovacuum_naptime = 10s\ncheckpoint_timeout = 60s\nmax_wal_size = 1GB\n'
		printf 'pg_heal.policy = balanced\npg_heal.monitoring_interval = 1s\npg_heal.calm_period = 10min\n'
	} | as_db_user tee -a "$work/b/postgresql.conf" >/dev/null
	start_healer
	sql b -c 'CREATE TABLE sales (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day int, amount numeric)'
	load_at 100 $((s / 3))
	for i in 1 2 3 4 5 6; do load_at $((i * 50)) $((s / 30)); done
	day=$((s / 10))
	for i in 1 2 3 4 5; do
		load_at 60 $((day / 4))
		load_at 250 $((day / 4))
		load_at 150 $((day / 4))
		sql b -c "INSERT INTO sales (day, amount) SELECT $i, i FROM generate_series(1, 300000) i" -c 'SELECT day, sum(amount) FROM sales GROUP BY 1 ORDER BY 2' >/dev/null &
		load_at 20 $((day / 4))
		wait $!
	done
	note 'metric samples seen' "$(sql b -c 'SELECT sum(samples) FROM heal_metrics')"
	sql b -c "SELECT format('  anomaly %s %s %s %s score %s', to_char(observed_at, 'MI:SS'), metric, method, shape, round(score::numeric, 1)) FROM heal_anomalies ORDER BY anomaly_id"
	sql b -c "SELECT format('  incident %s %s %s', severity, failure_type, subject) FROM heal_incidents ORDER BY incident_id"
	note 'anomalies' "$(sql b -c 'SELECT count(*) FROM heal_anomalies')"
	note 'anomalies per metric and sample' "$(sql b -c 'SELECT round((SELECT count(*) FROM heal_anomalies) / greatest(sum(samples), 1)::numeric, 7) FROM heal_metrics')"
	report 'healthy load: critical incidents' "$(sql b -c "SELECT count(*) FROM heal_incidents WHERE severity = 'critical'")" '<=' 0
	report 'healthy load: warnings' "$(sql b -c "SELECT count(*) FROM heal_incidents WHERE severity = 'warning'")" '<=' 1
	report 'healthy load: actions' "$(sql b -c 'SELECT count(*) FROM heal_history')" '<=' 0
	stop b
}

for p in "${parts[@]}"; do "part_$p"; done
exit $fail
