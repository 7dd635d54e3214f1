/*
 * dst_session.c: the exchange's side of sessions (broker/sign_in.h), and the judge of what docs/http.md, "Sessions", promises.
 *
 *   token     a refresh token is good for one use. A second use of a spent one is refused, and ends all that came of it, as real servers do. Now and then a
 *             server gives no new one: then the old one stays good
 *   cookie    each cookie has one crumb; both must come together
 *
 * Judged where a request leaves: no refresh token goes out again unless each time before is known to weir to have been nothing, or second_use allows it; SPENDING
 * is on the disk then, and the token that came with an access token is before that is used; nothing leaves with a token whose time is over, or that an answer has
 * said to be none. Where one is lost a person gives a new one.
 */
#include "dst_session.h"

#include "broker/sign_in_rule.h"
#include "shm/weir_sign_in.h"

#include "broker/region.h"
#include "shm/weir_atomic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_MAX 8192U
#define RENEW_NS    (60 * DST_S)

struct number {       /* of a refresh token, or of an access token or a cookie */
    uint32_t open;    /* sends of which weir does not know that they were nothing */
    uint32_t came_of; /* access token: the refresh token that was given with it */
    uint64_t until;
    bool revoked;
};

static struct session {
    struct number refresh[NUMBERS_MAX], access[NUMBERS_MAX];
    uint32_t refresh_cnt, access_cnt; /* the newest ones */
    uint32_t good;                    /* the refresh token that is taken; 0: none */
    uint32_t sent_most;               /* the newest access token that left */
    uint32_t forbidden;               /* no such one, and none before it, leaves any more */
    uint64_t renewed_at, worker_life;
} session[DST_PROVIDERS_MAX];

static struct number *number_at(struct number *all, unsigned long n)
{
    if (n >= NUMBERS_MAX) {
        dst_broken("simulator", "token %lu", n);
    }
    return &all[n];
}

void dst_session_reset(void)
{
    memset(session, 0, sizeof session);
    for (unsigned i = 0; i < DST_PROVIDERS_MAX; i++) {
        session[i].refresh_cnt = session[i].good = 1;
    }
}

/* ---------------------------------------------------------------------------------------------- what a request bears */

static uint32_t number_behind(const char *text, const char *word)
{
    const char *at = text != NULL ? strstr(text, word) : NULL;
    return at != NULL ? (uint32_t)strtoul(at + strlen(word), NULL, 10) : 0;
}

struct dst_bears dst_session_bears(const struct http_transfer *t, const char *path)
{
    struct dst_bears all = {.refresh = number_behind(path, "refresh_token=rt-"),
                            .crumb = number_behind(path, "crumb=cr-")};
    char form[512];
    size_t n = t->body_bytes < sizeof form ? t->body_bytes : sizeof form - 1;
    if (n > 0) {
        memcpy(form, t->body, n);
    }
    form[n] = '\0';
    all.refresh = all.refresh > 0 ? all.refresh : number_behind(form, "refresh_token=rt-");
    for (const struct curl_slist *h = t->headers; h != NULL; h = h->next) {
        uint32_t access = number_behind(h->data, "Authorization: Bearer at-");
        uint32_t cookie =
            strncmp(h->data, "Cookie: ", 8) == 0 ? number_behind(h->data, "sid=c-") : 0;
        all.access = access > 0 ? access : all.access;
        all.cookie = cookie > 0 ? cookie : all.cookie;
    }
    return all;
}

/* ---------------------------------------------------------------------------------------------- it leaves */

/* The newest whole record of this provider's token file, as a crash of the host in this instant would leave it; NULL: there is none. */
static const struct sign_in_record *record_on_disk(const struct dst_provider *p)
{
    char path[64];
    size_t bytes = 0;
    const struct sign_in_record *found = NULL;
    (void)snprintf(path, sizeof path, "/state/dst/token.%s.", p->name);
    const char *at = dst_disk_durable_prefix(path, &bytes);
    for (size_t i = 0; at != NULL && i + SIGN_IN_RECORD_BYTES <= bytes; i += SIGN_IN_RECORD_BYTES) {
        const struct sign_in_record *r = (const void *)(at + i);
        struct sign_in_record copy = *r;
        sign_in_seal(&copy);
        bool whole = copy.checksum == r->checksum && r->sequence > 0;
        found = whole && (found == NULL || r->sequence > found->sequence) ? r : found;
    }
    return found;
}

static bool record_is(const struct sign_in_record *r, uint32_t refresh)
{
    return r != NULL && number_behind(r->token, "rt-") == refresh;
}

