# Somebody drops a table of pg_heal: it says so once a minute, heals on, and does not crash in a loop.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary');
my $f = blocker($node, no_threshold => 1);
my $healer = worker_pid($node, 'healer');
my $offset = -s $node->logfile;
$node->safe_psql('postgres', 'SET client_min_messages = error; ALTER EXTENSION pg_heal DROP TABLE heal.transitions; DROP TABLE heal.transitions');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
blocker_gone($f, 'the blocker is ended without the table');
settle($node, 10);
is(worker_pid($node, 'healer'), $healer, 'the healer is the same process');
my $said = qr/WARNING:|LOG:  could not write the tables of pg_heal/;
like(log_since($node, $offset), qr/transitions" does not exist/, 'the log says what is missing');
cmp_ok(count_log($node, $said, $offset), '<=', 2, 'not more than once a minute');
leave($f->{blocker}, $f->{victim});

# a healer that starts with the broken schema waits for better times
$offset = -s $node->logfile;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
$healer = wait_worker($node, 'healer', $healer);
wait_value($node, "SELECT state || ' ' || (detail ~ 'transitions') FROM heal_status WHERE component = 'healer'", 'unknown true', 'heal_status names the trouble');
$node->safe_psql('postgres', 'SELECT pg_sleep(3)');
is(worker_pid($node, 'healer'), $healer, 'it waits, and does not restart in a loop');
cmp_ok(count_log($node, qr/transitions" does not exist/, $offset), '<=', 2, 'and does not flood the log');
refused($node, "SELECT heal_pause('x')", '55000', undef, 'a request is refused');

# the configuration tables: the last good configuration stays in force
$node->safe_psql('postgres', 'SET client_min_messages = error; DROP EXTENSION pg_heal CASCADE; CREATE EXTENSION pg_heal');
reports($node, 'DROP and CREATE EXTENSION repair it');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
settle($node, 2);
$offset = -s $node->logfile;
$node->safe_psql('postgres', 'ALTER TABLE heal.thresholds RENAME TO elsewhere');
$f = blocker($node, setup => 0, no_threshold => 1);
blocker_gone($f, 'without the thresholds it heals by those it knows');
cmp_ok(count_log($node, qr/WARNING:.*thresholds" does not exist/, $offset), '<=', 1, 'said once');
leave($f->{blocker}, $f->{victim});

# rubbish in the graph is refused as a whole
$node->safe_psql('postgres', 'SET client_min_messages = error; DROP EXTENSION pg_heal CASCADE; CREATE EXTENSION pg_heal');
reports($node, 'repaired again');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
settle($node, 2);
$healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "INSERT INTO heal.causal_edges SELECT effect, cause, edge_type, weight, probability FROM heal.causal_edges ON CONFLICT DO NOTHING");
settle($node, 4);
$f = blocker($node, setup => 0, no_threshold => 1);
blocker_gone($f, 'a graph that was edited into cycles by hand does not stop it');
is(worker_pid($node, 'healer'), $healer, 'nor restart it');
leave($f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
