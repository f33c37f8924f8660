# History is cut to its limits in bounded pieces, the oldest first.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $node = heal_node('primary', mode => 'observe', conf => "pg_heal.history_max_events = 100\npg_heal.history_size = 10\n");
setting_off();
$node->safe_psql('postgres', <<'SQL');
INSERT INTO heal.anomalies (anomaly_id, observed_at, onset_at, category, metric, component, value, score, method, shape, direction, confidence)
SELECT 1000 + i, now(), now(), 'performance', 'sessions_active', 'sessions', 1, 5, 'zscore', 'spike', 'up', 0.5 FROM generate_series(1, 1700) i;
INSERT INTO heal.incidents (incident_id, component, failure_type, category, severity, subject, database, fingerprint, state, opened_at, attempts, resolved_at, outcome, explanation)
SELECT 1000 + i, 'locks', 'ddl_lock_queue', 'performance', 'warning', 'x' || i, 'postgres', 'f' || i,
       CASE WHEN i = 1 THEN 'escalated' ELSE 'resolved' END, now() - interval '1 day', 0,
       CASE WHEN i > 1 THEN now() - interval '1 day' END, CASE WHEN i > 1 THEN 'healed' END, '{}'
FROM generate_series(1, 60) i;
SQL
$node->append_conf('postgresql.conf', 'pg_heal.enabled = on');
$node->reload;

wait_value($node, 'SELECT count(*) FROM heal.anomalies', '100', 'anomalies are cut, batch after batch');
is($node->safe_psql('postgres', 'SELECT min(anomaly_id) FROM heal.anomalies'), '2601', 'the oldest go first');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal.incidents WHERE incident_id >= 1000 AND resolved_at IS NOT NULL'), '10', 'incidents are cut');
is($node->safe_psql('postgres', 'SELECT max(incident_id) FROM heal.incidents'), '1060', 'the newest stays');
log_ends_well($node);
done_testing();

sub setting_off
{
	$node->append_conf('postgresql.conf', 'pg_heal.enabled = off');
	$node->reload;
	wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_heal healer'", '0', 'the worker has stopped');
	return;
}
