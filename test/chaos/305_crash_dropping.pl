# A crash in the middle of DROP INDEX CONCURRENTLY, with the failure still there afterwards: the attempt is
# judged on its target before anything else is tried.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', conf => "pg_heal.inspect_interval = 1s\npg_heal.recovery_timeout = 5s\n");
invalid_index($node, 'broken');
my $reader = session($node);
$reader->query_safe('BEGIN; SELECT count(*) FROM broken_t');
my $watch = session($node);
wait_until('DROP INDEX waits for a reader',
	sub { $watch->query("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal action' AND wait_event = 'virtualxid'") eq '1' });
crash_server($node);
leave($reader, $watch);
healer_back($node);
my $i = wait_incident($node, 'invalid_index', 'resolved|escalated', 'the incident goes on to its end');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '1', 'it is the same one');
my $after = $node->safe_psql('postgres', q{SELECT string_agg(to_state, ' ' ORDER BY transition_id) FROM heal.transitions});
like($after, qr/^detected diagnosed planned executing (?:planned executing )*verifying /, "it was verified before anything else: $after");
my ($first) = split /\n/, $node->safe_psql('postgres', 'SELECT outcome FROM heal_history ORDER BY attempt_id');
like($first, qr/^(?:healed|unverified|no_effect|rolled_back)$/, "the outcome of the first attempt is $first");
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT detail ->> 'attempt_id' FROM heal.audit
	WHERE action = 'execute_sql' AND outcome = 'started' GROUP BY 1 HAVING count(*) > 1) d}), '0', 'no attempt was started twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heal_history a JOIN heal_history b ON a.attempt_id < b.attempt_id
	WHERE b.started_at < a.started_at + a.duration_ms * interval '1 ms'}), '0', 'none began before the one before it had ended');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), '0', 'the index is gone') if $i->{state} eq 'resolved';
log_ends_well($node);
done_testing();
