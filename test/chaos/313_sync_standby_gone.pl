# The synchronous standby is gone and every commit of others hangs: pg_heal does not.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', init => { allows_streaming => 1 });
my $f = blocker($node, no_threshold => 1);
invalid_index($node, 'broken');
setting($node, 'synchronous_standby_names', 'nobody');
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
wait_value($node, 'SHOW synchronous_standby_names', 'nobody', 'the standby that is waited for does not exist');

# somebody else does hang
delete $ENV{PGOPTIONS};
my $hangs = session($node);
$hangs->query_until(qr/writing/, "\\echo writing\nCREATE TABLE hangs (id int);\n");
$ENV{PGOPTIONS} = '-c synchronous_commit=local';
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'", '1', 'a commit of a client hangs');

threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
wait_gone($node, $f->{pid}, 'the blocker is ended');
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'and it is written down');
wait_incident($node, 'invalid_index', 'resolved', 'SQL of an action worker does not hang either');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type LIKE 'pg\\_heal%'"), '0', 'nothing of pg_heal waits for it');

# a restart of the healer, and a snapshot by hand, in this state
my $healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
wait_worker($node, 'healer', $healer);
reports($node);
cmp_ok($node->safe_psql('postgres', "SELECT heal_snapshot('now')"), '>', 0, 'a snapshot by hand works');

setting($node, 'synchronous_standby_names', undef);
leave($hangs, $f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
