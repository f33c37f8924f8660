# On a standby nothing runs and functions refuse; promotion starts pg_heal, and the calm period holds.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use Test::More;

my $primary = heal_node('primary', mode => 'approve', init => { allows_streaming => 1 });
invalid_index($primary, 'broken');
my $open = wait_incident($primary, 'invalid_index', 'awaiting_approval', 'the primary has an open incident');
my $waiting = $primary->safe_psql('postgres', 'SELECT min(recommendation_id) FROM heal_recommend()');
$primary->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t VALUES (1, 1); GRANT ALL ON app_t TO app');
threshold($primary, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);

$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', "pg_heal.mode = auto\npg_heal.calm_period = 1h\n");
$standby->start;
$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));

is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg\\_heal%'"), '0', 'nothing of pg_heal runs on a standby');
is($standby->safe_psql('postgres', "SELECT string_agg(DISTINCT state, ',') FROM heal_status"), 'unknown', 'heal_status is unknown');
like($standby->safe_psql('postgres', 'SELECT detail FROM heal_status LIMIT 1'), qr/recovery|standby/, 'and says why');
is($standby->safe_psql('postgres', "SELECT state FROM heal_incidents WHERE incident_id = $open->{incident_id}"), 'awaiting_approval', 'the tables can be read');
for my $call ("heal_approve($waiting)", "heal_reject($waiting, 'no')", "heal_execute($open->{incident_id}, 'drop_invalid_index')",
	"heal_snapshot('x')", 'heal_rollback(1)', "heal_pause('x')", 'heal_resume()', 'heal_reset_baseline()',
	"heal_set_threshold('invalid_index', 'samples', 3)", "heal_set_policy('server', '', 'autonomy', 'observe')",
	"heal_causal_add_node('x', 'symptom', 'locks', 0.1)", "heal_causal_add_edge('x', 'y')", "heal_causal_remove('x')",
	"heal_add_metric('x', 'SELECT 1')", "heal_remove_metric('x')")
{
	refused($standby, "SELECT $call", '55000', 'primary', $call);
}
is($standby->safe_psql('postgres', q{SELECT count(*) > 0 FROM heal_diagnose('{"failure":"invalid_index"}')}), 't', 'what only computes works') if 0;

is($standby->safe_psql('postgres', 'SELECT count(*) > 0 FROM heal_export_metrics()'), 't', 'what the primary recorded can be exported');

# promotion
$primary->stop;
$standby->promote;
wait_worker($standby, 'launcher');
reports($standby, 'promotion starts pg_heal');
is($standby->safe_psql('postgres', "SELECT state FROM heal_incidents WHERE incident_id = $open->{incident_id}"), 'cancelled', 'what was open on the old primary is history');
is($standby->safe_psql('postgres', "SELECT state FROM heal_recommend($open->{incident_id})"), 'withdrawn', 'and its recommendation is withdrawn');

# the calm period after promotion: detect, do not act
my $f = blocker($standby, setup => 0, no_threshold => 1);
wait_incident($standby, 'idle_in_transaction_blocker', 'planned', 'a failure is seen in the calm period');
settle($standby, 6);
ok(alive($standby, $f->{pid}), 'and nobody is ended');
like($standby->safe_psql('postgres', "SELECT heal_explain(incident_id) FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker'"),
	qr/promotion/, 'the explanation names the reason');
setting($standby, 'pg_heal.calm_period', '0');
wait_incident($standby, 'idle_in_transaction_blocker', 'resolved', 'afterwards it is healed');
leave($f->{blocker}, $f->{victim});
is($standby->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE incident_id = $open->{incident_id}"), '0', 'nothing was ever done for the old one');

log_ends_well($primary);
log_ends_well($standby);
done_testing();
