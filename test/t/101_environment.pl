# Settings come from the environment of the server too, below the configuration files.
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
$node->append_conf('postgresql.conf',
	$ENV{PG_HEAL_STAGED_CONF} ? slurp_file($ENV{PG_HEAL_STAGED_CONF}) : "shared_preload_libraries = 'pg_heal'\n");
$node->append_conf('postgresql.conf', "pg_heal.inspect_interval = 3s\n");

sub show { return $node->safe_psql('postgres', "SHOW pg_heal.$_[0]"); }

{
	local %ENV = (%ENV, PG_HEAL_MODE => 'approve', PG_HEAL_MONITORING_INTERVAL => '700ms',
		PG_HEAL_INSPECT_INTERVAL => '9s', PG_HEAL_CONFIRM_SAMPLES => '3', PG_HEAL_ANOMALY_THRESHOLD => '4.5',
		PG_HEAL_ROLLBACK_VERIFY => 'off');
	$node->start;
}
is(show('mode'), 'approve', 'an enumerated setting from the environment');
is(show('monitoring_interval'), '700ms', 'one with a unit');
is(show('confirm_samples'), '3', 'a number');
is(show('anomaly_threshold'), '4.5', 'a fraction');
is(show('rollback_verify'), 'off', 'a switch');
is(show('inspect_interval'), '3s', 'the configuration file wins');

$node->reload;
is(show('mode'), 'approve', 'a reload keeps it');
setting($node, 'pg_heal.mode', 'limited');
is(show('mode'), 'limited', 'ALTER SYSTEM wins');
setting($node, 'pg_heal.mode', undef);
wait_value($node, 'SHOW pg_heal.mode', 'approve', 'without it the environment counts again');

$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
reports($node);
invalid_index($node, 'broken');
wait_incident($node, 'invalid_index', 'awaiting_approval', 'the mode from the environment is in force');
$node->stop;

# values that make no sense do not keep the server down
{
	local %ENV = (%ENV, PG_HEAL_MODE => 'wild', PG_HEAL_MONITORING_INTERVAL => '1 parsec');
	$node->start;
}
is(show('mode'), 'observe', 'a bad value in the environment leaves the default, which acts on nothing');
like(slurp_file($node->logfile), qr/wild/, 'and the log names it');

log_ends_well($node);
done_testing();
