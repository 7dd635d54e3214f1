/*
 * config_address.h: addresses and networks as endpoints[].addresses has them: "203.0.113.7", "203.0.113.0/24", "2001:db8::/32".
 *
 * Pure. Callers: the check of the configuration; the worker, which asks before it connects.
 */
#ifndef WEIR_CONFIG_ADDRESS_H
#define WEIR_CONFIG_ADDRESS_H

#include <stdbool.h>

/* Is it an address, or a network with no bit set behind its length? */
bool weir_config_address_ok(const char *text);

/* Is `address` (numeric, IPv4 or IPv6) the address `rule`, or inside the network `rule`? False where either is none; an IPv4 address is in no IPv6 network. */
bool weir_config_address_in(const char *address, const char *rule);

#endif
