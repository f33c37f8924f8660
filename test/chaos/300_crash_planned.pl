# A crash while an incident is known and nothing was done yet: it is taken up again, not opened a second time.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', mode => 'observe');
invalid_index($node, 'broken');
my $i = wait_incident($node, 'invalid_index', 'planned', 'a failure is known and only recommended');
settle($node, 2);
my $transitions = "SELECT count(*) FROM heal.transitions WHERE incident_id = $i->{incident_id} AND to_state IN ('detected', 'diagnosed', 'planned')";
is($node->safe_psql('postgres', $transitions), '3', 'three transitions led there');

crash_server($node);
healer_back($node, 'pg_heal is back after the server was killed');
is(incident($node, 'invalid_index')->{incident_id}, $i->{incident_id}, 'its incident is still the one');
settle($node, 4);
is(incident($node, 'invalid_index')->{state}, 'planned', 'in the state it had');

crash_healer($node);
healer_back($node, 'pg_heal is back after the healer was killed');
settle($node, 4);
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '1', 'there is still one incident');
is($node->safe_psql('postgres', $transitions), '3', 'and it was not diagnosed as a new one');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done');

setting($node, 'pg_heal.mode', 'auto');
$i = wait_incident($node, 'invalid_index', 'resolved', 'it is healed when that is allowed');
is($i->{attempts}, '1', 'in one attempt');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), '0', 'the index is gone');
log_ends_well($node);
done_testing();
