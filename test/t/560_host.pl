# What the host and the stopwatch say is true: times of statements, CPU, memory, disk and the memory of backends.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $node = heal_node('primary');

sub metric
{
	my ($name) = @_;
	return $node->safe_psql('postgres', "SELECT value FROM heal_metrics WHERE metric = '$name'");
}

# The processor's counter is calibrated: a statement of 300 ms is one of 300 ms.
my $session = session($node);
my $p99 = '';
for (1 .. 100)
{
	$session->query('SELECT pg_sleep(0.3)');
	$p99 = metric('exec_latency_p99');
	last if $p99 ne '' && $p99 >= 250;
}
cmp_ok($p99, '>=', 250, 'a statement of 300 ms takes no less');
cmp_ok($p99, '<=', 700, 'and not much more');

for my $share (qw(host_cpu_used host_cpu_iowait host_memory_used disk_used))
{
	wait_value($node, "SELECT value BETWEEN 0 AND 1 FROM heal_metrics WHERE metric = '$share'", 't', "$share is a share");
}
my ($available) = do { open my $f, '<', '/proc/meminfo' or die $!; map { /^MemAvailable:\s+(\d+) kB/ ? $1 * 1024 : () } <$f> };
cmp_ok(metric('host_memory_available'), '<=', $available * 1.5 + 1e9, 'no more memory than the host has');
cmp_ok(metric('host_memory_available'), '>', 0, 'and some');
cmp_ok(metric('disk_free'), '>', 0, 'there is disk');

# A backend that takes 100 MB is seen to take them.
wait_value($node, "SELECT value > 0 FROM heal_metrics WHERE metric = 'backend_memory_largest'", 't', 'the memory of backends is known');
my $before = metric('backend_memory_largest');
$session->query(q(SET work_mem = '1GB'; BEGIN; DECLARE c CURSOR FOR SELECT repeat('x', 1000) || i FROM generate_series(1, 200000) AS i ORDER BY md5(i::text); FETCH 1 FROM c));
wait_value($node, "SELECT value > $before + 100e6 FROM heal_metrics WHERE metric = 'backend_memory_largest'", 't', 'a backend that takes 100 MB is seen');
$session->query('COMMIT');
$session->quit;

log_ends_well($node);
done_testing();
