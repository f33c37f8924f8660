# A crash in the middle of a long VACUUM: the attempt is found, judged honestly and not repeated blindly.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', mode => 'observe', conf => "pg_heal.inspect_interval = 1s\npg_heal.recovery_timeout = 5s\n");
$node->safe_psql('postgres', q{
	CREATE TABLE churned (id int PRIMARY KEY, v int) WITH (autovacuum_enabled = off);
	INSERT INTO churned SELECT i, 0 FROM generate_series(1, 60000) i;
	VACUUM ANALYZE churned;});
threshold($node, 'vacuum_starved', min_dead_rows => 100, dead_share => 0.001, clear_share => 0.0005, samples => 2);
threshold($node, 'stale_statistics', min_rows => 1_000_000);

sub starve
{
	# dead rows must rise from inspection to inspection
	return wait_until('the table is starved', sub {
		$node->safe_psql('postgres', 'DELETE FROM churned WHERE id IN (SELECT id FROM churned ORDER BY id LIMIT 50)');
		my $i = incident($node, 'vacuum_starved', "state IN ('diagnosed', 'planned', 'awaiting_approval')");
		return $i;
	});
}
my $i = starve();

# An index-only scan keeps a page pinned that VACUUM must clean, so VACUUM takes as long as we want.
my $pin = session($node);
$pin->query_safe('SET enable_seqscan = off; SET enable_bitmapscan = off; BEGIN; DECLARE c CURSOR FOR SELECT id FROM churned WHERE id > 50000 ORDER BY id; FETCH 1 FROM c');
my $plan = $pin->query_safe('EXPLAIN SELECT id FROM churned WHERE id > 50000 ORDER BY id');
like($plan, qr/Index Only Scan/, 'the pin is held by an index-only scan');
setting($node, 'pg_heal.mode', 'auto');
wait_until('VACUUM runs and waits for the page', sub {
	$node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal action' AND wait_event = 'BufferPin'") eq '1' });
is(incident($node, 'vacuum_starved')->{state}, 'executing', 'the incident is executing');
my $attempt = $node->safe_psql('postgres', "SELECT attempt_id FROM heal_history WHERE state <> 'finished'");
like($attempt, qr/^\d+$/, 'the one attempt is in the tables before it ends');

# no second attempt may start behind our back
setting($node, 'pg_heal.mode', 'observe');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal action' AND wait_event = 'BufferPin'"), '1',
	'an action under way is not ended by a change of the mode');
crash_server($node);
leave($pin);
healer_back($node, 'pg_heal is back after the server was killed');
wait_value($node, "SELECT state FROM heal_history WHERE attempt_id = $attempt", 'finished', 'the attempt is closed');
my $outcome = $node->safe_psql('postgres', "SELECT outcome || ' ' || verified FROM heal_history WHERE attempt_id = $attempt");
unlike($outcome, qr/healed|true/, 'a VACUUM that was killed is not called healed, whatever the empty statistics say');
note("outcome: $outcome");
settle($node, 6);
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '1', 'it is not repeated');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'vacuum_starved'"), '1', 'its incident is not lost, nor opened twice');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE state IN ('executing', 'verifying')"), '0', 'and does not stay half done');
log_ends_well($node);
done_testing();
