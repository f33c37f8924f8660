# A private server with pg_heal for one TAP file: short cycles, helpers to break
# it, and a check that it ended well. Waits poll with a deadline, never sleep blindly.
package HealNode;

use strict;
use warnings;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(time usleep);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(heal_node session threshold incident wait_incident wait_value settle
  log_ends_well quoted_values set_mode recommendation wait_recommendation decide waits_in_vain alive busy
  odd_database note_times);

our $timeout = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

# heal_node($name, mode => 'auto', conf => "...", no_extension => 1)
sub heal_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $opt{init} || {} });
	my $staged = $ENV{PG_HEAL_STAGED_CONF};
	$node->append_conf('postgresql.conf',
		$staged ? slurp_file($staged) : "shared_preload_libraries = 'pg_heal'\n");
	my $mode = $opt{mode} || 'auto';
	$node->append_conf('postgresql.conf', <<"CONF");
restart_after_crash = on
pg_heal.mode = $mode
pg_heal.policy = aggressive
pg_heal.monitoring_interval = 500ms
pg_heal.inspect_interval = 2s
pg_heal.calm_period = 0
pg_heal.retry_delay = 500ms
log_lock_waits = on
deadlock_timeout = 200ms
log_min_messages = info
CONF
	$node->append_conf('postgresql.conf', $opt{conf}) if $opt{conf};
	$node->start;
	return $node if $opt{no_extension};
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
	wait_value($node, "SELECT count(*) > 1 FROM heal_status WHERE state <> 'unknown'", 't',
		'pg_heal reports');
	return $node;
}

# A psql session kept open; options as in "host=... user=..."; dies on connection failure.
sub session
{
	my ($node, $db, %opt) = @_;
	local $ENV{PGAPPNAME} = $opt{app} || 'test';
	return $node->background_psql($db || 'postgres', on_error_stop => 0,
		extra_params => $opt{user} ? [ '-U', $opt{user} ] : []);
}

sub threshold
{
	my ($node, $failure, %values) = @_;
	$node->safe_psql('postgres', join('', map { "SELECT heal_set_threshold('$failure', '$_', $values{$_});" } sort keys %values));
	return;
}

# Newest incident of a failure as a hash; undef when there is none.
sub incident
{
	my ($node, $failure, $where) = @_;
	$where ||= 'true';
	my @columns = qw(incident_id component failure_type severity subject state root_cause confidence remedy
	  attempts outcome detected_after_ms recovery_ms database);
	my $row = $node->safe_psql('postgres',
		'SELECT ' . join(", ", map { "coalesce($_\::text, '')" } @columns)
		  . " FROM heal_incidents WHERE failure_type = '$failure' AND $where ORDER BY incident_id DESC LIMIT 1");
	return unless $row ne '';
	my %h;
	@h{@columns} = split /\|/, $row, -1;
	return \%h;
}

# Poll until the newest incident of the failure is in one of the states (regex).
sub wait_incident
{
	my ($node, $failure, $state, $name, $where) = @_;
	my $deadline = time() + $timeout;
	my $i;
	while (time() < $deadline)
	{
		$i = incident($node, $failure, $where);
		if ($i && $i->{state} =~ /^(?:$state)$/)
		{
			pass($name || "$failure is $i->{state}");
			return $i;
		}
		usleep(50_000);
	}
	fail($name || "$failure reaches $state");
	diag($i ? join(', ', map { "$_=$i->{$_}" } sort keys %$i) : "no incident of $failure");
	diag($node->safe_psql('postgres',
		"SELECT failure_type, subject, state, outcome, root_cause, remedy FROM heal_incidents ORDER BY incident_id"));
	return;
}

# Poll until a query returns the value.
sub wait_value
{
	my ($node, $sql, $want, $name, $db) = @_;
	ok($node->poll_query_until($db || 'postgres', $sql, $want), $name || $sql);
	return;
}

# Let pg_heal look n more times, so that "it did nothing" means something.
sub settle
{
	my ($node, $ticks) = @_;
	$ticks ||= 6;
	for (1 .. $ticks)
	{
		my $at = $node->safe_psql('postgres', "SELECT max(observed_at) FROM heal_metrics");
		$node->poll_query_until('postgres', "SELECT max(observed_at) > '$at' FROM heal_metrics", 't')
		  or die 'pg_heal stopped looking';
	}
	return;
}

