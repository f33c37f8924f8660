/*-------------------------------------------------------------------------
 *
 * guc.c
 *	  Settings of pg_heal.
 *
 * Only the healer and the launcher read them, so all are SIGHUP: one reload
 * changes the whole server, and no session can raise the risk by itself.
 *
 * The default of each setting is taken from the environment of the server
 * (PG_HEAL_MODE for pg_heal.mode): below anything the configuration files say.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "compat.h"
#include "pg_heal.h"

#define HEAL_GUC_PREFIX "pg_heal."
#define HEAL_ENV_PREFIX "PG_HEAL_"

#define SECOND 1000				/* ms */
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define HOUR_S 3600				/* s */
#define DAY_S (24 * HOUR_S)

/*---- GUC variables ----*/

bool		heal_enabled;
char	   *heal_database;
int			heal_monitoring_interval;
int			heal_inspect_interval;
int			heal_component_timeout;
int			heal_history_size;
int			heal_history_max_events;
int			heal_history_retention;
bool		heal_history_enabled;
int			heal_log_level;
int			heal_log_format;

static int	heal_mode;
static int	heal_policy;
static int	heal_calm_period;
static int	heal_confirm_samples;
static double heal_anomaly_threshold;
static int	heal_window_size;
static double heal_iqr_multiplier;
static double heal_min_confidence;
static bool heal_auto_baseline;
static bool heal_predictive;
static int	heal_min_baseline_samples;
static double heal_inference_min_confidence;
static int	heal_inference_max_path_depth;
static double heal_inference_min_edge_probability;
static bool heal_inference_multi_hop;
static bool heal_rollback_enabled;
static int	heal_rollback_max_attempts;
static int	heal_rollback_timeout;
static bool heal_rollback_verify;
static int	heal_rollback_max_depth;
static int	heal_snapshot_retention;	/* s */
static int	heal_max_retries;
static int	heal_retry_delay;
static int	heal_recovery_timeout;
static int	heal_concurrent_recoveries;

/*
 * heal_monitoring_interval is what is in force: the setting if somebody chose
 * one, else what the policy makes of it.
 */
static int	interval_setting;	/* ms */
static bool interval_was_set = false;
static bool interval_in_environment = false;

static const struct config_enum_entry mode_options[] = {
	{"observe", HC_MODE_OBSERVE, false},
	{"approve", HC_MODE_APPROVE, false},
	{"limited", HC_MODE_LIMITED, false},
	{"auto", HC_MODE_AUTO, false},
	{NULL, 0, false}
};

static const struct config_enum_entry policy_options[] = {
	{"conservative", HC_POLICY_CONSERVATIVE, false},
	{"balanced", HC_POLICY_BALANCED, false},
	{"aggressive", HC_POLICY_AGGRESSIVE, false},
	{NULL, 0, false}
};

/* Values of heal_log_level: what is below is not written. */
static const struct config_enum_entry log_level_options[] = {
	{"debug", 0, false},
	{"info", 1, false},
	{"warning", 2, false},
	{"error", 3, false},
	{NULL, 0, false}
};

static const struct config_enum_entry log_format_options[] = {
	{"text", 0, false},
	{"json", 1, false},
	{NULL, 0, false}
};

/*---- Definitions ----*/

typedef struct BoolSetting
{
	const char *name;
	bool	   *value;
	bool		boot;
	const char *description;
} BoolSetting;

typedef struct IntSetting
{
	const char *name;
	int		   *value;
	int			boot,
				min,
				max;
	int			flags;
	const char *description,
			   *detail;
} IntSetting;

typedef struct RealSetting
{
	const char *name;
	double	   *value;
	double		boot,
				min,
				max;
	const char *description;
} RealSetting;

typedef struct EnumSetting
{
	const char *name;
	int		   *value;
	int			boot;
	const struct config_enum_entry *options;
	const char *description;
} EnumSetting;

static const BoolSetting bool_settings[] = {
	{"pg_heal.enabled", &heal_enabled, true,
	"Runs the healer."},
	{"pg_heal.auto_baseline", &heal_auto_baseline, true,
	"Learns the normal range of every metric from what is observed."},
	{"pg_heal.inference_multi_hop", &heal_inference_multi_hop, true,
	"Lets a diagnosis follow chains of more than one step."},
	{"pg_heal.rollback_enabled", &heal_rollback_enabled, true,
	"Undoes a remedy that did not pass its verification."},
	{"pg_heal.rollback_verify", &heal_rollback_verify, true,
	"Compares the state after a roll-back with the snapshot."},
	{"pg_heal.history_enabled", &heal_history_enabled, true,
	"Keeps recovery attempts in the history."},
	{"pg_heal.predictive", &heal_predictive, false,
	"Opens an incident when a failure is predicted with confidence."},
};

