# Left alone: an autovacuum to prevent wraparound, though schema changes and readers wait for it.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('wraparound', conf => <<'CONF');
pg_heal.inspect_interval = 1s
autovacuum = on
autovacuum_naptime = 1s
autovacuum_freeze_max_age = 100000
autovacuum_vacuum_cost_delay = 0
CONF
app_role($node);
threshold($node, 'ddl_lock_queue', wait_s => 0.3, queue => 2);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);

# A table whose vacuum takes minutes, and more transactions than it may be old.
$node->safe_psql('postgres', <<'SQL', extra_params => [ '-U', 'app' ]);
CREATE TABLE old (id int, filler text) WITH (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);
INSERT INTO old SELECT i, repeat('x', 1000) FROM generate_series(1, 8000) i;
CREATE TABLE burnt (i int) WITH (autovacuum_enabled = off);
SQL
$node->safe_psql('postgres', 'DO $$ BEGIN FOR i IN 1 .. 105000 LOOP BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$');
my $vacuum = "SELECT a.pid || '/' || a.backend_start FROM pg_stat_activity a JOIN pg_stat_progress_vacuum p USING (pid) "
  . "WHERE a.backend_type = 'autovacuum worker' AND a.query LIKE '%(to prevent wraparound)' AND p.relid = 'old'::regclass";
ok($node->poll_query_until('postgres', "SELECT EXISTS ($vacuum)"), 'an autovacuum to prevent wraparound runs on the table');
my $worker = $node->safe_psql('postgres', $vacuum);

# A schema change waits for it, nobody for the schema change.
my $ddl = app($node);
my $ddl_pid = waiter($node, $ddl, 'ALTER TABLE old ADD COLUMN note text', 'a schema change waits for the vacuum');
my $w = watch($node);
settle($node, 10);
left_alone($node, $w, 'vacuum against wraparound');
is($node->safe_psql('postgres', $vacuum), $worker, 'the vacuum goes on');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'nothing is taken for a failure');

# Readers queue behind the schema change: it is cancelled, never the vacuum.
my @readers = map { app($node) } 1 .. 3;
busy($_, 'SELECT count(*) FROM old') for @readers;
my $i = wait_incident($node, 'ddl_lock_queue', 'resolved', 'with a queue: healed');
is($i->{outcome}, 'healed', 'with a queue: proven');
left_alone($node, $w, 'vacuum with a queue', attempts => 'cancel_waiting_ddl public.old healed', critical => 'ddl_lock_queue public.old', signals => 1);
wait_value($node, "SELECT state FROM pg_stat_activity WHERE pid = $ddl_pid", 'idle', 'it was the schema change that was cancelled');
is($node->safe_psql('postgres', $vacuum), $worker, 'the vacuum goes on still');
leave($ddl, @readers);
log_ends_well($node);
done_testing();
