/*
 * test_parser.c: the process that runs libyaml, and what its parent makes of it when it lies, dies, hangs or never ends.
 *
 * Oracle: the same file read by libyaml in this process gives the same; what libyaml cannot have said is refused by name; the parent is never harmed (run it with the
 * sanitizers). What the child still sees is read from its memory while it waits for us to read.
 */
#include "broker/parser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "broker/config/config_events.h"

#include <dirent.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define GOOD                                                                                    \
    "providers:\n- name: p\n  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n" \
    "  routes: [{name: r, transport: own, cost: {l: 1}}]\n"

/* A sanitizer's shadow is terabytes, and its mappings count as data. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LOOKS false
#else
#define LOOKS true
#endif

static struct weir_config_diag diag;

/* ---------------------------------------------------------------------------------------------- streams */

struct stream {
    char at[4096];
    size_t bytes;
};

static ssize_t answer(void *arg, const char *buf, size_t bytes, char *out, size_t room, char *why,
                      size_t why_bytes)
{
    const struct stream *s = arg;
    (void)buf;
    (void)bytes;
    (void)why;
    (void)why_bytes;
    assert_in_range(s->bytes, 0, room);
    memcpy(out, s->at, s->bytes);
    return (ssize_t)s->bytes;
}

static struct weir_config *load(struct stream *s)
{
    static const char file[4096] = ""; /* its size is the room */
    const struct weir_config_parser parser = {.run = answer, .arg = s};
    return weir_config_parse_by(&parser, file, sizeof file, "t", &diag);
}

static void add(struct stream *s, uint32_t kind, const char *text)
{
    const struct weir_config_event e = {
        .kind = kind, .line = 3, .column = 4, .bytes = (uint32_t)strlen(text)};
    memcpy(s->at + s->bytes, &e, sizeof e);
    memcpy(s->at + s->bytes + sizeof e, text, e.bytes);
    s->bytes += sizeof e + e.bytes;
}

static struct stream good(void)
{
    struct stream s = {0};
    s.bytes = weir_config_yaml_events(GOOD, sizeof GOOD - 1, s.at, sizeof s.at);
    return s;
}

static void refused(struct stream *s, const char *message)
{
    assert_null(load(s));
    assert_string_equal(diag.error[0].text, message);
}

#define FORGED(what)                          \
    "t: the parser's answer is forged: " what \
    ": this file broke into it, or it is a bug of weir: report it"

enum {
    SCALAR = WEIR_CONFIG_EVENT_SCALAR,
    LIST = WEIR_CONFIG_EVENT_LIST,
    MAP = WEIR_CONFIG_EVENT_MAP,
    CLOSE = WEIR_CONFIG_EVENT_CLOSE,
    END = WEIR_CONFIG_EVENT_END,
};

