# Proof that pg_heal left everybody alone: note who is there, let it look, compare.
package HealWatch;

use strict;
use warnings;
use Exporter 'import';
use Test::More;
use HealNode;
use HealFault;

our @EXPORT = qw(app_role app watch left_alone awake gate_refused signals waiter inspected);

# Ordinary roles (superusers are protected anyway and would prove nothing), and the table of blocker().
sub app_role
{
	my ($node, @names) = @_;
	$node->safe_psql('postgres', join('', map { "CREATE ROLE $_ LOGIN; GRANT CREATE ON SCHEMA public TO $_;" } 'app', @names)
		  . 'CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t SELECT i, 0 FROM generate_series(1, 100) i; GRANT ALL ON app_t TO PUBLIC');
	return;
}

sub app
{
	my ($node, %opt) = @_;
	return session($node, delete $opt{db}, user => 'app', %opt);
}

# Everybody who is connected, and how far incidents, attempts and the log had come.
sub watch
{
	my ($node) = @_;
	my %w = (log => -s $node->logfile);
	@w{qw(attempt incident)} = split /\|/,
	  $node->safe_psql('postgres', 'SELECT (SELECT coalesce(max(attempt_id), 0) FROM heal_history), (SELECT coalesce(max(incident_id), 0) FROM heal_incidents)');
	$w{sessions} = [ split /\n/, $node->safe_psql('postgres',
			"SELECT pid || '/' || backend_start FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY 1") ];
	return \%w;
}

# How many statements and sessions were ended by somebody's signal.
sub signals
{
	my ($node, $offset) = @_;
	return count_log($node, qr/canceling statement due to user request|terminating connection due to administrator command/, $offset);
}

# The whole text; a plain one as it stands.
sub matching
{
	my ($what) = @_;
	$what = quotemeta($what // '') unless ref $what;
	return qr/\A$what\z/;
}

# Nothing was attempted, nothing critical was raised, nobody was touched since watch().
# attempts, critical => patterns, signals => number: what was rightly done meanwhile.
sub left_alone
{
	my ($node, $w, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($node->safe_psql('postgres', "SELECT string_agg(concat_ws(' ', remedy, subject, outcome), ', ') FROM heal_history WHERE attempt_id > $w->{attempt}"),
		matching($opt{attempts}), "$name: nothing else was attempted");
	like($node->safe_psql('postgres', "SELECT string_agg(failure_type || ' ' || subject, ', ') FROM heal_incidents WHERE severity = 'critical' AND incident_id > $w->{incident}"),
		matching($opt{critical}), "$name: no other critical incident");
	my %now = map { $_ => 1 } split /\n/,
	  $node->safe_psql('postgres', "SELECT pid || '/' || backend_start FROM pg_stat_activity WHERE backend_type = 'client backend'");
	is_deeply([ grep { !$now{$_} } @{ $w->{sessions} } ], [], "$name: every session is there still");
	is(signals($node, $w->{log}), $opt{signals} || 0, "$name: nobody else was sent a signal");
	return;
}

# Let inspectors come by n more times: each time a few dead rows more are seen in the metrics.
sub inspected
{
	my ($node, $n) = @_;
	my $seen = "SELECT coalesce(value::text, 'unknown') FROM heal_metrics WHERE metric = 'dead_tuples'";
	$node->safe_psql('postgres', 'CREATE TABLE IF NOT EXISTS inspected (i int) WITH (autovacuum_enabled = off)');
	for (1 .. $n)
	{
		my $before = $node->safe_psql('postgres', $seen);
		$node->safe_psql('postgres', 'INSERT INTO inspected SELECT generate_series(1, 10); DELETE FROM inspected');
		$node->poll_query_until('postgres', "SELECT ($seen) <> '$before'") or die 'pg_heal stopped inspecting';
	}
	return;
}

# The control: a real fault appears, and pg_heal heals it.
sub awake
{
	my ($node, $name, %opt) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $f = blocker($node, setup => 0, id => 100, %opt);
	my $i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', "$name: meanwhile pg_heal is awake, a real fault is healed",
		"subject LIKE 'pid $f->{pid} %'");
	is($i->{outcome}, 'healed', "$name: and proven so") if $i;
	leave($f->{blocker}, $f->{victim});
	return;
}

# Poll until the explanation of an incident shows this safety rule not kept; its reason.
sub gate_refused
{
	my ($node, $incident, $gate, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $rows = "jsonb_path_query(heal_explain($incident->{incident_id}), '\$.candidates[*].gates[*] ? (\@.rule == \"$gate\" && \@.passed == false)')";
	wait_value($node, "SELECT EXISTS (SELECT $rows)", 't', "$name: the rule $gate says no");
	return $node->safe_psql('postgres', "SELECT $rows ->> 'reason' LIMIT 1");
}

# A session that waits for what another one holds; its pid.
sub waiter
{
	my ($node, $session, $sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $pid = busy($session, $sql);
	wait_value($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $pid", 'Lock', $name);
	return $pid;
}

1;
