# heal_pause stops all acting at once, also of what waits or is under way, and says so; heal_resume goes on.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('pause');
app_role($node);
threshold($node, 'idle_in_transaction_blocker', idle_s => 0.3, wait_s => 0.3);

sub healer { return $node->safe_psql('postgres', "SELECT detail FROM heal_status WHERE component = 'healer'"); }

is(healer(), 'mode auto', 'before: in auto mode');
my $result = $node->safe_psql('postgres', "SELECT heal_pause('deploy of the week')");
like($result, qr/"paused": true/, 'heal_pause answers');
wait_value($node, "SELECT detail LIKE 'paused: all acting is stopped, roll-backs included%deploy of the week%' FROM heal_status WHERE component = 'healer'", 't', 'and heal_status says so, with the reason');

# Seen and recommended, not done.
my $f = blocker($node, setup => 0);
my $w = watch($node);
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', 'paused: the fault is seen');
my $r = wait_recommendation($node, $i->{incident_id}, 'terminate_idle_blocker', 'open', 'paused: and recommended');
is(gate_refused($node, $i, 'pause', 'paused'), 'acting is paused', 'paused: the rule says so');
settle($node, 8);
left_alone($node, $w, 'paused');
refused($node, "SELECT heal_approve($r->{recommendation_id})", '55000', 'heal_resume', 'paused: no approval');
refused($node, "SELECT heal_execute($i->{incident_id}, 'terminate_idle_blocker')", '55000', 'heal_resume', 'paused: nothing by hand');
my $snapshot = $node->safe_psql('postgres', "SELECT heal_snapshot('before', 'settings')");
refused($node, "SELECT * FROM heal_rollback($snapshot)", '55000', 'heal_resume', 'paused: no roll-back');
left_alone($node, $w, 'paused, after the refusals');

# It outlives the healer and the server.
my $healer = worker_pid($node, 'healer');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($healer)");
wait_worker($node, 'healer', $healer);
wait_value($node, "SELECT detail LIKE 'paused:%' FROM heal_status WHERE component = 'healer'", 't', 'paused: so is the next healer');
settle($node, 4);
ok(alive($node, $f->{pid}), 'paused: and it does nothing');

# Resumed, the same incident is healed.
like($node->safe_psql('postgres', 'SELECT heal_resume()'), qr/"was_paused": true/, 'heal_resume answers');
$i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'resumed: healed', "incident_id = $i->{incident_id}");
blocker_gone($f, 'resumed: the blocker is ended');
is(healer(), 'mode auto', 'resumed: and says so');
leave($f->{blocker}, $f->{victim});

# What waits for an approval is stopped too, and comes back.
set_mode($node, 'approve');
$f = blocker($node, setup => 0, id => 2);
$i = wait_incident($node, 'idle_in_transaction_blocker', 'awaiting_approval', 'approve: waits for an answer', "subject LIKE 'pid $f->{pid} %'");
$r = wait_recommendation($node, $i->{incident_id}, 'terminate_idle_blocker', 'waiting');
$w = watch($node);
$node->safe_psql('postgres', "SELECT heal_pause('again')");
refused($node, "SELECT heal_approve($r->{recommendation_id})", '55000', 'heal_resume', 'approve, paused');
settle($node, 4);
left_alone($node, $w, 'approve, paused');
$node->safe_psql('postgres', 'SELECT heal_resume()');
$r = wait_recommendation($node, $i->{incident_id}, 'terminate_idle_blocker', 'waiting', 'approve, resumed: asked for again');
decide($node, $r);
wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'approve, resumed: healed', "incident_id = $i->{incident_id}");
leave($f->{blocker}, $f->{victim});
is($node->safe_psql('postgres', "SELECT string_agg(action, ' ' ORDER BY audit_id) FROM heal_audit WHERE action IN ('pause', 'resume')"), 'pause resume pause resume', 'who paused and resumed is kept');
log_ends_well($node);
done_testing();
