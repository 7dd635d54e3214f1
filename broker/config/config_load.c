/*
 * config_load.c: from a file to a configuration or to messages.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/config/config.h"
#include "broker/config/config_events.h"
#include "broker/config/config_mem.h"
#include "broker/config/config_read.h"
#include "broker/config/config_reader.h"
#include "broker/config/config_schema.h"

static int by_place(const void *a, const void *b)
{
    const struct weir_config_message *left = a;
    const struct weir_config_message *right = b;
    if (left->line != right->line) {
        return left->line < right->line ? -1 : 1;
    }
    return left->column < right->column ? -1 : left->column > right->column;
}

/* People mend a file from its top; the checks found the faults in another order. */
static void sort_messages(struct weir_config_diag *diag)
{
    qsort(diag->error, weir_min_u64(diag->error_cnt, WEIR_CONFIG_ERROR_MAX), sizeof(diag->error[0]),
          by_place);
    qsort(diag->warning, weir_min_u64(diag->warning_cnt, WEIR_CONFIG_WARNING_MAX),
          sizeof(diag->warning[0]), by_place);
}

static ssize_t run_here(void *arg, const char *buf, size_t bytes, char *out, size_t room, char *why,
                        size_t why_bytes)
{
    (void)arg;
    (void)why;
    (void)why_bytes;
    return (ssize_t)weir_config_yaml_events(buf, bytes, out, room);
}

/* The tree, or NULL after an error. What the parser said is wiped: it holds what the file holds. */
static struct weir_config_node *tree_load(struct weir_config_reader *reader,
                                          const struct weir_config_parser *parser, const char *buf,
                                          size_t bytes)
{
    static const struct weir_config_parser here = {.run = run_here};
    char why[WEIR_CONFIG_TEXT_BYTES] = "";
    size_t room = weir_config_events_room(bytes);
    char *stream = malloc(room);
    if (!stream) {
        weir_config_error_at(reader, 0, 0, "the system gave no memory: free some and try again");
        return NULL;
    }
    parser = parser ? parser : &here;
    struct weir_config_node *root = NULL;
    ssize_t got = parser->run(parser->arg, buf, bytes, stream, room, why, sizeof(why));
    if (got < 0) {
        weir_config_error_at(reader, 0, 0, "%s", why);
    } else {
        root = weir_config_tree_build(reader, stream, (size_t)got);
        explicit_bzero(stream, (size_t)got);
    }
    free(stream);
    return root;
}

struct weir_config *weir_config_parse_by(const struct weir_config_parser *parser, const char *buf,
                                         size_t bytes, const char *name,
                                         struct weir_config_diag *diag)
{
    *diag = (struct weir_config_diag){0};
    struct weir_config_reader reader = {.name = name, .diag = diag};
    if (bytes > WEIR_CONFIG_FILE_MAX_BYTES) {
        weir_config_error_at(&reader, 0, 0, "larger than %u bytes: is this the configuration?",
                             WEIR_CONFIG_FILE_MAX_BYTES);
        return NULL;
    }
    struct weir_config *config = NULL;
    struct weir_config_node *root = tree_load(&reader, parser, buf, bytes);
    if (root) {
        config = weir_config_keep(&reader, sizeof(*config));
    }
    if (config) {
        struct weir_config_place place = {.node = root};
        weir_config_read_section(&reader, &weir_config_root, config, &place);
    }
    sort_messages(diag);
    weir_config_mem_free(reader.scratch);
    if (diag->error_cnt) {
        weir_config_mem_free(reader.blocks);
        return NULL;
    }
    config->variable = reader.variable;
    config->blocks = reader.blocks;
    return config;
}

struct weir_config *weir_config_parse(const char *buf, size_t bytes, const char *name,
                                      struct weir_config_diag *diag)
{
    return weir_config_parse_by(NULL, buf, bytes, name, diag);
}

/* All of the file, at most `max` bytes; -1 with errno set. */
static ssize_t read_all(int fd, char *buf, size_t max)
{
    size_t at = 0;
    while (at < max) {
        ssize_t got = read(fd, buf + at, max - at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        at += (size_t)got;
    }
    return (ssize_t)at;
}

struct weir_config *weir_config_load(const char *path, const struct weir_config_parser *parser,
                                     struct weir_config_diag *diag)
{
    *diag = (struct weir_config_diag){0};
    struct weir_config_reader reader = {.name = path, .diag = diag};
    const size_t max = WEIR_CONFIG_FILE_MAX_BYTES + 1; /* one more, so that "too large" shows */
    struct weir_config *config = NULL;
    char *buf = malloc(max);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t bytes = buf && fd >= 0 ? read_all(fd, buf, max) : -1;
    if (bytes < 0) {
        weir_config_error_at(&reader, 0, 0, "cannot be read: %s: give the configuration's path",
                             strerror(errno));
    } else {
        config = weir_config_parse_by(parser, buf, (size_t)bytes, path, diag);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (buf) {
        explicit_bzero(buf, bytes > 0 ? (size_t)bytes : 0);
        free(buf);
    }
    return config;
}

void weir_config_free(struct weir_config *config)
{
    if (config) {
        weir_config_mem_free(config->blocks); /* `config` itself is one of them */
    }
}