static const EnumSetting enum_settings[] = {
	{"pg_heal.mode", &heal_mode, HC_MODE_OBSERVE, mode_options,
	"How much the healer may do by itself."},
	{"pg_heal.log_level", &heal_log_level, 1, log_level_options,
	"Least severe message of the healer that is written to the server log."},
	{"pg_heal.log_format", &heal_log_format, 0, log_format_options,
	"Form of the healer's messages in the server log."},
};

static const RealSetting real_settings[] = {
	{"pg_heal.anomaly_threshold", &heal_anomaly_threshold, 3.0, 0.1, 1000.0,
	"Standard deviations from the baseline that make a value an anomaly."},
	{"pg_heal.iqr_multiplier", &heal_iqr_multiplier, 1.5, 0.1, 1000.0,
	"Interquartile ranges beyond the quartiles that make a value an anomaly."},
	{"pg_heal.min_confidence", &heal_min_confidence, 0.7, 0.0, 1.0,
	"Confidence below which an anomaly is not reported."},
	{"pg_heal.inference_min_confidence", &heal_inference_min_confidence, 0.7, 0.0, 1.0,
	"Posterior probability below which a diagnosis abstains."},
	{"pg_heal.inference_min_edge_probability", &heal_inference_min_edge_probability, 0.3, 0.0, 1.0,
	"Probability below which an edge of the causal graph is not followed."},
};

static const IntSetting int_settings[] = {
	{"pg_heal.inspect_interval", &heal_inspect_interval, MINUTE, SECOND, DAY, GUC_UNIT_MS,
	"Time between two inspections of the tables and indexes of a database.", NULL},
	{"pg_heal.component_timeout", &heal_component_timeout, 5 * SECOND, 100, 10 * MINUTE, GUC_UNIT_MS,
	"Longest time one part of an observation may take.", NULL},
	{"pg_heal.calm_period", &heal_calm_period, 10 * MINUTE, 0, DAY, GUC_UNIT_MS,
		"Time after start, promotion or crash recovery in which nothing is done automatically.",
	"If set to zero, the healer may act at once."},
	{"pg_heal.confirm_samples", &heal_confirm_samples, 2, 1, 100, 0,
	"Consecutive samples that must show a failure.", NULL},
	{"pg_heal.history_size", &heal_history_size, 1000, 10, 1000000, 0,
	"Incidents and attempts the healer keeps in memory.", NULL},
	{"pg_heal.window_size", &heal_window_size, 1000, 10, 10000, 0,
	"Samples a metric's baseline is computed from.", NULL},
	{"pg_heal.min_baseline_samples", &heal_min_baseline_samples, 30, 2, 10000, 0,
	"Samples needed before a metric can have anomalies.", NULL},
	{"pg_heal.inference_max_path_depth", &heal_inference_max_path_depth, 5, 1, 32, 0,
	"Longest chain from a root cause to a symptom.", NULL},
	{"pg_heal.rollback_max_attempts", &heal_rollback_max_attempts, 3, 1, 100, 0,
	"Attempts at one roll-back.", NULL},
	{"pg_heal.rollback_timeout", &heal_rollback_timeout, 30 * SECOND, SECOND, HOUR, GUC_UNIT_MS,
	"Longest time a roll-back may take.", NULL},
	{"pg_heal.rollback_max_depth", &heal_rollback_max_depth, 3, 1, 3, 0,
	"Levels to which snapshots may be nested.", NULL},
	{"pg_heal.snapshot_retention", &heal_snapshot_retention, HOUR_S, 1, 365 * DAY_S, GUC_UNIT_S,
	"Time after which a snapshot expires.", NULL},
	{"pg_heal.history_max_events", &heal_history_max_events, 10000, 100, INT_MAX / 2, 0,
	"Rows kept in each table of the history.", NULL},
	{"pg_heal.history_retention", &heal_history_retention, 7 * DAY_S, 60, 3650 * DAY_S, GUC_UNIT_S,
	"Time for which the history is kept.", NULL},
	{"pg_heal.max_retries", &heal_max_retries, -1, -1, 100, 0,
		"Recovery attempts of one incident.",
	"-1 means by policy: aggressive 5, balanced 3, conservative 2."},
	{"pg_heal.retry_delay", &heal_retry_delay, -1, -1, HOUR, GUC_UNIT_MS,
		"Time between two recovery attempts of one incident.",
	"-1 means by policy: aggressive 1s, balanced 2s, conservative 5s."},
	{"pg_heal.recovery_timeout", &heal_recovery_timeout, -1, -1, DAY, GUC_UNIT_MS,
		"Longest time a recovery attempt may take.",
	"-1 means by policy: aggressive 30s, balanced 60s, conservative 120s."},
	{"pg_heal.concurrent_recoveries", &heal_concurrent_recoveries, 2, 1, 16, 0,
	"Recoveries that may run at the same time.", NULL},
};