static void test_nesting(void **state)
{
    (void)state;
    static const struct {
        uint32_t kind[6];
        const char *message;
    } cases[] = {
        {{CLOSE}, FORGED("wrong nesting")},
        {{MAP, END}, FORGED("wrong nesting")},
        {{MAP, CLOSE, CLOSE}, FORGED("wrong nesting")},
        {{MAP, SCALAR, CLOSE}, FORGED("wrong nesting")},
        {{MAP, CLOSE, MAP, CLOSE, END}, FORGED("two roots")},
        {{SCALAR, SCALAR, END}, FORGED("two roots")},
        {{MAP, CLOSE, END, END}, FORGED("more behind its end")},
        {{MAP, CLOSE}, FORGED("it is cut off")},
        {{MAP, 11}, FORGED("an unknown event")},
        {{UINT32_MAX}, FORGED("an unknown event")},
        {{MAP, LIST}, "t:3:4: a key must be a plain word"},
        {{MAP, WEIR_CONFIG_EVENT_MANY}, "t:3:4: too many parts: is this the configuration?"},
        {{WEIR_CONFIG_EVENT_NO_MEMORY}, "t: the system gave no memory: free some and try again"},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        struct stream s = {0};
        for (size_t k = 0; k < 6 && cases[i].kind[k] != 0; k++) {
            add(&s, cases[i].kind[k], cases[i].kind[k] == SCALAR ? "a" : "");
        }
        refused(&s, cases[i].message);
    }
    struct stream s = {0};
    refused(&s, FORGED("it is cut off"));
    for (unsigned i = 0; i <= WEIR_CONFIG_DEPTH_MAX; i++) {
        add(&s, LIST, "");
    }
    refused(&s, "t:3:4: nested too deeply: at most 16 levels");
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        struct weir_config_event event;
        const char *message;
    } cases[] = {
        {{.kind = SCALAR, .line = 0, .column = 1}, FORGED("a place outside of the file")},
        {{.kind = SCALAR, .line = 1, .column = 0}, FORGED("a place outside of the file")},
        {{.kind = SCALAR, .line = UINT32_MAX, .column = 1}, FORGED("a place outside of the file")},
        {{.kind = SCALAR, .line = 1, .column = 1U << 21}, FORGED("a place outside of the file")},
        {{.kind = SCALAR, .line = 1, .column = 1, .bytes = 4098},
         FORGED("a text that is too long")},
        {{.kind = SCALAR, .line = 1, .column = 1, .bytes = UINT32_MAX},
         FORGED("a text that is too long")},
        {{.kind = WEIR_CONFIG_EVENT_BAD, .line = 1, .column = 1, .bytes = 256},
         FORGED("a text that is too long")},
        {{.kind = CLOSE, .line = 1, .column = 1, .bytes = 1}, FORGED("a text that is too long")},
        {{.kind = SCALAR, .line = 1, .column = 1, .bytes = 1}, FORGED("it is cut off")},
        {{.kind = SCALAR, .line = 1, .column = 1, .bytes = 4097}, FORGED("it is cut off")},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        struct stream s = {.bytes = sizeof cases[i].event};
        memcpy(s.at, &cases[i].event, sizeof cases[i].event);
        refused(&s, cases[i].message);
    }
}

/* What it says of a bad file reaches a terminal. */
static void test_reason(void **state)
{
    (void)state;
    struct stream s = {0};
    add(&s, WEIR_CONFIG_EVENT_BAD, "\x1b[2Jnothing\nis wrong: %s");
    refused(&s, "t:3:4: not YAML: ?[2Jnothing?is wrong: %s");
}

static void test_cut_off(void **state)
{
    (void)state;
    const struct stream whole = good();
    struct stream s = whole;
    struct weir_config *config = load(&s);
    assert_non_null(config);
    weir_config_free(config);
    for (size_t cut = 0; cut < whole.bytes; cut++) {
        s.bytes = cut;
        refused(&s, FORGED("it is cut off"));
    }
}

/* Any byte anything else: a configuration, or a message. */
static void test_damage(void **state)
{
    (void)state;
    const struct stream whole = good();
    unsigned accepted = 0;
    uint64_t seed = 1;
    for (unsigned run = 0; run < 20000; run++) {
        struct stream s = whole;
        for (unsigned i = 0; i <= run % 3; i++) {
            seed = seed * 6364136223846793005U + 1442695040888963407U;
            s.at[(seed >> 40) % s.bytes] = (char)(seed >> 33);
        }
        struct weir_config *config = load(&s);
        assert_int_equal(config == NULL, diag.error_cnt > 0);
        accepted += config != NULL;
        weir_config_free(config);
    }
    assert_in_range(accepted, 1, 19999); /* some bytes are only a column */
}

/* ---------------------------------------------------------------------------------------------- children */

typedef void child_fn(int fd);

static char heard[4096];
static char why[WEIR_CONFIG_TEXT_BYTES];

static ssize_t hear_child(child_fn *act, uint64_t max_ns)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(30);
        (void)close(ends[0]);
        act(ends[1]);
        _exit(0);
    }
    (void)close(ends[1]);
    why[0] = '\0';
    ssize_t n = parser_hear(pid, ends[0], heard, sizeof heard, max_ns, why, sizeof why);
    assert_int_equal(waitpid(pid, NULL, 0), -1); /* nothing is left of it */
    return n;
}

