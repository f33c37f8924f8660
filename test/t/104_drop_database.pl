# DROP DATABASE: of a watched one while inspectors come and go, and of the healer's own when it is off.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;
use Time::HiRes qw(time);

my $node = heal_node('primary', no_extension => 1,
	conf => "pg_heal.inspect_interval = 1s\npg_heal.database = 'ops'\n");
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal launcher'", '1', 'the launcher is there');
$node->wait_for_log(qr/healer is not started: database "ops" does not exist/);
pass('a missing database is said in the log');
is(worker_pid($node, 'healer'), '', 'no healer is sent to a database that does not exist');

$node->safe_psql('postgres', 'CREATE DATABASE ops');
$node->reload;
$node->safe_psql('ops', 'CREATE EXTENSION pg_heal');
reports($node, 'the healer works in its own database', 'ops');

# a watched database with an open incident
$node->safe_psql('ops', "SELECT heal_set_policy('database', 'shop', 'autonomy', 'observe')");
$node->safe_psql('postgres', 'CREATE DATABASE shop');
invalid_index($node, 'broken', 'shop');
wait_value($node, "SELECT state FROM heal_incidents WHERE failure_type = 'invalid_index'", 'planned', 'a failure in a watched database', 'ops');
my $start = time();
$node->safe_psql('postgres', 'DROP DATABASE shop');
cmp_ok(time() - $start, '<', 5, 'it can be dropped');
wait_value($node, "SELECT state FROM heal_incidents WHERE failure_type = 'invalid_index'", 'closed_itself', 'its incident closes by itself', 'ops');

# again and again, while inspectors look at it
for my $n (1 .. 5)
{
	$node->safe_psql('postgres', 'CREATE DATABASE shop STRATEGY file_copy');
	$node->safe_psql('shop', 'CREATE TABLE t (id int PRIMARY KEY)');
	$node->safe_psql('postgres', 'DROP DATABASE shop');
}
pass('databases come and go under the inspectors');
unlike(slurp_log(), qr/could not .*tables of pg_heal/, 'nothing of that disturbs the healer');

# its own database is held while it works, and free when it is off
my ($out, $err);
$node->psql('postgres', 'DROP DATABASE ops', stdout => \$out, stderr => \$err);
like($err, qr/is being accessed by other users/, 'a database the healer works in is not dropped');
setting($node, 'pg_heal.enabled', 'off');
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'", '0', 'the healer is off');
$start = time();
$node->safe_psql('postgres', 'DROP DATABASE ops');
cmp_ok(time() - $start, '<', 4, 'now it can be dropped');
setting($node, 'pg_heal.enabled', undef);

# another database instead
$node->safe_psql('postgres', 'CREATE DATABASE admin');
setting($node, 'pg_heal.database', 'admin');
refused($node, 'CREATE EXTENSION pg_heal', '55000', '"admin"', 'the setting counts', 'postgres');
$node->safe_psql('admin', 'CREATE EXTENSION pg_heal');
reports($node, 'the healer moves when pg_heal.database is changed', 'admin');

sub slurp_log { return log_since($node, 0); }

log_ends_well($node);
done_testing();
