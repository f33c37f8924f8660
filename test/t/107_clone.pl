# A base backup or a copied data directory is another server: its journal and incidents are history.
use strict;
use warnings;
use lib 'test/perl';
use HealNode;
use HealFault;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = heal_node('primary', mode => 'approve', init => { allows_streaming => 1 });
invalid_index($node, 'broken');
my $open = wait_incident($node, 'invalid_index', 'awaiting_approval', 'an open incident with a waiting recommendation');
my $waiting = $node->safe_psql('postgres', "SELECT recommendation_id FROM heal_recommend($open->{incident_id})");

sub check_clone
{
	my ($clone, $name) = @_;
	reports($clone, "$name: pg_heal works");
	like(slurp_file($clone->logfile), qr/belongs to another server or timeline/, "$name: the journal is set aside");
	ok(-e $clone->data_dir . '/pg_heal/journal.foreign', "$name: and kept");
	is($clone->safe_psql('postgres', "SELECT state FROM heal_incidents WHERE incident_id = $open->{incident_id}"), 'cancelled', "$name: the open incident is cancelled");
	is($clone->safe_psql('postgres', "SELECT state FROM heal_recommend($open->{incident_id}) WHERE recommendation_id = $waiting"), 'withdrawn', "$name: its recommendation is withdrawn");
	settle($clone, 8);
	is($clone->safe_psql('postgres', 'SELECT count(*) FROM heal_history'), '0', "$name: nothing is acted on");
	is($clone->safe_psql('postgres', "SELECT count(*) FROM pg_class WHERE relname = 'broken'"), '1', "$name: the index is still there");
	log_ends_well($clone);
	return;
}

# with pg_basebackup, while the server runs; the clone observes
$node->backup('copy');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($node, 'copy');
$clone->append_conf('postgresql.conf', "pg_heal.mode = observe\n");
$clone->start;
check_clone($clone, 'base backup');

# a cold copy has the same system identifier and the same timeline
$node->stop;
my $copy = PostgreSQL::Test::Cluster->new('cold');
rmdir $copy->data_dir;
PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $copy->data_dir);
chmod 0700, $copy->data_dir;
$copy->append_conf('postgresql.conf', 'port = ' . $copy->port . "\npg_heal.mode = observe\n");
$copy->start;
check_clone($copy, 'cold copy');

# the original itself is resumed after a restart
$node->start;
reports($node);
is($node->safe_psql('postgres', "SELECT state FROM heal_incidents WHERE incident_id = $open->{incident_id}"), 'awaiting_approval', 'the original goes on');
wait_until('the approval is accepted when the failure was seen again', sub { $node->psql('postgres', "SELECT heal_approve($waiting)") == 0 });
wait_incident($node, 'invalid_index', 'resolved', 'and heals', "incident_id = $open->{incident_id}");
log_ends_well($node);
done_testing();
