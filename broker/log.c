#include "broker/log.h"

#include "broker/crash.h"

#include <jansson.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 4096

static enum weir_config_log log_level = WEIR_CONFIG_LOG_INFO;
static const char *log_process = "weird";
static struct crash_ring *log_ring;

void log_open(enum weir_config_log level, const char *process)
{
    log_level = level;
    log_process = process;
}

void log_keep(struct crash_ring *ring)
{
    log_ring = ring;
}

void log_warm_up(void)
{
    json_object_seed(0); /* reads /dev/urandom */
}

static void stamp(char *out, size_t bytes)
{
    struct timespec ts;
    struct tm tm;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    (void)gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(out, bytes, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(out + n, bytes - n, ".%06ldZ", ts.tv_nsec / 1000);
}

static json_t *line_make(enum weir_config_log level, const char *event, const char *fields,
                         va_list ap)
{
    static const char *const names[] = {"?", "debug", "info", "warn", "error"};
    char at[40];
    char format[256];
    stamp(at, sizeof at);
    json_t *line = json_pack("{s:s, s:s, s:s, s:i, s:s}", "at", at, "level", names[level],
                             "process", log_process, "pid", (int)getpid(), "event", event);
    (void)snprintf(format, sizeof format, "{%s}", fields);
    json_t *more = json_vpack_ex(NULL, 0, format, ap);
    if (line != NULL && more == NULL) {
        (void)json_object_set_new(line, "log_fields", json_string("could not be written"));
    }
    if (line != NULL && more != NULL) {
        (void)json_object_update(line, more);
    }
    json_decref(more);
    return line;
}

/*
 * A log that cannot be written must not stop the broker: a pipe whose reader hangs takes no more, and a write would wait for it. Such a pipe is
 * writable only while a whole line (PIPE_BUF) fits. What is lost is counted, and told by the next line that fits.
 */
static void line_write(const char *text, size_t bytes)
{
    static unsigned lost;
    struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
    char note[96];
    if (poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0) {
        lost++;
        return;
    }
    if (lost > 0) {
        int n = snprintf(note, sizeof note,
                         "{\"level\":\"warn\",\"event\":\"log_lines_lost\",\"lines\":%u}\n", lost);
        lost = 0;
        (void)!write(STDERR_FILENO, note, (size_t)n);
        if (poll(&p, 1, 0) <= 0) {
            lost++;
            return;
        }
    }
    (void)!write(STDERR_FILENO, text, bytes);
}

void log_event(enum weir_config_log level, const char *event, const char *fields, ...)
{
    if (level < log_level) {
        return;
    }
    va_list ap;
    va_start(ap, fields);
    json_t *line = line_make(level, event, fields, ap);
    va_end(ap);
    char text[LINE_BYTES];
    size_t n = line != NULL ? json_dumpb(line, text, sizeof text - 1, JSON_COMPACT) : 0;
    if (n == 0 || n > sizeof text - 1) {
        n = (size_t)snprintf(text, sizeof text - 1,
                             "{\"level\":\"error\",\"event\":\"log_line_lost\"}");
    }
    text[n] = '\n';
    crash_ring_put(log_ring, text, n + 1); /* first: the reader of the log may hang */
    line_write(text, n + 1);
    json_decref(line);
}
