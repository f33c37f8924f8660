# Left alone: a schema change that has its lock, however many queue behind it; pg_dump, whoever waits for it.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use IPC::Run;
use POSIX qw(mkfifo);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('schema_changes');
app_role($node);
threshold($node, 'ddl_lock_queue', wait_s => 0.3, queue => 2);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);
$node->safe_psql('postgres', 'CREATE DATABASE shop OWNER app');
$node->safe_psql('shop', <<'SQL', extra_params => [ '-U', 'app' ]);
CREATE TABLE small (id int); INSERT INTO small SELECT generate_series(1, 100);
CREATE TABLE large (id int, filler text); INSERT INTO large SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i;
CREATE FUNCTION slowly(int) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(600); RETURN $1; END $$;
SQL

my $large = 'relation ' . $node->safe_psql('shop', "SELECT 'large'::regclass::oid");

# Everybody who waits for a lock in the order given; each in a session of his own.
sub queue
{
	my ($name, @statements) = @_;
	my @sessions;
	for my $sql (@statements)
	{
		push @sessions, app($node, db => 'shop');
		waiter($node, $sessions[-1], $sql, "$name: waits: $sql");
	}
	return @sessions;
}

# The lock is granted, the rewrite takes long, readers queue.
my $ddl = app($node, db => 'shop');
my $ddl_pid = busy($ddl, 'ALTER TABLE small ALTER COLUMN id TYPE bigint USING slowly(id)');
wait_value($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $ddl_pid", 'PgSleep', 'the schema change works');
my @readers = queue('behind the schema change', ('SELECT count(*) FROM small') x 4);
my $w = watch($node);
settle($node, 8);
left_alone($node, $w, 'granted schema change');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'granted schema change: not taken for a failure');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($ddl_pid)");
leave($ddl, @readers);

# pg_dump in the middle of a table: its output goes where nobody reads yet.
delete $ENV{PGAPPNAME};    # the program's own name
my $fifo = PostgreSQL::Test::Utils::tempdir() . '/dump';
mkfifo($fifo, 0600) or die "no fifo: $!";
my $dump = IPC::Run::start([ 'pg_dump', '-U', 'app', '-d', $node->connstr('shop') . ' user=app', '-f', $fifo ], '>', \my $dump_out, '2>', \my $dump_err);
open(my $reader, '<', $fifo) or die "no reader: $!";
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND state = 'active' AND wait_event = 'ClientWrite'", '1', 'pg_dump is stuck in its output');
my ($alone) = queue('behind pg_dump', 'ALTER TABLE large ADD COLUMN note text');
$w = watch($node);
settle($node, 8);
left_alone($node, $w, 'pg_dump and a lonely schema change');
@readers = queue('behind the schema change', ('SELECT count(*) FROM large') x 3);
my $i = wait_incident($node, 'ddl_lock_queue', 'resolved', 'readers behind it: healed by cancelling the schema change');
is($i->{outcome}, 'healed', 'readers behind it: proven');
left_alone($node, $w, 'pg_dump with a queue', attempts => "cancel_waiting_ddl $large healed", critical => "ddl_lock_queue $large", signals => 1);

# The dump is as if nothing had been.
{ local $/; $dump_out = <$reader>; }
ok($dump->finish, 'pg_dump ends well') or diag($dump_err);
like($dump_out, qr/COPY public\.large.*^3000\t.*PostgreSQL database dump complete/ms, 'and its dump is whole');
leave($alone, @readers);

# pg_dump between two tables: to the server a session idle in a transaction, that blocks a schema change.
$dump = app($node, db => 'shop', app => 'pg_dump');
$dump->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE large IN ACCESS SHARE MODE');
($alone) = queue('behind the idle pg_dump', 'ALTER TABLE large ADD COLUMN note text');
$w = watch($node);
$i = wait_incident($node, 'idle_in_transaction_blocker', 'planned|escalated', 'idle pg_dump: seen');
like(gate_refused($node, $i, 'protected_application', 'idle pg_dump'), qr/backup, dump or replication/, 'idle pg_dump: protected');
settle($node, 6);
left_alone($node, $w, 'idle pg_dump');
@readers = queue('behind the schema change again', ('SELECT count(*) FROM large') x 3);
wait_incident($node, 'ddl_lock_queue', 'resolved', 'idle pg_dump, with a queue: the schema change is cancelled', "incident_id > $i->{incident_id}");
left_alone($node, $w, 'idle pg_dump with a queue', attempts => "cancel_waiting_ddl $large healed", critical => "ddl_lock_queue $large", signals => 1);
leave($dump, $alone, @readers);
log_ends_well($node);
done_testing();
