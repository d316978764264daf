/*
 * Loading a whole store: rows are read by one thread, opened and hashed by several, and set in a
 * new index by the first again. See feed.c for what is asked of it in the end.
 *
 * Rows travel in batches, in a ring: those from `applied` on are in use, the first `taken` are
 * opened or about to be, and the first `filled` wait for no more rows. The first thread opens
 * batches too when the ring is full. It applies them in the order in which they were read, so a
 * load that fails does so at the same row as with one thread.
 *
 * Lock order: `lock` is taken with db_lock held, and guards the ring's numbers and the batches'
 * `opened`.
 */
#include "fault.h"
#include "state.h"

#include <sched.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ROWS 256
#define BATCH_BYTES (BATCH_ROWS * 256 + RECORD_NODE_MAX)
#define RING_MAX 8
#define HELPERS_MAX 3
#define ALONE_MAX 2000 /* rows that are opened sooner than a thread is started */

/* A row of a batch. Its box is opened in its place. */
struct entry {
    uint64_t id;
    uint64_t generation;
    unsigned char lookup[ROW_LOOKUP_BYTES];
    unsigned char seal[ROW_SEAL_BYTES];
    uint32_t box; /* where it begins in `boxes` */
    uint32_t box_len;
    size_t len; /* nodes: of the record, once opened */
    struct multiset hash;
};

struct batch {
    enum table table;
    unsigned count;
    uint32_t used; /* of `boxes` */
    bool opened;
    unsigned good;            /* entries before the first that is not */
    enum store_err err;       /* what is wrong with that, */
    struct store_fault fault; /* in words */
    struct entry entries[BATCH_ROWS];
    unsigned char boxes[BATCH_BYTES];
};

struct loader {
    const struct store *store; /* whose progress is told */
    uint64_t read;             /* rows */
    uint64_t rows;
    const struct seal_keys *keys;
    struct index *index;
    struct node_record record; /* the first thread's, the row at hand */
    bool failed;               /* at applying */
    pthread_mutex_t lock;
    pthread_cond_t to_open; /* there is a batch, or the end has come */
    pthread_cond_t opened;
    bool ending;
    size_t filled;
    size_t taken;
    size_t applied;
    size_t ring_size;
    struct batch *ring;
    pthread_t helpers[HELPERS_MAX];
    unsigned helper_count;
};

/* ---- Opening, on any thread ---------------------------------------------- */

static struct row row_of(const struct batch *batch, const struct entry *e)
{
    bool node = batch->table == TABLE_NODE;
    return (struct row){.id = e->id,
                        .generation = e->generation,
                        .lookup = node ? e->lookup : NULL,
                        .seal = e->seal,
                        .box = node ? batch->boxes + e->box : NULL,
                        .box_len = e->box_len};
}

static enum store_err open_entry(const struct seal_keys *keys, struct batch *batch, struct entry *e,
                                 struct node_record *scratch)
{
    struct row row = row_of(batch, e);
    unsigned char *box = batch->boxes + e->box;

    e->hash = seal_row_hash(keys, batch->table, &row);
    if (batch->table == TABLE_VERSION)
        return STORE_OK;
    enum store_err err = seal_open(keys, TABLE_NODE, &row, box, &e->len);
    if (!err)
        err = record_decode_node(e->id, box, e->len, scratch);
    return err ? err : node_check_lookup(keys, scratch, &row);
}

static void open_batch(const struct seal_keys *keys, struct batch *batch,
                       struct node_record *scratch)
{
    batch->good = 0;
    batch->err = STORE_OK;
    while (batch->good < batch->count) {
        batch->err = open_entry(keys, batch, &batch->entries[batch->good], scratch);
        if (batch->err) {
            batch->fault = *store_fault();
            break;
        }
        batch->good++;
    }
}

