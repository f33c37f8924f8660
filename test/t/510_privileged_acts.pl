# S02 and S03: a grant of power, COPY TO PROGRAM and untrusted code are seen at once; nothing is done, everyday statements are no news.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $node = heal_node('primary', mode => 'auto', conf => "pg_heal.monitoring_interval = 10s\n");
$node->safe_psql('postgres', q(CREATE ROLE app LOGIN; CREATE ROLE "Od""d"; CREATE ROLE plain; CREATE TABLE secrets (v text); GRANT pg_execute_server_program TO app));
wait_incident($node, 'privilege_escalation', '.*', 'a membership of power', "subject = 'app: member of pg_execute_server_program, by postgres'");

# everyday statements
$node->safe_psql('postgres', q(GRANT SELECT ON secrets TO app; GRANT plain TO app; ALTER ROLE plain PASSWORD 'x'; ALTER ROLE plain NOSUPERUSER;
	CREATE EXTENSION pgcrypto; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'));
$node->safe_psql('postgres', 'COPY secrets TO STDOUT');
$node->psql('postgres', q(COPY secrets TO PROGRAM 'cat'), connstr => $node->connstr('postgres') . ' user=plain');

$node->safe_psql('postgres', q(BEGIN; ALTER ROLE "Od""d" SUPERUSER BYPASSRLS; COMMIT));
my $i = wait_incident($node, 'privilege_escalation', '.*', 'an attribute of power', q(subject LIKE 'Od"d: %'));
like($i->{subject}, qr/^Od"d: superuser, bypassrls, by postgres$/, 'who, what and by whom');
is($i->{severity}, 'info', 'a superuser may');
cmp_ok($i->{detected_after_ms}, '<', 1000, 'at once, though the interval is ten seconds');

$node->safe_psql('postgres', q(SET application_name = 'web'; SET ROLE app; COPY secrets TO PROGRAM 'cat >/dev/null; true secret-argument'));
my $program = wait_incident($node, 'server_file_access', '.*', 'a program on the server', "subject LIKE 'COPY TO PROGRAM%'");
is($program->{subject}, 'COPY TO PROGRAM cat, by postgres', 'the program is named, its arguments are not');
$node->safe_psql('postgres', q(ALTER ROLE app CREATEROLE));
$node->safe_psql('postgres', q(CREATE ROLE deputy CREATEROLE), connstr => $node->connstr('postgres') . ' user=app');
is(wait_incident($node, 'privilege_escalation', '.*', 'an attribute given by an ordinary role', "subject LIKE 'deputy:%'")->{severity}, 'warning', 'is a warning');
$node->safe_psql('postgres', q(CREATE EXTENSION file_fdw));
wait_incident($node, 'server_file_access', '.*', 'an extension that reads files', "subject LIKE 'extension file_fdw%'");

is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'privilege_escalation'"), '3', 'everyday grants are no news');
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'server_file_access'"), '2', 'nor are everyday COPY and extensions');
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done by itself');
is($node->safe_psql('postgres', q(SELECT rolsuper FROM pg_roles WHERE rolname = 'Od"d')), 't', 'nothing was revoked');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal.incidents WHERE explanation::text LIKE '%secret-argument%')), '0', 'no argument is kept');
log_ends_well($node);
done_testing();
