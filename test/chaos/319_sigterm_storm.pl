# Twenty seconds of SIGTERM and SIGINT to anything of pg_heal, at random, while faults go on: the server
# stays up, nobody innocent is ended, no attempt stays open, and afterwards pg_heal heals.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;
use Time::HiRes qw(time usleep);

my $seed = $ENV{PG_HEAL_TEST_SEED} || 20240117;
srand($seed);
note("seed $seed");
my $node = heal_node('primary', conf => "pg_heal.inspect_interval = 1s\n");
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $f = blocker($node, no_threshold => 1, id => 1);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.2, wait_s => 0.2);
invalid_index($node, 'broken');
my $innocent = session($node, 'postgres', user => 'app');
$innocent->query_safe('BEGIN; UPDATE app_t SET v = -1 WHERE id = 99');
my $innocent_pid = $innocent->query_safe('SELECT pg_backend_pid()');

my $hunter = session($node);
my $deadline = time() + 20;
my ($signals, $launcher_ends) = (0, 0);
while (time() < $deadline)
{
	my @prey = split /\n/, $hunter->query_safe("SELECT pid || ' ' || backend_type FROM pg_stat_activity WHERE backend_type LIKE 'pg\\_heal%'");
	if (@prey)
	{
		my ($pid, $type) = split / /, $prey[ int rand @prey ], 2;
		# the launcher takes ten seconds to return: once is enough
		if ($type !~ /launcher/ || $launcher_ends++ == 2)
		{
			kill(rand() < 0.8 ? 'TERM' : 'INT', $pid);
			$signals++;
		}
	}
	$hunter->query_safe('SELECT pg_reload_conf()') if rand() < 0.1;
	usleep(int rand 200_000);
}
leave($hunter);
note("$signals signals");
cmp_ok($signals, '>', 5, 'signals were sent');
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server stayed up');
$node->reload;
reports($node, 'pg_heal works again');
ok(alive($node, $innocent_pid), 'the innocent session is there');
wait_gone($node, $f->{pid}, 'the blocker is ended at last');
leave($f->{blocker}, $f->{victim});
$f = blocker($node, setup => 0, no_threshold => 1, id => 2);
blocker_gone($f, 'a new one is ended too');
leave($f->{blocker}, $f->{victim});
wait_value($node, "SELECT count(*) FROM heal_history WHERE state <> 'finished'", '0', 'no attempt stays open');
wait_value($node, "SELECT count(*) FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker' AND resolved_at IS NULL", '0', 'no incident of a blocker stays open');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT fingerprint FROM heal.incidents WHERE resolved_at IS NULL GROUP BY 1 HAVING count(*) > 1) d'), '0', 'no failure has two open incidents');
my @ended = log_since($node, 0) =~ /terminating connection due to administrator command/g;
is(scalar @ended, 2, 'two client sessions were ended, each once');
leave($innocent);
log_ends_well($node);
done_testing();
