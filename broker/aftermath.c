#include "broker/aftermath.h"

#include "broker/journal.h"
#include "broker/lock.h"
#include "broker/memory.h"
#include "broker/reload.h"
#include "shm/weir_atomic.h"
#include "shm/weir_hold.h"
#include "shm/weir_limit_repair.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* A million cells and all else. */
#define STATE_RECORDS_MAX (1U << 20)
#define STATE_MAGIC       UINT64_C(0x3365746174537257) /* "WrState3" */

/* The file: this header, then `cnt` records. */
struct state_header {
    uint64_t magic;
    uint64_t layout_hash;
    uint64_t checksum; /* XXH3-64 of the records */
    uint64_t broker_id;
    uint32_t cnt;
    uint32_t reserved;
    char boot_id[40];
};

enum record_kind { RECORD_LIMIT = 1, RECORD_PAUSE = 2, RECORD_CLOCK = 3, RECORD_CELLS = 4 };

#define VALUES_PER_RECORD 8U

/* A record of cells: value[0] is the place of the first, then so many of them. */
#define CELLS_PER_RECORD (VALUES_PER_RECORD - 1)

/* One fact, found again by name: a new configuration may have other limits in another order. */
struct state_record {
    uint32_t kind;
    uint32_t scope_value;
    uint32_t value_cnt;   /* of a limit: how many scope values it had, */
    uint32_t value_first; /* ... as its row has it, */
    uint64_t shape;       /* ... what its numbers mean, */
    uint64_t scope_name;  /* ... and whose this word is; 0: it has no name */
    char provider[WEIR_NAME_BYTES];
    char limit[WEIR_NAME_BYTES];
    uint64_t value[VALUES_PER_RECORD];
};

static void path_in(char out[PATH_MAX], const char *dir, const char *name)
{
    (void)snprintf(out, PATH_MAX, "%s/%s", dir, name);
}

#define SIGN_BYTES 16

void aftermath_lock_sign(int fd)
{
    char pid[SIGN_BYTES];
    int n = snprintf(pid, sizeof pid, "%d", (int)getpid());
    (void)!ftruncate(fd, 0);
    (void)!pwrite(fd, pid, (size_t)n, 0);
}

/* The pid in the lock file, as text; empty if there is none. */
static void sign_read(int fd, char pid[SIGN_BYTES])
{
    ssize_t n = pread(fd, pid, SIGN_BYTES - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
}

/* Does the supervisor that signed last still live? (Or somebody with its number by now: then nobody waits for the kernel below.) */
static bool signer_lives(int fd)
{
    char text[SIGN_BYTES];
    sign_read(fd, text);
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    return pid > 1 && (kill(pid, 0) == 0 || errno == EPERM);
}

int aftermath_lock(const char *dir, bool patient, char *text, size_t text_bytes)
{
    char path[PATH_MAX];
    path_in(path, dir, "lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        (void)snprintf(text, text_bytes,
                       "cannot lock: path=%s: %s: make the directory writable for this user", path,
                       strerror(errno));
        return -1;
    }
    bool wait = patient && !signer_lives(fd); /* else it is at work, and the answer is no */
    int locked = (wait ? lock_soon(fd) : lock_now(fd)) == 0 ? 0 : errno;
    if (locked != 0 && locked != EWOULDBLOCK) {
        (void)snprintf(text, text_bytes,
                       "cannot lock: path=%s: %s: choose a runtime directory whose file system has "
                       "locks",
                       path, strerror(locked));
        (void)close(fd);
        return -1;
    }
    if (locked != 0) {
        char pid[SIGN_BYTES];
        sign_read(fd, pid);
        (void)snprintf(text, text_bytes,
                       "cannot start: another broker, or the worker of one, runs here: path=%s "
                       "pid=%s: stop it first, give --takeover to go on in its place, or "
                       "choose another broker.name",
                       path, pid[0] != '\0' ? pid : "?");
        (void)close(fd);
        return -1;
    }
    aftermath_lock_sign(fd);
    return fd;
}

/* ---------------------------------------------------------------------------------------------- facts and records */

static int view_open(const struct region *region, struct weir_permit_view *view)
{
    region_permit_view(region, view, false);
    return weir_permit_refresh(view);
}

