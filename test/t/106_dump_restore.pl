# A dump restored into another cluster is history: nothing is resumed, nothing is acted on, decisions stay.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', mode => 'approve');
my $f = blocker($node);
wait_incident($node, 'idle_in_transaction_blocker', 'awaiting_approval');
$node->safe_psql('postgres', 'SELECT heal_approve(min(recommendation_id)) FROM heal_recommend()');
wait_incident($node, 'idle_in_transaction_blocker', 'resolved');
leave($f->{blocker}, $f->{victim});
invalid_index($node, 'broken');
my $open = wait_incident($node, 'invalid_index', 'awaiting_approval', 'an open incident with a waiting recommendation');
my $waiting = $node->safe_psql('postgres', "SELECT recommendation_id FROM heal_recommend($open->{incident_id})");
$node->safe_psql('postgres', "SELECT heal_snapshot('by hand');
	SELECT heal_set_policy('role', 'app', 'exempt', 'on');
	SELECT heal_causal_add_node('my_cause', 'root_cause', 'locks', 0.05);
	SELECT heal_causal_add_edge('my_cause', 'lock_waiters');
	SELECT heal_add_metric('my_metric', 'SELECT 11', every => '5 s')");
settle($node, 2);

my $dump = $node->basedir . '/heal.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->command_ok([ 'pg_dump', '-f', "$dump.sql", $node->connstr('postgres') ], 'plain pg_dump');
my $audit = $node->safe_psql('postgres', 'SELECT count(*), max(hash) FROM heal_audit WHERE audit_id <= (SELECT max(audit_id) FROM heal_audit)');
$node->stop;

sub check_history
{
	my ($new, $name) = @_;
	is($new->safe_psql('postgres', "SELECT state FROM heal_incidents WHERE failure_type = 'idle_in_transaction_blocker'"), 'resolved', "$name: closed incidents are history");
	is($new->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '1', "$name: so are attempts");
	is($new->safe_psql('postgres', 'SELECT count(*) FROM heal_policies'), '1', "$name: policies are restored");
	wait_value($new, "SELECT value FROM heal_metrics WHERE metric = 'my_metric'", '11', "$name: metrics of users are restored and read");
	is($new->safe_psql('postgres', "SELECT count(*) FROM heal_causal_edges WHERE cause = 'my_cause'"), '1', "$name: and the user's part of the graph");
	is($new->safe_psql('postgres', 'SELECT count(*) FROM heal_causal_nodes WHERE shipped') > 40 ? 1 : 0, 1, "$name: shipped rows are there once");
	wait_value($new, "SELECT state FROM heal_incidents WHERE incident_id = $open->{incident_id}", 'cancelled', "$name: the open incident is cancelled");
	wait_value($new, "SELECT state FROM heal_recommend($open->{incident_id}) WHERE recommendation_id = $waiting", 'withdrawn', "$name: its recommendation is withdrawn");
	refused($new, "SELECT heal_approve($waiting)", '55000', undef, "$name: it cannot be approved any more");
	my ($out, $err);
	$new->psql('postgres', "SELECT * FROM heal_rollback((SELECT max(snapshot_id) FROM heal_snapshots WHERE label = 'by hand'))", stdout => \$out, stderr => \$err);
	isnt($err, '', "$name: a snapshot of another server cannot be rolled back to");
	return;
}

# into a cluster where pg_heal waits for its extension
my $new = heal_node('restored', mode => 'auto', no_extension => 1);
$new->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$new->safe_psql('postgres', 'SELECT pg_advisory_lock(1)');
$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('postgres'), $dump ], 'pg_restore beside a running healer');
reports($new);
check_history($new, 'restored');
is($new->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE incident_id = $open->{incident_id}"), '0', 'nothing was done for it');
my $after = $new->safe_psql('postgres', "SELECT count(*) FROM heal_incidents i WHERE failure_type <> 'invalid_index'");
is($after, '1', 'and no other incident appeared');
is($new->safe_psql('postgres', "SELECT bool_and(i.hash = heal.audit_hash(coalesce((SELECT p.hash FROM heal.audit p WHERE p.audit_id = i.audit_id - 1), ''), i)) FROM heal.audit i"),
	't', 'the chain of the audit holds');
invalid_index($new, 'later');
wait_value($new, "SELECT state FROM heal_incidents WHERE subject LIKE '%later%'", 'resolved', 'new failures are healed there');
cmp_ok($new->safe_psql('postgres', "SELECT incident_id FROM heal_incidents WHERE subject LIKE '%later%'"), '>', $open->{incident_id}, 'under new numbers');
log_ends_well($new);

# into a cluster where pg_heal is off meanwhile
my $off = heal_node('restored_off', mode => 'auto', no_extension => 1, conf => "pg_heal.enabled = off\n");
$off->safe_psql('postgres', 'CREATE ROLE app LOGIN');
$off->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dump.sql", $off->connstr('postgres') ], 'a plain dump while pg_heal is off');
$off->append_conf('postgresql.conf', "pg_heal.enabled = on\n");
$off->reload;
reports($off);
check_history($off, 'restored while off');
log_ends_well($off);
done_testing();
