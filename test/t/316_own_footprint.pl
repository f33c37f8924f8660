# What pg_heal runs itself waits for no lock for long, takes ACCESS EXCLUSIVE on no table and truncates none.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = heal_node('footprint', conf => "pg_heal.inspect_interval = 1s\nautovacuum = off\n");
app_role($node);
$node->safe_psql('postgres', 'CREATE TABLE parked (id int, v int) WITH (autovacuum_enabled = off); CREATE TABLE tail (id int, v int); CREATE INDEX ON tail (v)');
$node->safe_psql('postgres', 'INSERT INTO parked SELECT i, i FROM generate_series(1, 2000) i; INSERT INTO tail SELECT i, i FROM generate_series(1, 5000) i');
$node->safe_psql('postgres', 'VACUUM ANALYZE parked; VACUUM ANALYZE tail');

# Everything that workers of pg_heal hold or wait for, noted as often as it can be seen.
my $spy = session($node);
my (%held, %waited);
sub spy
{
	my $rows = $spy->query_safe(<<'SQL');
SELECT CASE WHEN l.granted THEN 'held' ELSE 'waits' END, l.mode, coalesce(c.relkind::text, l.locktype), coalesce(c.relname, ''),
       CASE WHEN l.granted THEN 0 ELSE extract(epoch FROM clock_timestamp() - l.waitstart) END
FROM pg_locks l JOIN pg_stat_activity a USING (pid) LEFT JOIN pg_class c ON l.locktype = 'relation' AND c.oid = l.relation
WHERE a.backend_type LIKE 'pg_heal%'
SQL
	for (split /\n/, $rows)
	{
		my ($what, $mode, $kind, $name, $seconds) = split /\|/;
		$held{"$mode $kind"} = $name if $what eq 'held';
		$waited{$name} = $seconds if $what eq 'waits' && (!defined $waited{$name} || $seconds > $waited{$name});
	}
	return;
}

# Poll a condition and spy meanwhile.
sub until_true
{
	my ($sql, $name) = @_;
	my $deadline = time() + $HealNode::timeout;
	my $value = '';
	while ($value ne 't' && time() < $deadline)
	{
		spy() for 1 .. 5;
		$value = $node->safe_psql('postgres', $sql);
	}
	is($value, 't', $name);
	return;
}

# A superuser keeps the lock that ANALYZE and VACUUM need: pg_heal gives up soon, and comes again.
threshold($node, 'stale_statistics', min_rows => 500);
my $owner = session($node);
$owner->query_safe('BEGIN; LOCK TABLE parked IN ACCESS EXCLUSIVE MODE');
$owner->query_safe('UPDATE parked SET v = v + 1; COMMIT');
$owner->query_safe('SELECT pg_stat_force_next_flush(); BEGIN; LOCK TABLE parked IN SHARE UPDATE EXCLUSIVE MODE');
until_true("SELECT EXISTS (SELECT FROM heal_history WHERE remedy = 'analyze_table' AND state = 'finished')", 'locked table: the first attempt ends');
my $first = $node->safe_psql('postgres', "SELECT outcome, detail, duration_ms < 5000 FROM heal_history WHERE remedy = 'analyze_table' ORDER BY attempt_id LIMIT 1");
like($first, qr/^failed\|.*lock timeout.*\|t$/, 'locked table: it gave up because of its lock_timeout');
my $reader = app($node);
is($reader->query_safe('SELECT 1'), '1', 'locked table: others go on');
$owner->query_safe('COMMIT');
until_true("SELECT EXISTS (SELECT FROM heal_incidents WHERE failure_type = 'stale_statistics' AND subject = 'public.parked' AND outcome = 'healed')", 'unlocked: a later attempt heals');

# An index to drop, while somebody reads the table for long: the same.
invalid_index($node, 'broken');
my $i;
my $report = app($node);
$node->safe_psql('postgres', 'GRANT SELECT ON broken_t TO app');
my $report_pid = busy($report, 'SELECT id, pg_sleep(600) FROM broken_t');
until_true("SELECT EXISTS (SELECT FROM heal_history WHERE remedy = 'drop_invalid_index' AND state = 'finished')", 'table in use: the first attempt ends');
like($node->safe_psql('postgres', "SELECT outcome, detail FROM heal_history WHERE remedy = 'drop_invalid_index' ORDER BY attempt_id LIMIT 1"),
	qr/lock timeout/, 'table in use: it gave up because of its lock_timeout');
ok(alive($node, $report_pid), 'table in use: the reader reads on');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($report_pid)");
until_true("SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname = 'broken')", 'free: a later attempt drops it');

# A vacuum could give pages back, for which it would need ACCESS EXCLUSIVE: it does not.
threshold($node, 'vacuum_starved', min_dead_rows => 500, samples => 2);
my $pages = $node->safe_psql('postgres', "SELECT pg_relation_size('tail')");
for (1 .. 50)
{
	$node->safe_psql('postgres', "DELETE FROM tail WHERE id > (SELECT max(id) - 100 FROM tail)");
	spy() for 1 .. 10;
	$i = incident($node, 'vacuum_starved');
	last if $i && $i->{state} =~ /executing|verifying|resolved/;
}
until_true("SELECT EXISTS (SELECT FROM heal_incidents WHERE failure_type = 'vacuum_starved' AND outcome = 'healed')", 'dead rows at the end of a table: healed');
is($node->safe_psql('postgres', "SELECT pg_relation_size('tail')"), $pages, 'and the table is not truncated');

my @exclusive = grep { /^AccessExclusiveLock [rpmtS]/ } sort keys %held;
is_deeply(\@exclusive, [], 'ACCESS EXCLUSIVE was never held on a table') or diag(map { "$_ $held{$_}\n" } @exclusive);
ok($held{'ShareUpdateExclusiveLock r'}, 'the spy saw what was held');
my ($longest) = sort { $b <=> $a } values %waited;
cmp_ok($longest, '<', 1.5, 'no lock was waited for longer than a second');
cmp_ok($longest, '>', 0.3, 'the spy saw the waits');
leave($spy, $owner, $reader, $report);
log_ends_well($node);
done_testing();
