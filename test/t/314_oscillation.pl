# Three times in seven days the same remedy on the same object: not a fourth time, also after a restart.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use HealWatch;
use Test::More;

my $node = heal_node('oscillation', conf => "pg_heal.inspect_interval = 1s\n");
app_role($node);
$node->safe_psql('postgres', 'CREATE TABLE data (id int PRIMARY KEY, a int); INSERT INTO data SELECT i, i % 10 FROM generate_series(1, 100) i');

# Somebody builds the same index again and again, and it fails each time.
sub build
{
	my ($name) = @_;
	my ($out, $err);
	$node->psql('postgres', "CREATE INDEX CONCURRENTLY $name ON data ((1 / a))", stdout => \$out, stderr => \$err);
	die "the index build did not fail: $err" unless $err =~ /division by zero/;
	return;
}

my $last = 0;
for my $n (1 .. 3)
{
	build('unlucky');
	my $i = wait_incident($node, 'invalid_index', 'resolved', "time $n: healed", "incident_id > $last");
	$last = $i->{incident_id};
}

# The ledger is in the tables, not only in memory.
$node->restart;
healer_back($node, 'pg_heal is back after a restart');
build('unlucky');
my $i = wait_incident($node, 'invalid_index', 'escalated', 'time 4: a person is called', "incident_id > $last");
is($i->{outcome}, 'escalated', 'time 4: and that is the outcome');
like(gate_refused($node, $i, 'oscillation', 'time 4'), qr/done 3 times on this object in seven days/, 'time 4: the rule says why');
like($node->safe_psql('postgres', "SELECT heal_explain($i->{incident_id}) ->> 'transitions'"), qr/seven days/, 'time 4: so does the escalation');
settle($node, 8);
is($node->safe_psql('postgres', 'SELECT string_agg(outcome, \' \') FROM heal_history'), 'healed healed healed', 'time 4: nothing was attempted');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'unlucky'"), '1', 'time 4: the index is there');

# Another index of the same table is another object.
build('other');
my $other = wait_incident($node, 'invalid_index', 'resolved', 'another index is healed', "subject = 'public.other'");
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'unlucky'"), '1', 'the first is left as it is');

# A person decides: that is not acting alone.
$node->safe_psql('postgres', "SELECT heal_execute($i->{incident_id}, 'drop_invalid_index')");
$i = wait_incident($node, 'invalid_index', 'resolved', 'by hand it is done', "incident_id = $i->{incident_id}");
is($node->safe_psql('postgres', "SELECT string_agg(mode, ' ' ORDER BY attempt_id) FROM heal_history WHERE subject = 'public.unlucky'"), 'auto auto auto manual', 'and shown as such');
log_ends_well($node);
done_testing();
