# R04 in every mode: one application leaks connections, up to the very last slot.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;
use Time::HiRes qw(time usleep);

my $remedy = 'terminate_idle_leak';
# 20 slots, 17 of them for ordinary roles: raised from 15 on, over from 12 down.
my $node = heal_node('slots', mode => 'observe',
	conf => "max_connections = 20\nsuperuser_reserved_connections = 3\nautovacuum = off\n");
my ($odd_db, $odd_role) = odd_database($node);
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
threshold($node, 'connection_exhaustion', leak_idle_s => 0.5, quiet_s => 1);

# The only way in when every slot is taken.
my $monitor = session($node, 'postgres');
# Beside the leak: a pool that always was as large, and the leaking application's one session with work under way.
my @innocent = map { session($node, 'postgres', user => 'app', app => 'web') } 1 .. 6;
my $working = session($node, 'postgres', user => 'app', app => 'leak 1');
$working->query_safe('BEGIN; SELECT 1');
settle($node, 4);

sub clients { return $monitor->query_safe("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"); }

# The application opens sessions and forgets them. Meanwhile others keep the
# slots well used, so that what it has is never taken for its usual number.
sub leak
{
	my ($app, $count, $db, $role) = @_;
	my @others = map { session($node, 'postgres', app => 'batch') } 1 .. 6;
	my @leaked;
	for (1 .. $count)
	{
		push @leaked, session($node, $db || 'postgres', user => $role || 'app', app => $app);
		(shift @others)->quit if @others;
	}
	return @leaked;
}

sub idle { my ($app) = @_; return $monitor->query_safe("SELECT count(*) FROM pg_stat_activity WHERE application_name = '$app' AND state = 'idle'"); }

sub finish { for my $session (@_) { eval { $session->quit } } return; }

# Poll through the monitoring session.
sub watch
{
	my ($sql, $want, $name) = @_;
	my $deadline = time() + $HealNode::timeout;
	my $got = '';
	while (time() < $deadline)
	{
		$got = $monitor->query_safe($sql);
		last if $got =~ /^(?:$want)$/;
		usleep(50_000);
	}
	like($got, qr/^(?:$want)$/, $name)
	  or diag($monitor->query_safe('SELECT incident_id, state, outcome, root_cause, remedy FROM heal_incidents ORDER BY 1'));
	return $got;
}

# The newest incident, once it is in this state; number of the incident.
my $last = 0;
sub watch_incident
{
	my ($state, $name) = @_;
	watch("SELECT state FROM heal_incidents WHERE failure_type = 'connection_exhaustion' AND incident_id > $last ORDER BY incident_id DESC LIMIT 1", $state, $name);
	my $id = $monitor->query_safe('SELECT max(incident_id) FROM heal_incidents');
	$last = $id if $state =~ /closed_itself|resolved/;
	return { incident_id => $id };
}

sub healed
{
	my ($i, $name, $app) = @_;
	my $id = $i->{incident_id};
	is($monitor->query_safe("SELECT outcome, root_cause, remedy FROM heal_incidents WHERE incident_id = $id"),
		"healed|connection_leak|$remedy", "$name: outcome, root cause and remedy are named");
	is($monitor->query_safe("SELECT outcome, verified FROM heal_history WHERE incident_id = $id"), 'healed|t', "$name: one attempt, verified on the target");
	cmp_ok(clients(), '<=', 13, "$name: there is room again");
	cmp_ok(idle($app), '>', 0, "$name: no session more than needed was ended");
	note_times(incident($node, 'connection_exhaustion', "incident_id = $id"), $name);
	return;
}

# observe: only a recommendation, and it goes when the symptom goes.
my @leaked = leak('leak 1', 8);
my $i = watch_incident('planned', 'observe: planned');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is($r->{risk_class}, 'A2', 'observe: risk class is shown');
like($monitor->query_safe("SELECT action FROM heal_recommend($i->{incident_id})"),
	qr/application "leak 1" of role app from a local socket \(pid/, 'observe: the application is named');
waits_in_vain($node, 'observe', $i);
is(idle('leak 1'), '8', 'observe: no session was ended');
finish(splice @leaked, 0, 6);
$i = watch_incident('closed_itself', 'observe: closes itself');
is($monitor->query_safe("SELECT outcome IS NULL FROM heal_incidents WHERE incident_id = $i->{incident_id}"), 't', 'observe: claims no success');
wait_recommendation($node, $i->{incident_id}, $remedy, 'withdrawn', 'observe: the recommendation is withdrawn');
finish(@leaked);

# limited: class A2 is not for it alone; rejected is left alone.
set_mode($node, 'limited');
@leaked = leak('leak 2', 8);
$i = watch_incident('awaiting_approval', 'limited: asks');
$r = wait_recommendation($node, $i->{incident_id}, $remedy, 'waiting', 'limited: approval is asked for');
decide($node, $r, 'the release is being withdrawn');
waits_in_vain($node, 'rejected', $i);
is(idle('leak 2'), '8', 'rejected: no session was ended');
finish(@leaked);
watch("SELECT resolved_at IS NOT NULL FROM heal_incidents WHERE incident_id = $i->{incident_id}", 't', 'rejected: ends with its symptom');
$last = $i->{incident_id};

# approve: acts once it is approved.
set_mode($node, 'approve');
@leaked = leak('leak 3', 8);
$i = watch_incident('awaiting_approval', 'approve: waits');
$r = wait_recommendation($node, $i->{incident_id}, $remedy, 'waiting', 'approve: approval is asked for');
is(idle('leak 3'), '8', 'approve: no session was ended yet');
decide($node, $r);
$i = watch_incident('resolved', 'approve: resolved');
healed($i, 'approve', 'leak 3');
finish(@leaked);

# auto: acts; also on sessions in another database, where every name needs quoting.
set_mode($node, 'auto');
@leaked = leak('le"ak 4', 8, $odd_db, $odd_role);
$i = watch_incident('resolved', 'auto and odd names: resolved');
healed($i, 'auto and odd names', 'le"ak 4');
finish(@leaked);

# Every slot taken, the superuser's too: pg_heal needs none.
set_mode($node, 'observe');
@leaked = leak('leak 5', 9);
my @superusers = map { session($node, 'postgres', app => 'admin') } 1 .. 3;
is(clients(), '20', 'full: every slot is taken');
for my $role ('app', 'postgres')
{
	my ($ret, $out, $err) = $node->psql('template1', 'SELECT 1', extra_params => $role eq 'app' ? [ '-U', $role ] : []);
	like($err, qr/too many clients already/, "full: no way in for $role");
}
$monitor->query_safe("ALTER SYSTEM SET pg_heal.mode = 'auto'");
$monitor->query_safe('SELECT pg_reload_conf()');
$i = watch_incident('resolved', 'full: resolved');
healed($i, 'full', 'leak 5');
is($monitor->query_safe("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'admin'"), '3', 'full: the superusers were not touched');
is($node->safe_psql('postgres', 'SELECT 1', extra_params => [ '-U', 'app' ]), '1', 'full: ordinary roles come in again');
like($node->safe_psql('postgres', "SELECT heal_explain($i->{incident_id}) -> 'evidence'"),
	qr/"node": "connections_refused", "truth": "present"/, 'full: the refused connections are among the evidence');
finish(@leaked, @superusers);

is($_->query_safe('SELECT 1'), '1', 'an innocent session is there') for @innocent;
is($working->query_safe('SELECT 1; COMMIT'), '1', 'the session with work under way is there');
finish(@innocent, $working, $monitor);
log_ends_well($node);
done_testing();
