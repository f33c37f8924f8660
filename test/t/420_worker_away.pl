# The worker stops while somebody waits for it, or is not there: an error with a hint, nothing half-done.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', mode => 'observe');
$node->safe_psql('postgres', 'CREATE TABLE held (id int) WITH (fillfactor = 70)');
wait_value($node, "SELECT count(*) FROM heal_status WHERE state = 'unknown'", '0', 'everything was looked at');

# a request that was taken up
my $snapshot = $node->safe_psql('postgres', "SELECT heal_snapshot('before', 'storage')");
$node->safe_psql('postgres', 'ALTER TABLE held SET (fillfactor = 50)');
my $holder = session($node);
$holder->query_safe('BEGIN; LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE');
my $caller = session($node);
$caller->query_until(qr/asked/, "\\set VERBOSITY verbose\n\\echo asked\nSELECT * FROM heal_rollback($snapshot);\n\\echo answered\n");
wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'in_progress', 'the roll-back is under way');
setting($node, 'pg_heal.enabled', 'off');
$caller->query_until(qr/answered/, '');
like($caller->{stderr}, qr/ERROR:\s+(57P01|55000): the pg_heal worker .*HINT:/s, 'who waits is told, with a hint');
$caller->{stderr} = '';

# nobody there
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'", '0', 'the worker has stopped');
for my $call ('heal_approve(1)', 'heal_reject(1)', "heal_execute(1, 'analyze_table')", "heal_snapshot('x')", "heal_rollback($snapshot)", "heal_pause('x')", 'heal_resume()')
{
	refused($node, "SELECT $call", '55000', 'pg_heal.enabled', $call);
}
is($node->safe_psql('postgres', "SELECT string_agg(DISTINCT state, ',') || ': ' || string_agg(DISTINCT detail, ',') FROM heal_status"),
	'unknown: pg_heal.enabled is off', 'heal_status says why');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_snapshots"), '1', 'what is in tables can be read');
is($node->safe_psql('postgres', q(SELECT count(*) > 0 FROM heal_diagnose('{"lock_waiters": true}'))), 't', 'what only computes works');
$node->safe_psql('postgres', "SELECT heal_set_threshold('invalid_index', 'samples', 4)");
pass('what is in tables can be changed');

# back again: it finishes what it had begun
$holder->query_safe('COMMIT');
setting($node, 'pg_heal.enabled', undef);
reports($node, 'the worker is back');
wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'success', 'the roll-back that was cut short is finished');
is($node->safe_psql('postgres', "SELECT reloptions FROM pg_class WHERE relname = 'held'"), '{fillfactor=70}', 'the option is back');

# a request that was not even taken up
my $healer = worker_pid($node, 'healer');
settle($node, 1);
kill('STOP', $healer);
my $pid = $caller->query_safe('SELECT pg_backend_pid()');
$caller->query_until(qr/asked/, "\\echo asked\nSELECT heal_pause('never read');\n\\echo answered\n");
wait_value($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $pid", 'Extension', 'a caller waits for a worker that does not react');
kill('TERM', $healer);
kill('CONT', $healer);
$caller->query_until(qr/answered/, '');
my $told = $caller->{stderr};
$healer = wait_worker($node, 'healer', $healer);
reports($node);
# Whether it was read is up to the moment; what counts is that the caller was told the truth.
my $paused = $node->safe_psql('postgres', "SELECT detail LIKE 'paused%' FROM heal_status WHERE component = 'healer'");
if ($told =~ /ERROR/)
{
	like($told, qr/HINT:/, 'the caller is told, with a hint');
}
else
{
	is($paused, 't', 'the caller was told that pg_heal is paused, and it is');
}
is($node->safe_psql('postgres', "SELECT heal_resume() ->> 'paused'"), 'false', 'the mailbox works');
leave($holder, $caller);

log_ends_well($node);
done_testing();
