#include "broker/clock_reply.h"

#include "broker/log.h"
#include "shm/weir_atomic.h"

#define AWAY_MAX_NS (UINT64_C(366) * 86400 * WEIR_NS_PER_S)

/* Readers start over when the clock's latch moves, so what is only finer waits so long. */
#define PUBLISH_MIN_NS (100 * WEIR_NS_PER_MS)
#define PUBLISH_MAX_NS (10 * WEIR_NS_PER_S)

uint64_t clock_jitter_ns(const struct provider *p)
{
    return clock_spread_jitter_ns(&p->spread, p->config->clock.max_jitter_ns);
}

uint64_t clock_server_utc_ns(struct worker *w, uint32_t provider)
{
    const struct weir_server_clock *c = &w->provider[provider].published;
    return c->state == WEIR_CLOCK_KNOWN ? worker_now(w) + (uint64_t)c->offset_ns
                                        : weir_clock_realtime_ns();
}

static void ignore(struct worker *w, uint32_t provider)
{
    board_add(&w->region->provider[provider].clock_ignored, 1);
}

static enum reply_unit unit_of(enum weir_config_unit unit)
{
    return (enum reply_unit)((unsigned)unit - WEIR_CONFIG_UNIT_AUTO); /* in the same order */
}

void clock_stamp(struct worker *w, const struct call *c, struct reply_text text,
                 struct clock_evidence *e)
{
    uint32_t provider = w->route[c->route].provider;
    struct reply_instant stamp;
    uint64_t utc_ns = weir_clock_realtime_ns();
    if (reply_instant(text, unit_of(w->provider[provider].config->clock.unit), &stamp) !=
            REPLY_VALUE ||
        stamp.ns > utc_ns + AWAY_MAX_NS || stamp.ns + AWAY_MAX_NS < utc_ns) {
        ignore(w, provider);
        return;
    }
    *e = (struct clock_evidence){.found = true,
                                 .sent_ns = c->sent_ns,
                                 .received_ns = c->first_byte_ns,
                                 .stamp_ns = stamp.ns,
                                 .granularity_ns = stamp.granularity_ns};
}

/* The server's time now, if it is known within a quarter of the window less `slack_ns`: then the nearest edge is the right one. */
static bool near_edge(struct worker *w, uint32_t provider, uint64_t window_ns, uint64_t slack_ns,
                      uint64_t at_ns, uint64_t *server_ns)
{
    const struct weir_server_clock *c = &w->provider[provider].published;
    uint64_t error_ns = weir_server_clock_error_ns(c, worker_now(w));
    *server_ns = at_ns + (uint64_t)c->offset_ns;
    return c->state == WEIR_CLOCK_KNOWN && error_ns < window_ns / 4 &&
           slack_ns < window_ns / 4 - error_ns;
}

void clock_reset(struct worker *w, const struct call *c, const struct weir_config_feedback *f,
                 struct reply_text text, uint64_t window_ns, struct clock_evidence *e)
{
    uint32_t provider = w->route[c->route].provider;
    struct reply_instant value;
    bool left = f->form == WEIR_CONFIG_FORM_LEFT;
    enum reply_verdict v = left ? reply_span(text, unit_of(f->unit), &value)
                                : reply_instant(text, unit_of(f->unit), &value);
    uint64_t unit_ns = v == REPLY_VALUE ? value.granularity_ns : 0;
    uint64_t server_ns;
    uint64_t slack_ns = 2 * unit_ns + (c->first_byte_ns - c->sent_ns);
    if (v != REPLY_VALUE || (left && value.ns > window_ns) ||
        !near_edge(w, provider, window_ns, slack_ns, c->first_byte_ns, &server_ns)) {
        ignore(w, provider);
        return;
    }
    uint64_t end_ns = left ? server_ns + value.ns : value.ns;
    uint64_t edge_ns = (end_ns + window_ns / 2) / window_ns * window_ns;
    uint64_t off_ns = end_ns > edge_ns ? end_ns - edge_ns : edge_ns - end_ns;
    uint64_t away_ns = edge_ns > server_ns ? edge_ns - server_ns : server_ns - edge_ns;
    if ((!left && off_ns > unit_ns) || away_ns > window_ns + window_ns / 4) {
        ignore(
            w,
            provider); /* its windows are not those of the configuration, or it is not this window's end */
        return;
    }
    *e = (struct clock_evidence){.found = true,
                                 .sent_ns = c->sent_ns,
                                 .received_ns = c->first_byte_ns,
                                 .stamp_ns = edge_ns - (left ? value.ns : window_ns) - unit_ns,
                                 .granularity_ns = 2 * unit_ns + (left ? 0 : window_ns)};
}

