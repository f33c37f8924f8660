# pg_upgrade carries the tables of pg_heal over, journal position included: in the new cluster they are history.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $old = heal_node('old', mode => 'approve');
invalid_index($old, 'broken');
my $open = wait_incident($old, 'invalid_index', 'awaiting_approval', 'an open incident');
settle($old, 2);
$old->safe_psql('postgres', "SELECT heal_set_policy('role', 'app', 'exempt', 'on')");
my $audit = $old->safe_psql('postgres', 'SELECT count(*), max(audit_id) FROM heal_audit');
$old->stop;

my $new = heal_node('new', mode => 'observe', no_extension => 1);
wait_worker($new, 'healer');
$new->stop;

my $dir = PostgreSQL::Test::Utils::tempdir();
chdir $dir or die $!;
my $bin = $old->config_data('--bindir');
$old->command_ok([ 'pg_upgrade', '-b', $bin, '-B', $bin, '-d', $old->data_dir, '-D', $new->data_dir,
		'-s', $old->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
$new->start;
reports($new);
is($new->safe_psql('postgres', "SELECT state FROM heal_incidents WHERE incident_id = $open->{incident_id}"), 'cancelled', 'the open incident is cancelled');
is($new->safe_psql('postgres', 'SELECT count(*) FROM heal_policies'), '1', 'policies are kept');
like($new->safe_psql('postgres', 'SELECT count(*), min(audit_id) FROM heal_audit'), qr/^[1-9]/, 'so is the audit');
is($new->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', 'nothing was done');
log_ends_well($new);
done_testing();
