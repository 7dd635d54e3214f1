/*
 * Servers that break HTTP, or use it against whoever asks: endless and huge answers, slow ones, broken framing, foreign redirects, packed bombs.
 *
 * Oracle: what the listener in this test wrote and what it saw of its connection's end. Each call ends once, in time, by the name in the table; each send is charged once, and no unit of the limit of
 * one in flight stays held; where the framing broke, the connection is dropped and bears no other call; what came behind an answer is nobody's answer; the worker is the one that was
 * there at the beginning, and has hardly grown.
 */
#include "bad_call.h"
#include "raw.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HUGE_BYTES    (UINT64_C(1) << 30)
#define GROWN_MAX_KIB 16384L

enum { DROPPED = 0, KIB_WRITTEN = 1, AGAIN = 2 }; /* r->shared->count, of the case under way */

static struct rig rig;
static uint16_t elsewhere_port;

/* ---------------------------------------------------------------------------------------------- servers */

static bool say(int fd, const void *at, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = send(fd, (const char *)at + done, bytes - done, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        done += (size_t)n;
    }
    (void)weir_fetch_add_u32(&rig.shared->count[KIB_WRITTEN], (uint32_t)(bytes >> 10));
    return true;
}

static void say_times(int fd, const char *text, uint64_t times)
{
    for (uint64_t i = 0; i < times && say(fd, text, strlen(text)); i++) {
    }
}

/* Write it again and again, a piece each `ms`, until nobody listens. */
static void say_for_ever(int fd, const char *text, unsigned ms)
{
    while (say(fd, text, strlen(text))) {
        struct pollfd p = {.fd = fd, .events = POLLRDHUP};
        if (ms > 0 && poll(&p, 1, (int)ms) > 0) {
            return;
        }
    }
}

static void body_huge(int fd, bool chunked)
{
    static char zeros[65536];
    for (uint64_t sent = 0; sent < HUGE_BYTES; sent += sizeof zeros) {
        if (chunked && !say(fd, "10000\r\n", 7)) {
            return;
        }
        if (!say(fd, zeros, sizeof zeros) || (chunked && !say(fd, "\r\n", 2))) {
            return;
        }
    }
}

/* Deflate by hand (RFC 1951, 3.2.6): its fixed codes go out with their first bit first. */
struct bits {
    int fd;
    bool heard;
    unsigned byte, cnt;
    size_t bytes;
    unsigned char piece[8192];
};

static void bits_put(struct bits *b, unsigned code, unsigned cnt)
{
    while (cnt-- > 0) {
        b->byte |= (code >> cnt & 1U) << b->cnt;
        if (++b->cnt == 8) {
            b->piece[b->bytes++] = (unsigned char)b->byte;
            b->byte = b->cnt = 0;
        }
        if (b->bytes == sizeof b->piece) {
            b->heard = say(b->fd, b->piece, b->bytes);
            b->bytes = 0;
        }
    }
}

/* One literal, then copies of 258 bytes from 1 back, 13 bits each: a hundredth of what it becomes. */
static void gzip_bomb(int fd)
{
    static const unsigned char head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3};
    struct bits b = {.fd = fd, .heard = say(fd, head, sizeof head)};
    bits_put(&b, 6, 3);    /* the last block; fixed codes: 1, then 01 with its low bit first */
    bits_put(&b, 0x30, 8); /* the literal 0 */
    while (b.heard) {
        bits_put(&b, 0xc5, 8); /* length 258 */
        bits_put(&b, 0, 5);    /* distance 1 */
    }
}

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"

