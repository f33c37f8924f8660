/*
 * c_api_test.c: the C ABI as a C program sees it.
 *
 * Compiled as C with warnings as errors, so the headers are proven to be C.
 * Linked with the whole archive, so every undefined symbol would show.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "heal_core/c_api.h"

static int	failures = 0;

#define CHECK(condition) \
	do { \
		if (!(condition)) \
		{ \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
			failures++; \
		} \
	} while (0)

static int
stop_now(void *arg)
{
	*(int *) arg += 1;
	return 1;
}

static hc_settings
default_settings(void)
{
	hc_settings s;

	memset(&s, 0, sizeof(s));
	s.mode = HC_MODE_OBSERVE;
	s.policy = HC_POLICY_BALANCED;
	s.monitoring_interval_ms = 1000;
	s.confirm_samples = 2;
	s.anomaly_threshold = 3.0;
	s.window_size = 100;
	s.iqr_multiplier = 1.5;
	s.min_confidence = 0.7;
	s.auto_baseline = 1;
	s.min_baseline_samples = 30;
	s.inference_min_confidence = 0.7;
	s.inference_max_path_depth = 5;
	s.inference_min_edge_probability = 0.3;
	s.inference_multi_hop = 1;
	s.rollback_enabled = 1;
	s.rollback_max_attempts = 3;
	s.rollback_timeout_ms = 30000;
	s.rollback_verify = 1;
	s.rollback_max_depth = 3;
	s.snapshot_retention_ms = 3600000;
	s.max_retries = -1;
	s.retry_delay_ms = -1;
	s.recovery_timeout_ms = -1;
	s.concurrent_recoveries = 2;
	return s;
}

static void
test_names(void)
{
	uint32_t	n = 0;

	CHECK(hc_abi_version() == HC_ABI_VERSION);
	CHECK(strcmp(hc_status_name(HC_OK), "ok") == 0);
	CHECK(strcmp(hc_status_name((hc_status) 99), "unknown status") == 0);
	CHECK(hc_catalogue_metrics(&n) != NULL && n == HC_METRIC_COUNT);
	CHECK(hc_catalogue_thresholds(&n) != NULL && n > 0);
	CHECK(hc_catalogue_metrics(NULL) != NULL);
	CHECK(strstr(hc_catalogue_json(), "\"remedies\"") != NULL);
}

static void
test_steps(void)
{
	hc_settings settings = default_settings();
	hc_server	server;
	hc_observation obs;
	hc_decisions out;
	hc_error	err;
	hc_engine  *engine = NULL;
	double		metrics[HC_METRIC_COUNT];

	for (int i = 0; i < HC_METRIC_COUNT; i++)
		metrics[i] = NAN;
	memset(&server, 0, sizeof(server));
	memset(&obs, 0, sizeof(obs));
	obs.now_us = INT64_C(800000000000000);
	obs.mono_us = 1000000;
	obs.full_tick = 1;
	obs.settings = &settings;
	obs.server = &server;
	obs.metrics = metrics;
	obs.sessions_known = obs.locks_known = 1;

	CHECK(hc_engine_create(NULL, 1, NULL, &err) == HC_EINVAL);
	CHECK(hc_engine_create(NULL, 1, &engine, &err) == HC_OK);
	CHECK(hc_engine_live_count() == 1);
	CHECK(hc_engine_step(engine, &obs, &out, &err) == HC_OK);
	CHECK(out.n_components > 0 && out.n_commands == 0 && out.metrics != NULL);
	CHECK(out.look_again_us == -1);

	/* A wrong input is refused and changes nothing. */
	obs.metrics = NULL;
	CHECK(hc_engine_step(engine, &obs, &out, &err) == HC_EINVAL);
	CHECK(strstr(err.message, "metrics") != NULL);
	CHECK(hc_engine_step(engine, &obs, &out, NULL) == HC_EINVAL);
	obs.metrics = metrics;
	obs.mono_us += 1000000;
	obs.now_us += 1000000;
	CHECK(hc_engine_step(engine, &obs, &out, &err) == HC_OK);
	CHECK(hc_engine_step(engine, NULL, &out, &err) == HC_EINVAL);
	CHECK(hc_engine_step(NULL, &obs, &out, &err) == HC_EINVAL);
	CHECK(hc_engine_restore(engine, NULL, 1, 0, &err) == HC_EINVAL);

	hc_engine_destroy(engine);
	hc_engine_destroy(NULL);
	CHECK(hc_engine_live_count() == 0);
}

static void
test_diagnosis(void)
{
	hc_settings settings = default_settings();
	hc_limits	limits;
	hc_error	err;
	char	   *result = NULL;
	int			polled = 0;

	CHECK(hc_diagnose(NULL, &settings, NULL, "{\"lock_waiters\": true}", &result, &err) == HC_OK);
	CHECK(result != NULL && result[0] == '[');
	hc_free(result);

	CHECK(hc_diagnose(NULL, &settings, NULL, "{\"no_such_node\": true}", &result, &err) == HC_EINVAL);
	CHECK(result == NULL && strstr(err.message, "no_such_node") != NULL);
	CHECK(hc_diagnose(NULL, &settings, NULL, "not json", &result, &err) == HC_EINVAL);
	CHECK(hc_diagnose(NULL, &settings, NULL, NULL, &result, &err) == HC_EINVAL);

	memset(&limits, 0, sizeof(limits));
	limits.max_work = 1;
	CHECK(hc_diagnose(NULL, &settings, &limits, "{}", &result, &err) == HC_ELIMIT);

	memset(&limits, 0, sizeof(limits));
	limits.poll = stop_now;
	limits.poll_arg = &polled;
	CHECK(hc_diagnose(NULL, &settings, &limits, "{}", &result, &err) == HC_ECANCELED);
	CHECK(polled > 0);
	hc_free(NULL);
}

static void
test_graph(void)
{
	hc_causal_node nodes[2];
	hc_causal_edge edges[2];
	hc_config	config;
	hc_error	err;

	memset(nodes, 0, sizeof(nodes));
	memset(edges, 0, sizeof(edges));
	memset(&config, 0, sizeof(config));
	nodes[0].node = "a";
	nodes[0].kind = "root_cause";
	nodes[1].node = "b";
	nodes[1].kind = "symptom";
	for (int i = 0; i < 2; i++)
	{
		nodes[i].component = "locks";
		nodes[i].prior = 0.1;
		nodes[i].metric = "";
		edges[i].cause = nodes[i].node;
		edges[i].effect = nodes[1 - i].node;
		edges[i].edge_type = "direct_cause";
		edges[i].weight = 1.0;
		edges[i].probability = 0.9;
	}
	config.nodes = nodes;
	config.n_nodes = 2;
	config.edges = edges;
	config.n_edges = 1;
	CHECK(hc_graph_check(NULL, &err) == HC_OK);
	CHECK(hc_graph_check(&config, &err) == HC_OK);
	config.n_edges = 2;
	CHECK(hc_graph_check(&config, &err) == HC_EINVAL);
	CHECK(err.message[0] != '\0');
	nodes[0].kind = NULL;
	CHECK(hc_graph_check(&config, &err) == HC_EINVAL);
}

int
main(void)
{
	test_names();
	test_steps();
	test_diagnosis();
	test_graph();
	if (failures == 0)
		puts("c_api_test: all checks hold");
	return failures == 0 ? 0 : 1;
}
