/*
 * config_yaml.c: libyaml, and nothing else of weir near it. From a file's bytes to the stream of config_events.h.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "broker/config/config_events.h"
#include "shm/weir_base.h"

struct stream {
    char *out;
    size_t room, at;
};

static void put(struct stream *stream, const struct weir_config_event *event, const char *text)
{
    memcpy(stream->out + stream->at, event, sizeof(*event));
    stream->at += sizeof(*event);
    if (event->bytes) {
        memcpy(stream->out + stream->at, text, event->bytes);
        stream->at += event->bytes;
    }
}

static struct weir_config_event event_at(enum weir_config_event_kind kind, yaml_mark_t mark)
{
    return (struct weir_config_event){
        .kind = kind, .line = (uint32_t)mark.line + 1, .column = (uint32_t)mark.column + 1};
}

/* One of ours for one of libyaml's; kind 0: nothing that a reader needs. */
static struct weir_config_event translate(const yaml_event_t *from)
{
    struct weir_config_event to = event_at(0, from->start_mark);
    switch (from->type) {
    case YAML_DOCUMENT_START_EVENT:
        to.kind = WEIR_CONFIG_EVENT_DOCUMENT;
        break;
    case YAML_ALIAS_EVENT:
        to.kind = WEIR_CONFIG_EVENT_ALIAS;
        break;
    case YAML_SCALAR_EVENT:
        to.kind = WEIR_CONFIG_EVENT_SCALAR;
        to.is_marked = from->data.scalar.anchor || from->data.scalar.tag;
        to.bytes =
            (uint32_t)weir_min_u64(from->data.scalar.length, WEIR_CONFIG_SCALAR_MAX_BYTES + 1);
        break;
    case YAML_SEQUENCE_START_EVENT:
        to.kind = WEIR_CONFIG_EVENT_LIST;
        to.is_marked = from->data.sequence_start.anchor || from->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        to.kind = WEIR_CONFIG_EVENT_MAP;
        to.is_marked = from->data.mapping_start.anchor || from->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        to.kind = WEIR_CONFIG_EVENT_CLOSE;
        break;
    case YAML_STREAM_END_EVENT:
        to.kind = WEIR_CONFIG_EVENT_END;
        break;
    default: /* stream start, document end */
        break;
    }
    return to;
}

/* libyaml knows the place only where it got as far as tokens; before that, the byte. */
static void put_problem(struct stream *stream, const yaml_parser_t *parser)
{
    char text[WEIR_CONFIG_EVENT_BAD_MAX_BYTES + 1];
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    struct weir_config_event event = event_at(WEIR_CONFIG_EVENT_BAD, parser->problem_mark);
    if (parser->error == YAML_MEMORY_ERROR) {
        event =
            (struct weir_config_event){.kind = WEIR_CONFIG_EVENT_NO_MEMORY, .line = 1, .column = 1};
        text[0] = '\0';
    } else if (parser->error == YAML_READER_ERROR) {
        event = event_at(WEIR_CONFIG_EVENT_BAD, parser->mark);
        (void)snprintf(text, sizeof(text), "%s, at byte %zu: the file must be UTF-8 text", problem,
                       parser->problem_offset);
    } else {
        (void)snprintf(text, sizeof(text), "%s%s%s", problem, parser->context ? " " : "",
                       parser->context ? parser->context : "");
    }
    event.bytes = (uint32_t)strlen(text);
    put(stream, &event, text);
}

/* Returns false where nothing may follow. */
static bool take(struct stream *stream, const yaml_event_t *from, size_t *depth)
{
    /* Behind every event there is still room for a last one with its text. */
    const size_t last_bytes = sizeof(struct weir_config_event) + WEIR_CONFIG_EVENT_BAD_MAX_BYTES;
    struct weir_config_event event = translate(from);
    const char *text =
        from->type == YAML_SCALAR_EVENT ? (const char *)from->data.scalar.value : NULL;
    if (!event.kind) {
        return true;
    }
    if (sizeof(event) + event.bytes + last_bytes > stream->room - stream->at) {
        event.kind = WEIR_CONFIG_EVENT_MANY;
        event.bytes = event.is_marked = 0;
    }
    put(stream, &event, text);
    if (event.kind == WEIR_CONFIG_EVENT_LIST || event.kind == WEIR_CONFIG_EVENT_MAP) {
        ++*depth;
    } else if (event.kind == WEIR_CONFIG_EVENT_CLOSE) {
        --*depth;
    }
    /* Refused by the reader; and libyaml's time grows with the square of the depth. */
    return event.kind != WEIR_CONFIG_EVENT_END && event.kind != WEIR_CONFIG_EVENT_MANY &&
           *depth <= WEIR_CONFIG_DEPTH_MAX;
}

size_t weir_config_yaml_events(const char *buf, size_t bytes, char *out, size_t room)
{
    struct stream stream = {.out = out, .room = room};
    yaml_parser_t parser;
    size_t depth = 0;
    bool more = true;
    if (!yaml_parser_initialize(&parser)) {
        const struct weir_config_event event = {
            .kind = WEIR_CONFIG_EVENT_NO_MEMORY, .line = 1, .column = 1};
        put(&stream, &event, "");
        return stream.at;
    }
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)buf, bytes);
    while (more) {
        yaml_event_t event;
        if (yaml_parser_parse(&parser, &event)) {
            more = take(&stream, &event, &depth);
            yaml_event_delete(&event);
        } else {
            put_problem(&stream, &parser);
            more = false;
        }
    }
    yaml_parser_delete(&parser);
    return stream.at;
}