/* What is written as it stands. */
static const struct fixed {
    const char *path, *text;
} fixed[] = {
    {"/r/fine", OK_HEAD "Content-Length: 4\r\n\r\nfine"},
    {"/r/chunk_garbage", CHUNKED "zz\r\nhello\r\n0\r\n\r\n"},
    {"/r/chunk_negative", CHUNKED "-5\r\nhello\r\n0\r\n\r\n"},
    {"/r/chunk_overflow", CHUNKED "ffffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
    {"/r/chunk_no_end", CHUNKED "5\r\nhelloXX5\r\nhello\r\n0\r\n\r\n"},
    {"/r/length_negative", OK_HEAD "Content-Length: -1\r\n\r\nhello"},
    {"/r/length_text", OK_HEAD "Content-Length: five\r\n\r\nhello"},
    {"/r/length_overflow", OK_HEAD "Content-Length: 99999999999999999999\r\n\r\nhello"},
    {"/r/lengths_differ", OK_HEAD "Content-Length: 2\r\nContent-Length: 5\r\n\r\nhello"},
    {"/r/both",
     OK_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"},
    {"/r/excess", OK_HEAD "Content-Length: 4\r\n\r\nfine" OK_HEAD "Content-Length: 4\r\n\r\nevil"},
    {"/r/not_http", "220 smtp.example ESMTP\r\n250 ok\r\n"},
    {"/r/old", "just some text, as in HTTP/0.9\n"},
    {"/r/nul_in_head", OK_HEAD "X-A: b"},
    {"/r/fold_first", OK_HEAD " X-Fold: evil\r\nContent-Length: 4\r\n\r\nfine"},
    {"/r/fold_later", OK_HEAD "X-A: b\r\n\tevil\r\nContent-Length: 4\r\n\r\nfine"},
    {"/r/fold_behind_interim",
     "HTTP/1.1 103 Early Hints\r\n\r\n" OK_HEAD " X-Fold: evil\r\nContent-Length: 4\r\n\r\nfine"},
    {"/r/blank_body",
     "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" OK_HEAD "Content-Length: 4\r\n\r\n \t\r\n"},
    {"/r/other_version", "HTTP/7.3 200 OK\r\nContent-Length: 0\r\n\r\n"},
    {"/r/status_text", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"},
    {"/r/not_gzip", OK_HEAD "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"},
    {"/r/upgrade",
     "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"},
};

static bool answer_odd(int fd, const char *path)
{
    char text[256];
    if (strcmp(path, "/r/huge") == 0) {
        say_times(fd, OK_HEAD "Content-Length: 1073741824\r\n\r\n", 1);
        body_huge(fd, false);
    } else if (strcmp(path, "/r/huge_chunked") == 0) {
        say_times(fd, CHUNKED, 1);
        body_huge(fd, true);
    } else if (strcmp(path, "/r/huge_unsaid") == 0) {
        say_times(fd, OK_HEAD "\r\n", 1);
        body_huge(fd, false);
    } else if (strcmp(path, "/r/heads") == 0) {
        say_times(fd, OK_HEAD, 1);
        say_for_ever(fd, "X-More: 0123456789012345678901234567890123456789\r\n", 0);
    } else if (strcmp(path, "/r/long_line") == 0) {
        say_times(fd, OK_HEAD "X-Long: ", 1);
        say_times(fd, "0123456789abcdef", 65536);
        say_times(fd, "\r\nContent-Length: 0\r\n\r\n", 1);
    } else if (strcmp(path, "/r/blank_line") == 0) { /* libcurl hands it on in pieces of 16 KiB */
        say_times(fd, OK_HEAD "X-Blank:", 1);
        say_times(fd, "                                ", 1024);
        say_times(fd, "x\r\nContent-Length: 4\r\n\r\nfine", 1);
    } else if (strcmp(path, "/r/interims") == 0) {
        say_for_ever(fd, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", 0);
    } else if (strcmp(path, "/r/drip_head") == 0) {
        say_times(fd, OK_HEAD "X-Slow: ", 1);
        say_for_ever(fd, "a", 1000);
    } else if (strcmp(path, "/r/drip_body") == 0) {
        say_times(fd, OK_HEAD "Content-Length: 1000\r\n\r\n", 1);
        say_for_ever(fd, "a", 1000);
    } else if (strcmp(path, "/r/bomb") == 0) {
        say_times(fd, OK_HEAD "Content-Encoding: gzip\r\n\r\n", 1);
        gzip_bomb(fd);
    } else if (strcmp(path, "/r/short") == 0 || strcmp(path, "/r/chunk_cut") == 0) {
        say_times(fd,
                  path[3] == 's' ? OK_HEAD "Content-Length: 100\r\n\r\nhello" : CHUNKED "5\r\nhel",
                  1);
        return false;
    } else if (strcmp(path, "/r/redirect") == 0) {
        (void)snprintf(text, sizeof text,
                       "HTTP/1.1 307 Temporary\r\nLocation: http://127.0.0.1:%u/stolen\r\n"
                       "Content-Length: 0\r\n\r\n",
                       elsewhere_port);
        say_times(fd, text, 1);
        return true;
    }
    return true;
}

/* Serve one request, and say how its connection ended: by us, or with another request. */
static bool answer(int fd, const char *path)
{
    char next[16];
    for (size_t i = 0; i < WEIR_ARRAY_CNT(fixed); i++) {
        if (strcmp(path, fixed[i].path) == 0) {
            size_t n = strlen(fixed[i].text);
            (void)say(fd, fixed[i].text, n);
            if (strcmp(path, "/r/nul_in_head") == 0) {
                (void)say(fd, "\0c\r\nContent-Length: 0\r\n\r\n", 25);
            }
        }
    }
    if (!answer_odd(fd, path)) {
        return false;
    }
    if (recv(fd, next, sizeof next, MSG_PEEK) > 0) {
        (void)weir_fetch_add_u32(&rig.shared->count[AGAIN], 1);
        return true;
    }
    (void)weir_fetch_add_u32(&rig.shared->count[DROPPED], 1);
    return false;
}

/* ---------------------------------------------------------------------------------------------- what becomes of calls */

/* How the connection goes on: dropped by weir, kept, or either (the server ended it itself). */
enum after { DROPS, KEEPS, ENDED };

static const struct expect {
    const char *rest;
    enum weir_result get, post;
    uint32_t status; /* where DONE */
    enum after after;
    unsigned limit_ms;
    const char *body; /* NULL: not looked at */
} expects[] = {
    {"fine", WEIR_RESULT_DONE, WEIR_RESULT_DONE, 200, KEEPS, 3000},
    {"huge", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"huge_chunked", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"huge_unsaid", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"heads", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"long_line", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"bomb", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"interims", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 1500},
    {"drip_head", WEIR_RESULT_TIMEOUT, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 1500},
    {"drip_body", WEIR_RESULT_TIMEOUT, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 1500},
    {"redirect", WEIR_RESULT_DONE, WEIR_RESULT_DONE, 307, KEEPS, 3000},
    {"short", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, ENDED, 3000},
    {"chunk_cut", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, ENDED, 3000},
    {"chunk_garbage", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"chunk_negative", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"chunk_overflow", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"chunk_no_end", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"length_negative", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"length_text", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"length_overflow", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"lengths_differ", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"both", WEIR_RESULT_DONE, WEIR_RESULT_DONE, 200, DROPS, 3000},
    {"excess", WEIR_RESULT_DONE, WEIR_RESULT_DONE, 200, DROPS, 3000},
    {"not_http", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"old", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"nul_in_head", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"fold_first", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"fold_later", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"fold_behind_interim", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"blank_body", WEIR_RESULT_DONE, WEIR_RESULT_DONE, 200, KEEPS, 3000, " \t\r\n"},
    {"blank_line", WEIR_RESULT_TOO_LARGE, WEIR_RESULT_TOO_LARGE, 0, DROPS, 3000},
    {"other_version", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"status_text", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"not_gzip", WEIR_RESULT_FAILED, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 3000},
    {"upgrade", WEIR_RESULT_TIMEOUT, WEIR_RESULT_OUTCOME_UNKNOWN, 0, DROPS, 1000},
};

/* A count, or what it is after some seconds. */
static uint32_t comes(unsigned which, uint32_t wanted)
{
    for (int i = 0; i < 500 && weir_load_acquire_u32(&rig.shared->count[which]) < wanted; i++) {
        rig_sleep_ms(10);
    }
    return weir_load_acquire_u32(&rig.shared->count[which]);
}

static void one(struct rig *r, struct weir *w, const struct expect *e, bool post)
{
    for (unsigned i = DROPPED; i <= AGAIN; i++) {
        weir_store_release_u32(&r->shared->count[i], 0);
    }
    const struct bad_call c = {.post = post, .rest = e->rest, .limit_ms = e->limit_ms};
    const struct bad_end end = bad_call(r, w, &c);
    bad_judge(r, e->rest, &c, &end, post ? e->post : e->get, e->status);
    rig_check(r, end.answer.sends == 1 && end.charged == 1, __FILE__, __LINE__,
              "%s: %u sends, %u charged", e->rest, end.answer.sends, end.charged);
    rig_check(r, e->body == NULL || strcmp(end.body, e->body) == 0, __FILE__, __LINE__,
              "%s: \"%s\"", e->rest, end.body);
    if (e->after == DROPS) {
        rig_check(r, comes(DROPPED, 1) == 1, __FILE__, __LINE__, "%s: the connection stays",
                  e->rest);
        /* what lies in sockets on the way, and no more */
        rig_check(r, comes(KIB_WRITTEN, 0) < 32768, __FILE__, __LINE__, "%s: %u KiB were taken",
                  e->rest, comes(KIB_WRITTEN, 0));
    }
    bad_fine(r, w, e->rest, &(struct bad_call){.post = post, .rest = "fine", .limit_ms = 3000});
    if (e->after == KEEPS) {
        CHECK(r, comes(AGAIN, 1) >= 1);
    }
}

int main(int argc, char **argv)
{
    struct raw raw;
    struct raw elsewhere;
    struct rig *r = &rig;
    char endpoint[96];
    rig_open(r, "bad_servers", argc, argv, 100);
    raw_start(r, &elsewhere, answer);
    elsewhere_port = elsewhere.port;
    raw_start(r, &raw, answer);
    (void)snprintf(endpoint, sizeof endpoint, "url: \"http://127.0.0.1:%u\", compressed: true",
                   raw.port);
    bad_config(r, endpoint);
    rig_weird_start(r);
    struct weir *w = rig_attach(r, WEIR_ROLE_TRADER);
    one(r, w, &expects[0], false);
    const struct bad_worker before = bad_worker_look(r);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(expects); i++) {
        one(r, w, &expects[i], false);
        one(r, w, &expects[i], true);
    }
    bad_worker_judge(r, &before, GROWN_MAX_KIB);
    CHECK_INT(r, weir_load_acquire_u32(elsewhere.requests), 0);
    weir_close(w);
    CHECK_INT(r, rig_weird_stop(r, 5000), 0);
    raw_stop(&raw);
    raw_stop(&elsewhere);
    return rig_close(r);
}