void clock_drop(struct worker *w, uint32_t provider, uint64_t from_ns, uint64_t to_ns,
                uint64_t window_ns, struct clock_evidence *e)
{
    uint64_t server_ns;
    if (!near_edge(w, provider, window_ns, to_ns - from_ns, to_ns, &server_ns)) {
        return; /* no fault of the answer: it says nothing */
    }
    uint64_t edge_ns = (server_ns + window_ns / 2) / window_ns * window_ns;
    uint64_t error_ns = weir_server_clock_error_ns(&w->provider[provider].published, worker_now(w));
    if (edge_ns > server_ns + error_ns || edge_ns + (to_ns - from_ns) + error_ns < server_ns) {
        return; /* no edge there: the provider took something off its count, as Binance does for fills */
    }
    *e = (struct clock_evidence){
        .found = true, .sent_ns = from_ns, .received_ns = to_ns, .stamp_ns = edge_ns};
}

/* Is it worth the disturbance? A finer error by a tenth is, and a sample whose age has let the error grow. */
static bool is_due(const struct provider *p, const struct weir_server_clock *next, uint64_t now_ns)
{
    uint64_t age_ns = now_ns - p->published_at_ns;
    uint64_t error_ns = weir_server_clock_error_ns(&p->published, now_ns);
    bool finer = next->error_ns + error_ns / 10 < error_ns;
    /* The second sample showed that the first was alone. Some ns are only rounding. */
    bool wider = next->error_ns > error_ns + 16;
    return next->jitter_ns > p->published.jitter_ns || wider ||
           (age_ns >= PUBLISH_MIN_NS && (finer || next->jitter_ns != p->published.jitter_ns)) ||
           age_ns >= PUBLISH_MAX_NS;
}

static void publish(struct worker *w, uint32_t provider, enum server_clock_step step)
{
    struct provider *p = &w->provider[provider];
    uint64_t now_ns = worker_now(w);
    struct weir_server_clock next;
    if (p->clock.known && p->config->clock.source == WEIR_CONFIG_CLOCK_SERVER) {
        next = server_clock_value(&p->clock, now_ns, clock_jitter_ns(p));
    } else {
        next = p->published; /* the host's clock: its own turn sees to the offset */
        next.jitter_ns = clock_jitter_ns(p);
        step = SERVER_CLOCK_REFUSED;
    }
    bool moved = step == SERVER_CLOCK_REALIGNED;
    if (moved || (step != SERVER_CLOCK_REFUSED && is_due(p, &next, now_ns)) ||
        (p->published.state == WEIR_CLOCK_KNOWN && next.jitter_ns > p->published.jitter_ns)) {
        probe_publish(w, provider, &next);
    }
}

void clock_answered(struct worker *w, const struct call *c, const struct clock_evidence *e)
{
    uint32_t provider = w->route[c->route].provider;
    struct provider *p = &w->provider[provider];
    enum server_clock_step step = SERVER_CLOCK_REFUSED;
    clock_spread_add(&p->spread, c->first_byte_ns - c->sent_ns, w->now_ns);
    if (e->found) {
        bool doubted = p->clock.doubted;
        step = server_clock_sample(&p->clock, e->sent_ns, e->received_ns, e->stamp_ns,
                                   e->granularity_ns);
        if (step == SERVER_CLOCK_REFUSED) {
            ignore(w, provider);
        } else if (step == SERVER_CLOCK_DOUBTED) {
            ignore(w, provider);
            p->probe_at_ns = weir_min_u64(p->probe_at_ns, w->now_ns); /* ask again, now */
            if (!doubted) {
                log_warn("clock_sample_doubted", "s:s, s:I", "provider", p->config->name,
                         "stamp_utc_ns", (long long)e->stamp_ns);
            }
            step = SERVER_CLOCK_REFUSED;
        } else {
            board_add(&w->region->provider[provider].clock_samples, 1);
        }
    }
    publish(w, provider, step);
}
