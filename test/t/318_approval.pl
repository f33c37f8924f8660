# An approval holds for the session that was shown, not for another one that has taken its place.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('approval', mode => 'approve');
app_role($node);
threshold($node, 'ddl_lock_queue', wait_s => 0.3, queue => 1);
$node->safe_psql('postgres', 'CREATE TABLE orders (id int); INSERT INTO orders VALUES (1); ALTER TABLE orders OWNER TO app');

# A report, two schema changes that wait for its end, readers behind each of them.
my ($report, $first, $second, @readers) = map { app($node) } 1 .. 5;
my $report_pid = busy($report, 'SELECT id, pg_sleep(600) FROM orders');
wait_value($node, "SELECT wait_event FROM pg_stat_activity WHERE pid = $report_pid", 'PgSleep', 'the report runs');
my $first_pid = waiter($node, $first, 'ALTER TABLE orders ADD COLUMN a int', 'the first schema change waits');
waiter($node, $readers[0], 'SELECT count(*) FROM orders', 'a reader waits behind it');
my $second_pid = waiter($node, $second, 'ALTER TABLE orders ADD COLUMN b int', 'the second schema change waits');
waiter($node, $readers[1], 'SELECT count(*) FROM orders', 'a reader waits behind it');

my $i = wait_incident($node, 'ddl_lock_queue', 'awaiting_approval', 'an approval is asked for');
my $shown = wait_recommendation($node, $i->{incident_id}, 'cancel_waiting_ddl', 'waiting');
my $sql = "SELECT sql FROM heal_recommend($i->{incident_id}) WHERE state = 'waiting'";
like($node->safe_psql('postgres', $sql), qr/pg_cancel_backend\($first_pid\)/, 'to cancel the first');

# Its owner cancels it himself; now the second one heads the queue.
$node->safe_psql('postgres', "SELECT pg_cancel_backend($first_pid)");
wait_value($node, "SELECT sql ~ 'pg_cancel_backend\\($second_pid\\)' FROM heal_recommend($i->{incident_id}) WHERE state = 'waiting'", 't', 'then to cancel the second');
my $w = watch($node);
refused($node, "SELECT heal_approve($shown->{recommendation_id})", '55000', '', 'the approval for the first');
settle($node, 4);
left_alone($node, $w, 'approval for the first');
is($node->safe_psql('postgres', "SELECT state || '/' || wait_event_type FROM pg_stat_activity WHERE pid = $second_pid"), 'active/Lock', 'the second waits on');

# Approved for itself it is cancelled.
my $now = wait_recommendation($node, $i->{incident_id}, 'cancel_waiting_ddl', 'waiting');
isnt($now->{recommendation_id}, $shown->{recommendation_id}, 'it is a recommendation of its own');
decide($node, $now);
wait_incident($node, 'ddl_lock_queue', 'resolved', 'the approval for the second: healed', "incident_id = $i->{incident_id}");
wait_value($node, "SELECT state FROM pg_stat_activity WHERE pid = $second_pid", 'idle', 'it was the second that was cancelled');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($report_pid)");
leave($report, $first, $second, @readers);
log_ends_well($node);
done_testing();
