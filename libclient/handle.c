/*
 * handle.c: open, dup, close; whose handle it is; whether the broker lives.
 */
#include "handle.h"

#include "shm/weir_error.h"
#include "shm/weir_weave.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define GUARD_BYTES 4096U

/* ---------------------------------------------------------------------------------------------- options */

static int refuse(struct weir_diag *diag, int error, const char *what, ...) WEIR_PRINTF(3, 4);

static int refuse(struct weir_diag *diag, int error, const char *what, ...)
{
    if (diag != NULL) {
        char text[192];
        va_list args;
        va_start(args, what);
        (void)vsnprintf(text, sizeof text, what, args);
        va_end(args);
        diag->error = error;
        (void)snprintf(diag->text, sizeof diag->text, "cannot attach: %s: %s", text,
                       weir_error_hint(error));
    }
    return error;
}

/* A name becomes a part of a path, so it is checked before it goes near one. */
static bool name_ok(const char *name)
{
    size_t bytes = strnlen(name, WEIR_NAME_BYTES);
    if (bytes == 0 || bytes == WEIR_NAME_BYTES || strcmp(name, ".") == 0 ||
        strcmp(name, "..") == 0) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        unsigned char c = (unsigned char)name[i];
        bool letter = (c | 32U) >= 'a' && (c | 32U) <= 'z';
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.') {
            return false;
        }
    }
    return true;
}

/* Take `theirs` over an older or a newer struct: what is missing is default, what is unknown must be zero. */
static int options_copy(struct weir_open_opts *o, const struct weir_open_opts *theirs,
                        struct weir_diag *diag)
{
    *o = (struct weir_open_opts){.struct_bytes = sizeof *o};
    if (theirs == NULL) {
        return WEIR_OK;
    }
    if (theirs->struct_bytes < sizeof theirs->struct_bytes) {
        return refuse(diag, WEIR_E_ARGUMENT, "opts.struct_bytes=%zu is not set",
                      theirs->struct_bytes);
    }
    for (size_t i = sizeof *o; i < theirs->struct_bytes; i++) {
        if (((const char *)theirs)[i] != 0) {
            return refuse(diag, WEIR_E_UNSUPPORTED,
                          "byte %zu of opts is set, this libweir knows %zu bytes", i, sizeof *o);
        }
    }
    memcpy(o, theirs, theirs->struct_bytes < sizeof *o ? theirs->struct_bytes : sizeof *o);
    return WEIR_OK;
}

static int plan_make(struct weir_attach_plan *plan, const char *name,
                     const struct weir_open_opts *theirs, struct weir_diag *diag)
{
    struct weir_open_opts o;
    int rc = options_copy(&o, theirs, diag);
    if (rc != WEIR_OK) {
        return rc;
    }
    *plan = (struct weir_attach_plan){.role = o.role != 0 ? o.role : WEIR_ROLE_TRADER,
                                      .slots = o.slots,
                                      .request_bytes = o.request_bytes,
                                      .response_bytes = o.response_bytes,
                                      .patience_ns = o.patience_ns,
                                      .spin_ns = o.spin_ns != 0 ? o.spin_ns : WEIR_SPIN_DEFAULT_NS,
                                      .name = name != NULL ? name : "default",
                                      .domain = o.domain != NULL ? o.domain : "default",
                                      .runtime_dir = o.runtime_dir};
    const char *client = o.client_name != NULL ? o.client_name : program_invocation_short_name;
    (void)strncpy(plan->client_name, client, sizeof plan->client_name - 1);
    if (!name_ok(plan->name)) {
        return refuse(diag, WEIR_E_NAME, "name=%.64s", plan->name);
    }
    if (!name_ok(plan->domain)) {
        return refuse(diag, WEIR_E_NAME, "domain=%.64s", plan->domain);
    }
    if ((unsigned)plan->role > WEIR_ROLE_TRADER) {
        return refuse(diag, WEIR_E_ARGUMENT, "role=%u does not exist", (unsigned)plan->role);
    }
    return WEIR_OK;
}

/* ---------------------------------------------------------------------------------------------- guard */

static const uint64_t *guard_make(void)
{
    uint64_t *page =
        mmap(NULL, GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        return NULL;
    }
    if (madvise(page, GUARD_BYTES, MADV_WIPEONFORK) != 0) {
        (void)munmap(page, GUARD_BYTES);
        return NULL;
    }
    *page = WEIR_GUARD_ALIVE;
    return page;
}

