/*
 * config_text.c: the rules for texts that later meet a socket, a file system or an HTTP request.
 *
 * Every rule is a list of what is allowed, never of what is not: what we did not think of is refused.
 */
#include <arpa/inet.h>
#include <string.h>

#include "broker/config/config_value.h"
#include "shm/weir_types.h"

#define DIGITS          "0123456789"
#define LETTERS         "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#define HOST_MAX_BYTES  253
#define LABEL_MAX_BYTES 63

static bool is_only(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

static bool is_printable(const char *text)
{
    for (; *text; text++) {
        if (*text < ' ' || *text > '~') {
            return false;
        }
    }
    return true;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c | 0x20) : NULL;
    return at && (at < digits + 10 ? c == *at : true) ? (int)(at - digits) : -1;
}

/* RFC 3986 pchar, '/', and '%XX' that hides none of the characters with a meaning of their own. */
static bool has_path_characters(const char *path)
{
    static const char plain[] = DIGITS LETTERS "-._~!$&'()*+,;=:@/";
    for (path += strspn(path, plain); *path; path += strspn(path, plain)) {
        int high = path[0] == '%' ? hex_digit(path[1]) : -1;
        int low = high >= 0 ? hex_digit(path[2]) : -1;
        int hidden = high * 16 + low;
        if (low < 0 || hidden < ' ' || hidden == '.' || hidden == '/' || hidden == '\\' ||
            hidden == 0x7f) {
            return false;
        }
        path += 3;
    }
    return true;
}

static bool has_dot_segment(const char *path)
{
    while (*path == '/') {
        size_t bytes = strcspn(++path, "/");
        if ((bytes == 1 && path[0] == '.') || (bytes == 2 && path[0] == '.' && path[1] == '.')) {
            return true;
        }
        path += bytes;
    }
    return false;
}

static const char *path_fault(const char *path)
{
    if (path[0] != '/') {
        return "a path that starts with '/'";
    }
    if (strstr(path, "//")) {
        return "a path without '//'";
    }
    if (has_dot_segment(path)) {
        return "a path without '.' and '..' segments";
    }
    return has_path_characters(path) ? NULL : weir_config_text_form(WEIR_CONFIG_TYPE_PATH);
}

static bool is_name(const char *name)
{
    return *name && strchr(DIGITS LETTERS, *name) && is_only(name, DIGITS LETTERS "-_.");
}

const char *weir_config_text_form(enum weir_config_type type)
{
    switch (type) {
    case WEIR_CONFIG_TYPE_NAME:
        return "letters, digits, '-', '_' and '.', the first a letter or a digit";
    case WEIR_CONFIG_TYPE_SCOPE:
        return "letters, digits and -_.:/@+";
    case WEIR_CONFIG_TYPE_HEADER:
        return "the name of an HTTP header: letters, digits and !#$%&'*+-.^_`|~";
    case WEIR_CONFIG_TYPE_PATH:
        return "a path of RFC 3986 characters that starts with '/', others as %XX, without query";
    case WEIR_CONFIG_TYPE_FILE:
        return "an absolute path of printable ASCII";
    case WEIR_CONFIG_TYPE_URL:
        return "http or https, a host, and if need be a port and a path";
    case WEIR_CONFIG_TYPE_SECRET:
        return "any text";
    default:
        return "printable ASCII";
    }
}

static bool is_well_formed(enum weir_config_type type, const char *text)
{
    switch (type) {
    case WEIR_CONFIG_TYPE_NAME:
        return is_name(text);
    case WEIR_CONFIG_TYPE_SCOPE:
        return is_only(text, DIGITS LETTERS "-_.:/@+");
    case WEIR_CONFIG_TYPE_HEADER:
        return is_only(text, DIGITS LETTERS "!#$%&'*+-.^_`|~");
    case WEIR_CONFIG_TYPE_FILE:
        return text[0] == '/' && is_printable(text);
    case WEIR_CONFIG_TYPE_SECRET:
        return true;
    default:
        return is_printable(text);
    }
}