/* Is it in any record there? While the next one is being written the one before still lies in its slot. */
static bool is_kept(const struct dst_provider *p, uint32_t refresh)
{
    char path[64];
    size_t bytes = 0;
    (void)snprintf(path, sizeof path, "/state/dst/token.%s.", p->name);
    const char *at = dst_disk_durable_prefix(path, &bytes);
    bool any = false;
    for (size_t i = 0; at != NULL && i + SIGN_IN_RECORD_BYTES <= bytes; i += SIGN_IN_RECORD_BYTES) {
        any = any || record_is((const void *)(at + i), refresh);
    }
    return any;
}

static void refresh_leaves(const struct dst_provider *p, struct session *s, uint32_t n)
{
    const struct sign_in_record *r = record_on_disk(p);
    struct number *token = number_at(s->refresh, n);
    dst_checks[DST_CHECK_SINGLE]++;
    if (n == 0 || n > s->refresh_cnt) {
        dst_broken("single use", "refresh token %u leaves, which nobody gave", n);
    }
    if (token->open > p->second_use) {
        dst_broken("single use",
                   "refresh token %u leaves once more, %u times it may have been used before, and "
                   "second_use is %u",
                   n, token->open, p->second_use);
    }
    if (!record_is(r, n) || r->state != SIGN_IN_SPENDING) {
        dst_broken("single use", "refresh token %u leaves, and the disk does not say so", n);
    }
    if (token->open > 0) {
        (void)dst_fault(DST_SECOND_USE, 1);
    }
    token->open++;
    dst_faults_sign_in();
}

static void access_leaves(const struct dst_provider *p, struct session *s,
                          const struct dst_bears *bears)
{
    uint32_t n = p->session == DST_SESSION_TOKEN ? bears->access : bears->cookie;
    dst_checks[DST_CHECK_TOKEN]++;
    if (n == 0 || n > s->access_cnt) {
        dst_broken("session", "a call leaves with token %u, and %u were given", n, s->access_cnt);
    }
    const struct number *token = number_at(s->access, n);
    if (p->session == DST_SESSION_COOKIE && bears->crumb != n) {
        dst_broken("session", "a call leaves with cookie %u and crumb %u", n, bears->crumb);
    }
    if (dst_now > token->until) {
        dst_broken("session", "a call leaves with token %u, %.3f s after its end", n,
                   (double)(dst_now - token->until) / 1e9);
    }
    if (s->worker_life == dst_worker_process.life && n <= s->forbidden) {
        dst_broken("session", "a call leaves with token %u, which an answer has said to be none",
                   n);
    }
    if (p->session == DST_SESSION_TOKEN && !is_kept(p, token->came_of)) {
        dst_broken("session", "access token %u is used, and refresh token %u is on no disk", n,
                   token->came_of);
    }
    s->sent_most = n > s->sent_most ? n : s->sent_most;
}

void dst_session_leaves(unsigned provider, const char *path, bool is_signed,
                        const struct dst_bears *bears)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    struct session *s = &session[provider];
    if (p->session == DST_SESSION_NONE) {
        return;
    }
    if (strncmp(path, "/token", 6) == 0) {
        refresh_leaves(p, s, bears->refresh);
    } else if (is_signed) {
        access_leaves(p, s, bears);
    } else if (bears->access > 0 || bears->refresh > 0 || bears->crumb > 0) {
        dst_broken("session", "a call of %s bears a token", path);
    }
}

void dst_session_renewed(const char *name)
{
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        struct session *s = &session[i];
        if (strcmp(dst_world.provider[i].name, name) != 0) {
            continue;
        }
        bool same = s->worker_life == dst_worker_process.life;
        dst_checks[DST_CHECK_TOKEN]++;
        if (same && s->renewed_at > 0 && dst_now - s->renewed_at < RENEW_NS) {
            dst_broken("session", "renewed twice within %.3f s",
                       (double)(dst_now - s->renewed_at) / 1e9);
        }
        s->worker_life = dst_worker_process.life;
        s->renewed_at = dst_now;
        s->forbidden = s->sent_most;
    }
}

/* ---------------------------------------------------------------------------------------------- it arrives */

static uint64_t lasts_s(void)
{
    return 2 + dst_below(8);
}

static uint32_t access_give(struct session *s, uint64_t lasts)
{
    uint32_t n = ++s->access_cnt;
    *number_at(s->access, n) =
        (struct number){.came_of = s->good, .until = dst_now + lasts * DST_S};
    return n;
}

/* Whoever shows a spent token has stolen it, as far as a server knows. */
static void all_ends(struct session *s)
{
    s->good = 0;
    for (uint32_t n = 1; n <= s->access_cnt; n++) {
        s->access[n].revoked = true;
    }
    (void)dst_fault(DST_SESSION_ENDED, 1);
}

