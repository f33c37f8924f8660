/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  Before-images: what settings, storage options and index definitions are
 *	  now, with the SQL that brings each back to this image.
 *
 * The request is a JSON array of what to look at, the result a JSON array of
 * items (kind, database, database_oid, object, name, value, restore_sql,
 * reset_sql). An item that does not exist now has value null. A relation that
 * has gone yields no item, unless the request names it as "object" too.
 *
 * Everything is read in one snapshot. Names in SQL are quoted by the server's
 * own functions.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/varlena.h"

#include "job.h"

#define MAX_ITEMS	10000

/* The items so far. */
typedef struct Capture
{
	HealJobSlot *job;
	const char *request;
	StringInfoData json;
	int			n;
} Capture;

typedef struct ImageItem
{
	const char *kind;
	const char *database;
	Oid			database_oid;
	const char *object;
	const char *name;
	const char *value;			/* NULL: does not exist */
	const char *restore_sql;
	const char *reset_sql;
} ImageItem;

#define REQUEST_CTE \
	"WITH req AS MATERIALIZED (" \
	"SELECT * FROM jsonb_to_recordset($1::jsonb) AS r(kind text, component text, name text, object text," \
	" relation_oid oid, index_oid oid, database text, role text)), " \
	"every AS MATERIALIZED (" \
	"SELECT coalesce(bool_or(component IS NULL OR component = 'settings'), false) AS settings," \
	" coalesce(bool_or(component IS NULL OR component = 'roles'), false) AS roles," \
	" coalesce(bool_or(component IS NULL OR component = 'storage'), false) AS storage," \
	" coalesce(bool_or(component IS NULL OR component = 'indexes'), false) AS indexes" \
	" FROM req WHERE kind = 'all') "

/* Not our own: they are as the extension makes them. */
#define USER_RELATION(table) \
	"c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')" \
	" AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension x ON x.oid = d.refobjid" \
	"  WHERE d.classid = 'pg_class'::regclass AND d.objid = " table \
	"  AND d.refclassid = 'pg_extension'::regclass AND x.extname = 'pg_heal')"

/* Which kinds are asked for, and what is asked for that does not exist. */
#define WANTED_SQL \
	REQUEST_CTE \
	"SELECT e.settings OR coalesce(bool_or(kind = 'server_setting'), false)," \
	" e.roles OR coalesce(bool_or(kind = 'role_setting'), false)," \
	" e.storage OR coalesce(bool_or(kind = 'storage_option'), false)," \
	" e.indexes OR coalesce(bool_or(kind = 'index'), false)," \
	" min(kind) FILTER (WHERE kind NOT IN ('server_setting', 'role_setting', 'storage_option', 'index', 'all'))," \
	" min(component) FILTER (WHERE kind = 'all' AND component NOT IN ('settings', 'roles', 'storage', 'indexes'))" \
	" FROM every e LEFT JOIN req ON true GROUP BY e.settings, e.roles, e.storage, e.indexes"

/* The last entry of a name in postgresql.auto.conf counts, applied or not. */
#define SERVER_SQL \
	REQUEST_CTE \
	", entry AS (" \
	"SELECT DISTINCT ON (lower(name)) name, setting FROM pg_file_settings" \
	" WHERE sourcefile = current_setting('data_directory') || '/postgresql.auto.conf' AND name IS NOT NULL" \
	" ORDER BY lower(name), seqno DESC) " \
	"SELECT coalesce(e.name, w.name), e.setting" \
	" FROM (SELECT DISTINCT name FROM req WHERE kind = 'server_setting' AND name IS NOT NULL) AS w" \
	" FULL JOIN entry e ON lower(e.name) = lower(w.name)" \
	" WHERE w.name IS NOT NULL OR (SELECT settings FROM every)" \
	" ORDER BY 1"

#define ROLE_SQL \
	REQUEST_CTE \
	", entry AS (" \
	"SELECT s.setdatabase, coalesce(d.datname, '') AS database, coalesce(r.rolname, '') AS role," \
	" split_part(c, '=', 1) AS name, substr(c, strpos(c, '=') + 1) AS value" \
	" FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase" \
	" LEFT JOIN pg_authid r ON r.oid = s.setrole, unnest(s.setconfig) AS c" \
	" WHERE (s.setdatabase = 0) = (d.oid IS NULL) AND (s.setrole = 0) = (r.oid IS NULL)) " \
	"SELECT coalesce(e.database, w.database), coalesce(e.setdatabase, d.oid, 0::oid)," \
	" coalesce(e.role, w.role), coalesce(e.name, w.name), e.value" \
	" FROM (SELECT DISTINCT coalesce(database, '') AS database, coalesce(role, object, '') AS role, name" \
	"  FROM req WHERE kind = 'role_setting' AND name IS NOT NULL) AS w" \
	" FULL JOIN entry e ON e.database = w.database AND e.role = w.role AND lower(e.name) = lower(w.name)" \
	" LEFT JOIN pg_database d ON d.datname = w.database" \
	" WHERE w.name IS NOT NULL OR (SELECT roles FROM every)" \
	" ORDER BY 1, 3, 4"

