/*
 * dst_reload.c: SIGHUP. The steps are broker/supervisor_reload.c's own; here is what it asks of the supervisor, and what the exchange has meanwhile.
 *
 * The operator does as docs/architecture.md says: what rises rises at the exchange before the switch, what falls falls there when weird has said `reloaded`. So between
 * both an arrival is judged by the larger number, and by the new one from then on. A file that is refused is put back.
 *
 * A start may find another file than the stop before it left, with all that a reload would refuse: then what rises rises at the exchange before the first permit, and what falls falls J after it.
 */
#include "dst_broker.h"

static struct {
    struct dst_file file;   /* as it lies on disk; config NULL: as it is in force */
    struct dst_file loaded; /* as it was read for the reload that is under way */
    struct dst_file
        before; /* what was in force before the last change; config NULL: it is no file */
    bool changed;
    struct dst_file begun; /* as a start reads it that has not begun yet */
    bool switching;
} r;

/* ---------------------------------------------------------------------------------------------- what it asks of its supervisor */

static void look_at_worker(struct supervisor *s)
{
    s->stopping = b.stopping;
    s->worker_control = dst_worker_process.live ? DST_FD_WORKER : -1;
    s->worker_pid = dst_worker_process.live ? 3000 : 0; /* as dst_handover.c has it */
}

void supervisor_tell(struct supervisor *s)
{
    const struct control_message quiesce = {.kind = CONTROL_QUIESCE};
    if (reload_is_on(s) && !s->quiesce_told && s->worker_control >= 0) {
        s->quiesce_told = control_send(s->worker_control, &quiesce, sizeof quiesce, NULL, 0) == 0;
    }
}

void supervisor_worker_start(struct supervisor *s)
{
    (void)s;
    dst_worker_start();
}

static struct weir_config *load(void *arg, void (*forget)(void *), void *forget_arg, char *text,
                                size_t text_bytes)
{
    (void)arg;
    (void)forget;
    (void)forget_arg;
    (void)text;
    (void)text_bytes;
    r.loaded = r.file;
    return r.file.config != NULL ? r.file.config : dst_config;
}

static void done(void *arg, struct weir_config *config, bool taken)
{
    (void)arg;
    dst_trace("reload done", taken, 0, 0);
    (void)dst_fault(taken ? DST_RELOADED : DST_RELOAD_REFUSED, 1);
    if (r.file.config == config) {
        r.file.config = NULL;
    }
}

static const struct supervisor_reload reloading = {.load = load, .done = done};

/* ---------------------------------------------------------------------------------------------- the steps */

static void again_event(void *arg, uint64_t x, uint64_t y)
{
    (void)arg;
    (void)x;
    (void)y;
    if (dst_fault(DST_RELOAD, 1)) {
        dst_broker_reload();
    }
}

/* The exchange has what the file says, and by it whoever starts from here on goes. */
static void exchange_changes(struct dst_file *file)
{
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        memcpy(r.before.limit[p], dst_world.provider[p].limit, sizeof r.before.limit[p]);
    }
    r.changed = true;
    for (unsigned p = 0; file->config != NULL && p < dst_world.provider_cnt; p++) {
        for (unsigned i = 0; i < dst_world.provider[p].limit_cnt; i++) {
            dst_count_change(p, i, &file->limit[p][i]);
        }
    }
    dst_config = file->config != NULL ? file->config : dst_config;
    file->config = NULL;
}

void dst_reload_edit(void)
{
    if (r.begun.config == NULL && b.ran && dst_fault(DST_STARTED_ANEW, dst_world.mix.anew)) {
        dst_world_redraw(&r.begun, true);
    }
}

struct weir_config *dst_reload_read(void)
{
    return r.begun.config != NULL ? r.begun.config : dst_config;
}

void dst_reload_begun(bool known)
{
    uint64_t jitter_ns = 0;
    if (r.begun.config == NULL) {
        return;
    }
    for (unsigned p = 0; p < dst_world.provider_cnt; p++) {
        struct dst_provider *x = &dst_world.provider[p];
        jitter_ns = x->jitter_ns > jitter_ns ? x->jitter_ns : jitter_ns;
        x->jitter_ns = r.begun.jitter_ns[p];
        jitter_ns = x->jitter_ns > jitter_ns ? x->jitter_ns : jitter_ns;
    }
    exchange_changes(&r.begun);
    /* Who knows nothing of a larger burst leaves it to the counter, which holds no more than its own. */
    for (unsigned p = 0; !known && p < dst_world.provider_cnt; p++) {
        for (unsigned i = 0; i < dst_world.provider[p].limit_cnt; i++) {
            dst_count_cut(p, i);
        }
    }
    dst_count_changed(dst_now + jitter_ns);
    if (dst_chance(0.4)) {
        dst_at(dst_now + dst_log_uniform(DST_MS, 2 * DST_S), again_event, NULL, 0, 0);
    }
}

/* The worker has left: the tables are changed. */
static void change(struct supervisor *s)
{
    uint64_t most = 10 * DST_MS + (dst_world.mix.stall > 0 ? 200 * DST_MS : 0);
    uint64_t began = dst_now;
    exchange_changes(&r.loaded);
    r.switching = true;
    reload_end(s);
    r.switching = false;
    uint64_t now = dst_monotonic();
    dst_count_changed(dst_now +
                      (s->reload.settled_at_ns > now ? s->reload.settled_at_ns - now : 0));
    dst_checks[DST_CHECK_HANDOVER]++;
    if (dst_chance(0.4)) { /* once more, while what was before still counts */
        dst_at(dst_now + dst_log_uniform(DST_MS, 3 * DST_S), again_event, NULL, 0, 0);
    }
    if (dst_now - began > most) {
        dst_broken("reload", "permits stood still for %.3f ms", (double)(dst_now - began) / 1e6);
    }
}

void dst_reload_turn(void)
{
    struct supervisor *s = &my_side->s;
    look_at_worker(s);
    if (b.hangup && !b.stopping) {
        b.hangup = false;
        s->worker_control =
            DST_FD_WORKER; /* also where none lives: the switch itself is `change` */
        reload_ask(s);
    }
    look_at_worker(s);
    if (reload_is_on(s) && s->worker_control < 0 && !b.stopping) {
        change(s);
    }
    look_at_worker(s);
    reload_beat(s, weir_clock_monotonic_ns());
}

void dst_reload_lost(void)
{
    look_at_worker(&my_side->s);
    reload_lost(&my_side->s);
}

void dst_reload_adopt(struct side *side)
{
    side->s.config = dst_config;
    side->s.reloading = &reloading;
    side->s.worker_control = -1;
    dst_count_changed(
        dst_now); /* by the lease that was waited out nothing of the one before is on its way */
}

/* What it had begun is not known any more. */
void dst_reload_died(void)
{
    r.switching = false;
    r.file.config = NULL;
    b.hangup = false;
}

void dst_broker_reload(void)
{
    if (dst_broker_up() && !b.stopping && !r.switching) {
        if (r.changed && dst_chance(0.4)) { /* it was a mistake */
            r.file = r.before;
            dst_world_undo(&r.file);
        } else {
            dst_world_redraw(&r.file, false);
        }
        b.hangup = true;
        dst_wake_process(&dst_supervisor_process);
        dst_trace("hangup", 0, 0, 0);
    }
}

bool dst_reload_is_near(void)
{
    return b.hangup || reload_is_on(&my_side->s);
}

void dst_reload_reset(void)
{
    memset(&r, 0, sizeof r);
}
