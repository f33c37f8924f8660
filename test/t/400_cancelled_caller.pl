# Callers that give up - by timeout, cancel or termination - leave the mailbox usable, and what they asked for goes on.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', mode => 'observe');
my $healer = worker_pid($node, 'healer');

# Requests the worker has not taken up: more of them than the mailbox has slots.
settle($node, 1);
kill('STOP', $healer);
my %states;
for (1 .. 20)
{
	my $err = refused($node, "SET statement_timeout = '50ms'; SELECT heal_pause('nobody waits for it')", '57014', undef, "timeout $_");
	$states{$1}++ if $err =~ /ERROR:\s+(\w{5})/;
}
is_deeply(\%states, { '57014' => 20 }, 'no slot stays taken by a caller that was cancelled');

my $caller = session($node);
my $pid = busy($caller, "SELECT heal_pause('terminated')");
wait_value($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'Extension', 'a caller waits for the worker');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
wait_gone($node, $pid, 'it can be terminated');
leave($caller);
kill('CONT', $healer);
settle($node, 2);
is($node->safe_psql('postgres', "SELECT detail FROM heal_status WHERE component = 'healer'"), 'mode observe', 'what was withdrawn in time is not done');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_audit WHERE action = 'pause'"), '0', 'nor recorded');
is($node->safe_psql('postgres', "SELECT heal_resume() ->> 'paused'"), 'false', 'the mailbox works');

# A request that was taken up goes on without its caller.
$node->safe_psql('postgres', 'CREATE TABLE held (id int) WITH (fillfactor = 70)');
wait_value($node, "SELECT count(*) FROM heal_status WHERE state = 'unknown'", '0', 'everything was looked at');
my $snapshot = $node->safe_psql('postgres', "SELECT heal_snapshot('before', 'storage')");
$node->safe_psql('postgres', 'ALTER TABLE held SET (fillfactor = 50)');
my $holder = session($node);
$holder->query_safe('BEGIN; LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE');
refused($node, "SET statement_timeout = '500ms'; SELECT * FROM heal_rollback($snapshot)", '57014', undef, 'a roll-back that waits for a lock');
wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'in_progress', 'it is under way still');
refused($node, "SELECT * FROM heal_rollback($snapshot)", '55000', 'heal_snapshots', 'a second one');
$holder->query_safe('COMMIT');
leave($holder);
wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'success', 'and ends well');
is($node->safe_psql('postgres', "SELECT reloptions FROM pg_class WHERE relname = 'held'"), '{fillfactor=70}', 'the option is back');

# Many at once, all cancelled, and the worker never notices.
for my $round (1 .. 3)
{
	my @callers = map { session($node) } 1 .. 5;
	my @pids = map { busy($_, "SELECT heal_snapshot('cancelled')") } @callers;
	$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM unnest(ARRAY[" . join(', ', @pids) . "]) pid");
	leave(@callers);
}
# What was taken up before its caller gave up is done first.
wait_value($node, "SELECT heal_snapshot('after all') IS NOT NULL", 't', 'a request after all of them is answered');
is(worker_pid($node, 'healer'), $healer, 'by the same worker');

log_ends_well($node);
done_testing();
