/*
 * config_check.h: what must hold between keys.
 *
 * One function for each section that has such rules. The reader calls it once the rows of the section, and all that lies
 * below it, were read without a fault; it also fills in what depends on other keys.
 */
#ifndef WEIR_CONFIG_CHECK_H
#define WEIR_CONFIG_CHECK_H

#include <stdbool.h>
#include <stddef.h>

struct weir_config;
struct weir_config_auth;
struct weir_config_place;
struct weir_config_provider;
struct weir_config_reader;
struct weir_config_route;

typedef void weir_config_finish(struct weir_config_reader *reader, void *section,
                                const struct weir_config_place *place);

/* config_check.c */
weir_config_finish weir_config_finish_domain;
weir_config_finish weir_config_finish_broker;
weir_config_finish weir_config_finish_root;

/* config_check_provider.c */
weir_config_finish weir_config_finish_clock;
weir_config_finish weir_config_finish_endpoint;
weir_config_finish weir_config_finish_header;
weir_config_finish weir_config_finish_retry;
weir_config_finish weir_config_finish_ban;
weir_config_finish weir_config_finish_throttle;
weir_config_finish weir_config_finish_route;
weir_config_finish weir_config_finish_provider;

/* Does it belong to the broker: a header by which request and connection are kept apart from the next ones? `header` in lower case. */
bool weir_config_is_broker_header(const char *header);

/* config_check_feedback.c: what is read from answers */
weir_config_finish weir_config_finish_feedback;
void weir_config_check_feedback(struct weir_config_reader *reader,
                                struct weir_config_provider *provider,
                                const struct weir_config_place *place);

/* config_check_auth.c: keys, and the routes that are signed */
void weir_config_check_auth(struct weir_config_reader *reader,
                            struct weir_config_provider *provider,
                            const struct weir_config_place *place);

/* config_check_sign_in.c: sessions. The first one: the keys of an auth; the second one, once all providers are read: the routes */
void weir_config_check_session(struct weir_config_reader *reader,
                               const struct weir_config_auth *auth,
                               const struct weir_config_place *place);
void weir_config_check_sign_in(struct weir_config_reader *reader, struct weir_config *config,
                               const struct weir_config_place *providers);

/* config_check_egress.c: source addresses and the pool. The first one, once scopes are read: kinds with a pool get a value that stands for any member */
void weir_config_pool_values(struct weir_config_reader *reader,
                             struct weir_config_provider *provider);
void weir_config_check_egress(struct weir_config_reader *reader,
                              struct weir_config_provider *provider,
                              const struct weir_config_place *place);
/* Providers that share connections leave from the same addresses. */
void weir_config_check_egress_shared(struct weir_config_reader *reader,
                                     const struct weir_config *config,
                                     const struct weir_config_place *providers);

/* config_check_cache.c: which answers may be kept. The second one: that each fits */
void weir_config_check_cache(struct weir_config_reader *reader,
                             const struct weir_config_route *route,
                             const struct weir_config_place *place);
void weir_config_check_cache_room(struct weir_config_reader *reader,
                                  const struct weir_config *config,
                                  const struct weir_config_place *providers);

/* config_check_batch.c: routes whose calls another route's call answers together. Behind the names of routes */
void weir_config_check_batch(struct weir_config_reader *reader,
                             struct weir_config_provider *provider,
                             const struct weir_config_place *place);

/* config_check_hedge.c: when calls are sent a second time, and which */
weir_config_finish weir_config_finish_hedge;
void weir_config_check_hedge(struct weir_config_reader *reader,
                             struct weir_config_provider *provider,
                             const struct weir_config_place *place);

/* config_check_doubt.c: how routes find out what became of an order */
void weir_config_check_doubt(struct weir_config_reader *reader,
                             struct weir_config_provider *provider,
                             const struct weir_config_place *place);

/* config_check_limit.c */
weir_config_finish weir_config_finish_limit;
weir_config_finish weir_config_finish_share;
/* ... once the clock is known, of which a limit may have its rest */
void weir_config_check_rests(struct weir_config_reader *reader,
                             const struct weir_config_provider *provider,
                             const struct weir_config_place *place);

/* config_check_budget.c: what routes take from limits */
void weir_config_check_budget(struct weir_config_reader *reader,
                              struct weir_config_provider *provider,
                              const struct weir_config_place *place);

/* The provider's limit of this name; false after an error that names those it has. */
bool weir_config_find_limit(struct weir_config_reader *reader,
                            const struct weir_config_provider *provider, const char *name,
                            const struct weir_config_place *place, size_t *idx);

/* No two of the `cnt` structs of `stride` bytes at `entry`, each of which begins with its name, have the same. */
void weir_config_check_names(struct weir_config_reader *reader, const void *entry, size_t cnt,
                             size_t stride, const struct weir_config_place *list);

#endif
