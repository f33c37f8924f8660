# default_transaction_read_only = on for everybody: pg_heal heals and writes its records all the same.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary');
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t VALUES (1, 1); GRANT ALL ON app_t TO app');
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);
invalid_index($node, 'broken');
setting($node, 'default_transaction_read_only', 'on');
$node->restart;
my ($out, $err);
$node->psql('postgres', 'CREATE TABLE refused (id int)', stdout => \$out, stderr => \$err);
like($err, qr/read-only transaction/, 'clients cannot write');
reports($node);

my $f = blocker($node, setup => 0, no_threshold => 1, begin => 'BEGIN READ WRITE');
blocker_gone($f);
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'a signal, written down');
wait_incident($node, 'invalid_index', 'resolved', 'and SQL in an action worker');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), '0', 'the index is gone');
is($node->safe_psql('postgres', "SELECT state FROM heal_status WHERE component = 'healer'"), 'healthy', 'the healer is fine');
leave($f->{blocker}, $f->{victim});
log_ends_well($node);
done_testing();
