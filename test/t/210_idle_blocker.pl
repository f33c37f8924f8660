# P01 in every mode: a session that is idle in its transaction and blocks others.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $remedy = 'terminate_idle_blocker';
my $node = heal_node('idle', mode => 'observe');
my ($odd_db, $odd_role) = odd_database($node);
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
for my $db ('postgres', $odd_db)
{
	$node->safe_psql($db, <<'SQL');
CREATE TABLE accounts (id int PRIMARY KEY, v text);
INSERT INTO accounts SELECT i, 'old' FROM generate_series(1, 20) AS i;
GRANT ALL ON accounts TO app, "Ro""le one";
SQL
}
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.5, wait_s => 0.5);

# One session leaves its transaction open on a row, another one wants that row.
sub fault
{
	my ($id, $db, $role) = @_;
	my $f = { id => $id, db => $db || 'postgres', role => $role || 'app' };
	$f->{holder} = session($node, $f->{db}, user => $f->{role});
	$f->{holder_pid} = $f->{holder}->query_safe('SELECT pg_backend_pid()');
	$f->{holder}->query_safe("BEGIN; UPDATE accounts SET v = 'lost' WHERE id = $id");
	$f->{victim} = session($node, $f->{db}, user => $f->{role});
	$f->{victim_pid} = busy($f->{victim}, "UPDATE accounts SET v = 'new' WHERE id = $id");
	$f->{where} = "subject LIKE 'pid $f->{holder_pid} %'";
	return $f;
}

sub still_blocks
{
	my ($f, $name) = @_;
	is( $node->safe_psql('postgres',
			"SELECT string_agg(state || '/' || coalesce(wait_event_type, ''), ' ' ORDER BY pid = $f->{victim_pid}) "
			  . "FROM pg_stat_activity WHERE pid IN ($f->{holder_pid}, $f->{victim_pid})"),
		'idle in transaction/Client active/Lock', "$name: holder and victim are as they were");
	return;
}

sub healed
{
	my ($f, $name) = @_;
	my $i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', "$name: resolved", $f->{where});
	is($i->{outcome}, 'healed', "$name: outcome is healed");
	is($i->{root_cause}, 'idle_in_transaction_session', "$name: root cause is named");
	is($i->{remedy}, $remedy, "$name: remedy is named");
	is($i->{database}, $f->{db}, "$name: database is named");
	ok(!alive($node, $f->{holder_pid}), "$name: the holder is gone");
	wait_value($node, "SELECT v FROM accounts WHERE id = $f->{id}", 'new', "$name: the victim's change is there", $f->{db});
	is($node->safe_psql('postgres', "SELECT outcome, verified, state FROM heal_history WHERE incident_id = $i->{incident_id}"),
		'healed|t|finished', "$name: one attempt, verified on the target");
	note_times($i, $name);
	return $i;
}

sub finish
{
	my ($f) = @_;
	eval { $f->{$_}->quit } for qw(holder victim);
	return;
}

# Beside all of them: idle in a transaction too, with a lock too, but nobody waits for it.
my $innocent = session($node, 'postgres', user => 'app');
my $innocent_pid = $innocent->query_safe('SELECT pg_backend_pid()');
$innocent->query_safe("BEGIN; UPDATE accounts SET v = 'mine' WHERE id = 20");

# observe: only a recommendation, and it goes when the symptom goes.
my $f = fault(1);
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', 'observe: planned', $f->{where});
is($i->{root_cause}, 'idle_in_transaction_session', 'observe: root cause is named');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is($r->{risk_class}, 'A2', 'observe: risk class is shown');
like($node->safe_psql('postgres', "SELECT sql FROM heal_recommend($i->{incident_id})"),
	qr/pg_terminate_backend\($f->{holder_pid}\)/, 'observe: the statement names the holder');
waits_in_vain($node, 'observe', $i);
still_blocks($f, 'observe');
my ($ret, $out, $err) = $node->psql('postgres', "SELECT heal_approve($r->{recommendation_id})");
isnt($ret, 0, 'observe: even an approval does not act');
like($err, qr/only observes/, 'observe: and says why');
still_blocks($f, 'observe, after the refused approval');
$f->{holder}->query_safe('ROLLBACK');
$i = wait_incident($node, 'idle_in_transaction_blocker', 'closed_itself', 'observe: closes itself', $f->{where});
is($i->{outcome}, '', 'observe: claims no success');
wait_recommendation($node, $i->{incident_id}, $remedy, 'withdrawn', 'observe: the recommendation is withdrawn');
finish($f);

# approve: waits; rejected is left alone, approved is healed.
set_mode($node, 'approve');
my ($no, $yes) = (fault(2), fault(3));
my %incident;
for ([ no => $no ], [ yes => $yes ])
{
	my ($which, $fault) = @$_;
	$incident{$which} = wait_incident($node, 'idle_in_transaction_blocker', 'awaiting_approval', "approve: $which waits", $fault->{where});
	$r = wait_recommendation($node, $incident{$which}{incident_id}, $remedy, 'waiting', "approve: $which is asked for");
	$incident{$which}{recommendation} = $r;
}
waits_in_vain($node, 'approve', values %incident);
still_blocks($no, 'approve, before the decision');
decide($node, $incident{no}{recommendation}, 'it is the month-end job');
decide($node, $incident{yes}{recommendation});
healed($yes, 'approve');
is($node->safe_psql('postgres', "SELECT mode FROM heal_history WHERE incident_id = $incident{yes}{incident_id}"), 'approve', 'approve: the attempt says how it came about');
is($node->safe_psql('postgres', "SELECT state, decided_by = current_user FROM heal.recommendations WHERE incident_id = $incident{yes}{incident_id}"),
	'executed|t', 'approve: who approved is kept');
wait_recommendation($node, $incident{no}{incident_id}, $remedy, 'rejected', 'approve: the other one is rejected');
waits_in_vain($node, 'rejected', $incident{no});
still_blocks($no, 'rejected');
like($node->safe_psql('postgres', "SELECT heal_explain($incident{no}{incident_id}) ->> 'transitions'"), qr/month-end job/, 'rejected: the reason is kept');
$no->{holder}->query_safe('ROLLBACK');
wait_value($node, "SELECT resolved_at IS NOT NULL FROM heal_incidents WHERE incident_id = $incident{no}{incident_id}", 't', 'rejected: ends with its symptom');
finish($_) for $no, $yes;

# limited: class A2 is not for it alone.
set_mode($node, 'limited');
$f = fault(4);
$i = wait_incident($node, 'idle_in_transaction_blocker', 'awaiting_approval', 'limited: asks', $f->{where});
waits_in_vain($node, 'limited', $i);
still_blocks($f, 'limited');

# auto: acts; also in another database, where every name needs quoting.
set_mode($node, 'auto');
$i = healed($f, 'auto');
finish($f);
$f = fault(5, $odd_db, $odd_role);
$i = healed($f, 'odd names');
like($i->{subject}, qr/^pid $f->{holder_pid} \(Ro"le one\@Data "base" one\)$/, 'odd names: the subject is readable');
finish($f);

ok(alive($node, $innocent_pid), 'the innocent session is there');
is($innocent->query_safe('SELECT v FROM accounts WHERE id = 20'), 'mine', 'the innocent transaction is open still');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE subject LIKE 'pid $innocent_pid %'"), '0', 'the innocent session was never suspected');
$innocent->quit;
log_ends_well($node);
done_testing();
