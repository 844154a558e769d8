/* SPDX-License-Identifier: Apache-2.0
 * store_sqlite.c - the store in one SQLite file: opening, the schema and its versions, errors. WAL,
 * so that readers and the one writer do not wait for each other; a transaction a file, so that a
 * killed import leaves whole files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/mem.h"
#include "store/sqlite.h"

#define APPLICATION_ID 0x6d6c6d31 /* "mlm1" */
#define BUSY_MS        10000

/* From version i to i + 1. A released step is never changed. */
static const char *const schema_steps[] = {
    "CREATE TABLE files(id INTEGER PRIMARY KEY, path TEXT NOT NULL, options TEXT NOT NULL,"
    " hash BLOB NOT NULL, format TEXT NOT NULL, imported_at TEXT NOT NULL);"
    "CREATE UNIQUE INDEX files_by_hash ON files(hash, options);"
    "CREATE INDEX files_by_path ON files(path, options);"
    "CREATE TABLE models(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    "CREATE TABLE queries(id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files(id),"
    " name TEXT NOT NULL, task TEXT NOT NULL, split TEXT NOT NULL, prompt TEXT NOT NULL,"
    " label TEXT NOT NULL, kind INTEGER NOT NULL, hash INTEGER NOT NULL);"
    "CREATE INDEX queries_by_hash ON queries(hash) WHERE kind > 0;"
    "CREATE INDEX queries_by_file ON queries(file);"
    "CREATE TABLE outcomes(query INTEGER NOT NULL REFERENCES queries(id),"
    " model INTEGER NOT NULL REFERENCES models(id), file INTEGER NOT NULL REFERENCES files(id),"
    " score REAL, cost_usd REAL, latency_ms REAL, input_tokens REAL, output_tokens REAL,"
    " PRIMARY KEY(query, model)) WITHOUT ROWID;"
    "CREATE INDEX outcomes_by_file ON outcomes(file);"
    "CREATE TABLE answers(query INTEGER NOT NULL REFERENCES queries(id),"
    " model INTEGER NOT NULL REFERENCES models(id), file INTEGER NOT NULL REFERENCES files(id),"
    " text TEXT NOT NULL, UNIQUE(query, model));"
    "CREATE INDEX answers_by_file ON answers(file);"
    "CREATE TABLE prices(model TEXT NOT NULL, from_day INTEGER NOT NULL, usd_per_call REAL,"
    " input REAL, output REAL, cached_input REAL, PRIMARY KEY(model, from_day)) WITHOUT ROWID;"
    "CREATE TABLE encoders(id INTEGER PRIMARY KEY, kind TEXT NOT NULL UNIQUE);"
    "CREATE TABLE vectors(encoder INTEGER NOT NULL REFERENCES encoders(id), text BLOB NOT NULL,"
    " vector BLOB NOT NULL, UNIQUE(encoder, text));",
    /* the gateway's tables (ledger.h) */
    "CREATE TABLE gateway(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE setups(hash INTEGER PRIMARY KEY, json TEXT NOT NULL);"
    "CREATE TABLE decisions(id INTEGER PRIMARY KEY, nonce INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, record BLOB NOT NULL, text TEXT);"
    "CREATE TABLE feedback(decision INTEGER PRIMARY KEY, nonce INTEGER NOT NULL,"
    " time_ms INTEGER NOT NULL, score REAL, seq INTEGER NOT NULL, label TEXT, comment TEXT);"
    "CREATE TABLE events(seq INTEGER PRIMARY KEY, decision INTEGER NOT NULL, first INTEGER,"
    " score REAL, before REAL);"
    "CREATE TABLE snapshots(router TEXT NOT NULL, seq INTEGER NOT NULL, state BLOB NOT NULL,"
    " UNIQUE(router, seq));"
    "CREATE TABLE client_keys(id TEXT PRIMARY KEY, hash BLOB NOT NULL, json TEXT NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE spend(scope TEXT NOT NULL, period_ms INTEGER NOT NULL, usd REAL NOT NULL,"
    " requests INTEGER NOT NULL, tokens INTEGER NOT NULL, PRIMARY KEY(scope, period_ms))"
    " WITHOUT ROWID;"
    "CREATE TABLE changes(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL,"
    " json TEXT NOT NULL, UNIQUE(kind, name));",
    /* jobs of classification (jobs.h) */
    "CREATE TABLE jobs(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,"
    " json TEXT NOT NULL, created_ms INTEGER NOT NULL);"
    "CREATE TABLE job_texts(job INTEGER NOT NULL REFERENCES jobs(id), number INTEGER NOT NULL,"
    " state INTEGER NOT NULL, hash INTEGER NOT NULL, reserved_usd REAL, label INTEGER,"
    " model INTEGER, how INTEGER, confidence REAL, propensity REAL, usd REAL, lost_usd REAL,"
    " latency_ms REAL, lesson INTEGER, decision INTEGER, name TEXT,"
    " PRIMARY KEY(job, number)) WITHOUT ROWID;"
    "CREATE TABLE job_calls(job INTEGER NOT NULL, number INTEGER NOT NULL, step INTEGER NOT NULL,"
    " model INTEGER NOT NULL, why INTEGER NOT NULL, label INTEGER NOT NULL, how INTEGER NOT NULL,"
    " confidence REAL, score REAL, usd REAL, latency_ms REAL, input_tokens INTEGER,"
    " output_tokens INTEGER, PRIMARY KEY(job, number, step)) WITHOUT ROWID;",
};
#define SCHEMA_VERSION ((int)(sizeof schema_steps / sizeof *schema_steps))

/* Answers of the file being read wait in a temporary table until its queries have numbers. */
static const char temporary_schema[] =
    "CREATE TEMP TABLE IF NOT EXISTS held(query INTEGER, model INTEGER, text TEXT,"
    " PRIMARY KEY(query, model)) WITHOUT ROWID;";

static const char *const sql[METALLM__SQL_COUNT] = {
    [METALLM__SQL_FIND_FILE] = "SELECT id FROM files WHERE hash = ?1 AND options = ?2",
    [METALLM__SQL_FIND_PATH] = "SELECT id FROM files WHERE path = ?1 AND options = ?2",
    [METALLM__SQL_ADD_FILE] = "INSERT INTO files(path, options, hash, format, imported_at)"
                              " VALUES(?1, ?2, ?3, '', strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))",
    [METALLM__SQL_END_FILE] = "UPDATE files SET format = ?2 WHERE id = ?1",
    [METALLM__SQL_DROP_ANSWERS] = "DELETE FROM answers WHERE file = ?1",
    [METALLM__SQL_DROP_OUTCOMES] = "DELETE FROM outcomes WHERE file = ?1",
    /* A query that another file speaks of as well stays, as that file's. */
    [METALLM__SQL_DROP_QUERIES] =
        "DELETE FROM queries WHERE file = ?1"
        " AND NOT EXISTS(SELECT 1 FROM outcomes o WHERE o.query = queries.id)",
    [METALLM__SQL_MOVE_QUERIES] =
        "UPDATE queries SET file = (SELECT min(o.file) FROM outcomes o WHERE o.query = queries.id)"
        " WHERE file = ?1",
    [METALLM__SQL_DROP_FILE] = "DELETE FROM files WHERE id = ?1",
    [METALLM__SQL_HOLD_ANSWER] = "INSERT OR REPLACE INTO held VALUES(?1, ?2, ?3)",
    [METALLM__SQL_FIND_QUERY] =
        "SELECT id FROM queries WHERE hash = ?1 AND kind = ?2 AND kind > 0 AND task = ?3"
        " AND split = ?4 AND (kind = 2 OR name = ?5) AND prompt = ?6",
    [METALLM__SQL_ADD_QUERY] =
        "INSERT INTO queries(file, name, task, split, prompt, label, kind, hash)"
        " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [METALLM__SQL_ADD_MODEL] = "INSERT OR IGNORE INTO models(name) VALUES(?1)",
    [METALLM__SQL_FIND_MODEL] = "SELECT id FROM models WHERE name = ?1",
    [METALLM__SQL_ADD_OUTCOME] =
        "INSERT OR IGNORE INTO outcomes VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    [METALLM__SQL_ADD_ANSWER] = "INSERT OR IGNORE INTO answers SELECT ?1, ?2, ?3, text FROM held"
                                " WHERE query = ?4 AND model = ?5",
    [METALLM__SQL_FORGET_ANSWERS] = "DELETE FROM held",
    [METALLM__SQL_PUT_PRICE] = "INSERT OR REPLACE INTO prices VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [METALLM__SQL_PRICE_CALLS] =
        "UPDATE outcomes SET cost_usd = ?2 WHERE cost_usd IS NULL AND score IS NOT NULL"
        " AND model = (SELECT id FROM models WHERE name = ?1)",
    [METALLM__SQL_PRICE_TOKENS] =
        "UPDATE outcomes SET cost_usd = 1e-6 * (?2 * input_tokens + ?3 * output_tokens)"
        " WHERE cost_usd IS NULL AND score IS NOT NULL AND input_tokens + output_tokens IS NOT NULL"
        " AND model = (SELECT id FROM models WHERE name = ?1)",
    [METALLM__SQL_SUMMARY] =
        "SELECT m.name, count(o.score), avg(o.score), count(o.cost_usd), avg(o.cost_usd)"
        " FROM models m JOIN outcomes o ON o.model = m.id GROUP BY m.id ORDER BY m.id",
    [METALLM__SQL_READ_MODELS] =
        "SELECT id, name FROM models m WHERE EXISTS(SELECT 1 FROM outcomes o JOIN queries q ON"
        " o.query = q.id WHERE o.model = m.id AND q.task = ifnull(?1, q.task)"
        " AND q.split = ifnull(?2, q.split)) ORDER BY id",
    [METALLM__SQL_COUNT_QUERIES] =
        "SELECT count(*) FROM queries WHERE task = ifnull(?1, task) AND split = ifnull(?2, split)",
    [METALLM__SQL_READ_QUERIES] =
        "SELECT id, name, task, split, prompt, label FROM queries"
        " WHERE task = ifnull(?1, task) AND split = ifnull(?2, split) ORDER BY id",
    [METALLM__SQL_READ_OUTCOMES] =
        "SELECT model, score, cost_usd, latency_ms, input_tokens, output_tokens FROM outcomes"
        " WHERE query = ?1",
    [METALLM__SQL_ADD_ENCODER] = "INSERT OR IGNORE INTO encoders(kind) VALUES(?1)",
    [METALLM__SQL_FIND_ENCODER] = "SELECT id FROM encoders WHERE kind = ?1",
    [METALLM__SQL_GET_VECTOR] = "SELECT vector FROM vectors WHERE encoder = ?1 AND text = ?2",
    [METALLM__SQL_PUT_VECTOR] = "INSERT OR REPLACE INTO vectors VALUES(?1, ?2, ?3)",
    [METALLM__SQL_BEGIN] = "BEGIN IMMEDIATE",
    [METALLM__SQL_COMMIT] = "COMMIT",
    [METALLM__SQL_GET_VALUE] = "SELECT value FROM gateway WHERE name = ?1",
    [METALLM__SQL_PUT_VALUE] = "INSERT OR REPLACE INTO gateway VALUES(?1, ?2)",
    [METALLM__SQL_PUT_SETUP] = "INSERT OR IGNORE INTO setups VALUES(?1, ?2)",
    [METALLM__SQL_GET_SETUP] = "SELECT json FROM setups WHERE hash = ?1",
    [METALLM__SQL_PUT_DECISION] = "INSERT OR IGNORE INTO decisions VALUES(?1, ?2, ?3, ?4, ?5)",
    [METALLM__SQL_GET_DECISION] = "SELECT nonce, time_ms, record FROM decisions WHERE id = ?1",
    [METALLM__SQL_VISIT_DECISIONS] =
        "SELECT d.id, d.nonce, d.time_ms, d.record, f.nonce, f.time_ms, f.score, f.seq, f.label,"
        " f.comment FROM decisions d LEFT JOIN feedback f ON f.decision = d.id"
        " AND f.nonce = d.nonce WHERE d.id > ?1 ORDER BY d.id",
    [METALLM__SQL_PUT_FEEDBACK] =
        "INSERT OR REPLACE INTO feedback VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    [METALLM__SQL_GET_FEEDBACK] = "SELECT nonce, time_ms, score, seq, label, comment FROM feedback"
                                  " WHERE decision = ?1",
    [METALLM__SQL_PUT_EVENT] = "INSERT INTO events VALUES(?1, ?2, ?3, ?4, ?5)",
    [METALLM__SQL_VISIT_EVENTS] =
        "SELECT seq, decision, first, score, before FROM events WHERE seq > ?1 ORDER BY seq",
    [METALLM__SQL_TOPS] = "SELECT max(ifnull((SELECT max(id) FROM decisions), 0),"
                          " ifnull((SELECT max(decision) FROM feedback), 0)),"
                          " max(ifnull((SELECT max(seq) FROM events), 0),"
                          " ifnull((SELECT max(seq) FROM snapshots), 0))",
    [METALLM__SQL_PUT_SNAPSHOT] = "INSERT OR REPLACE INTO snapshots VALUES(?1, ?2, ?3)",
    [METALLM__SQL_DROP_SNAPSHOTS] =
        "DELETE FROM snapshots WHERE router = ?1 AND seq < (SELECT seq FROM snapshots"
        " WHERE router = ?1 ORDER BY seq DESC LIMIT 1 OFFSET 1)",
    [METALLM__SQL_GET_SNAPSHOT] =
        "SELECT seq, state FROM snapshots WHERE router = ?1 ORDER BY seq DESC LIMIT 1",
    /* The last of the oldest rows that go. */
    [METALLM__SQL_PRUNE_BOUND] =
        "SELECT max(id) FROM (SELECT id, time_ms FROM decisions ORDER BY id LIMIT ?4)"
        " WHERE (time_ms < ?1 OR id <= (SELECT max(id) FROM decisions) - ?2)"
        " AND id < ifnull((SELECT min(decision) FROM events WHERE seq > ?3), 9223372036854775807)",
    [METALLM__SQL_PRUNE_DECISIONS] = "DELETE FROM decisions WHERE id <= ?1",
    [METALLM__SQL_PRUNE_FEEDBACK] = "DELETE FROM feedback WHERE decision <= ?1",
    [METALLM__SQL_PRUNE_EVENTS] = "DELETE FROM events WHERE seq <= ?1",
    [METALLM__SQL_PUT_KEY] = "INSERT OR REPLACE INTO client_keys VALUES(?1, ?2, ?3)",
    [METALLM__SQL_DROP_KEY] = "DELETE FROM client_keys WHERE id = ?1",
    [METALLM__SQL_VISIT_KEYS] = "SELECT id, hash, json FROM client_keys ORDER BY id",
    [METALLM__SQL_ADD_SPEND] =
        "INSERT INTO spend VALUES(?1, ?2, ?3, ?4, ?5) ON CONFLICT(scope, period_ms) DO UPDATE SET"
        " usd = usd + excluded.usd, requests = requests + excluded.requests,"
        " tokens = tokens + excluded.tokens",
    [METALLM__SQL_VISIT_SPEND] = "SELECT scope, period_ms, usd, requests, tokens FROM spend"
                                 " WHERE period_ms >= ?1 ORDER BY scope, period_ms",
    [METALLM__SQL_PUT_CHANGE] = "INSERT INTO changes(kind, name, json) VALUES(?1, ?2, ?3)"
                                " ON CONFLICT(kind, name) DO UPDATE SET json = excluded.json",
    [METALLM__SQL_DROP_CHANGE] = "DELETE FROM changes WHERE kind = ?1 AND name = ?2",
    [METALLM__SQL_VISIT_CHANGES] = "SELECT kind, name, json FROM changes ORDER BY id",
    [METALLM__SQL_FIND_JOB] = "SELECT id, json, created_ms FROM jobs WHERE name = ?1",
    [METALLM__SQL_ADD_JOB] = "INSERT INTO jobs(name, json, created_ms) VALUES(?1, ?2, ?3)",
    [METALLM__SQL_DROP_JOB] = "DELETE FROM jobs WHERE id = ?1",
    [METALLM__SQL_DROP_JOB_TEXTS] = "DELETE FROM job_texts WHERE job = ?1",
    [METALLM__SQL_DROP_JOB_CALLS] = "DELETE FROM job_calls WHERE job = ?1",
    [METALLM__SQL_RECOVER_JOB] =
        "UPDATE job_texts SET state = 4, reserved_usd = NULL,"
        " lost_usd = ifnull(lost_usd, 0) + ifnull(reserved_usd, 0) WHERE job = ?1 AND state = 1",
    [METALLM__SQL_BEGIN_TEXT] =
        "INSERT INTO job_texts(job, number, state, hash, reserved_usd) VALUES(?1, ?2, 1, ?3, ?4)"
        " ON CONFLICT(job, number) DO UPDATE SET state = 1, reserved_usd = excluded.reserved_usd",
    [METALLM__SQL_END_TEXT] =
        "UPDATE job_texts SET state = ?3, label = ?4, model = ?5, how = ?6, confidence = ?7,"
        " propensity = ?8, usd = ?9, lost_usd = ifnull(lost_usd, 0) + ifnull(?10, 0),"
        " latency_ms = ?11, lesson = ?12, decision = ?13, name = ?14, reserved_usd = NULL"
        " WHERE job = ?1 AND number = ?2",
    [METALLM__SQL_ADD_JOB_CALL] = "INSERT OR REPLACE INTO job_calls VALUES(?1, ?2, ?3, ?4, ?5, ?6,"
                                  " ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [METALLM__SQL_JOB_STATES] = "SELECT number, state FROM job_texts WHERE job = ?1"
                                " AND number >= ?2 AND number < ?3",
    [METALLM__SQL_VISIT_JOB_TEXTS] =
        "SELECT number, state, hash, reserved_usd, ifnull(label, -1), model, how, confidence,"
        " propensity, usd, lost_usd, latency_ms, lesson, decision, name FROM job_texts"
        " WHERE job = ?1 AND number >= ?2 AND number < ?3 ORDER BY number",
    [METALLM__SQL_VISIT_JOB_CALLS] =
        "SELECT number, model, why, label, how, confidence, score, usd, latency_ms, input_tokens,"
        " output_tokens FROM job_calls WHERE job = ?1 AND number >= ?2 AND number < ?3"
        " ORDER BY number, step",
    [METALLM__SQL_JOB_TOTALS] =
        "SELECT state, count(*), sum(label < 0), total(usd), total(lost_usd), total(reserved_usd)"
        " FROM job_texts WHERE job = ?1 GROUP BY state",
    [METALLM__SQL_FIND_SOURCE] = "SELECT id FROM files WHERE path = ?1 AND options = 'rows'",
};

int metallm__sqlite_failed(const struct metallm__sqlite *s, metallm_error *err)
{
    int code = s->db != NULL ? sqlite3_errcode(s->db) : SQLITE_NOMEM;
    const char *said = s->db != NULL ? sqlite3_errmsg(s->db) : "";
    switch (code & 0xff) {
    case SQLITE_NOMEM:
        return metallm__error_nomem(err, "the store");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return metallm__error_set(err, METALLM_EIO,
                                  "the store '%s' is locked by another process: try again later",
                                  s->path);
    case SQLITE_FULL:
        return metallm__error_set(err, METALLM_EIO, "no room left on the disk of the store '%s'",
                                  s->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return metallm__error_set(err, METALLM_EIO, "the store '%s' cannot be written", s->path);
    case SQLITE_NOTADB:
        return metallm__error_set(err, METALLM_EFORMAT, "'%s' is no store: not an SQLite database",
                                  s->path);
    case SQLITE_CORRUPT:
        return metallm__error_set(err, METALLM_EFORMAT, "the store '%s' is damaged: %s", s->path,
                                  said);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return metallm__error_set(err, METALLM_EIO, "the store '%s': %s (%s)", s->path, said,
                                  strerror(sqlite3_system_errno(s->db)));
    default:
        return metallm__error_set(err, METALLM_EIO, "the store '%s': %s", s->path, said);
    }
}

int metallm__sqlite_exec(struct metallm__sqlite *s, const char *text, metallm_error *err)
{
    if (sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return metallm__sqlite_failed(s, err);
    return METALLM_OK;
}

int metallm__sqlite_get(struct metallm__sqlite *s, enum metallm__sqlite_statement which,
                        sqlite3_stmt **out, metallm_error *err)
{
    if (s->statements[which] == NULL &&
        sqlite3_prepare_v3(s->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[which],
                           NULL) != SQLITE_OK)
        return metallm__sqlite_failed(s, err);
    *out = s->statements[which];
    sqlite3_reset(*out);
    sqlite3_clear_bindings(*out);
    return METALLM_OK;
}

int metallm__sqlite_step(struct metallm__sqlite *s, sqlite3_stmt *statement, bool *has_row,
                         metallm_error *err)
{
    int code = sqlite3_step(statement);
    *has_row = code == SQLITE_ROW;
    if (code == SQLITE_ROW)
        return METALLM_OK;
    int rc = code == SQLITE_DONE ? METALLM_OK : metallm__sqlite_failed(s, err);
    sqlite3_reset(statement);
    return rc;
}

int metallm__sqlite_run(struct metallm__sqlite *s, sqlite3_stmt *statement, metallm_error *err)
{
    bool has_row;
    return metallm__sqlite_step(s, statement, &has_row, err);
}

static int pragma_number(struct metallm__sqlite *s, const char *text, int *out, metallm_error *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(s->db, text, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        int rc = metallm__sqlite_failed(s, err);
        sqlite3_finalize(statement);
        return rc;
    }
    *out = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return METALLM_OK;
}

/* Inside a transaction, so that two processes that make the same store do not meet. */
static int upgrade(struct metallm__sqlite *s, int version, metallm_error *err)
{
    char text[96];
    int rc = METALLM_OK;
    for (int v = version; rc == METALLM_OK && v < SCHEMA_VERSION; v++)
        rc = metallm__sqlite_exec(s, schema_steps[v], err);
    snprintf(text, sizeof text, "PRAGMA application_id=%d; PRAGMA user_version=%d;", APPLICATION_ID,
             SCHEMA_VERSION);
    return rc == METALLM_OK ? metallm__sqlite_exec(s, text, err) : rc;
}

/* Whose database it is, and of which version; an empty one is ours to fill. */
static int check_schema(struct metallm__sqlite *s, enum metallm__store_mode mode,
                        metallm_error *err)
{
    int owner = 0, version = 0, tables = 0;
    int rc = pragma_number(s, "PRAGMA application_id", &owner, err);
    if (rc == METALLM_OK)
        rc = pragma_number(s, "PRAGMA user_version", &version, err);
    if (rc == METALLM_OK)
        rc = pragma_number(s, "SELECT count(*) FROM sqlite_master", &tables, err);
    if (rc != METALLM_OK)
        return rc;
    bool is_empty = owner == 0 && version == 0 && tables == 0;
    if (owner != APPLICATION_ID && !is_empty)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "'%s' is an SQLite database, but no store of metallm", s->path);
    if (version > SCHEMA_VERSION)
        return metallm__error_set(err, METALLM_EFORMAT,
                                  "the store '%s' has schema %d, made by a newer metallm; this one "
                                  "knows %d",
                                  s->path, version, SCHEMA_VERSION);
    if (version == SCHEMA_VERSION)
        return METALLM_OK;
    if (mode == METALLM__STORE_FILL || version > 0)
        return upgrade(s, version, err);
    return metallm__error_set(err, METALLM_EFORMAT,
                              is_empty ? "the store '%s' is empty (schema %d): fill it with "
                                         "metallm import"
                                       : "the store '%s' has the older schema %d: import into it "
                                         "once to bring it up to date",
                              s->path, version);
}

static int prepare(struct metallm__sqlite *s, enum metallm__store_mode mode, metallm_error *err)
{
    int version = SCHEMA_VERSION;
    sqlite3_busy_timeout(s->db, BUSY_MS);
    int rc = metallm__sqlite_exec(s, "PRAGMA synchronous=NORMAL; PRAGMA temp_store=FILE;", err);
    if (rc == METALLM_OK)
        rc = pragma_number(s, "PRAGMA user_version", &version, err);
    const bool writes = mode == METALLM__STORE_FILL || (version > 0 && version < SCHEMA_VERSION);
    if (rc == METALLM_OK && writes)
        rc = metallm__sqlite_exec(s, "PRAGMA journal_mode=WAL; BEGIN IMMEDIATE;", err);
    if (rc != METALLM_OK)
        return rc;
    rc = check_schema(s, mode, err);
    if (!writes)
        return rc;
    if (rc == METALLM_OK)
        rc = metallm__sqlite_exec(s, "COMMIT;", err);
    if (rc == METALLM_OK)
        rc = metallm__sqlite_exec(s, temporary_schema, err);
    return rc;
}

static void close_sqlite(void *state)
{
    struct metallm__sqlite *s = state;
    if (s == NULL)
        return;
    for (size_t i = 0; i < METALLM__SQL_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    if (s->claim_fd >= 0)
        close(s->claim_fd);
    metallm__free(s->path);
    metallm__free(s);
}

static void wait_sqlite(void *state, int wait_ms)
{
    struct metallm__sqlite *s = state;
    sqlite3_busy_timeout(s->db, wait_ms);
}

static int open_sqlite(void **state, const char *place, enum metallm__store_mode mode,
                       metallm_error *err)
{
    if (mode == METALLM__STORE_USE && access(place, F_OK) != 0)
        return metallm__error_set(err, METALLM_ENOTFOUND,
                                  "no store '%s': %s (metallm import makes one)", place,
                                  strerror(errno));
    struct metallm__sqlite *s = metallm__calloc(1, sizeof *s);
    if (s == NULL || (s->path = metallm__strdup(place)) == NULL) {
        metallm__free(s);
        return metallm__error_nomem(err, "a store");
    }
    s->claim_fd = -1;
    if (mode == METALLM__STORE_FILL) { /* its owner's alone; SQLite's other files follow it */
        /* A file that is there is not opened: closing it would drop this process's locks on it. */
        int fd = open(place, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd);
    }
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX |
                (mode == METALLM__STORE_FILL ? SQLITE_OPEN_CREATE : 0);
    int rc = sqlite3_open_v2(place, &s->db, flags, NULL) == SQLITE_OK
                 ? prepare(s, mode, err)
                 : metallm__sqlite_failed(s, err);
    if (rc != METALLM_OK) {
        close_sqlite(s);
        return rc;
    }
    *state = s;
    return METALLM_OK;
}

const struct metallm__store_backend metallm__store_sqlite = {
    .scheme = "sqlite:",
    .ledger = &metallm__sqlite_ledger,
    .jobs = &metallm__sqlite_jobs,
    .open = open_sqlite,
    .close = close_sqlite,
    .wait = wait_sqlite,
    .file_begin = metallm__sqlite_file_begin,
    .file_answer = metallm__sqlite_file_answer,
    .file_commit = metallm__sqlite_file_commit,
    .file_abort = metallm__sqlite_file_abort,
    .add_rows = metallm__sqlite_add_rows,
    .drop_rows = metallm__sqlite_drop_rows,
    .prices = metallm__sqlite_prices,
    .summary = metallm__sqlite_summary,
    .read = metallm__sqlite_read,
    .vectors_get = metallm__sqlite_vectors_get,
    .vectors_put = metallm__sqlite_vectors_put,
};