/* Call `each` for every fact that a region holds: clocks before limits, whose windows are the exchange's by them. */
static void facts_each(const struct region *region, const struct weir_tables *t,
                       void (*each)(const struct region *, struct state_record *, uint32_t index,
                                    void *arg),
                       void *arg)
{
    for (uint32_t p = 0; p < t->provider_cnt; p++) {
        for (uint32_t kind = RECORD_PAUSE; kind <= RECORD_CLOCK; kind++) {
            struct state_record r = {.kind = kind};
            memcpy(r.provider, t->provider[p].name, sizeof r.provider);
            each(region, &r, p, arg);
        }
        for (uint32_t v = 1; v < weir_hold_cnt(&t->provider[p]); v++) {
            struct state_record r = {.kind = RECORD_PAUSE, .scope_value = v};
            memcpy(r.provider, t->provider[p].name, sizeof r.provider);
            each(region, &r, weir_hold_line(&t->provider[p], p, v), arg);
        }
    }
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &t->limit[i];
        for (uint32_t v = 0; v < l->word_cnt; v++) {
            struct state_record r = {.kind = RECORD_LIMIT, .scope_value = v};
            memcpy(r.provider, t->provider[l->provider].name, sizeof r.provider);
            memcpy(r.limit, l->name, sizeof r.limit);
            each(region, &r, l->word_first + v, arg);
        }
    }
}

struct record_list {
    const struct weir_tables *tables;
    struct state_record *record;
    uint32_t cnt;
    bool guessed
        [WEIR_LIMITS_MAX]; /* it was counted as spent, and the exchange may have counted more: a later raise must not be free */
};

/* The limit that owns a word; NULL if none does. */
static const struct weir_shm_limit_row *limit_of(const struct weir_tables *t, uint32_t word)
{
    for (uint32_t i = 0; i < t->limit_cnt; i++) {
        const struct weir_shm_limit_row *l = &t->limit[i];
        if (word >= l->word_first && word < l->word_first + l->word_cnt) {
            return l;
        }
    }
    return NULL;
}

/*
 * What the numbers in a word mean: the kind and the window's length. A word of another shape says nothing. A bucket's window is in its rate, which its record has:
 * what was owed by another one is owed still.
 */
static uint64_t limit_shape(const struct weir_shm_limit_row *l)
{
    return l->kind == WEIR_LIMIT_TOKEN_BUCKET ? (uint64_t)l->kind : l->shape;
}

/* Whose the word of a scope value is; 0: it has no name. */
static uint64_t scope_name(const struct weir_tables *t, const struct weir_shm_limit_row *l,
                           uint32_t value)
{
    for (uint32_t i = 0; i < t->scope_cnt; i++) {
        const struct weir_shm_scope_row *s = &t->scope[i];
        if (s->provider == l->provider && s->kind == l->scope_kind && s->value == value &&
            s->name[0] != '\0') {
            return XXH3_64bits(s->name, strnlen(s->name, sizeof s->name)) | 1;
        }
    }
    return 0;
}

/* What the cells of a limit mean: how many, of what form, in which span. Of another shape they say nothing. */
static uint64_t cells_shape(const struct weir_shm_limit_row *l)
{
    const uint64_t shape[] = {l->form, l->cell_cnt, l->span_ns, l->part_ns};
    return XXH3_64bits(shape, sizeof shape);
}

/* Stamps and parts are kept; units in flight are not: their owners settle with nobody. They rest from the start on. */
static bool cells_kept(const struct weir_shm_limit_row *l)
{
    return l != NULL && l->kind == WEIR_LIMIT_SLIDING_WINDOW;
}

static void cells_save(const struct region *region, const struct weir_shm_limit_row *l,
                       uint32_t word, struct state_record r, struct record_list *list)
{
    const uint64_t *cell = weir_limit_cells(region->cell, l, word);
    r.kind = RECORD_CELLS;
    for (uint32_t i = 0; i < l->cell_cnt; i += CELLS_PER_RECORD) {
        uint64_t any = 0;
        r.value[0] = i;
        for (uint32_t k = 0; k < CELLS_PER_RECORD; k++) {
            bool there = i + k < l->cell_cnt;
            r.value[1 + k] = there ? weir_load_acquire_u64(&cell[i + k]) : 0; /* pair:limit A */
            any |= r.value[1 + k];
        }
        if (any != 0) {
            list->record[list->cnt++] = r;
        }
    }
}