/* Open the next batch, if there is one. Takes and returns with `lock` held. */
static bool open_next(struct loader *l, struct node_record *scratch)
{
    if (l->taken == l->filled)
        return false;
    struct batch *batch = &l->ring[l->taken++ % l->ring_size];
    pthread_mutex_unlock(&l->lock);
    open_batch(l->keys, batch, scratch);
    pthread_mutex_lock(&l->lock);
    batch->opened = true;
    pthread_cond_signal(&l->opened);
    return true;
}

static void *help(void *arg)
{
    struct loader *l = arg;
    struct node_record scratch;

    pthread_mutex_lock(&l->lock);
    while (!l->ending)
        if (!open_next(l, &scratch))
            pthread_cond_wait(&l->to_open, &l->lock);
    pthread_mutex_unlock(&l->lock);
    sodium_memzero(&scratch, sizeof scratch);
    return NULL;
}

/* ---- Reading and applying, on the first ---------------------------------- */

static enum store_err apply_entry(struct loader *l, const struct batch *batch,
                                  const struct entry *e)
{
    if (batch->table == TABLE_VERSION)
        return index_set_version_row(l->index, e->id, &e->hash);
    enum store_err err = record_decode_node(e->id, batch->boxes + e->box, e->len, &l->record);
    return err ? err : index_set_node(l->index, &l->record, &e->hash);
}

static enum store_err apply_batch(struct loader *l, struct batch *batch)
{
    enum store_err err = STORE_OK;

    for (unsigned i = 0; i < batch->good && !err; i++)
        err = apply_entry(l, batch, &batch->entries[i]);
    if (!err && batch->err) {
        err = batch->err;
        fault_restore(&batch->fault);
    }
    sodium_memzero(batch->boxes, batch->used);
    return err;
}

/* Apply the batch that was filled first, and have its place free again. */
static enum store_err apply_first(struct loader *l)
{
    struct batch *batch = &l->ring[l->applied % l->ring_size];

    pthread_mutex_lock(&l->lock);
    while (!batch->opened)
        if (!open_next(l, &l->record))
            pthread_cond_wait(&l->opened, &l->lock);
    pthread_mutex_unlock(&l->lock);
    enum store_err err = apply_batch(l, batch);
    batch->count = batch->used = 0;
    batch->opened = false;
    l->applied++;
    l->failed = err != STORE_OK;
    return err;
}

/* Hand the batch that has been filled over, and have room for the next. */
static enum store_err hand_over(struct loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->filled++;
    pthread_cond_signal(&l->to_open);
    pthread_mutex_unlock(&l->lock);
    return l->filled - l->applied == l->ring_size ? apply_first(l) : STORE_OK;
}

static enum store_err read_row(struct loader *l, enum table table, const struct row *row)
{
    struct batch *batch = &l->ring[l->filled % l->ring_size];
    enum store_err err = STORE_OK;

    if (row->box_len > RECORD_NODE_MAX)
        return fault_row(STORE_ERR_INTEGRITY, "open", table_name(table), row->id,
                         "its record is too large");
    if (batch->count == BATCH_ROWS || row->box_len > BATCH_BYTES - batch->used)
        err = hand_over(l);
    if (err)
        return err;
    batch = &l->ring[l->filled % l->ring_size];
    batch->table = table;
    struct entry *e = &batch->entries[batch->count++];
    e->id = row->id;
    e->generation = row->generation;
    e->box = batch->used;
    e->box_len = (uint32_t)row->box_len;
    batch->used += e->box_len;
    memcpy(e->seal, row->seal, sizeof e->seal);
    if (row->lookup)
        memcpy(e->lookup, row->lookup, sizeof e->lookup);
    if (row->box)
        memcpy(batch->boxes + e->box, row->box, row->box_len);
    progress_tell(l->store, STORE_WORK_LOAD, l->read++, l->rows);
    return STORE_OK;
}

static enum store_err read_node(void *arg, const struct row *row)
{
    return read_row(arg, TABLE_NODE, row);
}

static enum store_err read_version(void *arg, const struct row *row)
{
    return read_row(arg, TABLE_VERSION, row);
}