# Change pg_heal.mode and wait until the healer works by it.
sub set_mode
{
	my ($node, $mode) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET pg_heal.mode = '$mode'");
	$node->reload;
	wait_value($node, "SELECT detail FROM heal_status WHERE component = 'healer'", "mode $mode", "mode $mode is in force");
	return;
}

# One recommendation of an incident as a hash; undef when there is none.
sub recommendation
{
	my ($node, $incident_id, $remedy) = @_;
	my @columns = qw(recommendation_id remedy state risk_class reversible root_cause);
	my $row = $node->safe_psql('postgres',
		'SELECT ' . join(', ', map { "coalesce($_\::text, '')" } @columns)
		  . " FROM heal_recommend($incident_id) WHERE remedy = '$remedy' ORDER BY recommendation_id DESC LIMIT 1");
	return unless $row ne '';
	my %h;
	@h{@columns} = split /\|/, $row, -1;
	return \%h;
}

# Poll until the recommendation is in this state; returns it.
sub wait_recommendation
{
	my ($node, $incident_id, $remedy, $state, $name) = @_;
	wait_value($node,
		"SELECT state FROM heal_recommend($incident_id) WHERE remedy = '$remedy' ORDER BY recommendation_id DESC LIMIT 1",
		$state, $name || "$remedy is recommended: $state");
	return recommendation($node, $incident_id, $remedy);
}

# Approve or reject (with a reason) a recommendation as the superuser would.
sub decide
{
	my ($node, $recommendation, $reason) = @_;
	my $id = $recommendation->{recommendation_id};
	$node->safe_psql('postgres', defined $reason ? "SELECT heal_reject($id, '$reason')" : "SELECT heal_approve($id)");
	return;
}

# These incidents are looked at again and again, and nothing is done about them.
sub waits_in_vain
{
	my ($node, $name, @incidents) = @_;
	my $ids = join(', ', map { $_->{incident_id} } @incidents);
	settle($node, 3);
	is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE incident_id IN ($ids)"), '0', "$name: nothing was attempted");
	return;
}

# Is this backend still there?
sub alive
{
	my ($node, $pid) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid") eq '1';
}

# Start a statement in a session and do not wait for its end; returns the backend's pid.
sub busy
{
	my ($session, $sql) = @_;
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_until(qr/started/, "\\echo started\n$sql;\n");
	return $pid;
}

# A database whose name, schema and owner all need quoting; returns its name and its owner's.
# The schema is "Sch ""one""".
sub odd_database
{
	my ($node) = @_;
	my ($db, $owner) = ('Data "base" one', 'Ro"le one');
	$node->safe_psql('postgres', 'CREATE ROLE "Ro""le one" LOGIN');
	$node->safe_psql('postgres', 'CREATE DATABASE "Data ""base"" one" OWNER "Ro""le one"');
	$node->safe_psql($db, 'CREATE SCHEMA "Sch ""one""" AUTHORIZATION "Ro""le one"', extra_params => [ '-U', $owner ]);
	return ($db, $owner);
}

# Figures for the reader; slow machines must not fail for them. What waited for a
# decision is verified that much later.
sub note_times
{
	my ($incident, $name) = @_;
	diag("$incident->{failure_type}, $name: detected $incident->{detected_after_ms} ms after its definition held, "
		  . "verified $incident->{recovery_ms} ms after detection");
	return;
}

# Stop the node; its log must end well and hold no crash.
sub log_ends_well
{
	my ($node) = @_;
	$node->stop('fast') if defined $node->{_pid};
	# pg_ctl may return before the last line is written.
	my $deadline = time() + $timeout;
	my $log = '';
	until (($log = slurp_file($node->logfile)) =~ /database system is shut down\s*\z/ || time() > $deadline)
	{
		usleep(20_000);
	}
	like($log, qr/database system is shut down\s*\z/, $node->name . ': the log ends with a clean shutdown');
	unlike($log, qr/terminated by signal (?:6|11)|PANIC|TRAP:/, $node->name . ': no crash in the log');
	return;
}

sub quoted_values { return join(', ', map { s/'/''/gr } map { "'$_'" } @_); }

1;
