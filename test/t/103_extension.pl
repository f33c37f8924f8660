# DROP, CREATE and ALTER EXTENSION: the healer idles while there is nothing, or nothing that fits.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use Test::More;

my $node = heal_node('primary', no_extension => 1);
$node->safe_psql('postgres', 'CREATE DATABASE other');
my $healer = wait_worker($node, 'healer');

my $err = refused($node, 'CREATE EXTENSION pg_heal', '55000', 'Connect to database "postgres"', 'CREATE EXTENSION in another database', 'other');
like($err, qr/pg_heal.database/, 'the hint names the setting');
is($node->safe_psql('other', "SELECT count(*) FROM pg_namespace WHERE nspname = 'heal'"), '0', 'nothing is left behind');

$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
reports($node, 'CREATE EXTENSION is noticed');

# rolled back: an incident stays, and goes on
invalid_index($node, 'broken');
setting($node, 'pg_heal.mode', 'approve');
my $i = wait_incident($node, 'invalid_index', 'awaiting_approval|resolved');
my $session = session($node);
$session->query_safe('BEGIN; DROP EXTENSION pg_heal');
$node->safe_psql('postgres', 'CREATE TABLE somebody_works (id int)');
ok(alive($node, $healer), 'a drop that is not committed yet does not end the healer');
$session->query_safe('ROLLBACK');
leave($session);
reports($node, 'a drop that is rolled back leaves the healer at work');
settle($node, 2);
is($node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = 'invalid_index'"), '1', 'the incident is there, once');

# dropped while it works, and while a request waits
$session = session($node);
$session->query_safe('BEGIN; DROP EXTENSION pg_heal');
$session->query_safe('COMMIT');
leave($session);
my $offset = -s $node->logfile;
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_namespace WHERE nspname = 'heal'"), '0', 'the schema is gone with the extension');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_proc WHERE proname LIKE 'heal%'"), '0', 'and the functions');
wait_value($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $healer", '1', 'the healer idles');

$node->safe_psql('postgres', 'CREATE EXTENSION pg_heal');
reports($node, 'a new CREATE EXTENSION is noticed');
is(worker_pid($node, 'healer'), $healer, 'by the same healer');
setting($node, 'pg_heal.mode', undef);
$i = wait_incident($node, 'invalid_index', 'resolved', 'it heals again') if $i->{state} ne 'resolved';
is($node->safe_psql('postgres', 'SELECT count(*) FROM heal_incidents'), '1', 'the new tables hold the new incident alone');
is($node->safe_psql('postgres', 'SELECT min(incident_id) FROM heal_incidents'), '1', 'numbers begin anew');

# in a schema of the user's choice
$node->safe_psql('postgres', 'DROP EXTENSION pg_heal; CREATE SCHEMA "Odd name, that"; CREATE EXTENSION pg_heal SCHEMA "Odd name, that"');
wait_value($node, q{SELECT count(*) > 1 AND bool_and(state <> 'unknown') FROM "Odd name, that".heal_status}, 't', 'it works in any schema');
is($node->safe_psql('postgres', q{SELECT "Odd name, that".heal_pause('test') IS NOT NULL}), 't', 'a function there too');
$node->safe_psql('postgres', q{SELECT "Odd name, that".heal_resume()});
$node->safe_psql('postgres', 'DROP EXTENSION pg_heal; CREATE EXTENSION pg_heal');
reports($node);

# a catalog that is older than the library
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.0.9' WHERE extname = 'pg_heal'");
wait_value($node, "SELECT detail ~ 'version 0.0.9.*ALTER EXTENSION pg_heal UPDATE' FROM heal_status WHERE component = 'healer'", 't',
	'another version: it idles and names the command');
refused($node, "SELECT heal_pause('x')", '55000', undef, 'a request to an idle healer');
$node->safe_psql('postgres', "UPDATE pg_extension SET extversion = '0.1.0' WHERE extname = 'pg_heal'");
reports($node, 'the right version: it works again');
is(worker_pid($node, 'healer'), $healer, 'all that time it was one process');
unlike(slurp_log($node), qr/ERROR:.*(?:relation|function) .*heal/, 'no error about missing objects in between');

sub slurp_log { return log_since($_[0], $offset); }

log_ends_well($node);
done_testing();
