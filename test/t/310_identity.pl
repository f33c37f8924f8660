# Between decision and signal the world goes on: who is not the same any more, doing the same, is not hit.
# The healer is held where its intent becomes durable, right before it acts.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $hold = "$dir/hold";
$ENV{HOLD_JOURNAL} = $hold;
my $cc = (split ' ', qx(pg_config --cc))[0];
is(system($cc, '-shared', '-fPIC', '-O1', '-o', "$dir/hold.so", "$FindBin::Bin/../perl/hold_fdatasync.c"), 0, 'the brake is built');
my $node;
{
	local $ENV{LD_PRELOAD} = "$dir/hold.so";
	$node = heal_node('identity', conf => "fsync = on\n");
}
app_role($node);
$node->safe_psql('postgres', 'CREATE TABLE wanted (id int); ALTER TABLE wanted OWNER TO app');
my $admin = session($node);

sub limits
{
	threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3, clear_wait_s => 0);
	threshold($node, 'ddl_lock_queue', wait_s => 0.3, queue => 1, clear_queue => 1);
	return;
}

# While paused a fault becomes an incident; the resumed healer decides and is held; the change; it goes on.
sub decided_then
{
	my ($name, $failure, $fault, $change, $why, $signals) = @_;
	limits();
	$node->safe_psql('postgres', "SELECT heal_pause('$name')");
	my $w = watch($node);
	$fault->();
	my $i = wait_incident($node, $failure, 'planned', "$name: the fault is seen", "incident_id > $w->{incident}");
	gate_refused($node, $i, 'pause', $name);
	unlink "$hold.reached";
	append_to_file($hold, '');
	busy($admin, 'SELECT heal_resume()');
	wait_until("$name: the healer has decided", sub { -e "$hold.reached" });
	$w = watch($node);
	$change->();
	# Afterwards nothing is a failure any more: what is done then was decided before.
	threshold($node, 'idle_in_transaction_blocker', idle_s => 80000, clear_wait_s => 80000);
	threshold($node, 'ddl_lock_queue', clear_queue => 1000);
	unlink $hold;
	$admin->query_safe('SELECT 1');
	wait_value($node, "SELECT state FROM heal_incidents WHERE incident_id = $i->{incident_id}", 'closed_itself', "$name: the incident ends by itself");
	my $history = $node->safe_psql('postgres', "SELECT outcome || ': ' || detail FROM heal_history WHERE incident_id = $i->{incident_id}");
	like($history, qr/^(?:failed|no_effect): nothing was done, refused at the moment of the action: process \d+: $why/, "$name: the signal was not sent, and why");
	is(signals($node, $w->{log}), $signals || 0, "$name: and nobody was sent one by pg_heal");
	return;
}

# A session idle in its transaction, and whoever waits for it.
my ($holder, $victim, $next);
sub blocked
{
	($holder, $victim, $next) = map { app($node) } 1 .. 3;
	$holder->query_safe('BEGIN; UPDATE app_t SET v = v + 1 WHERE id = 1');
	waiter($node, $victim, 'UPDATE app_t SET v = v + 1 WHERE id = 1', 'somebody waits');
	return;
}

sub holder_is
{
	my ($name, $sql, $want) = @_;
	is($holder->query_safe($sql), $want, "$name: the session is there and works");
	leave($holder, $victim, $next);
	return;
}

decided_then('new transaction', 'idle_in_transaction_blocker', \&blocked, sub {
	$holder->query_safe('COMMIT');
	$victim->query_safe('SELECT 1');
	$holder->query_safe('BEGIN; UPDATE app_t SET v = 7 WHERE id = 1');
	waiter($node, $next, 'UPDATE app_t SET v = v + 1 WHERE id = 1', 'the new transaction blocks just as the old one did');
}, 'the session is in another transaction now');
holder_is('new transaction', 'SELECT v FROM app_t WHERE id = 1; COMMIT', '7');

decided_then('another statement', 'idle_in_transaction_blocker', \&blocked, sub {
	$holder->query_safe('SELECT 1');
}, 'the session has done something since');
holder_is('another statement', 'COMMIT; SELECT 1', '1');

decided_then('end of the transaction', 'idle_in_transaction_blocker', \&blocked, sub {
	$holder->query_safe('COMMIT');
	$victim->query_safe('SELECT 1');
}, 'the session blocks nobody any more');
holder_is('end of the transaction', 'SELECT 1', '1');

decided_then('victim gone', 'idle_in_transaction_blocker', \&blocked, sub {
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
	$victim->query('SELECT 1');
}, 'the session blocks nobody any more', 1);
holder_is('victim gone', 'COMMIT; SELECT 1', '1');

# A schema change that has its lock now: it has done something, it is not cancelled.
my ($reader, $ddl, $queued);
decided_then('schema change got its lock', 'ddl_lock_queue', sub {
	($reader, $ddl, $queued) = map { app($node) } 1 .. 3;
	busy($reader, 'BEGIN; SELECT count(*), pg_sleep(0) FROM wanted');
	waiter($node, $ddl, 'BEGIN; ALTER TABLE wanted ADD COLUMN a int; SELECT pg_sleep(600)', 'a schema change waits');
	waiter($node, $queued, 'SELECT count(*) FROM wanted', 'a reader queues behind it');
}, sub {
	$reader->query_safe('COMMIT');
	wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'", '1', 'the schema change goes on');
}, 'the session does not wait for the lock on the relation any more');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND state = 'active'"), '1', 'schema change got its lock: it works still');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
leave($reader, $ddl, $queued);

# Always the same sessions, always idle in a transaction that blocks the others, but ever a new one.
threshold($node, 'idle_in_transaction_blocker', idle_s => 1.5, wait_s => 0.01, clear_wait_s => 0);
append_to_file("$dir/script", "BEGIN;\nUPDATE app_t SET v = v + 1 WHERE id = 50;\n\\sleep 30 ms\nCOMMIT;\n");
my $w = watch($node);
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', 5, '-T', 8, '-f', "$dir/script", $node->connstr('postgres') . ' user=app' ], '>', \my $out, '2>', \my $err);
wait_value($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE state = 'idle in transaction'", 't', 'short transactions follow each other');
settle($node, 12);
left_alone($node, $w, 'short transactions');
ok($bench->finish, 'short transactions: every session ends well') or diag($err);

# The control: nothing changes meanwhile, and the signal is sent.
limits();
$node->safe_psql('postgres', "SELECT heal_pause('control')");
blocked();
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', 'control: the fault is seen', "outcome IS NULL AND state = 'planned'");
append_to_file($hold, '');
unlink "$hold.reached";
busy($admin, 'SELECT heal_resume()');
wait_until('control: the healer has decided', sub { -e "$hold.reached" });
unlink $hold;
$i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'control: unchanged, it is healed', "incident_id = $i->{incident_id}");
is($i->{outcome}, 'healed', 'control: proven');
leave($holder, $victim, $next, $admin);
log_ends_well($node);
done_testing();
