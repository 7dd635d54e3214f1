#include "broker/health.h"

#include "broker/breaker.h"

#include <math.h>

#define LATE_TIMES     4.0
#define LATE_MIN_NS    (50 * WEIR_NS_PER_MS)
#define LATE_BLIND_NS  WEIR_NS_PER_S
#define QUIET_TIMES    1.5
#define QUIET_MIN_NS   (10 * WEIR_NS_PER_MS)
#define CONNECT_MIN_NS (100 * WEIR_NS_PER_MS)

static double left_of(uint64_t age_ns, uint64_t over_ns)
{
    return exp(-(double)age_ns / (double)over_ns);
}

static uint64_t age_of(uint64_t at_ns, uint64_t now_ns)
{
    return now_ns > at_ns ? now_ns - at_ns : 0;
}

static uint32_t ppm_of(double part)
{
    double bounded = part < 0.0 ? 0.0 : part > 1.0 ? 1.0 : part;
    return (uint32_t)(bounded * 1e6 + 0.5);
}

void health_told(struct health *h, enum weir_call_class class, uint64_t now_ns)
{
    bool failed = breaker_is_failure(class);
    bool stopped = class == WEIR_CLASS_THROTTLE || class == WEIR_CLASS_BAN;
    if (class == WEIR_CLASS_NONE) {
        return;
    }
    double stops_left = left_of(age_of(h->stops_at_ns, now_ns), HEALTH_THROTTLE_NS);
    h->stops = h->stops * stops_left + (stopped ? 1.0 : 0.0);
    h->all = h->all * stops_left + 1.0;
    h->stops_at_ns = now_ns;
    if (stopped) {
        h->failed_row = 0; /* it answers */
        return;
    }
    double left = left_of(age_of(h->ends_at_ns, now_ns), HEALTH_SUCCESS_NS);
    h->answers = h->answers * left + (failed ? 0.0 : 1.0);
    h->failures = h->failures * left + (failed ? 1.0 : 0.0);
    h->ends_at_ns = now_ns;
    h->failed_row = failed ? h->failed_row + (h->failed_row < UINT32_MAX ? 1U : 0U) : 0;
}

/* Peak EWMA. */
static void peak_told(double *peak_ns, uint64_t *at_ns, uint64_t took_ns, uint64_t now_ns)
{
    double took = (double)weir_max_u64(took_ns, 1);
    double left = left_of(age_of(*at_ns, now_ns), HEALTH_LATENCY_NS);
    *peak_ns = took >= *peak_ns ? took : *peak_ns * left + took * (1.0 - left);
    *at_ns = now_ns;
}

void health_latency(struct health *h, uint64_t took_ns, uint64_t now_ns)
{
    double took = (double)weir_max_u64(took_ns, 1);
    peak_told(&h->latency_ns, &h->latency_at_ns, took_ns, now_ns);
    if (h->usual_ns <= 0.0) {
        h->usual_ns = took;
        h->spread_ns = took / 2;
        return;
    }
    h->spread_ns += (fabs(took - h->usual_ns) - h->spread_ns) / 4; /* RFC 6298, 2.3: this first */
    h->usual_ns += (took - h->usual_ns) / 8;
}

void health_connected(struct health *h, uint64_t took_ns, uint64_t now_ns)
{
    peak_told(&h->connect_ns, &h->connect_at_ns, took_ns, now_ns);
}

static double success_of(const struct health *h, uint64_t now_ns)
{
    double left = left_of(age_of(h->ends_at_ns, now_ns), HEALTH_SUCCESS_NS);
    return (h->answers * left + 1.0) / ((h->answers + h->failures) * left + 1.0);
}

static double ends_of(const struct health *h, uint64_t now_ns)
{
    return (h->answers + h->failures) * left_of(age_of(h->ends_at_ns, now_ns), HEALTH_SUCCESS_NS);
}

static double latency_part(const struct health *h, const struct health_peers *peers)
{
    if (h->latency_ns <= 0.0 || peers->best_latency_ns <= 0.0) {
        return 1.0;
    }
    double part = (peers->best_latency_ns + (double)HEALTH_SLACK_NS) / h->latency_ns;
    return 0.5 + 0.5 * (part < 1.0 ? part : 1.0);
}

static double throttle_part(const struct health *h, uint64_t now_ns)
{
    /* One call that never was, as in S: the first stop of a quiet endpoint is not all that is known of it. */
    double left = left_of(age_of(h->stops_at_ns, now_ns), HEALTH_THROTTLE_NS);
    return 1.0 - h->stops * left / (h->all * left + 1.0);
}

static double fresh_part(const struct health *h, const struct health_peers *peers)
{
    if (peers->behind_max == 0 || h->height == 0 || peers->best_height <= h->height) {
        return 1.0;
    }
    double behind = (double)(peers->best_height - h->height) / (double)peers->behind_max;
    return 1.0 - (behind < 1.0 ? behind : 1.0) / 2.0;
}

