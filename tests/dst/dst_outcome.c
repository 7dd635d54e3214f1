/*
 * dst_outcome.c: what strategies were told of their calls, against what the exchange saw of them.
 */
#include "dst_clients.h"

#include <stdio.h>
#include <string.h>

/* A read that was taken back may have left; then it says so. An order that is said to be taken back has not. */
static bool never_sent(const struct dst_call *c, const struct weir_response *a)
{
    enum weir_result r = a->result;
    return r == WEIR_RESULT_REFUSED || r == WEIR_RESULT_EXPIRED ||
           (r == WEIR_RESULT_CANCELLED && (a->sends == 0 || !c->idempotent)) ||
           r == WEIR_RESULT_REJECTED || r == WEIR_RESULT_NOT_SENT || r == WEIR_RESULT_NO_ROOM;
}

void dst_unsendable(uint64_t id, const char *why)
{
    struct dst_call *c = dst_call_at(id);
    c->unsendable = true;
    dst_checks[DST_CHECK_UNSEEN]++;
    if (c->seen > 0) {
        dst_broken("outcome", "call %llu ended as %s, and the exchange has seen it",
                   (unsigned long long)id, why);
    }
}

/* All of the body, because half of it may lie in another answer's room. */
static void body_check(uint64_t id, const struct weir_response *r)
{
    char want[48];
    const char *body = r->body;
    size_t n = (size_t)snprintf(want, sizeof want, "{\"id\":%llu,", (unsigned long long)id);
    bool good = r->body_bytes >= n + 2 && memcmp(body, want, n) == 0;
    const char *pad = good ? memmem(body, r->body_bytes, "\"pad\":\"", 7) : NULL;
    n = pad != NULL ? (size_t)(pad - body) + 7 : n;
    good = pad != NULL && r->body_bytes >= n + 2 && memcmp(body + r->body_bytes - 2, "\"}", 2) == 0;
    for (size_t i = n; good && i < r->body_bytes - 2; i++) {
        good = body[i] == 'x';
    }
    if (!good) {
        dst_broken("outcome", "call %llu got an answer that is not its own: %.*s",
                   (unsigned long long)id, (int)(r->body_bytes < 60 ? r->body_bytes : 60), body);
    }
}

/* An answer that all may have: of the symbol that was asked for, whole, and no older than it may be. Whatever was given was given behind the submission. */
static void ask_check(uint64_t id, const struct dst_call *c, const struct weir_response *r)
{
    const struct dst_provider *p = &dst_world.provider[c->provider];
    char text[192];
    unsigned symbol = UINT32_MAX;
    unsigned long long at = 0;
    int pad = 0;
    size_t n = r->body_bytes < sizeof text ? r->body_bytes : sizeof text - 1;
    dst_checks[DST_CHECK_AGE]++;
    memcpy(text, r->body, n);
    text[n] = '\0';
    if (r->status != 200) {
        return;
    }
    bool good = sscanf(text, "{\"s\":\"A%u\",\"t\":%llu,\"pad\":\"%n", &symbol, &at, &pad) == 2 &&
                pad > 0 && symbol == c->symbol && r->body_bytes < sizeof text &&
                strspn(text + pad, "x") + (size_t)pad + 2 == n && strcmp(text + n - 2, "\"}") == 0;
    if (!good) {
        dst_broken("outcome", "call %llu asked for A%u, and got %s", (unsigned long long)id,
                   c->symbol, text);
    }
    uint64_t age_ns = c->submitted_at > at ? c->submitted_at - at : 0;
    uint64_t most_ns = p->cache_ns + p->stale_ns;
    if (r->source == WEIR_SOURCE_DISK) {
        most_ns = p->last_good_ns;
        (void)dst_fault(DST_FROM_DISK, 1);
    }
    if (age_ns > most_ns + DST_MS) {
        dst_broken("age", "call %llu got an answer of %.6f s, where %.6f are allowed, source %u",
                   (unsigned long long)id, (double)age_ns / 1e9, (double)most_ns / 1e9, r->source);
    }
    if (age_ns > r->age_ns + DST_MS) {
        dst_broken("age", "call %llu: an answer of %.6f s is said to be of %.6f s, source %u",
                   (unsigned long long)id, (double)age_ns / 1e9, (double)r->age_ns / 1e9,
                   r->source);
    }
}

