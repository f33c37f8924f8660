# Every client slot is taken, the reserved ones too: seeing, deciding and acting go on.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', conf => "max_connections = 10\nsuperuser_reserved_connections = 2\nmax_wal_senders = 0\nwal_level = minimal\n");
my $f = blocker($node, no_threshold => 1);
my @fill;
my $watch = session($node);
threshold($node, 'idle_in_transaction_blocker', idle_s => 2, wait_s => 2);
for my $n (1 .. 20)
{
	my $s = eval { $node->background_psql('postgres', on_error_stop => 0, wait => 0) } or last;
	push @fill, $s;
	my ($out, $err);
	last if $watch->query_safe("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") >= 10;
}
wait_until('every slot is taken', sub { $watch->query_safe("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'") >= 10 });
my ($out, $err);
$node->psql('postgres', 'SELECT 1', stdout => \$out, stderr => \$err);
like($err, qr/too many clients|reserved/, 'a superuser cannot connect any more');

blocker_gone($f, 'the blocker is ended without a free slot');
is($watch->query_safe("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'"), '1', 'the healer is there');
my $i;
wait_until('and its record is in the tables', sub {
	$i = $watch->query_safe("SELECT state, outcome FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker'");
	$i eq 'resolved|healed' });
leave(@fill, $f->{blocker}, $f->{victim}, $watch);
log_ends_well($node);
done_testing();