struct health_parts health_score(const struct health *h, const struct health_peers *peers,
                                 uint64_t now_ns)
{
    double s = success_of(h, now_ns);
    double l = latency_part(h, peers);
    double t = throttle_part(h, now_ns);
    double f = fresh_part(h, peers);
    double q = 0.75 + 0.25 * ((double)peers->quota_ppm / 1e6);
    return (struct health_parts){.score = (uint32_t)(1000.0 * s * l * t * f * q + 0.5),
                                 .success_ppm = ppm_of(s),
                                 .latency_ppm = ppm_of(l),
                                 .throttle_ppm = ppm_of(t),
                                 .fresh_ppm = ppm_of(f),
                                 .quota_ppm = ppm_of(q)};
}

/* Is it so much worse than the best of the others? */
static bool is_worse(struct health *const h[], const bool usable[], uint32_t cnt, uint32_t me,
                     uint64_t now_ns)
{
    if (h[me]->failed_row >= OUTLIER_ROW) {
        return true;
    }
    double best = 0.0;
    for (uint32_t i = 0; i < cnt; i++) {
        if (i != me && usable[i] && ends_of(h[i], now_ns) >= OUTLIER_ENDS) {
            double s = success_of(h[i], now_ns);
            best = s > best ? s : best;
        }
    }
    return ends_of(h[me], now_ns) >= OUTLIER_ENDS &&
           best - success_of(h[me], now_ns) >= OUTLIER_GAP;
}

bool health_outlier(struct health *const h[], const bool usable[], uint32_t cnt, uint32_t me,
                    uint64_t now_ns)
{
    uint32_t out = 0;
    uint32_t well = 0; /* others that could take its calls */
    for (uint32_t i = 0; i < cnt; i++) {
        bool is_out = h[i]->ejected_until_ns != 0 && now_ns < h[i]->ejected_until_ns;
        out += is_out ? 1U : 0U;
        well += i != me && !is_out && usable[i] && h[i]->failed_row < OUTLIER_ROW ? 1U : 0U;
    }
    bool allowed = cnt >= 2 && out + 1 <= (cnt / 2 > 1 ? cnt / 2 : 1) && well > 0;
    return allowed && is_worse(h, usable, cnt, me, now_ns);
}

void health_eject(struct health *h, uint64_t now_ns)
{
    uint64_t peace = age_of(h->ejected_at_ns, now_ns) / EJECT_MAX_NS;
    h->ejected_row = peace >= h->ejected_row ? 1U : h->ejected_row - (uint32_t)peace + 1U;
    h->ejected_at_ns = now_ns;
    h->ejected_until_ns =
        now_ns + weir_min_u64(EJECT_BASE_NS * weir_min_u64(h->ejected_row, 64), EJECT_MAX_NS);
}

void health_return(struct health *h, uint64_t now_ns)
{
    h->ejected_until_ns = 0;
    h->failed_row = 0;
    h->answers = 0.0; /* what led to it is not held against it twice */
    h->failures = 0.0;
    h->starts_at_ns = now_ns;
}

bool health_is_out(struct health *h, uint64_t now_ns)
{
    if (h->ejected_until_ns != 0 && now_ns >= h->ejected_until_ns) {
        health_return(h, now_ns);
    }
    return h->ejected_until_ns != 0;
}

uint32_t health_start_ppm(const struct health *h, uint64_t now_ns)
{
    uint64_t age_ns = age_of(h->starts_at_ns, now_ns);
    if (h->starts_at_ns == 0 || age_ns >= START_NS) {
        return 1000000U;
    }
    return START_PPM + (uint32_t)((1000000U - START_PPM) * age_ns / START_NS);
}

/* `times` a peak EWMA, `min_ns` at least; where nothing is known, LATE_BLIND_NS. */
static uint64_t bound_of(double peak_ns, double times, uint64_t min_ns)
{
    return peak_ns <= 0.0 ? LATE_BLIND_NS : weir_max_u64(min_ns, (uint64_t)ceil(times * peak_ns));
}

uint64_t health_late_ns(const struct health *h)
{
    return bound_of(h->latency_ns, LATE_TIMES, LATE_MIN_NS);
}

bool health_is_late(const struct health *h, uint64_t owed_ns)
{
    return owed_ns >= health_late_ns(h);
}

/* What an answer takes at most as a rule: `times` the mean, or in that proportion more where answers differ much. */
static uint64_t usual_bound(const struct health *h, double times, uint64_t min_ns)
{
    double most_ns = fmax(QUIET_TIMES * h->usual_ns, h->usual_ns + 4 * h->spread_ns);
    return bound_of(most_ns, times / QUIET_TIMES, min_ns);
}

uint64_t health_suspect_ns(const struct health *h)
{
    return weir_min_u64(health_late_ns(h), usual_bound(h, LATE_TIMES, LATE_MIN_NS));
}

bool health_is_quiet(const struct health *h, uint32_t owed_cnt, uint64_t silent_ns)
{
    return owed_cnt >= QUIET_OWED &&
           silent_ns >= weir_min_u64(bound_of(h->latency_ns, QUIET_TIMES, QUIET_MIN_NS),
                                     usual_bound(h, QUIET_TIMES, QUIET_MIN_NS));
}

uint64_t health_connect_ns(const struct health *h)
{
    return bound_of(h->connect_ns, LATE_TIMES, CONNECT_MIN_NS);
}
