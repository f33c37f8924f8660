# A crash between a change and its verification: the change is made once, and judged after the restart.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', init => { extra => ['--wal-segsize=1'] },
	conf => "max_wal_size = 4MB\nmin_wal_size = 2MB\ncheckpoint_timeout = 1h\nautovacuum = off\n");
threshold($node, 'checkpoint_storm', min_requested => 3, window_s => 60);
$node->safe_psql('postgres', 'CREATE TABLE filled (v text)');

sub write_wal
{
	$node->safe_psql('postgres', "INSERT INTO filled SELECT repeat(md5(i::text), 20) FROM generate_series(1, 3000) i; TRUNCATE filled");
	return;
}

my $i = wait_until('max_wal_size is raised and the effect is being judged', sub {
	write_wal();
	return incident($node, 'checkpoint_storm', "state = 'verifying'");
});
my $raised = $node->safe_psql('postgres', 'SHOW max_wal_size');
isnt($raised, '4MB', "max_wal_size is $raised");

sub auto_conf { return join('', grep { /max_wal_size/ } split /^/, slurp_file($node->data_dir . '/postgresql.auto.conf')); }
my $conf = auto_conf();

for my $fault (\&crash_server, \&crash_healer)
{
	$fault->($node);
	healer_back($node);
	is($node->safe_psql('postgres', 'SHOW max_wal_size'), $raised, 'the setting stays');
	my $now = incident($node, 'checkpoint_storm');
	is($now->{incident_id}, $i->{incident_id}, 'the incident is not lost');
	last unless $now->{state} eq 'verifying';
}
my $closed = wait_until('the effect is judged', sub {
	write_wal();
	return incident($node, 'checkpoint_storm', "incident_id = $i->{incident_id} AND state IN ('resolved', 'escalated', 'planned')");
});
is(auto_conf(), $conf, 'the setting was written once') if $closed->{state} eq 'resolved';
is($closed->{attempts}, '1', 'in one attempt');
my $outcome = $node->safe_psql('postgres', "SELECT outcome FROM heal_history WHERE incident_id = $i->{incident_id} ORDER BY attempt_id LIMIT 1");
like($outcome, qr/^(?:healed|unverified)$/, "its outcome is $outcome");
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_snapshots WHERE incident_id = $i->{incident_id}"), '1', 'one before-image');
my $snapshot = $node->safe_psql('postgres', "SELECT snapshot_id FROM heal_snapshots WHERE incident_id = $i->{incident_id}");
like($node->safe_psql('postgres', "SELECT status FROM heal_rollback($snapshot) WHERE item = 'snapshot'"), qr/success/, 'it can still be undone');
wait_value($node, 'SHOW max_wal_size', '4MB', 'to what it was');
log_ends_well($node);
done_testing();
