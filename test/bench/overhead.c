/*
 * overhead.c: what pg_heal costs a client, as ratios from interleaved runs.
 *
 *	 overhead tps  CONNINFO_A CONNINFO_B PAIRS		ratio of select throughput B/A
 *	 overhead exec CONNINFO_A CONNINFO_B [CONNINFO_C] BATCHES	us per executor cycle over A, least of all batches
 *
 * tps: one client alternates batches of 30 prepared selects on both servers; the
 * median of the pairwise ratios is robust against a noisy machine (all pinned to
 * one CPU by the caller). exec: 300 selects in PL/pgSQL, timed in the server.
 */
#include <libpq-fe.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BATCH 30
#define CYCLES 300

static double
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static PGconn *
connect_to(const char *conninfo)
{
	PGconn	   *conn = PQconnectdb(conninfo);

	if (PQstatus(conn) != CONNECTION_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		exit(2);
	}
	return conn;
}

static void
check(PGconn *conn, PGresult *result, ExecStatusType want)
{
	if (PQresultStatus(result) != want)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		exit(2);
	}
	PQclear(result);
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a,
				y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
select_batch(PGconn *conn)
{
	double		start = now_us();

	for (int i = 0; i < BATCH; i++)
		check(conn, PQexecPrepared(conn, "s", 0, NULL, NULL, NULL, 0), PGRES_TUPLES_OK);
	return now_us() - start;
}

static void
run_tps(const char *a, const char *b, int pairs)
{
	PGconn	   *conn[2] = {connect_to(a), connect_to(b)};
	double	   *ratio = malloc(sizeof(double) * pairs);

	for (int i = 0; i < 2; i++)
	{
		check(conn[i], PQprepare(conn[i], "s", "SELECT abalance FROM pgbench_accounts WHERE aid = 4711", 0, NULL), PGRES_COMMAND_OK);
		for (int w = 0; w < 20; w++)
			select_batch(conn[i]);
	}
	for (int i = 0; i < pairs; i++)
	{
		int			first = i % 2;
		double		t[2];

		t[first] = select_batch(conn[first]);
		t[1 - first] = select_batch(conn[1 - first]);
		ratio[i] = t[0] / t[1];
	}
	qsort(ratio, pairs, sizeof(double), by_value);
	printf("%.4f\n", ratio[pairs / 2]);
	PQfinish(conn[0]);
	PQfinish(conn[1]);
	free(ratio);
}

static double
exec_batch(PGconn *conn)
{
	PGresult   *result = PQexec(conn, "SELECT bench_cycles()");
	double		us;

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
	{
		fprintf(stderr, "%s", PQerrorMessage(conn));
		exit(2);
	}
	us = atof(PQgetvalue(result, 0, 0));
	PQclear(result);
	return us / CYCLES;
}

static void
run_exec(int n, char **conninfo, int batches)
{
	PGconn	   *conn[3];
	double		least[3] = {INFINITY, INFINITY, INFINITY};

	for (int i = 0; i < n; i++)
	{
		conn[i] = connect_to(conninfo[i]);
		check(conn[i], PQexec(conn[i],
							  "CREATE OR REPLACE FUNCTION bench_cycles() RETURNS double precision LANGUAGE plpgsql AS $$"
							  "DECLARE t timestamptz := clock_timestamp(); r int; BEGIN"
							  " FOR i IN 1..300 LOOP SELECT abalance INTO r FROM pgbench_accounts WHERE aid = i; END LOOP;"
							  " RETURN extract(epoch FROM clock_timestamp() - t) * 1e6; END $$"), PGRES_COMMAND_OK);
	}
	for (int b = 0; b < batches; b++)
		for (int i = 0; i < n; i++)
			least[i] = fmin(least[i], exec_batch(conn[i]));
	printf("%.3f", least[0]);
	for (int i = 1; i < n; i++)
		printf(" %.3f", least[i] - least[0]);
	printf("\n");
	for (int i = 0; i < n; i++)
		PQfinish(conn[i]);
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "tps") == 0)
		run_tps(argv[2], argv[3], atoi(argv[4]));
	else if ((argc == 5 || argc == 6) && strcmp(argv[1], "exec") == 0)
		run_exec(argc - 3, argv + 2, atoi(argv[argc - 1]));
	else
	{
		fprintf(stderr, "usage: overhead tps A B PAIRS | overhead exec A B [C] BATCHES\n");
		return 2;
	}
	return 0;
}
