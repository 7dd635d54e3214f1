/*
 * Memory for keys: guarded, locked, zeroed, full when it is full, and an error that says what to raise.
 */
#include "broker/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A sanitizer makes mlock(2) do nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define LOCKS false
#else
#define LOCKS true
#endif
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_take(void **state)
{
    (void)state;
    struct secret_area area;
    char text[200] = "";
    assert_int_equal(secret_open(&area, 10, text, sizeof text), 0);
    char *first = secret_take(&area, 4);
    char *second = secret_take(&area, 6);
    assert_non_null(first);
    assert_ptr_equal(second, first + 4);
    assert_null(secret_take(&area, 1));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(first[i], 0);
    }
    secret_close(&area);
    assert_null(area.base);
}

static void test_nothing(void **state)
{
    (void)state;
    struct secret_area area;
    char text[200] = "";
    assert_int_equal(secret_open(&area, 0, text, sizeof text), 0);
    assert_null(area.base);
    assert_int_equal(secret_lock(&area, text, sizeof text), 0);
    assert_null(secret_take(&area, 1));
    secret_forget(&area);
    secret_close(&area);
}

/* A line of /proc/self/smaps about the mapping that holds `at`. */
static bool smaps_has(const void *at, const char *key, const char *value)
{
    char line[512];
    unsigned long from;
    unsigned long to;
    bool here = false;
    bool found = false;
    FILE *f = fopen("/proc/self/smaps", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        char rights[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3) {
            here = (unsigned long)(const char *)at >= from && (unsigned long)(const char *)at < to;
        }
        found |= here && strncmp(line, key, strlen(key)) == 0 && strstr(line, value) != NULL;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return found;
}

static void test_kept(void **state)
{
    (void)state;
    struct secret_area area;
    char text[200] = "";
    if (!LOCKS) {
        skip();
    }
    assert_int_equal(secret_open(&area, 5000, text, sizeof text), 0); /* two pages */
    assert_true(smaps_has(area.base, "VmFlags:", " dd"));
    assert_true(smaps_has(area.base + 4999, "VmFlags:", " lo"));
    /* Locks do not come along by fork. */
    pid_t pid = fork();
    if (pid == 0) {
        bool before = smaps_has(area.base, "VmFlags:", " lo");
        int rc = secret_lock(&area, text, sizeof text);
        _exit(!before && rc == 0 && smaps_has(area.base, "VmFlags:", " lo") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    secret_close(&area);
}

/* One byte before and one page behind: nobody's. */
static void test_guards(void **state)
{
    (void)state;
    struct secret_area area;
    char text[200] = "";
    char page[1];
    assert_int_equal(secret_open(&area, 10, text, sizeof text), 0);
    /* write(2) answers EFAULT where a store would end the process. */
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], area.base, 1), 1);
    assert_int_equal(read(pipes[0], page, 1), 1);
    assert_int_equal(write(pipes[1], area.base - 1, 1), -1);
    assert_int_equal(write(pipes[1], area.base + 4096, 1), -1);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    secret_close(&area);
}

static void test_not_lockable(void **state)
{
    (void)state;
    if (!LOCKS) {
        skip();
    }
    int pipes[2];
    char got[256] = "";
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        struct secret_area area;
        char text[200] = "";
        if (geteuid() == 0 &&
            (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(77);
        }
        int rc =
            setrlimit(RLIMIT_MEMLOCK, &none) == 0 ? secret_open(&area, 10, text, sizeof text) : 77;
        (void)!write(pipes[1], text, strlen(text));
        _exit(rc == -1 ? 0 : rc == 77 ? 77 : 1);
    }
    (void)close(pipes[1]);
    (void)!read(pipes[0], got, sizeof got - 1);
    (void)close(pipes[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == 77) {
        skip();
    }
    assert_int_equal(status, 0);
    assert_string_equal(got, "cannot lock the memory of the keys: 4 KiB: Operation not permitted: "
                             "ulimit -l is 0 KiB: raise it (LimitMEMLOCK=)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_take),         cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_kept),         cmocka_unit_test(test_guards),
        cmocka_unit_test(test_not_lockable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