static unsigned token_arrives(const struct dst_provider *p, struct session *s, uint32_t n,
                              unsigned status, struct dst_reply *out)
{
    if (status == 429 || status == 418 || (status != 200 && dst_chance(0.5))) {
        return status; /* not looked at */
    }
    if (n != s->good) {
        if (n < s->refresh_cnt) {
            all_ends(s);
        }
        out->body_bytes = (size_t)snprintf(out->body, sizeof out->body,
                                           "{\"error\":\"invalid_grant\",\"pad\":\"\"}");
        return 400;
    }
    uint64_t lasts = lasts_s();
    s->good = p->rotates ? ++s->refresh_cnt : s->good;
    uint32_t access = access_give(s, lasts);
    size_t at = (size_t)snprintf(out->body, sizeof out->body,
                                 "{\"access_token\":\"at-%u\",\"token_type\":\"Bearer\","
                                 "\"expires_in\":%llu",
                                 access, (unsigned long long)lasts);
    if (p->rotates) {
        at += (size_t)snprintf(out->body + at, sizeof out->body - at,
                               ",\"refresh_token\":\"rt-%u\"", s->good);
    }
    out->body[at++] = '}';
    out->body_bytes = dst_fault(DST_TOKEN_ODD, 0.02) ? at / 2 : at;
    return status;
}

bool dst_session_good(unsigned provider, const struct dst_bears *bears)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    struct session *s = &session[provider];
    uint32_t n = p->session == DST_SESSION_TOKEN ? bears->access : bears->cookie;
    struct number *token = number_at(s->access, n);
    if (dst_fault(DST_SESSION_REVOKED, dst_world.mix.revoked)) {
        token->revoked = true;
    }
    return n > 0 && !token->revoked && dst_now < token->until &&
           (p->session == DST_SESSION_TOKEN || bears->crumb == n);
}

unsigned dst_session_arrives(unsigned provider, const char *path, unsigned status,
                             const struct dst_bears *bears, char *head, size_t room,
                             struct dst_reply *out)
{
    const struct dst_provider *p = &dst_world.provider[provider];
    struct session *s = &session[provider];
    head[0] = '\0';
    out->body_bytes = (size_t)snprintf(out->body, sizeof out->body, "Too Many Requests");
    if (strncmp(path, "/token", 6) == 0) {
        return token_arrives(p, s, bears->refresh, status, out);
    }
    if (strncmp(path, "/cookie", 7) == 0 && status == 200) {
        uint64_t lasts = lasts_s();
        (void)snprintf(head, room, "Set-Cookie: sid=c-%u; Max-Age=%llu; Path=/\r\n",
                       access_give(s, lasts), (unsigned long long)lasts);
        return dst_chance(0.3) ? 404 : 200; /* Yahoo's */
    }
    if (strncmp(path, "/crumb", 6) == 0 && status == 200) {
        bool good = bears->cookie > 0 && dst_now < number_at(s->access, bears->cookie)->until;
        out->body_bytes =
            good ? (size_t)snprintf(out->body, sizeof out->body, "cr-%u", bears->cookie)
                 : out->body_bytes;
        return good ? 200 : 401;
    }
    return status;
}

/* weir has taken the whole answer in. */
void dst_session_heard(unsigned provider, const char *path, const struct dst_bears *bears,
                       const struct dst_reply *reply)
{
    struct session *s = &session[provider];
    if (dst_world.provider[provider].session != DST_SESSION_TOKEN ||
        strncmp(path, "/token", 6) != 0) {
        return;
    }
    struct number *token = number_at(s->refresh, bears->refresh);
    if ((reply->status == 429 || reply->status == 418) && token->open > 0) {
        token->open--;
    } else if (reply->status == 200 && !dst_world.provider[provider].rotates) {
        token->open = 0;
    }
}

/* ---------------------------------------------------------------------------------------------- a person */

static void person_event(void *arg, uint64_t provider, uint64_t nth)
{
    struct dst_provider *p = &dst_world.provider[provider];
    struct session *s = &session[provider];
    const struct region *r = dst_region();
    (void)arg;
    if (!dst_faults_on()) {
        return;
    }
    uint32_t state = r != NULL && dst_broker_up() && r->sign_in_board != NULL
                         ? weir_load_relaxed_u32(&r->sign_in_board[nth].state)
                         : WEIR_SIGN_IN_READY;
    if ((state == WEIR_SIGN_IN_LOST || state == WEIR_SIGN_IN_REFUSED) && dst_broker_calm()) {
        (void)dst_fault(DST_TOKEN_GIVEN, 1);
        s->good = ++s->refresh_cnt;
        p->given = s->good;
        dst_broker_reload();
    }
    dst_at(dst_now + dst_log_uniform(200 * DST_MS, 4 * DST_S), person_event, NULL, provider, nth);
}

void dst_session_start(void)
{
    uint64_t nth = 0;
    for (unsigned i = 0; i < dst_world.provider_cnt; i++) {
        if (dst_world.provider[i].session == DST_SESSION_TOKEN) {
            dst_at(dst_now + DST_S, person_event, NULL, i, nth);
        }
        nth += dst_world.provider[i].session != DST_SESSION_NONE;
    }
}
