# S03 by functions and S06: files of the server read from SQL, whole tables changed or dropped.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;

my $node = heal_node('primary', mode => 'auto', conf => "pg_heal.monitoring_interval = 10s\n");
$node->safe_psql('postgres', q(CREATE ROLE reader LOGIN; GRANT pg_read_server_files TO reader;
	GRANT EXECUTE ON FUNCTION pg_read_file(text), pg_ls_dir(text), pg_read_binary_file(text), pg_stat_file(text) TO reader;
	CREATE ROLE app LOGIN; GRANT CREATE ON SCHEMA public TO app;
	CREATE FUNCTION wrapped() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN (SELECT count(*) FROM pg_ls_dir('.')); END $$));
$node->safe_psql('postgres', q(CREATE TABLE big AS SELECT i, 'x' AS v FROM generate_series(1, 120000) i; CREATE TABLE staging AS SELECT * FROM big; CREATE TABLE small AS SELECT * FROM big LIMIT 1000;
	CREATE TABLE parts (i int, v text) PARTITION BY RANGE (i); CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (60000); CREATE TABLE parts_2 PARTITION OF parts DEFAULT; INSERT INTO parts SELECT * FROM big; ANALYZE),
	extra_params => [ '-U', 'app' ]);
sub as { my ($role, $sql) = @_; $node->psql('postgres', $sql, extra_params => [ '-U', $role ]); return; }
sub by_type { return $node->safe_psql('postgres', "SELECT count(*) FROM heal_incidents WHERE failure_type = '$_[0]'"); }

# files: refused ones are no access; everyday functions are no news
as('app', "SELECT pg_read_file('postgresql.conf')");
as('app', "SELECT length(v), upper(v), now(), pg_size_pretty(pg_total_relation_size('big')) FROM big LIMIT 3");
as('reader', "SELECT length(pg_read_file('postgresql.conf'))");
my $i = wait_incident($node, 'server_file_access', '.*', 'a file read by a function', "subject LIKE '%pg_read_file%'");
is($i->{subject}, 'function pg_read_file, by reader', 'function and role are named');
is($i->{severity}, 'warning', 'by an ordinary role it is a warning');
cmp_ok($i->{detected_after_ms}, '<', 1000, 'at once, though the interval is ten seconds');
as('app', 'SELECT wrapped()');
is(wait_incident($node, 'server_file_access', '.*', 'a file read inside a function of somebody else', "subject LIKE '%by app'")->{subject}, 'function pg_ls_dir, by app',
	'is the doing of who called it');
as('postgres', "SELECT lo_unlink(lo_import('/etc/hostname'))");
is(wait_incident($node, 'server_file_access', '.*', 'a superuser', "subject LIKE '%lo_import%'")->{severity}, 'info', 'is a note');
is(by_type('server_file_access'), '3', 'refused and everyday functions are no news');

# whole tables: the innocent first
as('app', 'DELETE FROM big WHERE i > 119000; UPDATE small SET v = 1; DELETE FROM small; TRUNCATE small; DROP TABLE small; CREATE TEMP TABLE t AS SELECT * FROM big; DELETE FROM t; DROP TABLE t; VACUUM FULL big; ALTER TABLE big ALTER i TYPE bigint; BEGIN; UPDATE big SET v = big.v FROM staging s WHERE s.i = big.i; ROLLBACK');
settle($node, 1);
is(by_type('destructive_statement'), '0', 'small, temporary and selective changes and rewrites are no news');
as('app', 'BEGIN; UPDATE big SET v = 2; ROLLBACK');
$i = wait_incident($node, 'destructive_statement', '.*', 'UPDATE without WHERE', "subject LIKE 'UPDATE%'");
is($i->{subject}, 'UPDATE without WHERE of big, by app', 'statement, table and role are named');
cmp_ok($i->{detected_after_ms}, '<', 1000, 'at once');
as('app', 'DELETE FROM parts');
wait_incident($node, 'destructive_statement', '.*', 'DELETE of all partitions', "subject LIKE 'DELETE%'");
as('app', 'TRUNCATE staging');
wait_incident($node, 'destructive_statement', '.*', 'TRUNCATE', "subject LIKE 'TRUNCATE of staging%'");
as('app', 'UPDATE big SET v = 3; DROP TABLE big');
wait_incident($node, 'destructive_statement', '.*', 'DROP', "subject LIKE 'DROP of big%'");
settle($node, 1);
is(by_type('destructive_statement'), '4', 'what the role has done before is no news');

# S08: the test server was started with fsync off, which is nobody's doing
is(by_type('setting_tampering'), '0', 'a server that was started without fsync is no news');
$node->safe_psql('postgres', 'ALTER SYSTEM SET full_page_writes = off');
$node->reload;
$i = wait_incident($node, 'setting_tampering', '.*', 'full_page_writes switched off');
is($i->{subject}, 'full_page_writes is off', 'is named');
wait_value($node, "SELECT explanation::text ~ 'ALTER SYSTEM by postgres' FROM heal.incidents WHERE incident_id = $i->{incident_id}", 't', 'with who did it');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET full_page_writes');
$node->reload;
wait_value($node, "SELECT resolved_at IS NOT NULL FROM heal_incidents WHERE incident_id = $i->{incident_id}", 't', 'it ends with its cause');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_history WHERE component = 'security')), '0', 'nothing was done about any of it');
log_ends_well($node);
done_testing();
