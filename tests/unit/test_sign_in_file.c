/*
 * test_sign_in_file.c: the file of a refresh token before anything is written into it. Its name and its length are on the disk, or no token of it is used: whoever made it may have died
 * in between, or a disk refused.
 *
 * fsync(2) is ours: it counts what was asked for, and fails where it is told to.
 */
#include "broker/journal.h"
#include "broker/sign_in_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    unsigned files, directories;
    bool file_fails, directory_fails;
} disk;

int fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    bool is_directory = S_ISDIR(st.st_mode);
    disk.files += !is_directory;
    disk.directories += is_directory;
    if (is_directory ? disk.directory_fails : disk.file_fails) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static char dir[] = "/tmp/weir-sign-in-file.XXXXXX";
static struct weir_config *config;
static struct journal journal;
static struct region region;

static void opens(struct sign_in_files *f, bool well, unsigned files, unsigned directories)
{
    disk.files = disk.directories = 0;
    sign_in_files_open(f, config, &journal, &region);
    assert_int_equal(f->cnt, 1);
    assert_ptr_equal(region.sign_in, f);
    assert_int_equal(f->fd[0] >= 0, well);
    assert_int_equal(f->why[0], well ? 0 : EIO);
    assert_int_equal(disk.files, files);
    assert_int_equal(disk.directories, directories);
}

static void ends(struct sign_in_files *f)
{
    if (f->fd[0] >= 0) {
        (void)close(f->fd[0]);
    }
    sign_in_files_forget(f);
    memset(f, 0, sizeof *f);
}

static void forget(void)
{
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    (void)closedir(d);
}

/* The disk refuses the first broker: the next one finds a file of the right length, and asks the disk itself. */
static void refused_once(void **arg)
{
    (void)arg;
    static struct sign_in_files f;
    for (unsigned what = 0; what < 2; what++) {
        disk.file_fails = what == 0;
        disk.directory_fails = what == 1;
        opens(&f, false, 1, what);
        opens(&f, false, 1, what); /* a reload: it refuses still */
        disk.file_fails = disk.directory_fails = false;
        opens(&f, true, 1, 1); /* the next reload */
        ends(&f);
        forget();
    }
}

/* Whoever made the file died before it was on the disk, or not: the next broker cannot know. A reload does. */
static void found_is_not_known(void **arg)
{
    (void)arg;
    static struct sign_in_files f;
    opens(&f, true, 1, 1);
    opens(&f, true, 0, 0);
    ends(&f);
    opens(&f, true, 1, 1);
    opens(&f, true, 0, 0);
    ends(&f);
    disk.directory_fails = true;
    opens(&f, false, 1, 1);
    disk.directory_fails = false;
    ends(&f);
    forget();
}

static int begin(void **arg)
{
    static struct weir_config_diag diag;
    static const char yaml[] =
        "broker: {name: t}\n"
        "providers:\n"
        "  - name: login\n"
        "    endpoints: [{name: e, url: 'https://a.example'}]\n"
        "    limits: [{name: l, kind: token_bucket, quota: 9, window: 1s}]\n"
        "    routes: [{name: r, method: POST, path: /t, cost: {l: 1}}]\n"
        "  - name: p\n"
        "    endpoints: [{name: e, url: 'https://b.example'}]\n"
        "    auth: {kind: oauth2, refresh_token: t, sign_in: {route: login.r}}\n"
        "    limits: [{name: l, kind: token_bucket, quota: 9, window: 1s}]\n"
        "    routes: [{name: r, method: GET, path: /a, cost: {l: 1}, signed: true}]\n";
    (void)arg;
    config = weir_config_parse(yaml, sizeof yaml - 1, "t", &diag);
    if (config == NULL) {
        weir_config_diag_print(stderr, &diag);
        return -1;
    }
    journal.lock_fd = 0; /* somebody keeps one */
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    (void)snprintf(journal.dir, sizeof journal.dir, "%s", dir);
    return 0;
}

static int end(void **arg)
{
    (void)arg;
    weir_config_free(config);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refused_once),
        cmocka_unit_test(found_is_not_known),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