uint64_t dst_doubts[WEIR_DOUBT_CNT];

/* An order of a provider that is asked may end so, and then has not arrived and never will. */
static bool may_be_absent(const struct dst_call *c, const struct weir_response *r)
{
    return !c->idempotent && dst_world.provider[c->provider].asks &&
           r->doubt == WEIR_DOUBT_ABSENT && r->sends > 0;
}

/* The member that the answer names is the one that it arrived from. Of two arrivals nobody here knows which one was answered. */
static void member_check(struct weir *w, uint64_t id, const struct weir_response *r)
{
    const struct dst_call *c = dst_call_at(id);
    const struct dst_provider *p = &dst_world.provider[c->provider];
    char text[64] = "";
    unsigned address = 0;
    unsigned key = 0;
    if (p->address_cnt + p->key_cnt == 0 || c->seen + c->turned != 1 ||
        r->doubt == WEIR_DOUBT_FOUND) {
        return;
    }
    char full[48];
    weir_route_id route;
    (void)snprintf(full, sizeof full, "%s.%s", p->name, p->route[c->route].name);
    if (weir_route_find(w, full, &route) != WEIR_OK ||
        weir_member_name(w, route, r->member, text, sizeof text) != WEIR_OK) {
        return; /* no broker any more */
    }
    const char *at = strstr(text, "key=k");
    (void)sscanf(text, "ip=a%u", &address);
    (void)sscanf(at != NULL ? at : "", "key=k%u", &key);
    unsigned from = dst_made_by(c->seen_by, DST_ADDRESS);
    unsigned by = dst_made_by(c->seen_by, DST_KEY);
    dst_checks[DST_CHECK_MEMBER]++;
    if ((address != from && (address > 0 || from <= p->address_pool)) ||
        (key != by && (key > 0 || by <= p->key_pool))) {
        dst_broken("member",
                   "call %llu was answered to address %u, key %u, and is said to be \"%s\"",
                   (unsigned long long)id, from, by, text);
    }
}

void dst_outcome(struct weir *w, uint64_t id, const struct weir_response *r)
{
    struct dst_call *c = dst_call_at(id);
    dst_checks[DST_CHECK_OUTCOME]++;
    dst_checks[DST_CHECK_TRUTH]++;
    dst_doubts[r->doubt % WEIR_DOUBT_CNT]++;
    dst_trace("outcome", id, r->result, r->status);
    if (c->ended) {
        dst_broken("outcome", "call %llu ended a second time", (unsigned long long)id);
    }
    c->ended = true;
    if (c->seen + c->turned > r->sends) {
        dst_broken("outcome", "call %llu was sent %u times, it says, and arrived %u times",
                   (unsigned long long)id, r->sends, c->seen + c->turned);
    }
    if (never_sent(c, r) || (r->result == WEIR_RESULT_ABSENT && may_be_absent(c, r))) {
        dst_unsendable(id, weir_result_text(r->result));
    } else if (r->result == WEIR_RESULT_DONE && c->asks) {
        ask_check(id, c, r);
    } else if (r->result == WEIR_RESULT_DONE) {
        if (c->seen + c->turned == 0) {
            dst_broken("outcome", "call %llu was answered, and the exchange never saw it",
                       (unsigned long long)id);
        }
        if (r->status != c->status && c->seen + c->turned == 1 && r->doubt != WEIR_DOUBT_FOUND) {
            dst_broken("outcome", "call %llu: status %u, the exchange said %u",
                       (unsigned long long)id, r->status, c->status);
        }
        body_check(id, r);
        member_check(w, id, r);
    } else if (!c->idempotent &&
               (r->result == WEIR_RESULT_FAILED || r->result == WEIR_RESULT_TIMEOUT)) {
        dst_broken("outcome", "order %llu ended as %s, which is for calls that may be repeated",
                   (unsigned long long)id, weir_result_text(r->result));
    } else if (r->result == WEIR_RESULT_UNSET || r->result > WEIR_RESULT_TIMEOUT) {
        dst_broken("outcome", "call %llu has no named outcome: %u", (unsigned long long)id,
                   (unsigned)r->result);
    }
}