/* Into both accounts: the private one then holds what traders took too, which errs against the user. */
static void cells_restore(const struct region *region, const struct weir_shm_limit_row *l,
                          uint32_t word, const struct state_record *limit,
                          const struct record_list *list)
{
    uint64_t *cell = weir_limit_cells(region->cell, l, word);
    uint64_t *own = weir_limit_cells(region->own_cell, l, word);
    const uint64_t until_ns = weir_clock_monotonic_ns() + 2 * l->span_ns;
    region->word[word].unsorted_until_ns = until_ns; /* nobody else has this memory yet */
    region->own_word[word].unsorted_until_ns = until_ns;
    region->word[word].owed = limit->value[6]; /* what found no cell */
    region->own_word[word].owed = limit->value[7];
    for (uint32_t i = 0; i < list->cnt; i++) {
        const struct state_record *s = &list->record[i];
        if (s->kind != RECORD_CELLS || s->scope_value != limit->scope_value ||
            memcmp(s->provider, limit->provider, sizeof s->provider) != 0 ||
            memcmp(s->limit, limit->limit, sizeof s->limit) != 0) {
            continue;
        }
        for (uint64_t k = 0; k < CELLS_PER_RECORD && s->value[0] + k < l->cell_cnt; k++) {
            cell[s->value[0] + k] = s->value[1 + k];
            own[s->value[0] + k] = s->value[1 + k];
        }
    }
}

/* On both accounts: what the private one does not know a trader could scribble away. */
static void limit_spend(const struct region *region, const struct weir_tables *t, uint32_t word)
{
    const struct weir_shm_limit_row *l = limit_of(t, word);
    if (l != NULL) {
        struct weir_server_clock clock = memory_clock(region, l->provider);
        const struct weir_limit_place at = {l, &region->word[word],
                                            weir_limit_cells(region->cell, l, word)};
        const struct weir_limit_place own = {l, &region->own_word[word],
                                             weir_limit_cells(region->own_cell, l, word)};
        weir_limit_spend(&at, &clock, weir_clock_monotonic_ns());
        weir_limit_spend(&own, &clock, weir_clock_monotonic_ns());
    }
}

/*
 * A worker that was killed in its drain may have charged the private account and not yet the shared one, or given back the shared one only: nothing was sent by that
 * (pair.h). Its successor would have undone it; who starts from the state finds the private account no higher than the shared one.
 */
static void half_made_drop(const struct weir_shm_limit_row *l, const uint64_t *shared,
                           uint64_t *own)
{
    if (l->kind == WEIR_LIMIT_TOKEN_BUCKET) {
        own[0] = weir_min_u64(own[0], shared[0]);
    }
    for (uint32_t i = 0; l->kind == WEIR_LIMIT_FIXED_WINDOW && i < 2; i++) {
        int32_t diff = weir_window_diff(weir_window_id(own[i]), weir_window_id(shared[i]));
        if (shared[i] == 0 || diff > 0 || (diff == 0 && own[i] > shared[i])) {
            own[i] = shared[i];
        }
    }
}

/*
 * What a start with another row makes of a word leans on these. A TAT is ns by a rate and a burst, and how far ahead of now it may honestly be the row knows; windows were filled by
 * a quota.
 */
static void row_save(const struct weir_shm_limit_row *l, struct state_record *r)
{
    r->value[5] = l->unit_ns;
    r->value[6] = (uint64_t)weir_limit_peak(l) << 32 | l->quota;
    r->value[7] = l->tolerance_ns[WEIR_PRIORITY_CRITICAL];
}

static struct weir_shm_limit_row row_saved(const struct weir_shm_limit_row *l,
                                           const struct state_record *s)
{
    return (struct weir_shm_limit_row){
        .kind = l->kind,
        .shape = l->shape, /* of another one there is no record */
        .quota = (uint32_t)s->value[6],
        .quota_peak = (uint32_t)(s->value[6] >> 32),
        .unit_ns = s->value[5],
        .tolerance_ns = {[WEIR_PRIORITY_CRITICAL] = s->value[7]},
    };
}

/* Both accounts of a bucket, as the row of this start has them. */
static void bucket_restore(const struct region *region, const struct weir_shm_limit_row *l,
                           uint32_t word, const struct state_record *s)
{
    const struct weir_shm_limit_row old = row_saved(l, s);
    const struct weir_limit_place at = {l, &region->word[word], NULL};
    const struct weir_limit_place own = {l, &region->own_word[word], NULL};
    const uint64_t now_ns = weir_clock_monotonic_ns();
    reload_bucket_restored(&at, &own, &old, now_ns);
}

