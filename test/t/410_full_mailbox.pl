# A full mailbox is an error with a hint; those who are in it are answered.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $slots = 16;
my $node = heal_node('primary', mode => 'observe');
my $healer = worker_pid($node, 'healer');
my @callers = map { session($node) } 1 .. $slots;

settle($node, 1);
kill('STOP', $healer);
my @pids = map { busy($_, "SELECT 'resumed ' || (heal_resume() ->> 'paused')") } @callers;
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'Extension' AND pid IN (" . join(', ', @pids) . ')', $slots, 'every slot is taken');
refused($node, 'SELECT heal_resume()', '53000', 'Try again', 'one more request');
refused($node, "SELECT heal_snapshot('x')", '53000', 'Try again', 'of any kind');
is($node->safe_psql('postgres', 'SELECT count(*) > 1 FROM heal_status'), 't', 'reading goes on');
$node->safe_psql('postgres', "SELECT heal_set_threshold('invalid_index', 'samples', 3)");
pass('and so does configuring');

kill('CONT', $healer);
for my $n (1 .. $slots)
{
	like($callers[ $n - 1 ]->query_until(qr/resumed/, ''), qr/resumed false/, "caller $n is answered");
}
is($node->safe_psql('postgres', "SELECT heal_resume() ->> 'paused'"), 'false', 'there is room again');
leave(@callers);

# More snapshots at once than pg_heal takes: the others are told so.
wait_value($node, "SELECT count(*) FROM heal_status WHERE state = 'unknown'", '0', 'everything was looked at');
@callers = map { session($node) } 1 .. 6;
settle($node, 1);
kill('STOP', $healer);
@pids = map { busy($_, "\\set VERBOSITY verbose\nSELECT 'taken ' || (heal_snapshot('many', 'roles') IS NOT NULL)") } @callers;
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'Extension' AND pid IN (" . join(', ', @pids) . ')', '6', 'six ask at once');
kill('CONT', $healer);
leave(@callers);
my @errors = map { $_->{stderr} =~ /ERROR:\s+(\w{5})/ ? $1 : 'none' } @callers;
is(scalar(grep { $_ eq '54000' } @errors), 2, 'two of six are too many') or diag("@errors");
is(scalar(grep { $_->{stderr} =~ /54000.*HINT:\s+Wait until one is finished/s } @callers), 2, 'and are told what to do');
wait_value($node, "SELECT heal_snapshot('later') IS NOT NULL", 't', 'afterwards all is well');
wait_value($node, "SELECT count(*) FROM heal_audit WHERE subject = 'many' AND action = 'snapshot'", '4', 'the other four were taken');
is(worker_pid($node, 'healer'), $healer, 'the worker is the same');

log_ends_well($node);
done_testing();
