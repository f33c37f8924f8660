# Without shared_preload_libraries everything that needs the worker refuses, with the line to add.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init;
my $staged = $ENV{PG_HEAL_STAGED_CONF} ? slurp_file($ENV{PG_HEAL_STAGED_CONF}) : '';
$node->append_conf('postgresql.conf', $staged . "shared_preload_libraries = ''\n");
$node->start;

$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
pass('CREATE EXTENSION works');
my $line = quotemeta "shared_preload_libraries = 'pg_heal'";
for my $call ('* FROM heal_status', '* FROM heal_metrics', '* FROM heal_overhead', 'heal_approve(1)', "heal_reject(1, '')",
	"heal_execute(1, 'analyze_table')", "heal_snapshot('x')", 'heal_rollback(1)', "heal_pause('x')", 'heal_resume()',
	'heal_export_metrics()', 'heal_reset_baseline()')
{
	refused($node, "SELECT $call", '55000', $line, $call);
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '0', 'tables can be read');
is($node->safe_psql('postgres', 'SELECT count(*) > 40 FROM heal_causal_nodes'), 't', 'the graph is there');
$node->safe_psql('postgres', "SELECT heal_set_threshold('invalid_index', 'samples', 3)");
$node->safe_psql('postgres', "SELECT heal_add_metric('prepared', 'SELECT 1')");
refused($node, 'SELECT * FROM heal_user_metrics', '55000', $line, 'how it goes is not known');
is($node->safe_psql('postgres', "SELECT value FROM heal_thresholds WHERE failure_type = 'invalid_index' AND name = 'samples'"), '3', 'and can be prepared');
$node->safe_psql('postgres', 'DROP EXTENSION pg_heal');

# loaded by hand into one session
refused($node, "LOAD 'pg_heal'; CREATE EXTENSION pg_heal; SELECT heal_resume()", '55000', $line, 'LOAD is no substitute');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg\\_heal%'"), '0', 'no process is started');

log_ends_well($node);
done_testing();
