# P02 in every mode: a schema change waits for its lock and everybody queues behind it.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $remedy = 'cancel_waiting_ddl';
my $node = heal_node('ddl', mode => 'observe');
my ($odd_db, $odd_role) = odd_database($node);
my %table = (postgres => [ map { "public.orders_$_" } 0 .. 5 ], $odd_db => ['"Sch ""one"""."Ta""ble one"']);
for my $db (sort keys %table)
{
	$node->safe_psql($db, "CREATE TABLE $_ (id int); INSERT INTO $_ VALUES (1); ALTER TABLE $_ OWNER TO \"Ro\"\"le one\"") for @{ $table{$db} };
}
threshold($node, 'ddl_lock_queue', wait_s => 0.5, queue => 2);

# A long report, the deploy's ALTER behind it, readers behind that.
sub fault
{
	my ($table, $db) = @_;
	my $f = { table => $table, db => $db || 'postgres' };
	my @as = ($f->{db}, user => $odd_role);
	$f->{report} = session($node, @as, app => 'report');
	$f->{report_pid} = busy($f->{report}, "SELECT id, pg_sleep(600) FROM $table");
	wait_value($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $f->{report_pid}", 'PgSleep', "the report on $table runs");
	$f->{deploy} = session($node, @as, app => 'deploy');
	$f->{deploy_pid} = busy($f->{deploy}, "ALTER TABLE $table ADD COLUMN note text");
	wait_value($node, "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $f->{deploy_pid}", 'Lock', "the deploy waits for $table");
	for (1 .. 2)
	{
		my $reader = session($node, @as, app => 'reader');
		push @{ $f->{reader_pids} }, busy($reader, "SELECT count(*) FROM $table");
		push @{ $f->{readers} }, $reader;
	}
	$f->{oid} = $node->safe_psql($f->{db}, "SELECT '$table'::regclass::oid");
	$f->{where} = "incident_id IN (SELECT incident_id FROM heal.incidents WHERE fingerprint LIKE '%/$f->{oid}')";
	return $f;
}

sub still_queued
{
	my ($f, $name) = @_;
	my $pids = join(', ', $f->{deploy_pid}, @{ $f->{reader_pids} });
	is($node->safe_psql('postgres', "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = $f->{oid} AND pid IN ($pids)"),
		'3', "$name: the queue is as it was");
	return;
}

sub finish
{
	my ($f) = @_;
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($f->{report_pid})");
	eval { $_->quit } for $f->{report}, $f->{deploy}, @{ $f->{readers} };
	return;
}

sub healed
{
	my ($f, $name) = @_;
	my $i = wait_incident($node, 'ddl_lock_queue', 'resolved', "$name: resolved", $f->{where});
	is($i->{outcome}, 'healed', "$name: outcome is healed");
	is($i->{root_cause}, 'ddl_without_lock_timeout', "$name: root cause is named");
	is($i->{remedy}, $remedy, "$name: remedy is named");
	is($i->{database}, $f->{db}, "$name: database is named");
	is($node->safe_psql('postgres', "SELECT outcome, verified FROM heal_history WHERE incident_id = $i->{incident_id}"),
		'healed|t', "$name: one attempt, verified on the target");
	for my $reader (@{ $f->{readers} })
	{
		like(($reader->query('SELECT 2'))[0], qr/^1\s+2$/, "$name: a reader has its answer and goes on");
		is($reader->{stderr}, '', "$name: and no error");
	}
	is($node->safe_psql('postgres', "SELECT state, wait_event FROM pg_stat_activity WHERE pid = $f->{report_pid}"),
		'active|PgSleep', "$name: the holder was not touched");
	my ($out) = $f->{deploy}->query('SELECT pg_backend_pid()');
	is($out, $f->{deploy_pid}, "$name: the deploy's session is there");
	like($f->{deploy}->{stderr}, qr/canceling statement due to user request/, "$name: only its statement was cancelled");
	note_times($i, $name);
	return $i;
}

# observe: only a recommendation, and it goes when the symptom goes.
my ($t0, $t1, $t2, $t3, $t4, $t5) = @{ $table{postgres} };
my $f = fault($t0);
my $i = wait_incident($node, 'ddl_lock_queue', 'planned', 'observe: planned', $f->{where});
is($i->{subject}, $t0, 'observe: the table is named');
is($i->{severity}, 'critical', 'observe: it is critical');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is($r->{risk_class}, 'A1', 'observe: risk class is shown');
waits_in_vain($node, 'observe', $i);
still_queued($f, 'observe');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($f->{report_pid})");
$i = wait_incident($node, 'ddl_lock_queue', 'closed_itself', 'observe: closes itself', $f->{where});
is($i->{outcome}, '', 'observe: claims no success');
wait_recommendation($node, $i->{incident_id}, $remedy, 'withdrawn', 'observe: the recommendation is withdrawn');
wait_value($node, "SELECT count(*) FROM pg_attribute WHERE attrelid = $f->{oid} AND attname = 'note'", '1', 'observe: the deploy went through');
finish($f);

# approve: waits; rejected is left alone, approved is healed.
set_mode($node, 'approve');
my ($no, $yes) = (fault($t1), fault($t2));
my %recommendation;
for ([ no => $no ], [ yes => $yes ])
{
	my ($which, $fault) = @$_;
	$fault->{incident} = wait_incident($node, 'ddl_lock_queue', 'awaiting_approval', "approve: $which waits", $fault->{where});
	$recommendation{$which} = wait_recommendation($node, $fault->{incident}{incident_id}, $remedy, 'waiting', "approve: $which is asked for");
}
waits_in_vain($node, 'approve', map { $_->{incident} } $no, $yes);
still_queued($_, 'approve, before the decision') for $no, $yes;
decide($node, $recommendation{no}, 'the deploy has priority');
decide($node, $recommendation{yes});
healed($yes, 'approve');
waits_in_vain($node, 'rejected', $no->{incident});
still_queued($no, 'rejected');
finish($_) for $no, $yes;

# limited: class A1 is for it alone.
set_mode($node, 'limited');
$f = fault($t3);
healed($f, 'limited');
finish($f);

# limited, marked critical: asks.
$node->safe_psql('postgres', "SELECT heal_set_policy('component', 'locks', 'critical', 'on')");
$f = fault($t4);
$i = wait_incident($node, 'ddl_lock_queue', 'awaiting_approval', 'limited and critical: asks', $f->{where});
waits_in_vain($node, 'limited and critical', $i);
still_queued($f, 'limited and critical');

# auto: acts, critical or not; also in another database, where every name needs quoting.
set_mode($node, 'auto');
healed($f, 'auto');
finish($f);
$f = fault($table{$odd_db}[0], $odd_db);
healed($f, 'odd names');
finish($f);

is($node->safe_psql('postgres', "SELECT count(*) FROM heal_history WHERE remedy <> '$remedy'"), '0', 'nothing else was ever done');
log_ends_well($node);
done_testing();
