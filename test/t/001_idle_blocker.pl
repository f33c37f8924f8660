# P01: an idle-in-transaction session that blocks others is ended; one that blocks nobody is not.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $node = heal_node('primary');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 1), (2, 2); GRANT ALL ON t TO app');
threshold($node, 'idle_in_transaction_blocker', idle_s => 1, wait_s => 1);

my $innocent = session($node, 'postgres', user => 'app');
$innocent->query_safe('BEGIN; UPDATE t SET v = 0 WHERE id = 2');
my $innocent_pid = $innocent->query_safe('SELECT pg_backend_pid()');

my $blocker = session($node, 'postgres', user => 'app');
$blocker->query_safe('BEGIN; UPDATE t SET v = 2 WHERE id = 1');
my $blocker_pid = $blocker->query_safe('SELECT pg_backend_pid()');

my $victim = session($node, 'postgres', user => 'app');
$victim->query_until(qr/start/, "\\echo start\nUPDATE t SET v = 3 WHERE id = 1;\n");

my $i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved');
is($i->{outcome}, 'healed', 'outcome is healed');
is($i->{root_cause}, 'idle_in_transaction_session', 'root cause is named');
is($i->{remedy}, 'terminate_idle_blocker', 'remedy is named');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $blocker_pid"), '0', 'the blocker is gone');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $innocent_pid"), '1', 'the innocent session is there');
wait_value($node, 'SELECT v FROM t WHERE id = 1', '3', 'the victim went on');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE incident_id = $i->{incident_id} AND verified AND outcome = 'healed'"), '1', 'one verified attempt');
like($node->safe_psql('postgres', "SELECT heal_explain($i->{incident_id}) ->> 'transitions'"), qr/verifying/, 'the explanation holds the transitions');

$innocent->quit;
$victim->quit;
eval { $blocker->quit };
log_ends_well($node);
done_testing();
