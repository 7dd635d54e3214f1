/*
 * supervisor_open.c: the start, up to the first child.
 */
#include "broker/supervisor_inside.h"

#include "broker/aftermath.h"
#include "broker/cage_make.h"
#include "broker/dry_run.h"
#include "broker/log.h"
#include "broker/loop.h"
#include "broker/reload.h"
#include "broker/rlimits.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int directory_make(struct supervisor *s, const char *runtime_dir, char *text,
                          size_t text_bytes)
{
    (void)mkdir(runtime_dir, 0755);
    (void)snprintf(s->dir, sizeof s->dir, "%s/%s", runtime_dir, s->config->broker.name);
    if (mkdir(s->dir, 0755) != 0 && errno != EEXIST) {
        (void)snprintf(
            text, text_bytes,
            "cannot make: path=%.300s: %s: choose another broker.runtime_dir or --runtime-dir",
            s->dir, strerror(errno));
        return -1;
    }
    return 0;
}

static int signals_open(struct supervisor *s)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file at its size limit is a failed write, not an end */
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (s->signal_fd < 0 || s->epoll_fd < 0) {
        return -1;
    }
    supervisor_watch(s, s->signal_fd, WATCH_SIGNAL, 0);
    return 0;
}

/* Say at the start, and once, what the worker would die of again and again. */
static int uring_check(char *text, size_t text_bytes)
{
    struct loop probe;
    if (loop_open(&probe, 8, text, text_bytes) != 0) {
        return -1;
    }
    loop_close(&probe);
    return 0;
}

/* What the broker before this one left, into the region. */
static int remember(struct supervisor *s, bool fresh, char *text, size_t text_bytes)
{
    enum aftermath found;
    if (aftermath_enter(s->dir, &s->region, fresh, &found, text, text_bytes) != 0) {
        return -1;
    }
    uint32_t verdict = s->region.journal_board->found;
    if (verdict == WEIR_JOURNAL_OFF) {
        log_warn("journal_off", "s:s", "meaning", weir_journal_verdict_text(verdict));
    } else if (verdict == WEIR_JOURNAL_ABSENT) {
        log_warn("journal_absent", "s:s, s:s, s:s", "why", weir_journal_verdict_text(verdict),
                 "path", s->journal.dir, "next_step",
                 "if nobody has used these limits: stop, remove this directory and the one of the "
                 "sockets, start with --fresh");
    } else if (verdict != WEIR_JOURNAL_SOUND) {
        log_warn("journal_refused", "s:s, s:s, s:s", "reason", weir_journal_verdict_name(verdict),
                 "why", weir_journal_verdict_text(verdict), "path", s->journal.dir);
    }
    if (found == AFTERMATH_SPENT) {
        log_warn("limits_counted_as_spent", "s:s", "why",
                 "the broker before this one did not stop cleanly, or nothing is known of it");
    } else if (found == AFTERMATH_JOURNAL) {
        log_warn("limits_from_journal", "s:b, s:s", "clean",
                 (int)s->region.journal_board->found_clean, "meaning",
                 "windows above 10 min go on at their ceilings, the others count as spent");
    } else if (found == AFTERMATH_RESTORED) {
        log_info("limits_restored", "");
    }
    return 0;
}

/* The shadow configuration's limits and what both ways of starting need. */
static int open_rest(struct supervisor *s, char *text, size_t text_bytes)
{
    int pair[2];
    s->region.journal = &s->journal;
    s->region.handover = &s->handover;
    s->region.cage = &s->cage;
    if (s->config->shadow != NULL) {
        static struct dry_run shadow; /* large; zeroed; the workers inherit it */
        if (dry_run_open(&shadow, s->config->shadow, text, text_bytes) != WEIR_OK) {
            return -1;
        }
        s->region.shadow = &shadow;
    }
    if (signals_open(s) != 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        (void)snprintf(text, text_bytes, "cannot open descriptors: %s: raise ulimit -n",
                       strerror(errno));
        return -1;
    }
    s->resolver_ours = pair[0];
    s->resolver_theirs = pair[1];
    return 0;
}

/* The usual start: with nobody here, by what is remembered. */
static int open_new(struct supervisor *s, bool fresh, char *text, size_t text_bytes)
{
    if (region_create(&s->region, s->config, text, text_bytes) != WEIR_OK ||
        open_rest(s, text, text_bytes) != 0 ||
        journal_open(&s->journal, s->config->broker.state_dir, s->config->broker.name, text,
                     text_bytes) != 0 ||
        remember(s, fresh, text, text_bytes) != 0) {
        return -1;
    }
    last_good_open(&s->last_good, s->config, &s->journal, &s->region, true);
    sign_in_files_open(&s->sign_in, s->config, &s->journal, &s->region);
    if (handover_listen(&s->handover, s->dir, s->lock_fd, text, text_bytes) != 0) {
        return -1;
    }
    return admission_open(&s->admission, s->config, &s->region, s->dir, NULL, text, text_bytes);
}