static void attachment_free(struct weir_attachment *at)
{
    if (at->guard != NULL &&
        weir_load_relaxed_u64(at->guard) == WEIR_GUARD_ALIVE) { /* relaxed: by fork only */
        weir_board_leave(at);
        /* An end, whoever else holds a copy of the connection: a forked child, or whom it was sent to. */
        (void)shutdown(at->control_fd, SHUT_RDWR);
    }
    weir_kept_close(at);
    weir_attachment_close(at);
    if (at->guard != NULL) {
        (void)munmap((void *)(uintptr_t)at->guard, GUARD_BYTES);
    }
    free(at->given);
    free(at);
}

/* ---------------------------------------------------------------------------------------------- handles */

/* The lowest thread index that nobody has, or WEIR_THREADS_MAX. */
static uint32_t thread_claim(struct weir_attachment *at)
{
    uint32_t seen = weir_load_acquire_u32(&at->threads); /* pair:threads A */
    for (;;) { /* bounded: each failed CAS took or gave back one of 8 bits */
        uint32_t thread = (uint32_t)__builtin_ctz(~seen);
        if (thread >= WEIR_THREADS_MAX) {
            return WEIR_THREADS_MAX;
        }
        WEIR_WEAVE("thread:claim");
        if (weir_cas_u32(&at->threads, &seen, seen | 1U << thread)) { /* pair:threads A */
            WEIR_WEAVE("thread:claimed");
            return thread;
        }
    }
}

static void meter_attach(struct weir *w)
{
    const struct weir_client_arena *m = &w->at->mem;
    if (m->meter == NULL) {
        return;
    }
    char *at = m->meter + w->thread * m->meter_stride_bytes;
    struct weir_meter *meter = &w->view.meter;
    meter->head = (void *)at;
    meter->granted = (void *)(at + sizeof *meter->head);
    meter->refused = meter->granted + (size_t)m->meter_route_cnt * WEIR_PRIORITY_CNT;
    meter->units =
        (void *)(at + weir_meter_units_off_bytes(m->meter_route_cnt, m->meter_limit_cnt));
    w->cache_hits =
        (void *)(at + weir_meter_cache_off_bytes(m->meter_route_cnt, m->meter_limit_cnt));
    w->cache_touch =
        (void *)(at + weir_meter_touch_off_bytes(m->meter_route_cnt, m->meter_limit_cnt));
    if (m->audit != NULL) {
        /* of a shape that was found right when it was mapped */
        (void)weir_audit_open(&w->view.audit, m->audit + w->thread * m->audit_stride_bytes,
                              m->audit_stride_bytes);
    }
}

/* A permit waits for the journal. */
static void ceiling_bell(struct weir_permit_view *view)
{
    weir_doorbell(weir_of_view(view), false);
}

static void view_attach(struct weir *w, const struct weir_board *b)
{
    const struct weir_attachment *at = w->at;
    w->view.gate = b->gate;
    w->view.block = b->block;
    w->view.provider = b->provider;
    w->view.foreign = b->foreign;
    w->view.word = at->word;
    w->view.cell = at->cell;
    if (at->arena.base != NULL) {
        const struct weir_shm_header *arena = at->arena.base;
        w->view.owner = weir_owner_make(at->client + 1, weir_client_life(arena)) |
                        (uint64_t)w->thread << WEIR_OWNER_THREAD_SHIFT;
    }
    w->view.self.known = at->role == WEIR_ROLE_TRADER;
    w->view.self.uid = at->uid;
    memcpy(w->view.self.name, at->client_name, sizeof w->view.self.name);
    w->view.pause = at->pause;
    w->view.ceiling_bell = ceiling_bell;
    w->view.long_way = weir_permit_long_way;
    w->view.tables_base = b->tables_base;
    w->view.tables_cnt = b->tables_cnt;
    w->view.tables_stride_bytes = b->tables_stride_bytes;
    w->view.bounds = b->bounds;
    weir_clock_init(&w->view.time, b->clock, at->namespace_offset_ns);
    meter_attach(w);
}

int weir_board_enter(struct weir *w, const struct weir_board *b)
{
    uint32_t serial = w->view.serial; /* of permits that hold units: never one twice */
    memset(&w->view, 0, sizeof w->view);
    w->view.serial = serial;
    w->board = b;
    view_attach(w, b);
    return weir_permit_refresh(&w->view);
}

/* Another handle on `at`, whose count of handles already holds it. */
static int handle_make(struct weir_attachment *at, struct weir **out)
{
    uint32_t thread = thread_claim(at);
    if (thread == WEIR_THREADS_MAX) {
        weir_slots_reap(at);
        thread = thread_claim(at);
    }
    if (thread == WEIR_THREADS_MAX) {
        return WEIR_E_HANDLES;
    }
    struct weir *w = calloc(1, sizeof *w);
    if (w == NULL) {
        weir_and_u32(&at->threads, ~(1U << thread)); /* pair:threads R; weave: no memory: no run */
        return WEIR_E_MEMORY;
    }
    w->guard = at->guard;
    w->role = at->role;
    w->thread = thread;
    w->at = at;
    /* Threads start apart, so that they do not meet at the same free slot. */
    w->slot_hint = thread * (at->mem.slot_cnt / WEIR_THREADS_MAX);
    int rc = weir_board_enter(w, weir_board_newest(at));
    if (rc != WEIR_OK) {
        weir_and_u32(&at->threads, ~(1U << thread)); /* pair:threads R; weave: as above */
        free(w);
        return rc;
    }
    *out = w;
    return WEIR_OK;
}