const char *weir_config_text_fault(enum weir_config_type type, const char *text)
{
    if (type == WEIR_CONFIG_TYPE_PATH) {
        return path_fault(text); /* which says more than the form */
    }
    return is_well_formed(type, text) ? NULL : weir_config_text_form(type);
}

/* Labels of letters, digits and inner '-'. What looks like an address must be one: "1.2.3" is a trap, not a name. */
static bool is_host(const char *host, size_t bytes)
{
    char copy[HOST_MAX_BYTES + 1] = "";
    if (bytes == 0 || bytes > HOST_MAX_BYTES) {
        return false;
    }
    memcpy(copy, host, bytes);
    if (is_only(copy, DIGITS ".")) {
        struct in_addr address;
        return inet_pton(AF_INET, copy, &address) == 1;
    }
    const char *at = copy;
    for (;;) {
        size_t label_bytes = strspn(at, DIGITS LETTERS "-");
        if (label_bytes == 0 || label_bytes > LABEL_MAX_BYTES || at[0] == '-' ||
            at[label_bytes - 1] == '-') {
            return false;
        }
        at += label_bytes;
        if (*at != '.') {
            return *at == '\0';
        }
        at++;
    }
}

static bool is_ipv6(const char *host, size_t bytes)
{
    char copy[INET6_ADDRSTRLEN] = "";
    struct in6_addr address;
    if (bytes >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, host, bytes);
    return inet_pton(AF_INET6, copy, &address) == 1;
}

/* The port behind `*at`'s ':', if one is there. */
static bool split_port(const char **at, uint16_t *port)
{
    if (**at != ':') {
        return true;
    }
    const char *digits = *at + 1;
    size_t bytes = strspn(digits, DIGITS);
    uint64_t number = 0;
    for (size_t i = 0; i < bytes && number <= UINT16_MAX; i++) {
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    *at = digits + bytes;
    *port = (uint16_t)number;
    return bytes && number >= 1 && number <= UINT16_MAX;
}

static const char *split_host(const char **at, struct weir_config_url_parts *parts)
{
    parts->ipv6 = **at == '[';
    if (parts->ipv6) {
        parts->host = *at + 1;
        parts->host_bytes = strcspn(parts->host, "]/");
        *at = parts->host + parts->host_bytes + (parts->host[parts->host_bytes] == ']');
        return (*at)[-1] == ']' && is_ipv6(parts->host, parts->host_bytes)
                   ? NULL
                   : "a URL with an IPv6 address inside '[' and ']'";
    }
    parts->host = *at;
    parts->host_bytes = strcspn(*at, ":/");
    *at += parts->host_bytes;
    return is_host(parts->host, parts->host_bytes) ? NULL
                                                   : "a URL with a host name or an IP address";
}

const char *weir_config_url_split(const char *text, struct weir_config_url_parts *parts)
{
    *parts = (struct weir_config_url_parts){0};
    if (strncmp(text, "https://", 8) == 0) {
        parts->tls = true;
    } else if (strncmp(text, "http://", 7) != 0) {
        return "a URL that starts with http:// or https://";
    }
    if (strpbrk(text, "?#")) {
        return "a URL without query and fragment: they belong to the request";
    }
    const char *at = text + (parts->tls ? 8 : 7);
    if (memchr(at, '@', strcspn(at, "/"))) {
        return "a URL without user and password: keys belong to `auth`";
    }
    const char *fault = split_host(&at, parts);
    if (fault) {
        return fault;
    }
    parts->port = parts->tls ? 443 : 80;
    if (!split_port(&at, &parts->port)) {
        return "a URL with a port of 1..65535, or none";
    }
    if (*at && (fault = path_fault(at))) {
        return *at == '/' ? fault : "a URL with nothing but a path behind the host";
    }
    parts->base_path = at;
    parts->base_path_bytes = strlen(at);
    if (parts->base_path_bytes && at[parts->base_path_bytes - 1] == '/') {
        parts->base_path_bytes--;
    }
    return NULL;
}
