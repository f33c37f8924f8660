# While a base backup runs nothing acts, whatever the failure; afterwards it is healed.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('base_backup', init => { allows_streaming => 1 }, conf => "pg_heal.inspect_interval = 1s\n");
app_role($node);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);

delete $ENV{PGAPPNAME};    # the program's own name
my $target = PostgreSQL::Test::Utils::tempdir() . '/backup';
my $backup = IPC::Run::start([ 'pg_basebackup', '-d', $node->connstr('postgres'), '-D', $target, '--max-rate', '32k', '--checkpoint', 'fast', '--wal-method', 'none', '--no-sync' ],
	'>', \my $out, '2>', \my $err);
wait_value($node, "SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase = 'streaming database files'", '1', 'a throttled base backup runs');

my $f = blocker($node, setup => 0);
invalid_index($node, 'broken');
my $w = watch($node);
my %i = map { $_ => wait_incident($node, $_, 'planned', "$_ is seen during the backup") } qw(idle_in_transaction_blocker invalid_index);
for my $failure (sort keys %i)
{
	is(gate_refused($node, $i{$failure}, 'base_backup', $failure), 'a base backup is running', "$failure: and says so");
	wait_value($node, "SELECT count(*) FROM heal_recommend($i{$failure}{incident_id}) WHERE state = 'open'", '1', "$failure: it is recommended");
}
settle($node, 8);
left_alone($node, $w, 'base backup');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'pg_basebackup'"), '1', 'the backup runs still');

# Stop it: the same two incidents are healed now.
$backup->kill_kill;
for my $failure (sort keys %i)
{
	my $i = wait_incident($node, $failure, 'resolved', "$failure: healed after the backup", "incident_id = $i{$failure}{incident_id}");
	is($i->{outcome}, 'healed', "$failure: proven");
}
ok(process_ended($f->{pid}), 'the blocker is ended');
leave($f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
