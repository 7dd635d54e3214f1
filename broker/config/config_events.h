/*
 * config_events.h: what libyaml found in a file, as one flat run of bytes.
 *
 * Written by whoever runs libyaml (config_yaml.c), which in weird is a process of its own that holds nothing (broker/parser.h). Read by config_tree.c, which takes it
 * for the word of somebody whom the file may have broken into: a stream that libyaml cannot have made is refused by name. What passes is a tree of bounded texts, and all
 * that is said about it is said by the schema, in the reader's process. So a parser that lies can give another configuration, and only one that somebody could have written.
 *
 * Each event is a struct and `bytes` bytes of text behind it, not aligned. The last one is END, MANY, NO_MEMORY or BAD, or one that opens a level too many: nothing follows.
 */
#ifndef WEIR_CONFIG_EVENTS_H
#define WEIR_CONFIG_EVENTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "broker/config/config_tree.h"

enum weir_config_event_kind {
    WEIR_CONFIG_EVENT_SCALAR = 1, /* text: the first WEIR_CONFIG_SCALAR_MAX_BYTES + 1 of it */
    WEIR_CONFIG_EVENT_LIST = 2,
    WEIR_CONFIG_EVENT_MAP = 3,
    WEIR_CONFIG_EVENT_CLOSE = 4, /* the list or map opened last */
    WEIR_CONFIG_EVENT_ALIAS = 5,
    WEIR_CONFIG_EVENT_DOCUMENT = 6, /* one begins */
    WEIR_CONFIG_EVENT_END = 7,
    WEIR_CONFIG_EVENT_BAD = 8, /* not YAML; text: why */
    WEIR_CONFIG_EVENT_NO_MEMORY = 9,
    WEIR_CONFIG_EVENT_MANY = 10, /* the stream is full */
};

struct weir_config_event {
    uint32_t kind;
    uint32_t is_marked; /* 1: it bears an anchor or a tag */
    uint32_t line, column;
    uint32_t bytes; /* of text */
};

/* libyaml's longest reason, and the place of it. */
#define WEIR_CONFIG_EVENT_BAD_MAX_BYTES 255

/* No stream is larger: memory of the reader, should the writer lie. A file of 1 MiB that needs more has an event for every third byte. */
#define WEIR_CONFIG_EVENTS_MAX_BYTES (8u << 20)

/* Room for all that a file of so many bytes can say: libyaml makes four events of a byte at most, and of its text three bytes of two. */
static inline size_t weir_config_events_room(size_t file_bytes)
{
    size_t room = 512 + file_bytes * (4 * sizeof(struct weir_config_event) + 2);
    return room < WEIR_CONFIG_EVENTS_MAX_BYTES ? room : WEIR_CONFIG_EVENTS_MAX_BYTES;
}

/* Run libyaml over a file. Returns the bytes of the stream in `out`, which has `room` of them, at least 512. Opens no file and makes no system call but for memory. */
size_t weir_config_yaml_events(const char *buf, size_t bytes, char *out, size_t room);

#endif