/*
 * A window's words bear what was granted, whatever the quota is now. But while windows are a convention, or calls may fall into more of them than they are charged to, the exchange's window may hold several
 * of ours, which were filled by the larger cap: they count as spent, as after a reload, for the largest quota that there was.
 */
static void windows_restore(const struct region *region, const struct weir_tables *t,
                            const struct weir_shm_limit_row *l, uint32_t word,
                            const struct state_record *s)
{
    const struct weir_shm_limit_row old = row_saved(l, s);
    const struct weir_server_clock clock = memory_clock(region, l->provider);
    if (reload_windows_begin(&old, l, &clock, weir_clock_monotonic_ns())) {
        memory_peak_raise(l, weir_limit_peak(&old));
        limit_spend(region, t, word);
    }
}

static void fact_save(const struct region *region, struct state_record *r, uint32_t index,
                      void *arg)
{
    struct record_list *list = arg;
    uint64_t seq;
    if (r->kind == RECORD_LIMIT) {
        r->value[0] = weir_load_acquire_u64(&region->word[index].word[0]);     /* pair:limit A */
        r->value[1] = weir_load_acquire_u64(&region->word[index].word[1]);     /* pair:limit A */
        r->value[2] = weir_load_acquire_u64(&region->own_word[index].word[0]); /* pair:limit A */
        r->value[3] = weir_load_acquire_u64(&region->own_word[index].word[1]); /* pair:limit A */
        const struct weir_shm_limit_row *l = limit_of(list->tables, index);
        if (l == NULL) {
            return;
        }
        r->shape = limit_shape(l);
        r->value_cnt = l->word_cnt;
        r->value_first = l->value_first;
        r->scope_name = scope_name(list->tables, l, r->scope_value);
        half_made_drop(l, &r->value[0], &r->value[2]);
        row_save(l, r);
        if (cells_kept(l)) {
            bool stamps = l->form == WEIR_FORM_CELLS;
            r->value[5] = cells_shape(l);
            r->value[6] =
                stamps ? weir_load_acquire_u64(&region->word[index].owed) : 0; /* pair:limit A */
            r->value[7] = stamps ? weir_load_acquire_u64(&region->own_word[index].owed)
                                 : 0; /* pair:limit A */
            cells_save(region, l, index, *r, list);
        }
    } else if (r->kind == RECORD_PAUSE) {
        r->value[0] = weir_load_acquire_u64(&region->pause[index].word);     /* pair:pause A */
        r->value[1] = weir_load_acquire_u64(&region->provider[index].pause); /* pair:pause A */
        const struct weir_shm_backoff *b = &region->backoff[index];
        r->value[2] = b->until_ns;
        r->value[3] = b->last_ns;
        r->value[4] = b->operator_until_ns;
        r->value[5] = (uint64_t)b->cause << 32 | b->level;
        if (r->scope_value == 0) { /* of the provider itself */
            r->value[6] = list->tables->provider[index].jitter_ns;
            r->value[7] = weir_clock_monotonic_ns();
        }
    } else if (!weir_latch_read(&region->provider[index].clock_seq, region->provider[index].clock,
                                r->value, WEIR_SERVER_CLOCK_WORDS, &seq)) {
        return;
    }
    list->record[list->cnt++] = *r;
}

/*
 * What one record says of a line of pauses, which may be another's by now: the configuration may hold other values apart, in another order. So a pause of any of a
 * provider's lines holds on all of them, as long as the longest; only the level of the backoff is each one's own.
 */
static void pause_restore(const struct region *region, uint32_t line, const struct state_record *s,
                          bool same)
{
    struct weir_shm_backoff *b = &region->backoff[line];
    uint64_t latest_ns = weir_clock_monotonic_ns() + WEIR_PAUSE_TRADER_MAX_NS;
    uint64_t until_ns = weir_min_u64(weir_pause_until_ns(s->value[0]), latest_ns);
    if (same || until_ns > weir_pause_until_ns(region->pause[line].word)) {
        /* nobody else has this memory yet */
        region->pause[line].word =
            weir_pause_make(weir_max_u64(until_ns, weir_pause_until_ns(region->pause[line].word)),
                            weir_pause_cause(s->value[0]), weir_pause_generation(s->value[0]));
        b->traders_generation = weir_pause_generation(s->value[0]);
    }
    if (weir_pause_until_ns(s->value[1]) >= weir_pause_until_ns(region->provider[line].pause)) {
        region->provider[line].pause = s->value[1];
    }
    if (s->value[2] >= b->until_ns) {
        b->until_ns = s->value[2];
        b->cause = (uint32_t)(s->value[5] >> 32);
    }
    b->operator_until_ns = weir_max_u64(b->operator_until_ns, s->value[4]);
    if (same) {
        b->last_ns = s->value[3];
        b->level = (uint32_t)s->value[5];
    }
}

