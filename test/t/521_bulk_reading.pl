# S04 over TCP: a role that reads a hundred times its usual amount is seen, by SELECT, cursor and COPY; pg_dump, a superuser and a usual reader are not.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use IPC::Run qw(run);
use Test::More;

my $node = heal_node('primary', mode => 'auto', conf => "listen_addresses = '127.0.0.1'\n");
$node->safe_psql('postgres', q(SET password_encryption = 'scram-sha-256';
	CREATE ROLE app LOGIN PASSWORD 'right'; CREATE ROLE copier LOGIN PASSWORD 'right'; CREATE ROLE fetcher LOGIN PASSWORD 'right'; CREATE ROLE preparer LOGIN PASSWORD 'right';
	CREATE ROLE dumper LOGIN PASSWORD 'right'; CREATE ROLE etl LOGIN PASSWORD 'right';
	CREATE TABLE customers (id int, name text); INSERT INTO customers SELECT i, 'x' FROM generate_series(1, 20000) i;
	GRANT SELECT ON customers TO app, copier, fetcher, preparer, dumper, etl; ANALYZE customers));
unlink($node->data_dir . '/pg_hba.conf');
$node->append_conf('pg_hba.conf', "local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n");
$node->reload;

sub client
{
	my ($role, $application, $sql) = @_;
	local $ENV{PGPASSWORD} = 'right';
	local $ENV{PGAPPNAME} = $application;
	run([ 'psql', '-XAtq', '-h', '127.0.0.1', '-p', $node->port, '-U', $role, 'postgres' ], '<', \"$sql;\n", '>', \my $out, '2>', \my $err);
	return scalar(split /\n/, $out);
}

# What is usual: small answers for all, and for the load everything.
threshold($node, 'bulk_exfiltration', rows => 5000, window_s => 1, history_s => 3600, quiet_s => 5);
for my $role (qw(app copier fetcher dumper)) { client($role, 'shop', 'SELECT * FROM customers LIMIT 100'); }
is(client('etl', 'load', 'SELECT * FROM customers'), 20000, 'the load reads everything');
# a window later, and another one, this is what is usual
settle($node, 8);
threshold($node, 'bulk_exfiltration', history_s => 0);
settle($node, 2);

# the innocent
is(client('etl', 'load', 'SELECT * FROM customers'), 20000, 'the load reads everything again');
is(client('postgres', 'shop', 'SELECT 1'), 0, 'the superuser has no password');
$node->safe_psql('postgres', 'SELECT * FROM customers');
client('app', 'shop', 'SELECT count(*) FROM customers; CREATE TEMP TABLE t AS SELECT * FROM customers');
{
	local $ENV{PGPASSWORD} = 'right';
	delete local $ENV{PGAPPNAME};
	ok(run([ 'pg_dump', '-h', '127.0.0.1', '-p', $node->port, '-U', 'dumper', '-t', 'customers', 'postgres' ], '>', \my $dump, '2>', \my $err), 'pg_dump');
	cmp_ok(length($dump), '>', 100_000, 'dumps everything');
}
settle($node, 4);
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'bulk_exfiltration'"), '0', 'none of them is blamed');

is(client('app', 'psql', 'SELECT * FROM customers'), 20000, 'a role reads everything');
my $i = wait_incident($node, 'bulk_exfiltration', '.*', 'it is seen', "subject LIKE 'role app %'");
is($i->{subject}, 'role app from 127.0.0.1', 'role and address are named');
is($i->{severity}, 'warning', 'a warning');
wait_value($node, "SELECT explanation::text ~ 'psql' FROM heal.incidents WHERE incident_id = $i->{incident_id}", 't', 'the application, too');
is(client('copier', 'psql', 'COPY customers TO STDOUT'), 20000, 'another by COPY');
wait_incident($node, 'bulk_exfiltration', '.*', 'it is seen', "subject LIKE 'role copier %'");
client('fetcher', 'psql', 'BEGIN; DECLARE c CURSOR FOR SELECT * FROM customers; ' . join('; ', ('FETCH 1000 FROM c') x 20));
wait_incident($node, 'bulk_exfiltration', '.*', 'another by a cursor', "subject LIKE 'role fetcher %'");
client('preparer', 'psql', 'PREPARE p AS SELECT * FROM customers; EXECUTE p');
wait_incident($node, 'bulk_exfiltration', '.*', 'another by a prepared statement', "subject LIKE 'role preparer %'");
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'bulk_exfiltration'"), '4', 'one incident each');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done by itself');
# It ends by itself, and is known from then on.
wait_value($node, "SELECT count(*) FROM heal_incidents WHERE failure_type = 'bulk_exfiltration' AND resolved_at IS NULL", '0', 'they end');
log_ends_well($node);
done_testing();
