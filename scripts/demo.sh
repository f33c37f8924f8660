#!/usr/bin/env bash
# Builds pg_heal, starts a private cluster under load, breaks it seven times and
# shows each failure being detected, diagnosed, healed and verified; then
# explains one, rolls one back, and cleans up. Exit status 0 only if all seven
# healed and no innocent session was touched.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wait_s=${PG_HEAL_DEMO_WAIT:-90}
install_packages
make_work
say "pg_heal: building"
build_and_stage

data=$work/data
log=$work/server.log
port=54329
export PGHOST=$work PGPORT=$port PGDATABASE=postgres PGUSER=postgres PGOPTIONS='-c client_min_messages=warning'
sessions=()
load_pid=

# ---- the cluster ----

stop_all() {
	trap - EXIT
	local fd
	for fd in "${sessions[@]}"; do eval "exec $fd>&-" 2>/dev/null || true; done
	[ -n "$load_pid" ] && kill "$load_pid" 2>/dev/null || true
	[ -f "$data/postmaster.pid" ] && as_db_user "$bindir/pg_ctl" -D "$data" -m fast -s stop || true
	rm -rf "$work"
}
trap stop_all EXIT

as_db_user "$bindir/initdb" -D "$data" -U postgres -A trust --no-sync >"$work/initdb.log"
as_db_user tee -a "$data/postgresql.conf" >/dev/null <<CONF
$(staged_settings)
listen_addresses = ''
unix_socket_directories = '$work'
port = $port
fsync = off
max_connections = 40
max_worker_processes = 12
min_wal_size = 32MB
checkpoint_timeout = 10min
autovacuum_naptime = 600s
log_lock_waits = on
deadlock_timeout = 200ms
log_checkpoints = on
pg_heal.mode = auto
pg_heal.policy = aggressive
pg_heal.monitoring_interval = 1s
pg_heal.inspect_interval = 2s
pg_heal.calm_period = 0
CONF
as_db_user "$bindir/pg_ctl" -D "$data" -l "$log" -w -s start

sql() { "$bindir/psql" -XAtq -v ON_ERROR_STOP=1 "$@"; }

sql -c 'CREATE EXTENSION pg_heal' \
	-c "SELECT heal_set_threshold('idle_in_transaction_blocker', 'idle_s', 1), heal_set_threshold('idle_in_transaction_blocker', 'wait_s', 1)" \
	-c "SELECT heal_set_threshold('ddl_lock_queue', 'wait_s', 1)" \
	-c "SELECT heal_set_threshold('vacuum_starved', 'min_dead_rows', 50000)" \
	-c "SELECT heal_set_threshold('checkpoint_storm', 'window_s', 30)" \
	-c "SELECT heal_set_threshold('connection_exhaustion', 'quiet_s', 1), heal_set_threshold('connection_exhaustion', 'leak_idle_s', 1)" >/dev/null

# ---- the load, and sessions that nobody may touch ----