static bool same_name(const struct state_record *a, const struct state_record *b)
{
    return a->kind == b->kind && memcmp(a->provider, b->provider, sizeof a->provider) == 0 &&
           memcmp(a->limit, b->limit, sizeof a->limit) == 0;
}

/* Does the list of a limit's scope values still have this name? */
static bool name_stays(const struct weir_tables *t, const struct weir_shm_limit_row *l,
                       uint64_t name)
{
    for (uint32_t v = 0; v < l->word_cnt; v++) {
        if (scope_name(t, l, v) == name) {
            return true;
        }
    }
    return false;
}

/*
 * What was used of a limit word: the record of the same window, and of the same scope value by its name, wherever it stood in the list. The only value of a list may have another name, or none: it
 * is the only one still. NULL: there is no record. `*known`: the limit was there, and what was used of it may have been this value's, by another window, or under another name: one that is gone, or
 * none. An address that is in a pool now was everybody's before.
 */
static const struct state_record *limit_record(const struct record_list *list,
                                               const struct state_record *r, uint32_t index,
                                               bool *known)
{
    const struct weir_shm_limit_row *l = limit_of(list->tables, index);
    const uint64_t name = l != NULL ? scope_name(list->tables, l, r->scope_value) : 0;
    *known = false;
    for (uint32_t i = 0; l != NULL && i < list->cnt; i++) {
        const struct state_record *s = &list->record[i];
        if (!same_name(s, r)) {
            continue;
        }
        bool only = s->value_cnt == 1 && l->word_cnt == 1;
        /* both without a name, or the one value of before, when it had none */
        bool first = s->scope_name == 0 && r->scope_value == 0 && l->value_first == s->value_first;
        bool same = only || first || (name != 0 && s->scope_name == name);
        if (same && s->shape == limit_shape(l) &&
            (!cells_kept(l) || s->value[5] == cells_shape(l))) {
            return s;
        }
        *known =
            *known || same || l->value_first != 0 || !name_stays(list->tables, l, s->scope_name);
    }
    return NULL;
}

static void limit_restore(const struct region *region, const struct state_record *r, uint32_t index,
                          struct record_list *list)
{
    bool known;
    const struct state_record *s = limit_record(list, r, index, &known);
    const struct weir_shm_limit_row *l = limit_of(list->tables, index);
    /* A trader may have had units in flight; the configuration gave the limit another window, or another value. */
    if (l == NULL || (s != NULL && l->kind == WEIR_LIMIT_CONCURRENCY) || (s == NULL && known)) {
        limit_spend(region, list->tables, index);
        if (l != NULL) {
            list->guessed[l - list->tables->limit] = true;
        }
    } else if (s != NULL) {
        region->word[index].word[0] = s->value[0]; /* nobody else has this memory yet */
        region->word[index].word[1] = s->value[1];
        region->own_word[index].word[0] = s->value[2];
        region->own_word[index].word[1] = s->value[3];
        memory_peak(l, &s->value[0]);
        if (l->kind == WEIR_LIMIT_TOKEN_BUCKET) {
            bucket_restore(region, l, index, s);
        } else if (l->kind == WEIR_LIMIT_FIXED_WINDOW) {
            windows_restore(region, list->tables, l, index, s);
        }
        if (cells_kept(l)) {
            cells_restore(region, l, index, s, list);
        }
    }
}

/* From its first permit on a call may be as late as this configuration allows, whatever the clock was measured by. */
static void clock_restore(const struct region *region, const struct weir_tables *t,
                          uint32_t provider, const uint64_t value[WEIR_SERVER_CLOCK_WORDS])
{
    struct weir_server_clock clock;
    uint64_t word[WEIR_SERVER_CLOCK_WORDS];
    memcpy(&clock, value, sizeof clock);
    clock.jitter_ns = weir_max_u64(clock.jitter_ns, t->provider[provider].jitter_ns);
    memcpy(word, &clock, sizeof word);
    weir_latch_write(&region->provider[provider].clock_seq, region->provider[provider].clock, word,
                     WEIR_SERVER_CLOCK_WORDS);
}

