# The wall clock jumps by hours, forth and back: no action comes of it, and healing goes on.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A preloaded library that adds the seconds in a file to the wall clock; the monotonic clock stays true.
my $dir = PostgreSQL::Test::Utils::tempdir();
my $source = <<'C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long shift(void)
{
	char text[32] = "";
	int fd = open(getenv("HEAL_TEST_CLOCK"), O_RDONLY);
	if (fd < 0) return 0;
	long n = read(fd, text, sizeof(text) - 1);
	close(fd);
	return n > 0 ? atol(text) : 0;
}
int gettimeofday(struct timeval *tv, void *tz)
{
	static int (*real)(struct timeval *, void *);
	if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
	int rc = real(tv, tz);
	tv->tv_sec += shift();
	return rc;
}
int clock_gettime(clockid_t clock, struct timespec *ts)
{
	static int (*real)(clockid_t, struct timespec *);
	if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
	int rc = real(clock, ts);
	if (clock == CLOCK_REALTIME) ts->tv_sec += shift();
	return rc;
}
C
open(my $c, '>', "$dir/clock.c") or die $!;
print $c $source;
close $c;
if (system("cc -shared -fPIC -o $dir/clock.so $dir/clock.c -ldl 2>/dev/null") != 0)
{
	diag('SKIPPED: there is no C compiler, so a clock that jumps is not tested');
	plan skip_all => 'no C compiler';
}

sub jump
{
	open(my $f, '>', "$dir/now.new") or die $!;
	print $f $_[0];
	close $f;
	rename "$dir/now.new", "$dir/now" or die $!;
	return;
}
jump(0);

my $node;
{
	local %ENV = (%ENV, HEAL_TEST_CLOCK => "$dir/now", LD_PRELOAD => "$dir/clock.so");
	$node = heal_node('primary');
}
my $healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t SELECT i, 0 FROM generate_series(1, 9) i; GRANT ALL ON app_t TO app');
my $real = $node->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp())::bigint');

# sessions that would be old if the clock were right
threshold($node, 'idle_in_transaction_blocker', idle_s => 600, wait_s => 600);
my $f = blocker($node, setup => 0, no_threshold => 1, id => 1);
settle($node, 3);
jump(2 * 3600);
cmp_ok($node->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp())::bigint') - $real, '>', 7000, 'the clock of the server jumped');
settle($node, 8);
ok(alive($node, $f->{pid}), 'a jump forth does not make a young transaction old: nobody is ended');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done at all');
jump(-3 * 3600);
settle_by_count($node, 8);
ok(alive($node, $f->{pid}), 'nor does a jump back');
is(worker_pid($node, 'healer'), $healer, 'the healer goes on');
is($node->safe_psql('postgres', "SELECT state FROM heal_status WHERE component = 'healer'"), 'healthy', 'and is healthy');
leave($f->{blocker}, $f->{victim});

# with the clock far back a new failure is healed as ever
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
$f = blocker($node, setup => 0, no_threshold => 1, id => 2);
blocker_gone($f, 'a real blocker is ended in spite of the clock');
leave($f->{blocker}, $f->{victim});
jump(0);
settle($node, 3);
$f = blocker($node, setup => 0, no_threshold => 1, id => 3);
blocker_gone($f, 'and when the clock is right again');
leave($f->{blocker}, $f->{victim});
is(worker_pid($node, 'healer'), $healer, 'the healer is still the same');
log_ends_well($node);
done_testing();

# settle() compares times; here any new one counts.
sub settle_by_count
{
	my ($n, $ticks) = @_;
	for (1 .. $ticks)
	{
		my $at = $n->safe_psql('postgres', 'SELECT max(observed_at) FROM heal_metrics');
		$n->poll_query_until('postgres', "SELECT max(observed_at) <> '$at' FROM heal_metrics", 't') or die 'pg_heal stopped looking';
	}
	return;
}