/*---- Check and assign hooks ----*/

static bool
check_database(char **newval, void **extra, GucSource source)
{
	size_t		length = strlen(*newval);

	if (length > 0 && length < NAMEDATALEN)
		return true;

	GUC_check_errdetail("A database name has 1 to %d bytes.", NAMEDATALEN - 1);
	return false;
}

/* Carry over to the assign hook whether the value is the built-in default. */
static bool
check_interval(int *newval, void **extra, GucSource source)
{
	bool	   *was_set = compat_guc_malloc(LOG, sizeof(bool));

	if (was_set == NULL)
		return false;
	*was_set = source > PGC_S_DYNAMIC_DEFAULT || interval_in_environment;
	*extra = was_set;
	return true;
}

static void
derive_interval(int policy, int setting)
{
	if (interval_was_set || policy == HC_POLICY_BALANCED)
		heal_monitoring_interval = setting;
	else
		heal_monitoring_interval = policy == HC_POLICY_AGGRESSIVE ? 5 * SECOND : 20 * SECOND;
}

static void
assign_interval(int newval, void *extra)
{
	interval_was_set = extra != NULL && *((bool *) extra);
	derive_interval(heal_policy, newval);
}

static void
assign_policy(int newval, void *extra)
{
	derive_interval(newval, interval_setting);
}

/*---- Environment ----*/

/* pg_heal.retry_delay -> PG_HEAL_RETRY_DELAY */
static void
environment_name(char *result, size_t size, const char *setting)
{
	strlcpy(result, HEAL_ENV_PREFIX, size);
	strlcat(result, setting + strlen(HEAL_GUC_PREFIX), size);
	for (char *p = result; *p; p++)
		*p = pg_toupper((unsigned char) *p);
}

/* Value of the setting in the environment of the server, or NULL. */
static const char *
environment_value(const char *setting)
{
	char		name[NAMEDATALEN * 2];
	const char *value;

	environment_name(name, sizeof(name), setting);
	value = getenv(name);
	return value != NULL && value[0] != '\0' ? value : NULL;
}

/*
 * A bad value must not keep the server from starting. It is said once, by the
 * postmaster, not by every session that loads the library.
 */
static void
reject_environment(const char *setting, const char *value)
{
	char		name[NAMEDATALEN * 2];

	if (IsUnderPostmaster)
		return;
	environment_name(name, sizeof(name), setting);
	ereport(WARNING,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("environment variable \"%s\" is ignored", name),
			 errdetail("\"%s\" is not valid for parameter \"%s\".", value, setting)));
}

/*
 * What a setting is while nobody sets it. As the built-in default it comes back
 * when a setting is removed from the configuration files.
 */
static bool
boot_bool(const char *setting, bool boot)
{
	const char *value = environment_value(setting);
	bool		result;

	if (value == NULL || parse_bool(value, &result))
		return value == NULL ? boot : result;
	reject_environment(setting, value);
	return boot;
}

static int
boot_enum(const char *setting, int boot, const struct config_enum_entry *options)
{
	const char *value = environment_value(setting);

	if (value == NULL)
		return boot;
	for (const struct config_enum_entry *entry = options; entry->name; entry++)
	{
		if (pg_strcasecmp(value, entry->name) == 0)
			return entry->val;
	}
	reject_environment(setting, value);
	return boot;
}

static int
boot_int(const char *setting, int boot, int min, int max, int flags)
{
	const char *value = environment_value(setting);
	int			result;

	if (value == NULL)
		return boot;
	if (parse_int(value, &result, flags, NULL) && result >= min && result <= max)
		return result;
	reject_environment(setting, value);
	return boot;
}

static double
boot_real(const char *setting, double boot, double min, double max)
{
	const char *value = environment_value(setting);
	double		result;

	if (value == NULL)
		return boot;
	if (parse_real(value, &result, 0, NULL) && result >= min && result <= max)
		return result;
	reject_environment(setting, value);
	return boot;
}

static const char *
boot_database(const char *setting, const char *boot)
{
	const char *value = environment_value(setting);

	if (value == NULL)
		return boot;
	if (strlen(value) < NAMEDATALEN)
		return value;
	reject_environment(setting, value);
	return boot;
}