/* All rows of a table. What was read before a failure comes before it. */
static enum store_err load_table(struct loader *l, struct db *db, enum table table)
{
    enum store_err err = db_each(db, table, table == TABLE_NODE ? read_node : read_version, l);
    struct store_fault kept = *store_fault();
    enum store_err earlier = STORE_OK;

    if (l->failed)
        return err;
    if (l->ring[l->filled % l->ring_size].count > 0)
        earlier = hand_over(l);
    while (l->applied < l->filled && !earlier)
        earlier = apply_first(l);
    if (earlier)
        return earlier;
    fault_restore(&kept);
    return err;
}

/* ---- All of it ----------------------------------------------------------- */

static unsigned processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

/* With as many helpers as there is work for; those that can't be started are done without. */
static enum store_err start(struct loader *l)
{
    unsigned others = l->rows > ALONE_MAX ? processors() - 1 : 0;

    l->ring_size = others ? RING_MAX : 1;
    l->ring = calloc(l->ring_size, sizeof *l->ring);
    if (l->ring == NULL)
        return fault(STORE_ERR_NO_MEMORY, "load", "the store", NULL);
    while (l->helper_count < others && l->helper_count < HELPERS_MAX &&
           pthread_create(&l->helpers[l->helper_count], NULL, help, l) == 0)
        l->helper_count++;
    return STORE_OK;
}

static void end(struct loader *l)
{
    pthread_mutex_lock(&l->lock);
    l->ending = true;
    pthread_cond_broadcast(&l->to_open);
    pthread_mutex_unlock(&l->lock);
    for (unsigned i = 0; i < l->helper_count; i++)
        pthread_join(l->helpers[i], NULL);
    for (size_t i = 0; i < l->ring_size && l->ring; i++) /* what was given up */
        sodium_memzero(l->ring[i].boxes, l->ring[i].used);
    free(l->ring);
    sodium_memzero(&l->record, sizeof l->record);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->to_open);
    pthread_cond_destroy(&l->opened);
}

static enum store_err load_rows(struct loader *l, struct db *db, const struct root_record *root)
{
    uint64_t nodes = root->rows[TABLE_NODE];
    uint64_t versions = root->rows[TABLE_VERSION];
    enum store_err err = index_expect(l->index, nodes, versions);

    l->rows = nodes + versions;
    if (!err)
        err = start(l);
    if (!err)
        err = load_table(l, db, TABLE_NODE);
    if (!err)
        err = load_table(l, db, TABLE_VERSION);
    end(l);
    if (!err)
        err = index_link(l->index);
    progress_over(l->store, STORE_WORK_LOAD);
    return err;
}

static enum store_err load(struct store *store, struct loader *l)
{
    uint64_t rows[TABLE_END];
    struct multiset sum;
    struct slots slots;
    struct root_record root;
    enum store_err err = root_read(store, &root);

    if (!err)
        err = slots_read(store, &slots);
    if (!err)
        err = load_rows(l, store->db, &root);
    if (err)
        return err;
    feed_total(l->index, &slots, &sum, rows);
    err = feed_compare(&root, &sum, rows);
    if (!err)
        err = anchor_check(store, &root);
    if (!err) {
        store->root = root;
        store->slots = slots;
    }
    return err;
}

enum store_err feed_load(struct store *store)
{
    struct loader l = {.store = store,
                       .keys = &store->keys,
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .to_open = PTHREAD_COND_INITIALIZER,
                       .opened = PTHREAD_COND_INITIALIZER};
    enum store_err err = index_new(&l.index);

    if (!err)
        err = load(store, &l);
    if (err) {
        index_free(l.index);
        return err;
    }
    index_free(store->index);
    store->index = l.index;
    store->stale = STORE_OK;
    return STORE_OK;
}

enum store_err store_load(struct store *store)
{
    pthread_mutex_lock(&store->db_lock);
    enum store_err err = anchor_look(store);
    if (!err)
        err = db_begin_read(store->db);
    if (!err)
        err = feed_load(store);
    db_end(store->db);
    pthread_mutex_unlock(&store->db_lock);
    if (!err)
        anchor_loaded(store);
    return err;
}
