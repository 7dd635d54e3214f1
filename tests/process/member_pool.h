/*
 * member_pool.h: a provider whose calls leave from one of three source addresses, with one of two keys, and weir-sim's count of each (broker/egress.h).
 *
 * 127.0.0.2, .3 and .4 need no setup. Windows are longer than a part of a test, and weir's are too short for the journal.
 */
#ifndef WEIR_TESTS_PROCESS_MEMBER_POOL_H
#define WEIR_TESTS_PROCESS_MEMBER_POOL_H

#include "rig.h"

#define POOL_QUOTA     100 /* of an address, and of a key */
#define POOL_ADDRESSES 3
#define POOL_KEYS      2

/* As the exchange counts them, and as weir names them. */
extern const char *const pool_address[POOL_ADDRESSES];
extern const char *const pool_address_name[POOL_ADDRESSES];
extern const char *const pool_key[POOL_KEYS];
extern const char *const pool_key_name[POOL_KEYS];

/* weir-sim's limits: of calls from each address, and of each key's. */
#define POOL_SIM_ADDRESS                                                                      \
    "{\"name\": \"w\", \"kind\": \"sliding_window\", \"quota\": 100, \"window_ms\": 600000, " \
    "\"counts\": \"requests\"}"
#define POOL_SIM_KEY                                                                          \
    "{\"name\": \"k\", \"kind\": \"sliding_window\", \"quota\": 100, \"window_ms\": 600000, " \
    "\"scope\": \"key\", \"counts\": \"requests\"}"

/* The head of provider "sim": scopes, egress, keys, and the limits that go with weir-sim's. More keys of it follow, more limits first. */
#define POOL_PROVIDER                                                               \
    "  - name: sim\n"                                                               \
    "    clock: {source: none, max_jitter: 20ms}\n"                                 \
    "    scopes: {ip: [a, b, c], key: [k1, k2]}\n"                                  \
    "    egress:\n"                                                                 \
    "      - {ip: a, address: 127.0.0.2}\n"                                         \
    "      - {ip: b, address: 127.0.0.3}\n"                                         \
    "      - {ip: c, address: 127.0.0.4}\n"                                         \
    "    auth:\n"                                                                   \
    "      kind: api_key\n"                                                         \
    "      header: x-mbx-apikey\n"                                                  \
    "      keys:\n"                                                                 \
    "        - {name: k1, key: key-1, pool: true}\n"                                \
    "        - {name: k2, key: key-2, pool: true}\n"                                \
    "    limits:\n"                                                                 \
    "      - {name: w, kind: sliding_window, quota: 100, window: 90s, scope: ip}\n" \
    "      - {name: k, kind: sliding_window, quota: 100, window: 90s, scope: key}\n"

/* What the simulator that the rig speaks to counted for one caller of a limit; -1: it does not know it. */
long long pool_counted(struct rig *r, const char *limit, const char *caller);
/* "ip=a", or "ip=a,key=k1": who made the call. */
const char *pool_member(struct rig *r, struct weir *w, const struct weir_response *a,
                        char text[64]);
/* End weird, and what it keeps: the next one begins with nothing used of any limit. */
void pool_forget(struct rig *r);

#endif
