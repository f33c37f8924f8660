# Faults and waits shared by the life-cycle and chaos tests: processes of
# pg_heal, crashes, a blocker with its victim, a broken index.
package HealFault;

use strict;
use warnings;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(time usleep);
use HealNode;
use PostgreSQL::Test::Utils;

our @EXPORT = qw(worker_pid wait_worker wait_until reports wait_gone process_ended setting refused
  crash_healer crash_worker crash_server healer_back blocker blocker_gone leave invalid_index count_log log_since);

# pid of a process of pg_heal (launcher, healer, inspector, action); '' when there is none.
sub worker_pid
{
	my ($node, $type) = @_;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_heal $type' ORDER BY backend_start DESC LIMIT 1");
}

# Poll code until it is true; its value, or undef after the deadline.
sub wait_until
{
	my ($name, $code, $seconds) = @_;
	my $deadline = time() + ($seconds || $HealNode::timeout);
	my $value;
	while (time() < $deadline)
	{
		$value = eval { $code->() };
		last if $value;
		usleep(20_000);
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($value, $name);
	return $value;
}

# Wait for such a process, other than the one given; its pid.
sub wait_worker
{
	my ($node, $type, $not) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until("there is a new $type",
		sub { my $pid = worker_pid($node, $type); $pid ne '' && $pid ne ($not || '') ? $pid : undef });
}

# The healer looks and says what it sees.
sub reports
{
	my ($node, $name, $db) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_value($node, "SELECT count(*) > 1 AND bool_and(state <> 'unknown') FILTER (WHERE component = 'healer') FROM heal_status",
		't', $name || 'pg_heal reports', $db);
	return;
}

# No process with this pid any more.
sub process_ended { my ($pid) = @_; return !kill(0, $pid); }

sub wait_gone
{
	my ($node, $pid, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_until($name || "process $pid is gone", sub { process_ended($pid) });
}

# Change a setting of the running server; undef resets it.
sub setting
{
	my ($node, $name, $value) = @_;
	$node->safe_psql('postgres', defined $value ? "ALTER SYSTEM SET $name = '$value'" : "ALTER SYSTEM RESET $name");
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# The statement fails with this SQLSTATE and a hint that matches.
sub refused
{
	my ($node, $sql, $state, $hint, $name, $db) = @_;
	my ($out, $err);
	my $rc = $node->psql($db || 'postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($err, qr/\b\Q$state\E\b/, "$name: $state");
	like($err, qr/HINT:.*$hint/s, "$name: with a hint") if defined $hint;
	return $err;
}

sub crash_healer { return crash_worker($_[0], 'healer'); }

# Kill a process of pg_heal the hard way: the server goes through crash recovery.
sub crash_worker
{
	my ($node, $type, $signal) = @_;
	my $offset = -s $node->logfile;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# Inspectors live for a few milliseconds only: try until the log says that one was hit.
	my $session = $node->background_psql('postgres');
	my $hit = 0;
	my $deadline = time() + $HealNode::timeout;
	while (!$hit && time() < $deadline)
	{
		my $pid = eval { $session->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_heal $type' LIMIT 1") };
		usleep(100_000) if !defined $pid || ($pid ne '' && kill($signal || 'KILL', $pid));
		$hit = slurp_file($node->logfile, $offset) =~ /was terminated by signal/;
	}
	die "there is no $type to kill" unless $hit;
	leave($session);
	$node->wait_for_log(qr/all server processes terminated; reinitializing/, $offset);
	$node->wait_for_log(qr/database system is ready to accept connections/, $offset);
	return $offset;
}

# Kill the postmaster, wait until its children are gone, start again.
sub crash_server
{
	my ($node) = @_;
	my $offset = -s $node->logfile;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->kill9;
	wait_until('the server starts after a crash', sub { $node->{_pid} = undef; $node->start(fail_ok => 1) });
	return $offset;
}

# A new healer is there and has looked.
sub healer_back
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	reports($node, $name || 'pg_heal is back');
	return;
}

# End a session that may be dead already.
sub leave
{
	for my $session (@_) { eval { $session->quit } if $session; }
	return;
}

# A session idle in its transaction that keeps another one waiting; both of role app.
# lock => SQL that takes it instead of a row, setup => 0: role and table are there.
sub blocker
{
	my ($node, %opt) = @_;
	$node->safe_psql('postgres',
		'CREATE ROLE app LOGIN; CREATE TABLE app_t (id int PRIMARY KEY, v int); INSERT INTO app_t SELECT i, 0 FROM generate_series(1, 100) i; GRANT ALL ON app_t TO app'
	) unless defined $opt{setup} && !$opt{setup};
	threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5) unless $opt{no_threshold};
	my $id = $opt{id} || 1;
	my $lock = $opt{lock} || "UPDATE app_t SET v = v + 1 WHERE id = $id";
	my $begin = $opt{begin} || 'BEGIN';
	my %f = (blocker => session($node, 'postgres', user => 'app'), victim => session($node, 'postgres', user => 'app'));
	$f{pid} = $f{blocker}->query_safe('SELECT pg_backend_pid()');
	$f{victim_pid} = $f{victim}->query_safe('SELECT pg_backend_pid()');
	$f{blocker}->query_safe("$begin; $lock");
	$f{victim}->query_until(qr/started/, "\\echo started\n$begin; $lock; COMMIT;\n\\echo through\n");
	return \%f;
}

# Wait, without a connection, until the blocker's process is gone and the victim went on.
sub blocker_gone
{
	my ($f, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_gone(undef, $f->{pid}, $name || 'the blocker is ended');
	like($f->{victim}->query_until(qr/through/, ''), qr/through/, 'its victim goes on');
	return;
}

# What CREATE INDEX CONCURRENTLY leaves behind when it fails: not unique, not valid.
sub invalid_index
{
	my ($node, $name, $db) = @_;
	$db ||= 'postgres';
	$node->safe_psql($db, "CREATE TABLE ${name}_t (id int PRIMARY KEY, a int); INSERT INTO ${name}_t SELECT i, i % 10 FROM generate_series(1, 100) i");
	my ($out, $err);
	$node->psql($db, "CREATE INDEX CONCURRENTLY $name ON ${name}_t ((1 / a))", stdout => \$out, stderr => \$err);
	die "the index build did not fail: $err" unless $err =~ /division by zero/;
	return;
}

sub log_since
{
	my ($node, $offset) = @_;
	return substr(slurp_file($node->logfile), $offset || 0);
}

sub count_log
{
	my ($node, $pattern, $offset) = @_;
	my @found = log_since($node, $offset) =~ /$pattern/g;
	return scalar @found;
}

1;
