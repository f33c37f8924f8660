# A reload changes mode, interval and pg_heal.enabled of the running server; nothing is restarted.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;
use Time::HiRes qw(time);

my $node = heal_node('primary', mode => 'observe');
my $healer = worker_pid($node, 'healer');
my $launcher = worker_pid($node, 'launcher');

# the mode: what was only recommended is done
my $f = blocker($node);
my $i = wait_incident($node, 'idle_in_transaction_blocker', 'planned', 'it is only recommended in observe mode');
wait_value($node, "SELECT count(*) FROM heal_recommend() WHERE remedy = 'terminate_idle_blocker'", '1', 'a recommendation');
settle($node);
ok(alive($node, $f->{pid}), 'nobody is ended');
setting($node, 'pg_heal.mode', 'auto');
$i = wait_incident($node, 'idle_in_transaction_blocker', 'resolved', 'the same incident is healed in auto mode',
	"incident_id = $i->{incident_id}");
blocker_gone($f);
leave($f->{blocker}, $f->{victim});

# the interval: a healer that would sleep for long takes a shorter one at once
setting($node, 'pg_heal.monitoring_interval', '10min');
setting($node, 'pg_heal.inspect_interval', '1h');
wait_value($node, "SELECT current_setting('pg_heal.monitoring_interval')", '10min', 'a longer interval');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_status WHERE state = 'unknown'"), '0', 'a long interval is not a dead healer');
my $start = time();
setting($node, 'pg_heal.monitoring_interval', '500ms');
settle($node, 4);
cmp_ok(time() - $start, '<', 60, 'a shorter interval does not wait for the end of the longer one');

# a flood of SIGHUP loses none and hurts nobody
for my $n (1 .. 200)
{
	kill('HUP', $healer, $launcher);
}
setting($node, 'pg_heal.mode', 'observe');
settle($node, 2);
is(worker_pid($node, 'healer'), $healer, 'the healer is the same process');
is(worker_pid($node, 'launcher'), $launcher, 'the launcher is the same process');

# unknown values are refused
refused($node, "ALTER SYSTEM SET pg_heal.mode = 'wild'", '22023', 'observe, approve, limited, auto', 'unknown mode');
refused($node, "ALTER SYSTEM SET pg_heal.monitoring_interval = '1ms'", '22023', undef, 'interval out of range');
refused($node, 'SET pg_heal.mode = auto', '55P02', undef, 'a session cannot raise the mode');

# off and on
setting($node, 'pg_heal.enabled', 'off');
wait_gone($node, $healer, 'enabled = off ends the healer');
is(worker_pid($node, 'launcher'), $launcher, 'the launcher stays');
wait_value($node, "SELECT state || ': ' || detail FROM heal_status WHERE component = 'healer'", 'unknown: pg_heal.enabled is off', 'heal_status says so');
refused($node, "SELECT heal_pause('x')", '55000', 'pg_heal.enabled', 'a request to a stopped healer');
setting($node, 'pg_heal.enabled', undef);
reports($node, 'enabled = on starts it again');

log_ends_well($node);
done_testing();