/* Options of the TOAST table go by the name ALTER TABLE gives them. */
#define STORAGE_SQL \
	REQUEST_CTE \
	", opt AS (" \
	"SELECT c.oid AS relation, o.option_name AS name, o.option_value AS value" \
	" FROM pg_class c, pg_options_to_table(c.reloptions) AS o" \
	" WHERE c.reloptions IS NOT NULL AND c.relkind IN ('r', 'm', 'p')" \
	" UNION ALL " \
	"SELECT c.oid, 'toast.' || o.option_name, o.option_value" \
	" FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid, pg_options_to_table(t.reloptions) AS o" \
	" WHERE t.reloptions IS NOT NULL AND c.reltoastrelid <> 0), " \
	"want AS (" \
	"SELECT coalesce(c.oid, to_regclass(r.object)) AS relation, lower(r.name) AS name" \
	" FROM req r LEFT JOIN pg_class c ON c.oid = r.relation_oid" \
	" WHERE r.kind = 'storage_option' AND r.name IS NOT NULL" \
	" UNION " \
	"SELECT o.relation, o.name FROM opt o JOIN pg_class c ON c.oid = o.relation" \
	" JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" WHERE (SELECT storage FROM every) AND " USER_RELATION("c.oid") ") " \
	"SELECT n.nspname, c.relname, w.name, o.value" \
	" FROM want w JOIN pg_class c ON c.oid = w.relation JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" LEFT JOIN opt o ON o.relation = w.relation AND o.name = w.name" \
	" ORDER BY 1, 2, 3"

#define INDEX_SQL \
	REQUEST_CTE \
	", want AS (" \
	"SELECT coalesce(c.oid, to_regclass(r.object)) AS index, r.object" \
	" FROM req r LEFT JOIN pg_class c ON c.oid = r.index_oid AND c.relkind IN ('i', 'I')" \
	" WHERE r.kind = 'index'" \
	" UNION " \
	"SELECT c.oid, NULL FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid" \
	" JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" WHERE (SELECT indexes FROM every) AND " USER_RELATION("i.indrelid") ") " \
	"SELECT DISTINCT n.nspname, c.relname, tn.nspname, t.relname, c.relkind, i.indisvalid," \
	" pg_get_indexdef(i.indexrelid), con.conname, con.contype, con.condeferrable, con.condeferred, w.object, c.relispartition" \
	" FROM want w LEFT JOIN pg_index i ON i.indexrelid = w.index" \
	" LEFT JOIN pg_class c ON c.oid = i.indexrelid LEFT JOIN pg_namespace n ON n.oid = c.relnamespace" \
	" LEFT JOIN pg_class t ON t.oid = i.indrelid LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace" \
	" LEFT JOIN pg_constraint con ON con.conrelid = i.indrelid AND con.conindid = i.indexrelid" \
	"  AND con.contype IN ('p', 'u', 'x')" \
	" WHERE c.oid IS NOT NULL OR w.object IS NOT NULL" \
	" ORDER BY 1, 2"

/* ------------------------------------------------------------------------
 * Output
 * ------------------------------------------------------------------------ */

static void
append_member(StringInfo json, const char *key, const char *value)
{
	appendStringInfo(json, "\"%s\":", key);
	if (value != NULL)
		escape_json(json, value);
	else
		appendStringInfoString(json, "null");
	appendStringInfoChar(json, ',');
}

static void
put_item(Capture *capture, const ImageItem *item)
{
	StringInfo	json = &capture->json;

	if (capture->n >= MAX_ITEMS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("snapshot would have more than %d items", MAX_ITEMS)));

	appendStringInfoString(json, capture->n++ == 0 ? "{" : ",{");
	append_member(json, "kind", item->kind);
	append_member(json, "database", item->database);
	append_member(json, "object", item->object);
	append_member(json, "name", item->name);
	append_member(json, "value", item->value);
	append_member(json, "restore_sql", item->restore_sql);
	append_member(json, "reset_sql", item->reset_sql);
	appendStringInfo(json, "\"database_oid\":%u}", item->database_oid);

	if (json->len >= WORKER_MAX_TEXT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("snapshot is too large"),
				 errdetail("At most %d bytes can be handed over.", WORKER_MAX_TEXT)));
}

/* Run a query with the request as its parameter. */
static uint64
query(Capture *capture, const char *sql)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(capture->request)};

	if (SPI_execute_with_args(sql, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read before-images");
	return SPI_processed;
}

static char *
column(uint64 row, int number)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number);
}