static void die(int fd)
{
    (void)!write(fd, "abc", 3);
    (void)raise(SIGKILL);
}
static void use_time(int fd)
{
    (void)fd;
    (void)raise(SIGXCPU);
}
static void escape(int fd)
{
    struct cage cage = {.hide = true};
    char text[200];
    if (cage_enter(&cage, CAGE_PARSER, text, sizeof text) == 0) {
        (void)open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    }
    (void)write(fd, "", 0);
}
static void hang(int fd)
{
    (void)!write(fd, "abc", 3);
    (void)pause();
}
static void stop(int fd)
{
    (void)fd;
    (void)raise(SIGSTOP);
}
static void close_and_hang(int fd)
{
    (void)close(fd);
    (void)pause();
}
static void flood(int fd)
{
    static const char much[65536];
    while (write(fd, much, sizeof much) > 0) {
    }
}
static void full(int fd)
{
    static const char much[sizeof heard];
    (void)!write(fd, much, sizeof much);
}
static void no_cage(int fd)
{
    (void)!write(fd, "it is closed", 12);
    _exit(3);
}
static void give_up(int fd)
{
    (void)fd;
    _exit(1);
}
static void slowly(int fd)
{
    for (unsigned i = 0; i < 10; i++) {
        (void)!write(fd, "ab", 2);
        (void)usleep(1000);
    }
}

/* What follows runs in the parser's cage, and valgrind refuses its filter. */
static void needs_cage(void)
{
    if (getenv("WEIR_UNDER") != NULL) {
        skip();
    }
}

#define LATE                                                                                  \
    "the parser was not done after 1 s, and was killed: write the file more plainly, or try " \
    "again "                                                                                  \
    "when this machine has time"
#define BROKEN(how) "the parser was ended by signal " how ": this file broke it: report it"

static void test_children(void **state)
{
    (void)state;
    needs_cage();
    static const struct {
        child_fn *act;
        const char *why;
    } cases[] = {
        {die, BROKEN("9 (Killed)")},
        {use_time, "the parser used up its processor time: write the file more plainly"},
        {escape, "the parser made a system call that it never needs, and was ended before it was "
                 "done: this file broke into it, or it is a bug of weir: report it. --cage=log has "
                 "the kernel's log name the call"},
        {hang, LATE},
        {stop, LATE},
        {close_and_hang, LATE},
        {flood, "the parser's answer is forged: more than this file can say: this file broke into "
                "it, or it is a bug of weir: report it"},
        {no_cage, "the parser's cage cannot be had: it is closed: a container or an old kernel "
                  "forbids it: allow it, or find out with --cage=off"},
        {give_up, "the parser ended with status 1: try again"},
    };
    for (size_t i = 0; i < WEIR_ARRAY_CNT(cases); i++) {
        assert_int_equal(hear_child(cases[i].act, WEIR_NS_PER_S), -1);
        assert_string_equal(why, cases[i].why);
    }
    assert_int_equal(hear_child(slowly, 20 * WEIR_NS_PER_S), 20);
    assert_int_equal(hear_child(full, 20 * WEIR_NS_PER_S), sizeof heard);
    (void)signal(SIGCHLD, SIG_IGN); /* as some service managers leave it */
    assert_int_equal(hear_child(slowly, 20 * WEIR_NS_PER_S), 20);
    (void)signal(SIGCHLD, SIG_DFL);
}

/* ---------------------------------------------------------------------------------------------- the real one */

static struct weir_config *load_apart(const char *text, size_t bytes)
{
    struct parser parser = {.mode = CAGE_ENFORCE};
    const struct weir_config_parser run = {.run = parser_run, .arg = &parser};
    return weir_config_parse_by(&run, text, bytes, "t", &diag);
}