/* In the place of a broker that runs, or of a worker that is left of one: segments, clients and locks are its own. */
static int open_takeover(struct supervisor *s, char *text, size_t text_bytes)
{
    struct takeover *t = &s->takeover;
    s->lock_fd = t->lock_fd;
    if (open_rest(s, text, text_bytes) != 0 ||
        admission_open(&s->admission, s->config, &s->region, s->dir, t->listener, text,
                       text_bytes) != 0 ||
        takeover_clients(t, &s->admission, text, text_bytes) != 0 ||
        takeover_finish(t, &s->region, s->config->broker.drain_ns + sign_in_longest_ns(s->config),
                        text, text_bytes) != 0) {
        return -1;
    }
    reload_guessed(&s->region, false,
                   weir_clock_monotonic_ns()); /* how it began, it does not say */
    /* Only now: its worker has left, and nobody writes. */
    last_good_open(&s->last_good, s->config, &s->journal, &s->region, false);
    sign_in_files_open(&s->sign_in, s->config, &s->journal, &s->region);
    takeover_tell(t, &s->admission);
    s->restarts = t->giver.restarts;
    handover_adopt(&s->handover, s->dir, t->handover_listener, s->lock_fd);
    s->handover.restarts = s->restarts;
    aftermath_lock_sign(s->lock_fd);
    for (uint32_t i = 0; i < WEIR_CLIENTS_MAX; i++) {
        if (s->admission.used[i]) {
            supervisor_watch(s, s->admission.client[i].pidfd, WATCH_CLIENT, i);
        }
    }
    for (uint32_t i = 0; i < PEERS_MAX; i++) {
        if (s->admission.peer[i].socket >= 0) {
            supervisor_watch(s, s->admission.peer[i].socket, WATCH_PEER, i);
        }
    }
    return 0;
}

/* From here on files are this user's or not, also for root. A stop that cannot write costs the next start all limits: better no start. */
static int privileges_drop(struct supervisor *s, char *text, size_t text_bytes)
{
    if (cage_supervisor_enter(&s->cage, text, text_bytes) != 0) {
        return -1;
    }
    if (access(s->dir, W_OK | X_OK) != 0) {
        (void)snprintf(text, text_bytes,
                       "cannot write: path=%.300s: %s: weird keeps no capability over files: make "
                       "the directory belong to the user that starts it (uid %u)",
                       s->dir, strerror(errno), (unsigned)geteuid());
        return -1;
    }
    return 0;
}

/* Take the lock; where it is held, begin to take over from who has it; where nobody answers, it may be somebody who is dying. */
static enum takeover_found lock_or_begin(struct supervisor *s, bool takeover, char *text,
                                         size_t text_bytes, char *why, size_t why_bytes)
{
    enum takeover_found found = TAKEOVER_NOBODY;
    s->lock_fd = takeover ? -1 : aftermath_lock(s->dir, false, text, text_bytes);
    if (s->lock_fd < 0) {
        found = takeover_begin(&s->takeover, s->dir, s->config, !takeover, &s->region, &s->journal,
                               why, why_bytes);
    }
    if (s->lock_fd < 0 && !takeover && found == TAKEOVER_NOBODY) {
        s->lock_fd = aftermath_lock(s->dir, true, text, text_bytes);
    }
    return found;
}

int supervisor_open(struct supervisor *s, const struct supervisor_options *options, char *text,
                    size_t text_bytes)
{
    bool takeover = options->takeover;
    char why[512] = "";
    int rc;
    if (rlimits_check(s->config, text, text_bytes) != 0 || uring_check(text, text_bytes) != 0 ||
        cage_make(&s->cage, options->cage, &s->config->broker, options->secrets, text,
                  text_bytes) != 0 ||
        directory_make(s, options->runtime_dir, text, text_bytes) != 0 ||
        privileges_drop(s, text, text_bytes) != 0) {
        return -1;
    }
    enum takeover_found found = lock_or_begin(s, takeover, text, text_bytes, why, sizeof why);
    if (s->lock_fd >= 0) {
        rc = open_new(s, options->fresh, text, text_bytes);
    } else {
        if (found != TAKEOVER_READY) {
            if (takeover || found == TAKEOVER_FAILED) {
                (void)snprintf(text, text_bytes, "%s", why);
            }
            if (takeover && found == TAKEOVER_NOBODY) {
                (void)snprintf(text, text_bytes,
                               "cannot take over: path=%.300s: no broker runs here: start without "
                               "--takeover",
                               s->dir);
            }
            return -1;
        }
        rc = open_takeover(s, text, text_bytes);
    }
    if (rc != 0) {
        return -1;
    }
    supervisor_watch(s, s->handover.listener, WATCH_HANDOVER, 0);
    for (uint32_t d = 0; d < s->region.domain_cnt; d++) {
        supervisor_watch(s, s->admission.listener[d], WATCH_LISTENER, d);
    }
    return 0;
}
