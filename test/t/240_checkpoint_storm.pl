# P11 in every mode: max_wal_size is too small for what is written.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;
use Time::HiRes qw(time usleep);

my $remedy = 'raise_max_wal_size';
my $node = checkpoint_node('checkpoints', 'observe');
$node->safe_psql('postgres', "ALTER SYSTEM SET max_wal_size = '32MB'; ALTER SYSTEM SET work_mem = '5MB'");
$node->reload;
wait_value($node, 'SHOW max_wal_size', '32MB', 'max_wal_size comes from ALTER SYSTEM');

sub checkpoint_node
{
	my ($name, $mode) = @_;
	my $new = heal_node($name, mode => $mode, conf => "max_wal_size = 48MB\n");
	threshold($new, 'checkpoint_storm', window_s => 6, min_requested => 3, verify_cycles => 1);
	return $new;
}

# What postgresql.auto.conf says about it, and what is in force.
sub settings
{
	my $file = $node->safe_psql('postgres',
		"SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf' AND name IN ('max_wal_size', 'work_mem')");
	return $file . ' / ' . $node->safe_psql('postgres', 'SHOW max_wal_size');
}

# The settings as they are to be after the remedy.
sub raised
{
	my ($i) = @_;
	my ($mb) = $node->safe_psql('postgres', "SELECT sql FROM heal_history WHERE incident_id = $i->{incident_id}") =~ /= '(\d+)MB'/;
	cmp_ok($mb, '>=', 64, 'max_wal_size is doubled at least');
	return "max_wal_size=${mb}MB work_mem=5MB / " . ($mb % 1024 ? "${mb}MB" : ($mb / 1024) . 'GB');
}

# Write WAL, one cycle of the small size after the other, until the incident is there.
sub storm
{
	my ($state, $name) = @_;
	my $deadline = time() + 60;
	my $i;
	# It may be healed before it is looked for.
	my $last = $node->safe_psql('postgres', 'SELECT coalesce(max(incident_id), 0) FROM heal_incidents');
	while (time() < $deadline)
	{
		my $before = requested();
		$node->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'test', repeat('x', 17000000)) FROM generate_series(1, 2)");
		for (1 .. 40)
		{
			last if requested() > $before;
			usleep(25_000);
		}
		$i = incident($node, 'checkpoint_storm', "incident_id > $last");
		last if $i && $i->{state} =~ /^(?:$state)$/;
	}
	ok($i && $i->{state} =~ /^(?:$state)$/, $name) or diag($i ? "state $i->{state}" : 'no incident');
	return $i;
}

sub requested { return $node->safe_psql('postgres', 'SELECT checkpoints_req FROM pg_stat_bgwriter'); }

# An ordinary load while the new size proves itself.
sub verified
{
	my ($id, $name) = @_;
	my $deadline = time() + 60;
	my $i;
	while (time() < $deadline)
	{
		$i = incident($node, 'checkpoint_storm', "incident_id = $id");
		last if $i->{state} =~ /^(?:resolved|escalated)$/;
		$node->safe_psql('postgres', "SELECT pg_logical_emit_message(false, 'test', repeat('x', 2000000))");
		usleep(100_000);
	}
	is($i->{state}, 'resolved', "$name: resolved");
	is($i->{outcome}, 'healed', "$name: outcome is healed");
	is($i->{root_cause}, 'max_wal_size_too_small', "$name: root cause is named");
	is($i->{remedy}, $remedy, "$name: remedy is named");
	is($node->safe_psql('postgres', "SELECT outcome, verified FROM heal_history WHERE incident_id = $id"),
		'healed|t', "$name: one attempt, verified on the target");
	note_times($i, $name);
	return $node->safe_psql('postgres', "SELECT snapshot_id FROM heal_history WHERE incident_id = $id");
}

# observe: only a recommendation, and it goes when the symptom goes.
my $i = storm('planned', 'observe: planned');
is($i->{subject}, 'max_wal_size', 'observe: the setting is named');
my $r = wait_recommendation($node, $i->{incident_id}, $remedy, 'open', 'observe: recommended');
is("$r->{risk_class} $r->{reversible}", 'A2 true', 'observe: risk class is shown, and that it can be undone');
is(settings(), 'max_wal_size=32MB work_mem=5MB / 32MB', 'observe: nothing changed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'observe: nothing was attempted');
wait_incident($node, 'checkpoint_storm', 'closed_itself', 'observe: closes itself');
wait_recommendation($node, $i->{incident_id}, $remedy, 'withdrawn', 'observe: the recommendation is withdrawn');

# limited: class A2 is not for it alone; rejected is left alone.
set_mode($node, 'limited');
$i = storm('awaiting_approval', 'limited: asks');
$r = wait_recommendation($node, $i->{incident_id}, $remedy, 'waiting', 'limited: approval is asked for');
decide($node, $r, 'the disk is small');
waits_in_vain($node, 'rejected', $i);
is(settings(), 'max_wal_size=32MB work_mem=5MB / 32MB', 'rejected: nothing changed');
wait_value($node, "SELECT resolved_at IS NOT NULL FROM heal_incidents WHERE incident_id = $i->{incident_id}", 't', 'rejected: ends with its symptom');

# approve: acts once it is approved; heal_rollback() brings back what ALTER SYSTEM had said.
set_mode($node, 'approve');
$i = storm('awaiting_approval', 'approve: waits');
$r = wait_recommendation($node, $i->{incident_id}, $remedy, 'waiting', 'approve: approval is asked for');
is(settings(), 'max_wal_size=32MB work_mem=5MB / 32MB', 'approve: nothing changed yet');
decide($node, $r);
my $snapshot = verified($i->{incident_id}, 'approve');
is(settings(), raised($i), 'approve: raised, in the file and in force, and nothing else');
is($node->safe_psql('postgres', "SELECT status FROM heal_rollback($snapshot) WHERE item = 'snapshot'"), 'success', 'roll-back by hand');
is(settings(), 'max_wal_size=32MB work_mem=5MB / 32MB', 'roll-back: the former ALTER SYSTEM is back');

log_ends_well($node);

# auto: acts; there was no entry in postgresql.auto.conf, after the roll-back there is none again.
$node = checkpoint_node('automatic', 'auto');
$node->safe_psql('postgres', "ALTER SYSTEM SET work_mem = '5MB'");
$i = storm('executing|verifying|resolved', 'auto: acts');
$snapshot = verified($i->{incident_id}, 'auto');
is(settings(), raised($i), 'auto: raised, and nothing else');
is($node->safe_psql('postgres', "SELECT status FROM heal_rollback($snapshot) WHERE item = 'snapshot'"), 'success', 'roll-back by hand');
is(settings(), 'work_mem=5MB / 48MB', 'roll-back: no entry, as before');
log_ends_well($node);
done_testing();