static void test_apart(void **state)
{
    (void)state;
    needs_cage();
    static char large[1U << 20];
    static const char *const files[] = {
        "",          "{}", "a: [", "a: 1\n---\nb: 2\n", "a: *x\n", "[[[[[[[[[[[[[[[[[ ",
        "a: \001\n", GOOD, "- a",  "{a, a: 1}",
    };
    struct weir_config *config = load_apart(GOOD, sizeof GOOD - 1);
    assert_non_null(config);
    weir_config_free(config);
    for (size_t i = 0; i < WEIR_ARRAY_CNT(files); i++) {
        static struct weir_config_diag here;
        weir_config_free(weir_config_parse(files[i], strlen(files[i]), "t", &here));
        weir_config_free(load_apart(files[i], strlen(files[i])));
        assert_memory_equal(&diag, &here, sizeof here);
    }
    memset(large, '[', sizeof large); /* libyaml's time grows with the square of the depth */
    assert_null(load_apart(large, sizeof large));
    assert_string_equal(diag.error[0].text, "t:1:17: nested too deeply: at most 16 levels");
    for (size_t i = 0; i + 2 < sizeof large; i += 2) { /* the most that a file can say */
        memcpy(large + i, "?,", 2);
    }
    large[0] = '[';
    assert_null(load_apart(large, sizeof large));
    memset(large, 'x', sizeof large);
    assert_null(load_apart(large, sizeof large));
    assert_string_equal(diag.error[0].text, "t:1:1: the value is too long: at most 4096 bytes");
}

/* Is `text` anywhere in the memory of `pid`? -1: it is closed to us. */
static int memory_has(pid_t pid, const char *text)
{
    static char page[1 << 16];
    char path[64];
    char line[256];
    int found = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = LOOKS ? fopen(path, "re") : NULL;
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)pid);
    int mem = open(path, O_RDONLY | O_CLOEXEC);
    if (maps == NULL || mem < 0) {
        return -1;
    }
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long long from;
        unsigned long long to;
        char rights[8];
        bool read = sscanf(line, "%llx-%llx %7s", &from, &to, rights) == 3 && rights[1] == 'w';
        for (; read && from < to; from += sizeof page) {
            ssize_t n = pread(mem, page, weir_min_u64(sizeof page, to - from), (off_t)from);
            found += n > 0 && memmem(page, (size_t)n, text, strlen(text)) != NULL;
        }
    }
    (void)fclose(maps);
    (void)close(mem);
    return found;
}

/* A key that is written ${VAR}, and one of the configuration that was loaded before; spelled backwards, so that they are nowhere else. */
static char *key_make(const char *backwards)
{
    size_t n = strlen(backwards);
    char *key = malloc(n + 1);
    assert_non_null(key);
    for (size_t i = 0; i < n; i++) {
        key[i] = backwards[n - 1 - i];
    }
    key[n] = '\0';
    return key;
}

static void key_free(char *key)
{
    explicit_bzero(key, strlen(key));
    free(key);
}

/* A parser that waits for us to read, because the pipe is full: so it is in its cage. */
static pid_t waiting(const struct parser *parser, char *out, size_t room, int *fd)
{
    static char large[300000];
    char byte;
    for (size_t i = 0; i < sizeof large - 8; i += 8) {
        memcpy(large + i, "- abcde\n", 8);
    }
    pid_t pid = parser_start(parser, large, sizeof large - 8, out, room, fd, why, sizeof why);
    assert_true(pid > 0);
    assert_int_equal(read(*fd, &byte, 1), 1);
    return pid;
}

static void proc_has(pid_t pid, const char *file, const char *line)
{
    static char text[8192];
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, sizeof text - 1);
    assert_true(n > 0);
    text[n] = '\0';
    (void)close(fd);
    if (strstr(text, line) == NULL) {
        fail_msg("%s has no line: %s", path, line);
    }
}

static void caged_user(pid_t pid)
{
    const struct passwd *weir = getpwnam("weir");
    weir = weir != NULL ? weir : getpwnam("nobody");
    if (geteuid() == 0 && weir != NULL) {
        char uid[80];
        (void)snprintf(uid, sizeof uid, "\nUid:\t%u\t%u\t%u\t%u\n", weir->pw_uid, weir->pw_uid,
                       weir->pw_uid, weir->pw_uid);
        proc_has(pid, "status", uid);
        proc_has(pid, "status", "\nGroups:\t \n");
        proc_has(pid, "status", "\nCapBnd:\t0000000000000000\n");
    }
    proc_has(pid, "status", "Name:\tweird-parser\n");
    proc_has(pid, "status", "\nCapPrm:\t0000000000000000\n");
    proc_has(pid, "status", "\nCapEff:\t0000000000000000\n");
    proc_has(pid, "status", "\nNoNewPrivs:\t1\n");
    proc_has(pid, "status", "\nSeccomp:\t2\n");
}