static bool
column_is_true(uint64 row, int number)
{
	char	   *value = column(row, number);

	return value != NULL && value[0] == 't';
}

/* ------------------------------------------------------------------------
 * Settings
 * ------------------------------------------------------------------------ */

/*
 * A setting's value as SET takes it. The elements of a list whose elements are
 * quoted (shared_preload_libraries, search_path) have to be given one by one:
 * as one literal the list would become one element.
 */
static char *
setting_value_sql(const char *name, const char *value)
{
	StringInfoData sql;
	List	   *elements;
	ListCell   *lc;

	if ((GetConfigOptionFlags(name, true) & GUC_LIST_QUOTE) == 0 ||
		!SplitGUCList(pstrdup(value), ',', &elements) || elements == NIL)
		return quote_literal_cstr(value);

	initStringInfo(&sql);
	foreach(lc, elements)
	{
		if (sql.len > 0)
			appendStringInfoString(&sql, ", ");
		appendStringInfoString(&sql, quote_literal_cstr((char *) lfirst(lc)));
	}
	return sql.data;
}

static void
capture_server_settings(Capture *capture)
{
	uint64		n = query(capture, SERVER_SQL);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *name = column(i, 1);
		char	   *value = column(i, 2);
		char	   *reset = psprintf("ALTER SYSTEM RESET %s;\nSELECT pg_catalog.pg_reload_conf()", quote_identifier(name));
		ImageItem	item = {.kind = "server_setting", .database = "", .object = "", .name = name,
		.value = value, .restore_sql = reset, .reset_sql = reset};

		if (value != NULL)
			item.restore_sql = psprintf("ALTER SYSTEM SET %s = %s;\nSELECT pg_catalog.pg_reload_conf()",
										quote_identifier(name), setting_value_sql(name, value));
		put_item(capture, &item);
	}
}

/* The beginning of the command that changes a setting of a role or database. */
static char *
role_setting_command(const char *database, const char *role)
{
	if (role[0] == '\0')
		return database[0] == '\0' ? "ALTER ROLE ALL" :
			psprintf("ALTER DATABASE %s", quote_identifier(database));
	if (database[0] == '\0')
		return psprintf("ALTER ROLE %s", quote_identifier(role));
	return psprintf("ALTER ROLE %s IN DATABASE %s", quote_identifier(role), quote_identifier(database));
}

/* database_oid is the database the setting is for, so that keys are unique. */
static void
capture_role_settings(Capture *capture)
{
	uint64		n = query(capture, ROLE_SQL);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *database = column(i, 1);
		char	   *role = column(i, 3);
		char	   *name = column(i, 4);
		char	   *value = column(i, 5);
		char	   *command = role_setting_command(database, role);
		char	   *reset = psprintf("%s RESET %s", command, quote_identifier(name));
		ImageItem	item = {.kind = "role_setting", .database = database, .object = role, .name = name,
			.database_oid = atooid(column(i, 2)), .value = value,
		.restore_sql = reset, .reset_sql = reset};

		if (value != NULL)
			item.restore_sql = psprintf("%s SET %s = %s", command, quote_identifier(name), setting_value_sql(name, value));
		put_item(capture, &item);
	}
}

/* ------------------------------------------------------------------------
 * Storage options
 * ------------------------------------------------------------------------ */

/* autovacuum_enabled, or toast.autovacuum_enabled. */
static const char *
option_identifier(const char *name)
{
	const char *dot = strchr(name, '.');
	char	   *space;

	if (dot == NULL)
		return quote_identifier(name);
	space = pnstrdup(name, dot - name);
	return psprintf("%s.%s", quote_identifier(space), quote_identifier(dot + 1));
}

static void
capture_storage_options(Capture *capture)
{
	uint64		n = query(capture, STORAGE_SQL);
	char	   *database = get_database_name(MyDatabaseId);

	for (uint64 i = 0; i < n; i++)
	{
		char	   *object = quote_qualified_identifier(column(i, 1), column(i, 2));
		char	   *name = column(i, 3);
		char	   *value = column(i, 4);
		const char *option = option_identifier(name);
		char	   *reset = psprintf("ALTER TABLE %s RESET (%s)", object, option);
		ImageItem	item = {.kind = "storage_option", .database = database, .database_oid = MyDatabaseId,
			.object = object, .name = name, .value = value,
		.restore_sql = reset, .reset_sql = reset};

		if (value != NULL)
			item.restore_sql = psprintf("ALTER TABLE %s SET (%s = %s)", object, option, quote_literal_cstr(value));
		put_item(capture, &item);
	}
}

/* ------------------------------------------------------------------------
 * Indexes
 * ------------------------------------------------------------------------ */

