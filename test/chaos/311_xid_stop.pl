# No transaction ID is left (the stop limit): seeing, deciding and acting go on, the tables catch up afterwards.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', conf => "wal_level = logical\nautovacuum_naptime = 1\n");
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE app_t (id int PRIMARY KEY, v int); GRANT ALL ON app_t TO app');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);

# A replication slot keeps autovacuum from lifting the limit before we have looked.
$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('keeper', 'pgoutput')");
$node->safe_psql('postgres', 'CHECKPOINT');
my $oldest = $node->safe_psql('postgres', 'SELECT min(datfrozenxid::text::bigint) FROM pg_database');
$node->stop;

my $next = $oldest + 2**31 - 3_000_000 + 50;
my $segment = sprintf '%s/pg_xact/%04X', $node->data_dir, int($next / (1024 * 1024));
append_to_file($segment, "\0" x (256 * 1024)) unless -e $segment;
chmod 0600, $segment;
$node->command_ok([ 'pg_resetwal', '-f', '-x', $next, $node->data_dir ], 'the next transaction ID is behind the stop limit');
my $offset = -s $node->logfile;
$node->start;

my ($out, $err);
wait_until('the server refuses to write', sub {
	$node->psql('postgres', 'CREATE TABLE refused (id int)', stdout => \$out, stderr => \$err);
	$err =~ /not accepting commands to avoid wraparound/ });
reports($node, 'pg_heal reports');

my $f = blocker($node, setup => 0, no_threshold => 1, lock => 'LOCK TABLE app_t IN SHARE ROW EXCLUSIVE MODE');
blocker_gone($f, 'the blocker is ended without a transaction ID');
settle($node, 3);
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'the tables cannot know yet');
wait_value($node, "SELECT detail ~ 'journal keeps' FROM heal_status WHERE component = 'healer'", 't', 'heal_status says that the tables wait');
my $complaints = count_log($node, qr/could not write the tables of pg_heal/, $offset);
cmp_ok($complaints, '<=', 2, 'the log is not flooded');
is($node->safe_psql('postgres', "SELECT heal_pause('test') IS NOT NULL"), 't', 'requests work');
$node->safe_psql('postgres', 'SELECT heal_resume()');

# a restart of the healer in this state keeps what the tables do not have
my $healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
wait_worker($node, 'healer', $healer);
reports($node, 'a new healer starts in this state');
leave($f->{blocker}, $f->{victim});
$f = blocker($node, setup => 0, no_threshold => 1, lock => 'LOCK TABLE app_t IN SHARE ROW EXCLUSIVE MODE');
blocker_gone($f, 'and heals');

# the way out
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('keeper')");
wait_until('autovacuum lifts the limit', sub {
	$node->psql('postgres', 'VACUUM (FREEZE)');
	$node->psql('template1', 'VACUUM (FREEZE)');
	$node->psql('postgres', 'CREATE TABLE accepted (id int)', stdout => \$out, stderr => \$err) == 0 });
wait_value($node, "SELECT count(*) FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker' AND state = 'resolved'", '2',
	'the tables catch up: both incidents are there');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE outcome = 'healed' AND remedy = 'terminate_idle_blocker'"), '2', 'with their attempts');
is($node->safe_psql('postgres', q{SELECT string_agg(to_state, ' ' ORDER BY transition_id) FROM heal.transitions
	WHERE incident_id = (SELECT min(incident_id) FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker')}),
	'detected diagnosed planned executing verifying resolved', 'and every transition, in order');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_audit WHERE action = 'terminate'"), '2', 'and the audit, once each');
leave($f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