# A psql session that stays open: its number, then statements by tell.
open_session() { # application, user
	local fifo=$work/session.${#sessions[@]} fd
	mkfifo "$fifo"
	PGAPPNAME=$1 PGUSER=$2 "$bindir/psql" -XAtq <"$fifo" >"$fifo.out" 2>&1 &
	exec {fd}>"$fifo"
	sessions+=("$fd")
	session=$fd
}
tell() { printf '%s\n' "$2" >&"$1"; }
# Wait until a query returns at least one row.
await() { until [ -n "$(sql -c "$1")" ]; do read -r -t 0.1 <> <(:) || true; done; }
in_state() { await "SELECT 1 FROM pg_stat_activity WHERE application_name = '$1' AND state = '$2'"; }

"$bindir/pgbench" -i -s 2 -q >/dev/null 2>&1
sql -c 'CREATE ROLE app LOGIN' -c 'CREATE ROLE deployer LOGIN' -c 'GRANT ALL ON ALL TABLES IN SCHEMA public TO app' \
	-c 'CREATE TABLE orders (id int PRIMARY KEY, state text)' \
	-c "INSERT INTO orders SELECT i, 'new' FROM generate_series(1, 100) i" -c 'GRANT ALL ON orders TO app' -c 'ALTER TABLE orders OWNER TO deployer'
PGUSER=app "$bindir/pgbench" -n -c 2 -R 40 -T 1200 >"$work/pgbench.out" 2>&1 &
load_pid=$!
open_session report app
tell "$session" 'BEGIN; SELECT count(*) FROM orders;'
open_session console app
tell "$session" 'BEGIN; SELECT count(*) FROM pgbench_branches WHERE bid < 0;'
innocents="SELECT string_agg(pid || ' ' || backend_start, ',' ORDER BY pid) FROM pg_stat_activity
	WHERE backend_type = 'client backend' AND application_name IN ('report', 'console', 'pgbench')"
in_state report 'idle in transaction'
in_state console 'idle in transaction'
await "SELECT 1 FROM pg_stat_activity WHERE application_name = 'pgbench' HAVING count(*) = 2"
before=$(sql -c "$innocents")

# ---- one fault after another ----

all_healed=1
printf '\n%-28s %-28s %-24s %9s %10s  %s\n' failure 'root cause' remedy 'detect s' 'recover s' outcome
show() { # failure, subject as a pattern
	local deadline=$((SECONDS + wait_s)) row=
	while [ $SECONDS -lt $deadline ]; do
		row=$(sql -F '|' -c "SELECT failure_type, coalesce(root_cause, '-'), coalesce(remedy, '-'),
				round((detected_after_ms / 1000)::numeric, 2), round((recovery_ms / 1000)::numeric, 2), coalesce(outcome, state)
			FROM heal_incidents WHERE failure_type = '$1' AND subject LIKE '${2:-%}' AND state IN ('resolved', 'escalated', 'closed_itself', 'cancelled')
			ORDER BY incident_id LIMIT 1")
		[ -n "$row" ] && break
		read -r -t 0.2 <> <(:) || true
	done
	[ -n "$row" ] || row="$1|-|-|-|-|not healed in $wait_s s"
	IFS='|' read -r f c r d t o <<<"$row"
	printf '%-28s %-28s %-24s %9s %10s  %s\n' "$f" "$c" "$r" "$d" "$t" "$o"
	if [ "$o" != healed ]; then
		all_healed=0
		sql -c "SELECT 'tried: ' || remedy || ', ' || coalesce(outcome, state) || ': ' || detail FROM heal_history
			WHERE failure_type = '$1' AND subject LIKE '${2:-%}' ORDER BY attempt_id" >&2
		sql -c "SELECT 'open: ' || failure_type || ' ' || subject || ' ' || state FROM heal_incidents WHERE state NOT IN ('resolved', 'closed_itself')" >&2
	fi
}

# P01: a session leaves its transaction open, another waits for its row
open_session forgetful app
tell "$session" "BEGIN; UPDATE orders SET state = 'held' WHERE id = 1;"
in_state forgetful 'idle in transaction'
open_session worker app
tell "$session" "UPDATE orders SET state = 'done' WHERE id = 1;"
show idle_in_transaction_blocker

# P02: a deploy waits behind a long reader, everybody waits behind the deploy
open_session reader app
tell "$session" 'BEGIN; SELECT count(*) FROM orders; SELECT count(*) FROM generate_series(1, 400000000);'
in_state reader active
await "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'reader' AND l.relation = 'orders'::regclass"
open_session deploy deployer
tell "$session" 'ALTER TABLE orders ADD COLUMN note text;'
await "SELECT 1 FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted"
for i in 1 2 3 4; do
	open_session queued app
	tell "$session" 'SELECT count(*) FROM orders;'
done
show ddl_lock_queue
sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'reader'" >/dev/null

# P07: a bulk load without ANALYZE
sql -c 'CREATE TABLE bulk (id int, v text) WITH (autovacuum_enabled = off)' \
	-c "INSERT INTO bulk SELECT i, repeat('x', 20) FROM generate_series(1, 100000) i"
show stale_statistics %bulk

# P12: updates faster than vacuum, which is switched off for the table
sql -c 'CREATE TABLE churn (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off)' \
	-c 'INSERT INTO churn SELECT i, 0 FROM generate_series(1, 100000) i' -c 'ANALYZE churn'
(until [ -n "$(sql -c "SELECT 1 FROM heal_incidents WHERE failure_type = 'vacuum_starved' AND subject LIKE '%churn'")" ]; do
	sql -c 'UPDATE churn SET v = v + 1 WHERE id <= 30000'
	read -r -t 1.5 <> <(:) || true
done) &
churn=$!
show vacuum_starved %churn
wait "$churn"

# P15: a concurrent build is cut off and leaves an invalid index; another, live one stays alone
sql -c 'CREATE TABLE dup (a int)' -c 'INSERT INTO dup SELECT generate_series(1, 100000)' \
	-c 'CREATE TABLE other (a int)' -c 'INSERT INTO other SELECT generate_series(1, 1000)' -c 'ANALYZE dup, other' \
	-c "SELECT heal_set_policy('application', 'holder', 'exempt', 'on')" >/dev/null
sql -c 'GRANT ALL ON other TO app'
open_session holder app
tell "$session" 'BEGIN; UPDATE other SET a = a WHERE a = 1;'
in_state holder 'idle in transaction'
open_session builder postgres
tell "$session" 'CREATE INDEX CONCURRENTLY live_idx ON other (a);'
in_state builder active
sql -c "SET statement_timeout = '10ms'" -c 'CREATE INDEX CONCURRENTLY left_idx ON dup (a)' >/dev/null 2>&1 || true
show invalid_index %left_idx
[ "$(sql -c "SELECT count(*) FROM pg_class WHERE relname = 'live_idx'")" = 1 ] || { say 'the live index build was touched'; all_healed=0; }
sql -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'" >/dev/null

# P11: somebody sets max_wal_size far too small for the writes
sql -c "ALTER SYSTEM SET max_wal_size = '64MB'" -c 'SELECT pg_reload_conf()' >/dev/null
(PGUSER=postgres sql -c 'CREATE TABLE wal (v text)'
while [ ! -f "$work/calm" ]; do sql -c "INSERT INTO wal SELECT repeat(md5(i::text), 30) FROM generate_series(1, 30000) i" -c 'TRUNCATE wal'; done) >/dev/null 2>&1 &
writer=$!
show checkpoint_storm
touch "$work/calm"
wait $writer || true

# R04: one application leaks connections until no slot is left
for i in $(seq 1 40); do open_session leaky_app app; done
show connection_exhaustion

# ---- what it can tell and undo ----

printf '\nWhy it raised max_wal_size (heal_explain):\n'
sql -c "SELECT jsonb_pretty(jsonb_build_object('root_cause', e -> 'root_cause', 'confidence', e -> 'confidence', 'subject', e -> 'subject',
		'transitions', (SELECT jsonb_agg((t ->> 'to_state') || ': ' || (t ->> 'reason')) FROM jsonb_array_elements(e -> 'transitions') t)))
	FROM (SELECT heal_explain(incident_id) AS e FROM heal_incidents WHERE failure_type = 'checkpoint_storm' ORDER BY incident_id LIMIT 1) x"

