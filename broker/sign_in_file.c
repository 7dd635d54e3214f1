#include "broker/sign_in_file.h"

#include "broker/journal.h"
#include "broker/log.h"
#include "shm/weir_atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint32_t sign_in_cnt(const struct weir_config *config)
{
    size_t cnt = 0;
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_auth *auth = &config->provider[p].auth;
        cnt += sign_has_session(auth->kind) ? weir_config_key_cnt(auth) : 0;
    }
    return (uint32_t)weir_min_u64(cnt, SIGN_IN_SESSIONS_MAX);
}

/* The new name has to be on the disk before what is written behind it counts. */
static int directory_sync(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 ? fsync(fd) : -1;
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

/*
 * Name and length on the disk. Also of a file that was there with its length: who made it may have died, or been refused by the disk, before either was, and what is written into a file
 * without a name on the disk is gone with the host.
 */
static int make_durable(int fd, const char *dir, bool is_short)
{
    if ((is_short && ftruncate(fd, SIGN_IN_FILE_BYTES) != 0) || fsync(fd) != 0 ||
        directory_sync(dir) != 0) {
        return errno;
    }
    return 0;
}

/* Returns a descriptor, or -errno. */
static int file_open(const struct journal *journal, const struct weir_config_provider *provider,
                     size_t key, char path[PATH_MAX], bool *durable)
{
    uint64_t identity[2];
    struct stat st;
    sign_in_identity(provider, key, identity);
    (void)snprintf(path, PATH_MAX, "%s/token.%s.%016llx", journal->dir, provider->name,
                   (unsigned long long)identity[0]);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0) {
        return -errno;
    }
    int rc = fstat(fd, &st) != 0     ? errno
             : !S_ISREG(st.st_mode)  ? EINVAL
             : fchmod(fd, 0600) != 0 ? errno
                                     : 0;
    bool is_short = rc == 0 && st.st_size < (off_t)SIGN_IN_FILE_BYTES;
    if (rc == 0 && (is_short || !*durable)) {
        rc = make_durable(fd, journal->dir, is_short);
        *durable = rc == 0;
    }
    if (rc != 0) {
        (void)close(fd);
        return -rc;
    }
    return fd;
}

static void one_open(struct sign_in_files *f, const struct journal *journal,
                     const struct weir_config_provider *provider, size_t key)
{
    char path[PATH_MAX] = "none";
    uint32_t nth = f->cnt++;
    uint64_t identity[2];
    sign_in_identity(provider, key, identity);
    if (memcmp(identity, f->identity[nth], sizeof identity) != 0) {
        /* After a reload: what was sent of another key says nothing of this one. */
        memcpy(f->identity[nth], identity, sizeof identity);
        f->place[nth] = (struct sign_in_place){0, 0, 0};
        f->durable[nth] = false;
    }
    f->fd[nth] = -1;
    f->why[nth] = 0;
    if (provider->auth.kind != SIGN_OAUTH2) {
        return;
    }
    int fd =
        journal->lock_fd >= 0 ? file_open(journal, provider, key, path, &f->durable[nth]) : -ENOENT;
    f->fd[nth] = fd >= 0 ? fd : -1;
    f->why[nth] = fd >= 0 ? 0 : -fd;
    if (fd < 0) {
        log_error("sign_in_off", "s:s, s:s, s:s, s:s, s:s", "provider", provider->name, "path",
                  path, "reason",
                  journal->lock_fd >= 0 ? strerror(-fd) : "broker.state_dir is none", "meaning",
                  "no token of it can be kept, so none is used: its calls are refused", "next_step",
                  "give weird a directory that it can write, and start it anew");
    }
}

void sign_in_files_open(struct sign_in_files *f, const struct weir_config *config,
                        const struct journal *journal, struct region *region)
{
    uint32_t cnt = sign_in_cnt(config);
    for (uint32_t i = 0; i < f->cnt; i++) {
        if (f->fd[i] >= 0) {
            (void)close(f->fd[i]);
        }
    }
    f->cnt = 0;
    region->sign_in = NULL;
    if (cnt == 0) {
        return;
    }
    if (f->place == NULL) {
        f->place_bytes = cnt * sizeof *f->place;
        void *at =
            mmap(NULL, f->place_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) {
            log_error("sign_in_off", "s:s, s:s", "reason", strerror(errno), "meaning",
                      "calls that need a session are refused");
            return;
        }
        f->place = at;
    }
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_provider *provider = &config->provider[p];
        size_t keys =
            sign_has_session(provider->auth.kind) ? weir_config_key_cnt(&provider->auth) : 0;
        for (size_t k = 0; k < keys && f->cnt < cnt; k++) {
            one_open(f, journal, provider, k);
        }
    }
    region->sign_in = f;
}

bool sign_in_at_stake(const struct region *region)
{
    const struct sign_in_files *f = region->sign_in;
    for (uint32_t i = 0; f != NULL && i < f->cnt; i++) {
        /* no partner: one word, and nothing else is read with it */
        if (weir_load_acquire_u64(&f->place[i].at_stake) != 0) {
            return true;
        }
    }
    return false;
}

uint64_t sign_in_longest_ns(const struct weir_config *config)
{
    uint64_t longest_ns = 0;
    for (size_t p = 0; p < config->provider_cnt; p++) {
        const struct weir_config_auth *auth = &config->provider[p].auth;
        const struct weir_config_sign_in *s = &auth->sign_in;
        if (auth->kind == SIGN_OAUTH2) {
            longest_ns = weir_max_u64(
                longest_ns, config->provider[s->provider_idx].route[s->route_idx].timeout_ns);
        }
    }
    return longest_ns;
}

void sign_in_files_forget(struct sign_in_files *f)
{
    if (f->place != NULL) {
        (void)munmap(f->place, f->place_bytes);
        f->place = NULL;
    }
}