/* The interval is special: only one that nobody chose follows the policy. */
static int
boot_interval(const char *setting, int boot, int min, int max)
{
	int			result = boot_int(setting, -1, min, max, GUC_UNIT_MS);

	interval_in_environment = result >= 0;
	return interval_in_environment ? result : boot;
}

/*---- Interface ----*/

/* The settings of the tables above. */
static void
define_tables(void)
{
	for (int i = 0; i < lengthof(bool_settings); i++)
	{
		const BoolSetting *s = &bool_settings[i];

		DefineCustomBoolVariable(s->name, s->description, NULL, s->value,
								 boot_bool(s->name, s->boot),
								 PGC_SIGHUP, 0, NULL, NULL, NULL);
	}
	for (int i = 0; i < lengthof(enum_settings); i++)
	{
		const EnumSetting *s = &enum_settings[i];

		DefineCustomEnumVariable(s->name, s->description, NULL, s->value,
								 boot_enum(s->name, s->boot, s->options),
								 s->options, PGC_SIGHUP, 0, NULL, NULL, NULL);
	}
	for (int i = 0; i < lengthof(real_settings); i++)
	{
		const RealSetting *s = &real_settings[i];

		DefineCustomRealVariable(s->name, s->description, NULL, s->value,
								 boot_real(s->name, s->boot, s->min, s->max),
								 s->min, s->max, PGC_SIGHUP, 0, NULL, NULL, NULL);
	}
	for (int i = 0; i < lengthof(int_settings); i++)
	{
		const IntSetting *s = &int_settings[i];

		DefineCustomIntVariable(s->name, s->description, s->detail, s->value,
								boot_int(s->name, s->boot, s->min, s->max, s->flags),
								s->min, s->max, PGC_SIGHUP, s->flags, NULL, NULL, NULL);
	}
}

void
guc_define(void)
{
	define_tables();

	DefineCustomStringVariable("pg_heal.database",
							   "Database that holds the extension and its tables.",
							   NULL,
							   &heal_database,
							   boot_database("pg_heal.database", "postgres"),
							   PGC_SIGHUP, 0,
							   check_database, NULL, NULL);

	DefineCustomEnumVariable("pg_heal.policy",
							 "How soon and how often the healer looks, acts and retries.",
							 NULL,
							 &heal_policy,
							 boot_enum("pg_heal.policy", HC_POLICY_BALANCED, policy_options),
							 policy_options,
							 PGC_SIGHUP, 0,
							 NULL, assign_policy, NULL);

	DefineCustomIntVariable("pg_heal.monitoring_interval",
							"Time between two observations.",
							"Unless set, the aggressive policy uses 5s and the conservative one 20s.",
							&interval_setting,
							boot_interval("pg_heal.monitoring_interval", 10 * SECOND, 500, HOUR),
							500, HOUR,
							PGC_SIGHUP, GUC_UNIT_MS,
							check_interval, assign_interval, NULL);

	MarkGUCPrefixReserved("pg_heal");
}

void
guc_fill_settings(hc_settings *settings)
{
	settings->mode = heal_mode;
	settings->policy = heal_policy;
	settings->monitoring_interval_ms = heal_monitoring_interval;
	settings->calm_period_ms = heal_calm_period;
	settings->confirm_samples = heal_confirm_samples;
	settings->anomaly_threshold = heal_anomaly_threshold;
	settings->window_size = heal_window_size;
	settings->iqr_multiplier = heal_iqr_multiplier;
	settings->min_confidence = heal_min_confidence;
	settings->auto_baseline = heal_auto_baseline;
	settings->min_baseline_samples = heal_min_baseline_samples;
	settings->inference_min_confidence = heal_inference_min_confidence;
	settings->inference_max_path_depth = heal_inference_max_path_depth;
	settings->inference_min_edge_probability = heal_inference_min_edge_probability;
	settings->inference_multi_hop = heal_inference_multi_hop;
	settings->rollback_enabled = heal_rollback_enabled;
	settings->rollback_max_attempts = heal_rollback_max_attempts;
	settings->rollback_timeout_ms = heal_rollback_timeout;
	settings->rollback_verify = heal_rollback_verify;
	settings->rollback_max_depth = heal_rollback_max_depth;
	settings->snapshot_retention_ms = (int64_t) heal_snapshot_retention * 1000;
	settings->max_retries = heal_max_retries;
	settings->retry_delay_ms = heal_retry_delay;
	settings->recovery_timeout_ms = heal_recovery_timeout;
	settings->concurrent_recoveries = heal_concurrent_recoveries;
	settings->predictive = heal_predictive;
}

const char *
guc_mode_name(int mode)
{
	for (const struct config_enum_entry *entry = mode_options; entry->name; entry++)
	{
		if (entry->val == mode)
			return entry->name;
	}
	return "unknown";
}