static void fact_restore(const struct region *region, struct state_record *r, uint32_t index,
                         void *arg)
{
    struct record_list *list = arg;
    if (r->kind == RECORD_LIMIT) {
        limit_restore(region, r, index, list);
        return;
    }
    for (uint32_t i = 0; i < list->cnt; i++) {
        const struct state_record *s = &list->record[i];
        if (!same_name(s, r)) {
            continue;
        }
        if (r->kind == RECORD_PAUSE) {
            pause_restore(region, index, s, s->scope_value == r->scope_value);
        } else {
            clock_restore(region, list->tables, index, s->value);
        }
    }
}

static void fact_spend(const struct region *region, struct state_record *r, uint32_t index,
                       void *arg)
{
    const struct weir_tables *t = arg;
    if (r->kind != RECORD_LIMIT) {
        return;
    }
    limit_spend(region, t, index);
}

/* What the journal does not keep: what counts for 10 min and less, units in flight. */
static void fact_spend_short(const struct region *region, struct state_record *r, uint32_t index,
                             void *arg)
{
    const struct weir_tables *t = arg;
    const struct weir_shm_limit_row *row = r->kind == RECORD_LIMIT ? limit_of(t, index) : NULL;
    if (row != NULL && row->ceiling_step == 0) {
        limit_spend(region, t, index);
    }
}

/* ---------------------------------------------------------------------------------------------- the files */

static bool write_all(int fd, const void *at, size_t bytes)
{
    const char *p = at;
    while (bytes > 0) {
        ssize_t n = write(fd, p, bytes);
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return false;
        }
        p += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

static int state_write(const char *dir, const struct record_list *list, uint64_t broker_id)
{
    char path[PATH_MAX];
    char temp[PATH_MAX];
    path_in(path, dir, "state");
    path_in(temp, dir, "state.new");
    struct state_header h = {.magic = STATE_MAGIC,
                             .layout_hash = weir_layout_hash(),
                             .broker_id = broker_id,
                             .checksum =
                                 XXH3_64bits(list->record, list->cnt * sizeof *list->record),
                             .cnt = list->cnt};
    journal_boot_id(h.boot_id);
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -1;
    }
    bool ok = write_all(fd, &h, sizeof h) &&
              write_all(fd, list->record, list->cnt * sizeof *list->record) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    return ok && rename(temp, path) == 0 ? 0 : -1;
}

/* Read the state. Returns a list to be freed; cnt 0 if there is none that fits. */
static struct record_list state_read(const char *dir, uint64_t *broker_id)
{
    struct record_list list = {0};
    char path[PATH_MAX];
    char boot_id[40];
    struct state_header h;
    path_in(path, dir, "state");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return list;
    }
    journal_boot_id(boot_id);
    if (read(fd, &h, sizeof h) == (ssize_t)sizeof h && h.magic == STATE_MAGIC &&
        h.layout_hash == weir_layout_hash() && memcmp(h.boot_id, boot_id, sizeof boot_id) == 0 &&
        h.cnt <= STATE_RECORDS_MAX) {
        size_t bytes = h.cnt * sizeof *list.record;
        list.record = malloc(bytes + 1);
        if (list.record != NULL && read(fd, list.record, bytes) == (ssize_t)bytes &&
            XXH3_64bits(list.record, bytes) == h.checksum) {
            list.cnt = h.cnt;
            *broker_id = h.broker_id;
        }
    }
    (void)close(fd);
    return list;
}

/* What the files say, before anything is decided. */
struct found {
    bool unclean;                  /* `running` is there */
    bool had_state;                /* so was a state, sound or not */
    uint64_t broker_id;            /* of whoever died here last in this boot; 0: unknown */
    struct record_list state;      /* of a clean stop in this boot; cnt 0: none */
    uint64_t state_broker_id;      /* whose stop that was */
    struct weir_journal_view view; /* header NULL: no sound journal */
    enum weir_journal_verdict verdict;
};

/* `running` of this boot bears the id of its broker, which its journal bears too. */
static bool running_read(const char *dir, const char *boot_id, uint64_t *broker_id)
{
    char path[PATH_MAX];
    char text[128] = "";
    char boot[64] = "";
    unsigned long long id = 0;
    path_in(path, dir, "running");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    *broker_id = 0;
    if (fd < 0) {
        return errno != ENOENT;
    }
    (void)!read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (sscanf(text, "%llx %63s", &id, boot) == 2 && strcmp(boot, boot_id) == 0) {
        *broker_id = id;
    }
    return true;
}

