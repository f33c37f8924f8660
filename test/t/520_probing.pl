# S05 over TCP with passwords: refusals and probing statements are seen within a second, with role and address; a broken deploy is not blamed.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use IPC::Run qw(run);
use Time::HiRes qw(time);
use Test::More;

my $node = heal_node('primary', mode => 'auto', conf => "listen_addresses = '127.0.0.1'\npg_heal.monitoring_interval = 10s\n");
$node->safe_psql('postgres', q(SET password_encryption = 'scram-sha-256';
	CREATE ROLE app LOGIN PASSWORD 'right'; CREATE ROLE web LOGIN PASSWORD 'right'; CREATE ROLE deploy LOGIN PASSWORD 'right'; CREATE ROLE grantless LOGIN PASSWORD 'right';
	CREATE TABLE items (id int, name text); INSERT INTO items SELECT i, 'x' FROM generate_series(1, 100) i; GRANT SELECT ON items TO PUBLIC;
	CREATE TABLE secret_a (v text); CREATE TABLE secret_b (v text); CREATE TABLE secret_c (v text); CREATE TABLE secret_d (v text)));
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
$node->reload;

# Statements of one session over TCP; each may fail.
sub client
{
	my ($role, $application, @statements) = @_;
	local $ENV{PGPASSWORD} = 'right';
	local $ENV{PGAPPNAME} = $application;
	run([ 'psql', '-XAtq', '-h', '127.0.0.1', '-p', $node->port, '-U', $role, 'postgres' ],
		'<', \join('', map { "$_;\n" } @statements), '>', \my $out, '2>', \my $err);
	return time();
}
sub opened { return $node->safe_psql('postgres', "SELECT extract(epoch FROM opened_at) FROM heal_incidents WHERE incident_id = $_[0]->{incident_id}"); }
sub among_many { return map { ($_, ('SELECT 1 FROM items') x 4) } @_; }

wait_value($node, "SELECT count(*) FROM heal_status WHERE component = 'security' AND state = 'healthy'", '1', 'security is looked at');
settle($node, 1);

# the innocent first: a column that is missing, and a migration that did not run
client('deploy', 'shop', ('SELECT price FROM items WHERE id = 1') x 200);
client('deploy', 'shop', map { ("SELECT price$_ FROM items", "SELECT 1 FROM items$_", "SELECT f$_(id) FROM items") } 1 .. 30);
client('web', 'shop', among_many(map { "SELECT id FROM items WHERE id = 'item $_'" } 1 .. 60));

# one session per statement, as an attacker's tool may do it
my $last;
for my $i (1 .. 6) { $last = client('app', "tool $i", map { "SELECT * FROM secret_$_" } qw(a b c d)); }
my $refused = wait_incident($node, 'injection_probing', '.*', 'refusals are seen', "subject LIKE '%denied'");
cmp_ok(opened($refused) - $last, '<', 1, 'within a second, though the interval is ten');
is($refused->{subject}, 'role app from 127.0.0.1: permissions denied', 'role and address are named');
is($refused->{severity}, 'warning', 'several objects');

$last = client('web', 'shop', map { ("SELECT id FROM items WHERE name = 'x''' AND name = '$_''", "SELECT id FROM items WHERE id = 'x$_'", "SELECT id FROM items ORDER BY " . ($_ + 1),
	"SELECT nothing$_ FROM items", "SELECT waitfor$_('secret-literal')") } 1 .. 40);
my $probing = wait_incident($node, 'injection_probing', '.*', 'probing is seen', "subject LIKE '%many ways'");
cmp_ok(opened($probing) - $last, '<', 1, 'within a second');
is($probing->{subject}, 'role web from 127.0.0.1: statements that fail in many ways', 'role and address are named');
is($probing->{severity}, 'warning', 'a warning');

client('grantless', 'shop', ('SELECT v FROM secret_a') x 60);
my $grant = wait_incident($node, 'injection_probing', '.*', 'a grant that is missing is seen', "subject LIKE 'role grantless%'");
is($grant->{severity}, 'info', 'as a note');

wait_incident($node, 'injection_probing', 'escalated', 'it goes to a person', "incident_id = $refused->{incident_id}");
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'injection_probing'"), '3', 'nobody else is blamed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done by itself');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal.incidents WHERE explanation::text ~ 'secret-literal|waitfor')), '0', 'no statement is kept');
note($node->safe_psql('postgres', "SELECT incident_id, subject, root_cause, confidence, detected_after_ms FROM heal_incidents ORDER BY 1"));
log_ends_well($node);
done_testing();
