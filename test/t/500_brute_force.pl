# S01 over TCP with passwords: seen within a second, with address and role; nobody else is blamed or touched.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use IPC::Run qw(run);
use Time::HiRes qw(time);
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', mode => 'auto', conf => "listen_addresses = '127.0.0.1'\npg_heal.monitoring_interval = 10s\n");
$node->safe_psql('postgres', q(SET password_encryption = 'scram-sha-256'; CREATE ROLE victim LOGIN PASSWORD 'right'; CREATE ROLE "Ro""le two" LOGIN PASSWORD 'right'));
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', <<'HBA');
local all postgres trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
HBA
$node->reload;

# One login by TCP or by the socket: does it succeed?
sub login
{
	my ($host, $role, $password) = @_;
	local $ENV{PGPASSWORD} = $password;
	local $ENV{PGHOST} = $host;
	local $ENV{PGUSER} = $role;
	return run([ 'psql', '-XAtq', '-p', $node->port, '-c', 'SELECT 1', 'postgres' ], '>', \my $out, '2>', \my $err) ? 1 : 0;
}
my ($tcp, $socket) = ('127.0.0.1', $node->host);

wait_value($node, "SELECT count(*) FROM heal_status WHERE component = 'security' AND state = 'healthy'", '1', 'security is looked at');
is(login($tcp, 'victim', 'right'), 1, 'a login with the right password');
is(login($tcp, 'victim', "wrong $_"), 0, "wrong password $_") for 1 .. 15;
my $last_failure = time();
my $i = wait_incident($node, 'brute_force', '.*', 'the attack is seen');
cmp_ok($node->safe_psql('postgres', "SELECT extract(epoch FROM opened_at) FROM heal_incidents WHERE incident_id = $i->{incident_id}") - $last_failure,
	'<', 1, 'within a second, though the interval is ten');
is($i->{subject}, '127.0.0.1, role victim', 'address and role are named');
is($i->{severity}, 'warning', 'nobody has got in');

is(login($socket, 'victim', 'right'), 1, 'the role logs in elsewhere');
is(login($tcp, 'victim', 'right'), 1, 'and at last from there');
wait_value($node, "SELECT severity FROM heal_incidents WHERE incident_id = $i->{incident_id}", 'critical', 'which is critical');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'brute_force'"), '1', 'one address, one incident');
wait_incident($node, 'brute_force', 'escalated', 'it goes to a person', "incident_id = $i->{incident_id}");
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done by itself');
is($node->safe_psql('postgres', "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'victim'"), 't', 'the role is as it was');

# several roles, with odd names and one that does not exist
# our own polls log in from there, too: most logins must fail all the same
for my $n (1 .. 12)
{
	login($socket, $_, "wrong $n") for ('Ro"le two', 'victim', 'nobody', "it's");
}
my $spray = wait_incident($node, 'brute_force', '.*', 'spraying is seen', "subject LIKE 'local socket, %'");
wait_value($node, "SELECT explanation ->> 'subject' ~ '4 roles' OR subject ~ 'roles' FROM heal.incidents WHERE incident_id = $spray->{incident_id}", 't', 'more than one role is named');
log_ends_well($node);
done_testing();