int weir_open(struct weir **out, const char *name, const struct weir_open_opts *opts,
              struct weir_diag *diag)
{
    struct weir_attach_plan plan;
    if (diag != NULL) {
        *diag = (struct weir_diag){.error = WEIR_OK};
    }
    if (out == NULL) {
        return refuse(diag, WEIR_E_ARGUMENT, "out=NULL");
    }
    *out = NULL;
    int rc = plan_make(&plan, name, opts, diag);
    if (rc != WEIR_OK) {
        return rc;
    }
    struct weir_attachment *at = calloc(1, sizeof *at);
    if (at == NULL) {
        return refuse(diag, WEIR_E_MEMORY, "no memory for the attachment");
    }
    rc = weir_attachment_open(at, &plan, diag);
    if (rc != WEIR_OK) {
        free(at);
        return rc;
    }
    at->handles = 1;
    at->guard = guard_make();
    at->given = calloc(at->mem.slot_cnt + 1U, sizeof *at->given);
    weir_kept_open(at);
    if (at->guard == NULL || at->given == NULL) {
        attachment_free(at);
        return refuse(diag, WEIR_E_MEMORY, "no memory for the attachment");
    }
    rc = handle_make(at, out);
    if (rc != WEIR_OK) {
        attachment_free(at);
        return refuse(diag, rc, "the tables on the board: %s", weir_error_text(rc));
    }
    return WEIR_OK;
}

int weir_dup(struct weir *w, struct weir **out)
{
    if (w == NULL || out == NULL) {
        return WEIR_E_ARGUMENT;
    }
    *out = NULL;
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    (void)weir_fetch_add_u32(&w->at->handles, 1); /* pair:handles A: `w` keeps it above 0 so far */
    WEIR_WEAVE("handle:dup");
    int rc = handle_make(w->at, out);
    if (rc != WEIR_OK) {
        (void)weir_fetch_add_u32(&w->at->handles, UINT32_MAX); /* pair:handles R */
    }
    return rc;
}

/* Give the thread index back, unless a request that bears it is still in flight: its answer must not reach the next owner. */
static void thread_leave(struct weir *w)
{
    struct weir_attachment *at = w->at;
    uint32_t owner = w->thread + 1;
    (void)weir_cas_u32(&at->fd_owner, &owner, 0); /* pair:fd-owner R */
    WEIR_WEAVE("thread:leave");
    if (weir_slots_leave(w)) {
        weir_or_u32(&at->retired, 1U << w->thread); /* pair:retired R */
    } else {
        weir_and_u32(&at->threads, ~(1U << w->thread)); /* pair:threads R */
    }
    WEIR_WEAVE("thread:left");
}

void weir_close(struct weir *w)
{
    if (w == NULL) {
        return;
    }
    struct weir_attachment *at = w->at;
    if (weir_handle_ours(w)) {
        thread_leave(w);
    } /* a child frees its own copies and descriptors, and leaves shared memory alone */
    free(w);
    WEIR_WEAVE("handle:close");
    if (weir_fetch_add_u32(&at->handles, UINT32_MAX) == 1) { /* pair:handles R */
        attachment_free(at);
    }
}

int weir_check(struct weir *w)
{
    if (!weir_handle_ours(w)) {
        return WEIR_E_FORKED;
    }
    for (int looks = 0;; looks++) { /* twice: as it stands, and on the board of a successor */
        bool ended = weir_attachment_ended(w->at);
        /* relaxed: time alone decides */
        uint64_t lease_ns = weir_load_relaxed_u64(&w->view.gate->lease_until_ns);
        bool flows = weir_clock_now(&w->view.time) < lease_ns;
        if (flows && !ended) {
            return WEIR_OK;
        }
        if (looks > 0 || !weir_board_follow(w)) {
            bool monitor = w->role == WEIR_ROLE_MONITOR; /* it opens the successor's board anew */
            return ended || (monitor && weir_board_left(w)) ? WEIR_E_STALE : WEIR_E_LEASE;
        }
    }
}

uint64_t weir_now_ns(struct weir *w)
{
    return weir_clock_now(&w->view.time);
}
