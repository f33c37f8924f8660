# A crash in the middle of a roll-back: it is finished after the restart, and leaves nothing half undone.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', conf => "pg_heal.rollback_timeout = 2min\n");
$node->safe_psql('postgres', q{
	CREATE TABLE a (id int PRIMARY KEY) WITH (fillfactor = 90);
	CREATE TABLE b (id int PRIMARY KEY);
	ALTER SYSTEM SET work_mem = '5MB'});
$node->reload;

sub state { return $node->safe_psql('postgres', "SELECT relname || ' ' || coalesce(reloptions::text, '-') FROM pg_class WHERE relname IN ('a', 'b') ORDER BY 1") . ' ' . $node->safe_psql('postgres', 'SHOW work_mem'); }
my $before = main::state();

for my $fault (\&crash_server, \&crash_healer)
{
	my $snapshot = $node->safe_psql('postgres', "SELECT heal_snapshot('before the change')");
	$node->safe_psql('postgres', q{
		ALTER TABLE a SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01);
		ALTER TABLE b SET (autovacuum_enabled = off)});
	setting($node, 'work_mem', '9MB');
	isnt(main::state(), $before, 'things were changed');

	# the lock keeps the roll-back in the middle
	my $holder = session($node);
	$holder->query_safe('BEGIN; LOCK TABLE b IN SHARE UPDATE EXCLUSIVE MODE');
	my $asking = session($node);
	$asking->query_until(qr/asked/, "\\echo asked\nSELECT * FROM heal_rollback($snapshot);\n");
	wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'in_progress', 'the roll-back is under way');
	wait_value($node, "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'pg_heal action' AND wait_event_type = 'Lock'", 't', 'and waits for a lock');
	$fault->($node);
	leave($holder, $asking);
	healer_back($node);
	wait_value($node, "SELECT rollback_status FROM heal_snapshots WHERE snapshot_id = $snapshot", 'success', 'it is finished after the restart');
	wait_value($node, "SELECT state FROM heal_snapshots WHERE snapshot_id = $snapshot", 'rolled_back', 'the snapshot is used up');
	$node->reload;
	is(main::state(), $before, 'everything is as it was');
}
log_ends_well($node);
done_testing();
