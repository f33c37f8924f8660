# A client holds a table of pg_heal under ACCESS EXCLUSIVE: healing goes on, the records follow.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary');
my $f = blocker($node, no_threshold => 1);
my $rude = session($node);
my $offset = -s $node->logfile;
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
$rude->query_safe('BEGIN; LOCK TABLE heal.incidents, heal.transitions IN ACCESS EXCLUSIVE MODE');
blocker_gone($f, 'the blocker is ended while the tables are locked');
settle($node, 8);
pass('it looks on');
is($node->safe_psql('postgres', "SELECT state FROM heal_status WHERE component = 'healer'"), 'degraded', 'heal_status: the healer is degraded');
cmp_ok(count_log($node, qr/could not write the tables of pg_heal/, $offset), '<=', 2, 'the log is not flooded');
is($rude->query_safe('SELECT 1'), '1', 'the client that holds the lock is left alone');
$rude->query_safe('COMMIT');
wait_value($node, "SELECT state || ' ' || outcome FROM heal_incidents", 'resolved healed', 'the tables catch up');
is($node->safe_psql('postgres', "SELECT string_agg(to_state, ' ' ORDER BY transition_id) FROM heal.transitions"),
	'detected diagnosed planned executing verifying resolved', 'with every transition, in order');
wait_value($node, "SELECT state FROM heal_status WHERE component = 'healer'", 'healthy', 'and all is well again');
leave($rude, $f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
