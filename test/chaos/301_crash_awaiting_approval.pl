# A crash while an approval is awaited: incident, recommendation and numbers survive; the approval still works, once.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', mode => 'approve');
invalid_index($node, 'broken');
my $i = wait_incident($node, 'invalid_index', 'awaiting_approval');
my $recommendation = "SELECT recommendation_id, state FROM heal_recommend($i->{incident_id}) WHERE state = 'waiting'";
my $waiting = $node->safe_psql('postgres', $recommendation);
my ($id) = split /\|/, $waiting;

crash_server($node);
healer_back($node, 'pg_heal is back after the server was killed');
wait_incident($node, 'invalid_index', 'awaiting_approval', 'the incident awaits approval', "incident_id = $i->{incident_id}");
is($node->safe_psql('postgres', $recommendation), $waiting, 'the same recommendation is waiting');

crash_healer($node);
healer_back($node, 'pg_heal is back after the healer was killed');
wait_incident($node, 'invalid_index', 'awaiting_approval', 'the incident awaits approval', "incident_id = $i->{incident_id}");
is($node->safe_psql('postgres', $recommendation), $waiting, 'the same recommendation is waiting');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), '1', 'nothing was done without approval');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '1', 'there is one incident');

# approved, and killed as soon as the approval is answered: it is kept
wait_until('the approval is accepted when the failure was seen again', sub { $node->psql('postgres', "SELECT heal_approve($id)") == 0 });
crash_server($node);
healer_back($node);
my $closed = wait_incident($node, 'invalid_index', 'resolved|escalated|awaiting_approval|planned', 'the incident goes on', "incident_id = $i->{incident_id}");
settle($node, 6);
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE state <> 'finished'"), '0', 'no attempt stays open');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '<=', 1, 'and none was repeated');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '1', 'there is one incident');
log_ends_well($node);
done_testing();