/* "CREATE UNIQUE INDEX i ON ..." with CONCURRENTLY put in. */
static char *
concurrently(const char *definition)
{
	static const char *const beginnings[] = {"CREATE INDEX ", "CREATE UNIQUE INDEX "};

	for (int i = 0; i < lengthof(beginnings); i++)
	{
		Size		len = strlen(beginnings[i]);

		if (strncmp(definition, beginnings[i], len) == 0)
			return psprintf("%sCONCURRENTLY %s", beginnings[i], definition + len);
	}
	return NULL;
}

/*
 * SQL that builds the index again without blocking writers. "" where that
 * cannot be done: a partitioned index (its parts may be gone or foreign), an
 * exclusion constraint (it would be built under an exclusive lock).
 */
static char *
index_restore_sql(uint64 row)
{
	char	   *index = column(row, 2);
	char	   *table = quote_qualified_identifier(column(row, 3), column(row, 4));
	char	   *create = concurrently(column(row, 7));
	char	   *constraint = column(row, 8);
	char		contype;

	if (create == NULL || column(row, 5)[0] != RELKIND_INDEX)
		return "";
	if (constraint == NULL)
		return create;
	contype = column(row, 9)[0];
	if (contype == CONSTRAINT_EXCLUSION)
		return "";
	return psprintf("%s;\nALTER TABLE %s ADD CONSTRAINT %s %s USING INDEX %s%s%s",
					create, table, quote_identifier(constraint),
					contype == CONSTRAINT_PRIMARY ? "PRIMARY KEY" : "UNIQUE",
					quote_identifier(index),
					column_is_true(row, 10) ? " DEFERRABLE" : "",
					column_is_true(row, 11) ? " INITIALLY DEFERRED" : "");
}

/*
 * SQL that drops an index made later; the core uses it only when told to. ""
 * where a plain DROP INDEX CONCURRENTLY does not do: constraints, partitions.
 */
static char *
index_reset_sql(uint64 row)
{
	if (column(row, 5)[0] != RELKIND_INDEX || column(row, 8) != NULL || column_is_true(row, 13))
		return "";
	return psprintf("DROP INDEX CONCURRENTLY IF EXISTS %s",
					quote_qualified_identifier(column(row, 1), column(row, 2)));
}

/*
 * An index that is not valid is marked as such: a build that failed has not
 * brought it back. The core knows the mark.
 */
static void
capture_indexes(Capture *capture)
{
	uint64		n = query(capture, INDEX_SQL);
	char	   *database = get_database_name(MyDatabaseId);

	for (uint64 i = 0; i < n; i++)
	{
		bool		exists = column(i, 2) != NULL;
		ImageItem	item = {.kind = "index", .database = database, .database_oid = MyDatabaseId,
		.name = "definition", .restore_sql = "", .reset_sql = ""};

		if (exists)
		{
			item.object = quote_qualified_identifier(column(i, 1), column(i, 2));
			item.value = column_is_true(i, 6) ? column(i, 7) : psprintf("%s /* invalid */", column(i, 7));
			item.restore_sql = index_restore_sql(i);
			item.reset_sql = index_reset_sql(i);
		}
		else
			item.object = column(i, 12);
		put_item(capture, &item);
	}
}

/* ------------------------------------------------------------------------
 * The whole
 * ------------------------------------------------------------------------ */

/* Refuse a request for something unknown rather than leave it out. */
static void
check_request(uint64 n)
{
	char	   *kind;
	char	   *component;

	if (n != 1)
		elog(ERROR, "could not read the capture request");
	kind = column(0, 5);
	component = column(0, 6);
	if (kind != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized kind of snapshot item: \"%s\"", kind)));
	if (component != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized part of a snapshot: \"%s\"", component)));
}

void
capture_run(HealJobSlot *job)
{
	Capture		capture = {.job = job};
	bool		settings;
	bool		roles;
	bool		storage;
	bool		indexes;

	if (job->used == 0 || job->data[job->used - 1] != '\0')
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("action slot does not hold a complete command")));

	worker_query_begin(job, XACT_REPEATABLE_READ);
	pgstat_report_activity(STATE_RUNNING, "capture of before-images");
	capture.request = worker_from_utf8(pstrdup(job->data));
	initStringInfo(&capture.json);
	appendStringInfoChar(&capture.json, '[');

	check_request(query(&capture, WANTED_SQL));
	settings = column_is_true(0, 1);
	roles = column_is_true(0, 2);
	storage = column_is_true(0, 3);
	indexes = column_is_true(0, 4);

	if (settings)
		capture_server_settings(&capture);
	if (roles)
		capture_role_settings(&capture);
	if (storage)
		capture_storage_options(&capture);
	if (indexes)
		capture_indexes(&capture);

	appendStringInfoChar(&capture.json, ']');
	worker_set_text(job, capture.json.data);
	worker_query_end();
}