printf '\nRolling that back (heal_rollback): max_wal_size is %s\n' "$(sql -c 'SHOW max_wal_size')"
sql -F '  ' -c "SELECT r.* FROM (SELECT snapshot_id FROM heal_history WHERE failure_type = 'checkpoint_storm' AND snapshot_id IS NOT NULL ORDER BY attempt_id LIMIT 1) s,
	LATERAL heal_rollback(s.snapshot_id) r"
after_rollback=$(sql -c 'SHOW max_wal_size')
printf 'max_wal_size is %s again\n' "$after_rollback"
[ "$after_rollback" = 64MB ] || all_healed=0

after=$(sql -c "$innocents")
if [ "$before" = "$after" ]; then
	echo 'No innocent session was touched.'
else
	echo "Innocent sessions were touched: before $before, after $after"
	all_healed=0
fi

stop_server() { as_db_user "$bindir/pg_ctl" -D "$data" -m fast -s stop; }
stop_server
tail -n 1 "$log" | grep -q 'database system is shut down' || { say 'the server did not end well'; all_healed=0; }
if [ "$all_healed" = 1 ]; then echo 'All seven failures were healed.'; exit 0; fi
echo 'Not everything was healed.'
[ -n "${PG_HEAL_DEMO_KEEP:-}" ] && cp "$log" "$PG_HEAL_DEMO_KEEP"
exit 1