static int running_write(const char *dir, const struct region *region, char *text,
                         size_t text_bytes)
{
    char path[PATH_MAX];
    char line[128];
    path_in(path, dir, "running");
    int n = snprintf(line, sizeof line, "%llx %s\n", (unsigned long long)region->broker_id,
                     region->journal->boot_id);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write_all(fd, line, (size_t)n);
    if (!ok) {
        (void)snprintf(text, text_bytes,
                       "cannot write: path=%.300s: %s: make the directory writable for this user",
                       path, strerror(errno));
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok ? 0 : -1;
}

/*
 * Whoever still holds the permits segment of the broker before may use it until its lease ends. After a reboot nobody does; where a journal says nothing,
 * it may have been just now.
 */
static void lease_wait(const struct found *f, const struct journal *j)
{
    struct timespec lease = {.tv_sec = (time_t)(LEASE_NS / WEIR_NS_PER_S)};
    const struct weir_journal_header *h = f->view.header;
    bool died = h != NULL && strcmp(h->boot_id, j->boot_id) == 0 &&
                (h->flags & WEIR_JOURNAL_CLEAN) == 0 && f->state.cnt == 0;
    bool unknown = f->verdict == WEIR_JOURNAL_TORN || f->verdict == WEIR_JOURNAL_UNREADABLE ||
                   f->verdict == WEIR_JOURNAL_NEWER || f->verdict == WEIR_JOURNAL_OLDER ||
                   f->verdict == WEIR_JOURNAL_STALE;
    if (f->unclean || died || unknown) {
        while (nanosleep(&lease, &lease) != 0 && errno == EINTR) { /* all of it */
        }
    }
}

/*
 * With a lower max_jitter than at the stop: what was permitted then may still be on its way, for longer than what counts from now on allows for. A reload refuses that; here it is waited
 * out.
 */
static void jitter_wait(const struct record_list *list)
{
    const struct weir_tables *t = list->tables;
    uint64_t until_ns = 0;
    for (uint32_t i = 0; i < list->cnt; i++) {
        const struct state_record *s = &list->record[i];
        for (uint32_t p = 0; p < t->provider_cnt; p++) {
            if (s->kind == RECORD_PAUSE && s->scope_value == 0 &&
                memcmp(s->provider, t->provider[p].name, sizeof s->provider) == 0 &&
                t->provider[p].jitter_ns < s->value[6]) {
                until_ns = weir_max_u64(until_ns, s->value[7] + s->value[6]);
            }
        }
    }
    for (uint64_t now_ns = weir_clock_monotonic_ns(); now_ns < until_ns;
         now_ns = weir_clock_monotonic_ns()) {
        struct timespec left = {.tv_sec = (time_t)((until_ns - now_ns) / WEIR_NS_PER_S),
                                .tv_nsec = (long)((until_ns - now_ns) % WEIR_NS_PER_S)};
        (void)nanosleep(&left, NULL);
    }
}

/* UTC first: what passes until weir time is read makes what is remembered younger. */
static struct memory_when when_now(void)
{
    struct memory_when when;
    when.utc_ns = journal_utc_ns(&when.utc_error_ns);
    when.now_ns = weir_clock_monotonic_ns();
    return when;
}

static void restore(struct region *region, const struct weir_tables *t, struct found *f, bool fresh,
                    enum aftermath *found)
{
    const struct journal *j = region->journal;
    f->state.tables = t;
    *found = AFTERMATH_FRESH;
    if (!f->unclean && f->state.cnt > 0) {
        jitter_wait(&f->state);
        facts_each(region, t, fact_restore, &f->state);
        if (f->view.header != NULL) {
            const struct memory_when when = when_now();
            memory_restore(region, t, &f->view, j->boot_id, true, &when);
        }
        for (uint32_t i = 0; i < t->limit_cnt; i++) {
            region->guessed_ns[i] =
                f->state.guessed[i] ? weir_clock_monotonic_ns() : region->guessed_ns[i];
        }
        memory_sign(region);
        *found = AFTERMATH_RESTORED;
        return;
    }
    lease_wait(f, j);
    uint64_t now_ns = weir_clock_monotonic_ns();
    if (f->view.header != NULL) {
        const struct memory_when when = when_now();
        memory_restore(region, t, &f->view, j->boot_id, false, &when);
        facts_each(region, t, fact_spend_short, (void *)(uintptr_t)t);
        memory_sign(region);
        reload_guessed(region, false, now_ns);
        *found = AFTERMATH_JOURNAL;
    } else if (f->unclean || f->had_state || (f->verdict != WEIR_JOURNAL_OFF && !fresh)) {
        facts_each(region, t, fact_spend, (void *)(uintptr_t)t);
        reload_guessed(region, false, now_ns);
        reload_guessed(region, true, now_ns);
        *found = AFTERMATH_SPENT;
    }
}

/*
 * A state and a journal of two brokers: one of them ran without the other's memory (another runtime directory, or no journal), and nobody knows which
 * came last. Neither is believed.
 */
static void pair_check(struct found *f)
{
    if (f->state.cnt > 0 && f->verdict == WEIR_JOURNAL_SOUND &&
        f->view.header->broker_id != f->state_broker_id) {
        f->verdict = WEIR_JOURNAL_STALE;
        f->state.cnt = 0;
    }
}

/* The journal that was found goes on the board, and its numbers go on. */
static void journal_go_on(struct region *region, struct found *f)
{
    struct journal *j = region->journal;
    const struct weir_journal_header *h = f->view.header; /* sound, whoever's it is */
    region->journal_board->found = f->verdict;
    j->generation = 1;
    if (h != NULL) {
        region->own->journal_sequence = h->sequence;
        j->generation = h->generation + 1;
        region->journal_board->found_clean = (h->flags & WEIR_JOURNAL_CLEAN) != 0;
    }
    if (f->verdict != WEIR_JOURNAL_SOUND) {
        f->view.header = NULL;
    }
}

int aftermath_enter(const char *dir, struct region *region, bool fresh, enum aftermath *found,
                    char *text, size_t text_bytes)
{
    static struct weir_permit_view view;
    struct journal *j = region->journal;
    char state[PATH_MAX];
    struct found f = {0};
    path_in(state, dir, "state");
    if (view_open(region, &view) != WEIR_OK) {
        (void)snprintf(text, text_bytes, "cannot read back the tables just written: report this");
        return -1;
    }
    f.unclean = running_read(dir, j->boot_id, &f.broker_id);
    f.verdict = journal_read(j, f.broker_id, &f.view);
    if (fresh && (f.unclean || access(state, F_OK) == 0 ||
                  (f.verdict != WEIR_JOURNAL_ABSENT && f.verdict != WEIR_JOURNAL_OFF))) {
        (void)snprintf(text, text_bytes,
                       "cannot start with --fresh: a broker has run here before: "
                       "journal=%.300s/journal runtime=%.300s: "
                       "start without --fresh",
                       j->dir, dir);
        journal_forget(j);
        return -1;
    }
    f.had_state = access(state, F_OK) == 0;
    f.state = state_read(dir, &f.state_broker_id);
    pair_check(&f);
    journal_go_on(region, &f);
    restore(region, &view.tables, &f, fresh, found);
    free(f.state.record);
    memory_exact(region, &view.tables);
    journal_forget(j);
    if (journal_create(j, region, f.verdict, text, text_bytes) != 0) {
        return -1;
    }
    int rc = running_write(dir, region, text, text_bytes);
    if (rc ==
        0) { /* Only now, so that it is used once: who dies before this has granted nothing, and the next start needs it. */
        (void)unlink(state);
    }
    return rc;
}

int aftermath_leave(const char *dir, struct region *region)
{
    static struct weir_permit_view view;
    char running[PATH_MAX];
    if (view_open(region, &view) != WEIR_OK) {
        return -1;
    }
    struct record_list list = {
        .tables = &view.tables,
        .record = calloc(2UL * region->word_cnt + region->cell_cnt / CELLS_PER_RECORD +
                             (unsigned long)region->provider_cnt + region->hold_cnt + 1,
                         sizeof *list.record)};
    if (list.record == NULL) {
        return -1;
    }
    facts_each(region, &view.tables, fact_save, &list);
    int rc = state_write(dir, &list, region->broker_id);
    free(list.record);
    if (region->journal->fd >= 0) {
        memory_exact(region, &view.tables);
        rc = journal_write(region->journal, region, WEIR_JOURNAL_CLEAN) == 0 ? rc : -1;
    }
    path_in(running, dir, "running");
    return rc == 0 ? unlink(running) : -1;
}
