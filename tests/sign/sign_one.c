/*
 * sign_one.c: sign one call, for openssl.py.
 *
 *   sign_one KIND KEY PASSPHRASE METHOD HOST PATH QUERY BODY UTC_MS <PRIVATE-KEY
 *
 * Prints the header lines, then "query: ..." as it is sent. Exit: 0, or 1 where the key or the call was refused, with the text that the configuration would give.
 */
#include "sign_helper.h"

#include <stdio.h>

static int refused(const struct sign_parts *parts)
{
    enum sign_part part;
    const char *fault = sign_key_fault(parts, &part);
    (void)printf("%s\n", fault != NULL ? fault : "the call cannot be signed");
    return 1;
}

int main(int argc, char **argv)
{
    static char secret[8192];
    static const unsigned char no_chance[SIGN_RANDOM_BYTES];
    if (argc != 10 || fread(secret, 1, sizeof secret - 1, stdin) == 0 || !sign_open(1)) {
        return 1;
    }
    const struct sign_parts parts = {
        .scheme = scheme_named(argv[1]),
        .key = argv[2],
        .secret = secret,
        .passphrase = argv[3],
        .header = "",
        .param = "",
        .recv_window_ms = 5000,
        .nonce_unit_ns = 1000000,
    };
    const struct sign_request request = {
        .method = argv[4],
        .host = slice(argv[5]),
        .path = slice(argv[6]),
        .query = slice(argv[7]),
        .body = slice(argv[8]),
        .utc_ns = strtoull(argv[9], NULL, 10) * 1000000,
        .random = no_chance,
    };
    struct signed_call s;
    if (!signed_open(&s, &parts, &request) || !signed_within(&s)) {
        signed_close(&s);
        return refused(&parts);
    }
    for (uint32_t i = 0; i < s.key.fixed_cnt; i++) {
        (void)printf("%s\n", s.key.fixed[i]);
    }
    for (uint32_t i = 0; i < s.result.line_cnt; i++) {
        (void)printf("%s\n", s.result.line[i]);
    }
    const char *query = s.room.query_bytes > 0 ? s.result.query : argv[7];
    (void)printf("query: %s\n", query);
    signed_close(&s);
    return 0;
}