static void test_cage(void **state)
{
    (void)state;
    needs_cage();
    static char out[1 << 20];
    const struct parser parser = {.mode = CAGE_ENFORCE};
    int fd;
    pid_t pid = waiting(&parser, out, sizeof out, &fd);
    caged_user(pid);
    proc_has(pid, "limits", "Max core file size        0                    0 ");
    proc_has(pid, "limits", "Max file size             0                    0 ");
    proc_has(pid, "limits", "Max open files            0                    0 ");
    proc_has(pid, "limits", "Max processes             0                    0 ");
    proc_has(pid, "limits", "Max cpu time              5                    6 ");
    if (LOOKS) {
        proc_has(pid, "limits", "Max data size             67108864             67108864 ");
    }
    char path[64];
    unsigned open_cnt = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *dir = opendir(path);
    for (const struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        open_cnt += e->d_name[0] != '.';
    }
    if (dir != NULL) { /* it is closed to all but root */
        assert_int_equal(open_cnt, 1);
        (void)closedir(dir);
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(parser_hear(pid, fd, out, sizeof out, WEIR_NS_PER_S, why, sizeof why), -1);
}

/* The parent's own look for a key must not be what is found in its child: only after the fork. */
static void test_keys(void **state)
{
    (void)state;
    needs_cage();
    static const char first_backwards[] = "yek-tnemnorivne-na";
    static const char before_backwards[] = "yek-tsrif-eht";
    static char out[1 << 20];
    char text[600];
    struct parser parser = {.mode = CAGE_ENFORCE};
    int fd;
    char *key = key_make(first_backwards);
    assert_int_equal(setenv("WEIR_TEST_KEY", key, 1), 0);
    key_free(key);
    key = key_make(before_backwards);
    int n = snprintf(text, sizeof text,
                     "providers:\n- name: p\n  endpoints: [{name: e, url: 'http://h'}]\n  headers: "
                     "[{name: X-Key, value: '%s'}, "
                     "{name: X-Other, value: '${WEIR_TEST_KEY}'}]\n"
                     "  limits: [{name: l, kind: token_bucket, quota: 10, window: 1s}]\n"
                     "  routes: [{name: r, transport: own, cost: {l: 1}}]\n",
                     key);
    key_free(key);
    parser.loaded = load_apart(text, (size_t)n); /* as weird does: libyaml's buffers are not ours */
    explicit_bzero(text, sizeof text);
    if (parser.loaded == NULL) {
        weir_config_diag_print(stdout, &diag);
    }
    assert_non_null(parser.loaded);
    assert_in_range(weir_config_secret_bytes(parser.loaded), 10, 1000);
    pid_t pid = waiting(&parser, out, sizeof out, &fd);
    int has = memory_has(pid, "abcde");
    key = key_make(first_backwards);
    int first = memory_has(pid, key);
    int ours = memory_has(getpid(), key);
    key_free(key);
    key = key_make(before_backwards);
    int before = memory_has(pid, key);
    key_free(key);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(parser_hear(pid, fd, out, sizeof out, WEIR_NS_PER_S, why, sizeof why), -1);
    weir_config_free(parser.loaded);
    assert_int_equal(unsetenv("WEIR_TEST_KEY"), 0);
    if (has < 0) {
        (void)printf("not looked: the child's memory is closed to us, as it should be\n");
        return;
    }
    assert_in_range(has, 1, 1000);  /* the file itself is there */
    assert_in_range(ours, 1, 1000); /* and the look finds what is there */
    assert_int_equal(first, 0);
    assert_int_equal(before, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nesting), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_reason),  cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_damage),  cmocka_unit_test(test_children),
        cmocka_unit_test(test_apart),   cmocka_unit_test(test_keys),
        cmocka_unit_test(test_cage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
