# The server is killed again and again at random moments of detecting, deciding and acting: what is written down
# stays one unbroken story. No incident is lost or doubled, no transition is missing, the audit holds.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;
use Time::HiRes qw(usleep);

my $seed = $ENV{PG_HEAL_TEST_SEED} || time();
srand($seed);
my $node = heal_node('primary', conf => "pg_heal.inspect_interval = 1s\n");
$node->safe_psql('postgres', 'CREATE TABLE story (id int)');
my $rounds = 6;
for my $n (1 .. $rounds)
{
	invalid_index($node, "broken_$n");
	# from the first look to the verification takes one to five seconds
	usleep(500_000 + int rand 4_000_000);
	crash_server($node);
}
healer_back($node);
wait_value($node, "SELECT count(*) FROM pg_class WHERE relname ~ '^broken_[0-9]+\$'", '0', "all broken indexes are dropped (seed $seed)");
wait_value($node, "SELECT count(*) FROM heal_incidents WHERE state NOT IN ('resolved', 'escalated', 'closed_itself')", '0', 'every incident ended');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'invalid_index'"), $rounds, 'one incident for each');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE state <> 'finished' OR outcome IS NULL"), '0', 'every attempt has its outcome');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heal_history h WHERE outcome = 'healed' AND EXISTS (
	SELECT FROM heal_history o WHERE o.incident_id = h.incident_id AND o.attempt_id > h.attempt_id)}), '0', 'nothing was done again after it had helped');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heal_incidents i WHERE attempts <> (SELECT count(*) FROM heal_history h WHERE h.incident_id = i.incident_id)}),
	'0', 'attempts and their number agree');
is($node->safe_psql('postgres', q{SELECT string_agg(format('%s: %s after %s', incident_id, from_state, before), ', ') FROM (
	SELECT incident_id, from_state, lag(to_state) OVER (PARTITION BY incident_id ORDER BY transition_id) AS before FROM heal.transitions) t
	WHERE from_state IS DISTINCT FROM before}), '', 'the transitions of each incident are one chain');
is($node->safe_psql('postgres', q{SELECT count(*) FROM heal_incidents i WHERE state <> (
	SELECT to_state FROM heal.transitions t WHERE t.incident_id = i.incident_id ORDER BY transition_id DESC LIMIT 1)}), '0', 'that ends where the incident is');
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT detail ->> 'attempt_id' FROM heal.audit
	WHERE action = 'execute_sql' AND outcome = 'started' GROUP BY 1 HAVING count(*) > 1) d}), '0', 'no action was started twice');
is($node->safe_psql('postgres', q{SELECT bool_and(hash = heal.audit_hash(coalesce(before, ''), a)) FROM (
	SELECT a, a.hash, lag(a.hash) OVER (ORDER BY a.audit_id) AS before FROM heal.audit a) x}), 't', 'the chain of the audit holds');
log_ends_well($node);
done_testing();
