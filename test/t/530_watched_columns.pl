# Q08: a deploy that starts writing NULLs into a watched column is named with column, before and after, without ANALYZE and with it; kept through a restart; accepted by watching again.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use Test::More;
use Time::HiRes qw(time);

my $node = heal_node('primary', mode => 'auto', conf => "autovacuum = off\n");
my $kinds = "(ARRAY['new', 'paid', 'sent'])[1 + i % 3]";
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE orders (id int, email text, shipped timestamptz, half int, kind text);
INSERT INTO orders SELECT i, 'customer' || i || '\@example.org', CASE WHEN i < 19000 THEN now() END,
	CASE WHEN i % 2 = 0 THEN i END, $kinds FROM generate_series(1, 20000) i;
ANALYZE orders;
SELECT heal_watch('orders', c) FROM unnest('{email,shipped,half,kind}'::text[]) c;
SQL
wait_value($node, q(SELECT count(*) FROM heal.column_generations WHERE recent_looks = 3 AND table_rows > 0), '4', 'all four columns are known');
is($node->safe_psql('postgres', q(SELECT round(null_fraction::numeric, 2) || ' ' || distinct_values FROM heal_watched_columns WHERE column_name = 'email')),
	'0.00 20000', 'what it is compared with can be read');

# innocent: more of the same, and half of it not shipped yet
$node->safe_psql('postgres', "INSERT INTO orders SELECT i, 'customer' || i || '\@example.org', NULL, CASE WHEN i % 2 = 0 THEN i END, $kinds FROM generate_series(20001, 60000) i");
$node->safe_psql('postgres', 'ANALYZE orders') for 1 .. 3;
settle($node, 20);
is($node->safe_psql('postgres', q(SELECT string_agg(subject, ', ') FROM heal_incidents WHERE component = 'data' AND subject !~ 'shipped')), '', 'a load of the same kind is no news');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_incidents WHERE failure_type = 'distribution_drift' AND subject ~ 'shipped')), '1',
	'that a column is not filled in any more is');

# the deploy
my $began = time();
$node->safe_psql('postgres', "INSERT INTO orders SELECT i, CASE WHEN i % 7 < 4 THEN 'customer' || i || '\@example.org' END, now(), i, $kinds FROM generate_series(60001, 64000) i");
my $i = wait_incident($node, 'distribution_drift', '.*', 'NULLs in the newest rows, no ANALYZE', "subject LIKE '%orders.email%'");
diag(sprintf('newest rows: found %.1f s after the deploy, with an inspection every 2 s', time() - $began));
like($i->{subject}, qr/^null fraction of public\.orders\.email rose from 0\.00 to 0\.\d\d in the newest rows$/, 'column, before and after');
is($i->{severity}, 'warning', 'a warning');
is($i->{database}, 'postgres', 'in its database');
$i = wait_incident($node, 'distribution_drift', 'escalated', 'a person is told', "subject LIKE '%orders.email%'");
like($node->safe_psql('postgres', "SELECT heal_explain($i->{incident_id}) ->> 'evidence'"), qr/rose from 0\.00 to/, 'the evidence says so, too');

# restart: the baseline is from before
$node->restart;
wait_value($node, q(SELECT drift_since IS NOT NULL FROM heal_watched_columns WHERE column_name = 'email'), 't', 'since when is known after a restart');
$node->safe_psql('postgres', 'UPDATE orders SET kind = NULL WHERE id % 3 = 0; ANALYZE orders');
$i = wait_incident($node, 'distribution_drift', '.*', 'the statistics tell it, too', "subject LIKE '%orders.kind%'");
is($i->{subject}, 'null fraction of public.orders.kind rose from 0.00 to 0.33', 'against what was before the restart');

# watching again accepts it
$node->safe_psql('postgres', q(SELECT heal_watch('orders', 'email'); SELECT heal_watch('orders', 'kind'); SELECT heal_unwatch('orders', 'shipped')));
wait_value($node, q(SELECT count(*) FROM heal_incidents WHERE failure_type = 'distribution_drift' AND resolved_at IS NULL), '0', 'watched again: accepted; not watched: over');

# no value is kept
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal.column_generations g WHERE g::text ~ 'customer|example|paid')), '0', 'no value of the table is kept');

# a locked table is passed over, not waited for
my $locker = session($node);
$locker->query_safe('BEGIN; LOCK TABLE orders');
my $log = -s $node->logfile;
settle($node, 12);
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile, $log), qr/pg_heal.*still waiting|lock timeout/, 'the inspector waits for nobody');
is($node->safe_psql('postgres', q(SELECT count(*) FROM heal_incidents WHERE resolved_at IS NULL AND component = 'data')), '0', 'and says nothing of what it did not see');
$locker->query_safe('ROLLBACK');
$locker->quit;

# a watched table that goes away, and one in another database
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q(CREATE SCHEMA s; CREATE TABLE s."Ta ble" (c int); INSERT INTO s."Ta ble" SELECT 1 FROM generate_series(1, 5000); ANALYZE s."Ta ble"));
$node->safe_psql('postgres', q(SELECT heal_watch('s."Ta ble"', 'c', 'other'); SELECT heal_watch('s.not_there', 'c', 'other'); DROP TABLE orders));
wait_value($node, q(SELECT table_rows FROM heal_watched_columns WHERE table_name = 'Ta ble'), '5000', 'a table of another database is seen');
$node->safe_psql('other', q(UPDATE s."Ta ble" SET c = NULL; ANALYZE s."Ta ble"));
wait_incident($node, 'distribution_drift', '.*', 'and judged', q(subject LIKE 'null fraction of s.Ta ble.c rose from 0.00 to 1.00%' AND database = 'other'));
log_ends_well($node);
done_testing();
