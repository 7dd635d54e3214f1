/*
 * weird: the broker. Options, configuration, and then the supervisor.
 */
#include "broker/config/config.h"
#include "broker/journal.h"
#include "broker/parser.h"
#include "broker/replay.h"
#include "broker/supervisor.h"
#include "broker/tables_build.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_CONFIG = 2 };

static void usage(FILE *out)
{
    (void)fputs(
        "usage: weird --config FILE [--runtime-dir DIR] [--state-dir DIR] [--fresh | --takeover]\n"
        "             [--shadow FILE2]                judge FILE2 beside it; refuse nothing\n"
        "             [--cage MODE]                   enforce, log or off\n"
        "       weird --config FILE --check          check the configuration and say what is "
        "wrong\n"
        "       weird --config FILE --print-config   print it with every default written out\n"
        "       weird --config FILE --replay LOG     what would it have refused? offline, with "
        "these:\n"
        "             [--as-sent] [--json] [--keep-time] [--provider NAME]\n"
        "       weird --print-schema                 print weir.yaml(5)\n"
        "       weird --version | --help\n"
        "\n"
        "  -c, --config FILE       the configuration, weir.yaml(5)\n"
        "  --replay LOG            calls as JSON lines or an access log, '-' for standard input; "
        "weird(8) has the forms\n"
        "  --as-sent               count all of them as made: where is a quota exceeded?\n"
        "  --keep-time             access logs: keep whole seconds instead of spreading calls over "
        "them\n"
        "  --provider NAME         access logs: only routes of this provider\n"
        "  --json                  the report as one JSON object\n"
        "  -d, --runtime-dir DIR   where the sockets go; over $WEIR_RUNTIME_DIR and "
        "broker.runtime_dir\n"
        "      --state-dir DIR     where the journal is, or \"none\"; over $WEIR_STATE_DIR and "
        "broker.state_dir\n"
        "      --takeover          go on in the place of the broker that runs there: its limits, "
        "clients and calls\n"
        "      --cage MODE         what becomes of a system call that the worker never needs: "
        "enforce "
        "(default), or for diagnosis: log, off\n"
        "      --fresh             a first start: nobody has used these limits, count from zero. "
        "Refused where a journal is\n"
        "\n"
        "weird runs in the foreground and logs one JSON object a line to stderr. SIGTERM drains "
        "and stops.\n",
        out);
}

struct options {
    const char *config;
    const char *runtime_dir;
    const char *state_dir;
    bool fresh, takeover;
    const char *shadow;
    enum cage_mode cage;
    bool check, print_config, print_schema;
    struct replay_options replay;
};

static void replay_option(struct replay_options *r, int option, const char *value)
{
    r->log = option == 'r' ? value : r->log;
    r->provider = option == 'P' ? value : r->provider;
    r->as_sent |= option == 'a';
    r->keep_time |= option == 't';
    r->json |= option == 'j';
}

/* Options that mean something with --replay only. */
static bool replay_stray(const struct replay_options *r)
{
    return r->log == NULL && (r->provider != NULL || r->as_sent || r->keep_time || r->json);
}

/* Returns -1 to go on, or the exit status. */
static int options_read(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},   {"runtime-dir", required_argument, NULL, 'd'},
        {"check", no_argument, NULL, 'k'},          {"print-config", no_argument, NULL, 'p'},
        {"print-schema", no_argument, NULL, 's'},   {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},           {"replay", required_argument, NULL, 'r'},
        {"as-sent", no_argument, NULL, 'a'},        {"keep-time", no_argument, NULL, 't'},
        {"provider", required_argument, NULL, 'P'}, {"json", no_argument, NULL, 'j'},
        {"shadow", required_argument, NULL, 'S'},   {"state-dir", required_argument, NULL, 'D'},
        {"fresh", no_argument, NULL, 'f'},          {"takeover", no_argument, NULL, 'T'},
        {"cage", required_argument, NULL, 'C'},     {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:d:h", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            o->config = optarg;
            break;
        case 'd':
            o->runtime_dir = optarg;
            break;
        case 'S':
            o->shadow = optarg;
            break;
        case 'D':
            o->state_dir = optarg;
            break;
        case 'f':
            o->fresh = true;
            break;
        case 'T':
            o->takeover = true;
            break;
        case 'C':
            if (!cage_mode_read(optarg, &o->cage)) {
                (void)fprintf(stderr, "weird: --cage=%s: use enforce, log or off\n", optarg);
                return EXIT_USAGE;
            }
            break;
        case 'k':
            o->check = true;
            break;
        case 'p':
            o->print_config = true;
            break;
        case 's':
            o->print_schema = true;
            break;
        case 'r':
        case 'a':
        case 't':
        case 'P':
        case 'j':
            replay_option(&o->replay, c, optarg);
            break;
        case 'V':
            (void)puts("weird " WEIR_VERSION);
            return EXIT_OK;
        case 'h':
            usage(stdout);
            return EXIT_OK;
        default:
            usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "weird: unexpected argument: %s: see weird --help\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (o->fresh && o->takeover) {
        (void)fputs(
            "weird: --fresh and --takeover exclude each other: what runs has used its limits\n",
            stderr);
        return EXIT_USAGE;
    }
    if (replay_stray(&o->replay)) {
        (void)fputs("weird: --as-sent, --keep-time, --provider and --json want --replay LOG\n",
                    stderr);
        return EXIT_USAGE;
    }
    if (o->config == NULL && !o->print_schema) {
        (void)fputs("weird: no configuration: give --config FILE; a commented example is in "
                    "examples/weir.yaml\n",
                    stderr);
        return EXIT_USAGE;
    }
    return -1;
}

/* Where the sockets go: option, environment, configuration, then the usual place for this user. */
static const char *runtime_dir(const struct options *o, const struct weir_config *config, char *buf,
                               size_t bytes)
{
    const char *env = getenv("WEIR_RUNTIME_DIR");
    const char *xdg = getenv("XDG_RUNTIME_DIR");
    if (o->runtime_dir != NULL) {
        return o->runtime_dir;
    }
    if (env != NULL && env[0] != '\0') {
        return env;
    }
    if (config->broker.runtime_dir[0] != '\0') {
        return config->broker.runtime_dir;
    }
    if (geteuid() != 0 && xdg != NULL && xdg[0] != '\0') {
        (void)snprintf(buf, bytes, "%s/weir", xdg);
        return buf;
    }
    return "/run/weir";
}

/*
 * Where the journal goes: option, environment, configuration, then the usual place for this user. NULL where there is none: then somebody has to
 * say it.
 */
static const char *state_dir(const struct options *o, const struct weir_config *config, char *buf,
                             size_t bytes)
{
    const char *env = getenv("WEIR_STATE_DIR");
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");
    if (o->state_dir != NULL) {
        return o->state_dir;
    }
    if (env != NULL && env[0] != '\0') {
        return env;
    }
    if (config->broker.state_dir[0] != '\0') {
        return config->broker.state_dir;
    }
    if (geteuid() == 0) {
        return "/var/lib/weir";
    }
    if (xdg != NULL && xdg[0] == '/') {
        (void)snprintf(buf, bytes, "%s/weir", xdg);
        return buf;
    }
    if (home != NULL && home[0] == '/') {
        (void)snprintf(buf, bytes, "%s/.local/state/weir", home);
        return buf;
    }
    return NULL;
}

/*
 * Where secrets are: those of the configuration and of its shadow, and the variables that they were made of, which a reload expands again ("NAME=VALUE", each with its NUL).
 */
struct secrets {
    struct secret_area area;
    char *env, *env_end;
};

/* The bytes of all variables that `config` made secrets of, as they are kept. */
static size_t env_bytes(const struct weir_config *config)
{
    size_t bytes = 0;
    for (const struct weir_config_variable *v = config->variable; v != NULL; v = v->next) {
        const char *value = getenv(v->name);
        bytes += value != NULL ? strlen(v->name) + strlen(value) + 2 : 0;
    }
    return bytes;
}

static void env_keep(struct secrets *to, const struct weir_config *config)
{
    for (const struct weir_config_variable *v = config->variable; v != NULL; v = v->next) {
        const char *value = getenv(v->name);
        if (value != NULL) {
            to->env_end = stpcpy(stpcpy(stpcpy(to->env_end, v->name), "="), value) + 1;
        }
    }
}

/* The kept variables are in the environment, or are not. */
static void env_show(const struct secrets *kept)
{
    for (char *at = kept->env; at < kept->env_end; at += strlen(at) + 1) {
        (void)putenv(at);
    }
}

static void env_hide(const struct secrets *kept)
{
    char name[128];
    for (const char *at = kept->env; at != NULL && at < kept->env_end; at += strlen(at) + 1) {
        (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(at, "="), at);
        (void)unsetenv(name);
    }
}

/* Put all secrets where they are kept. `more_bytes`: room for others. The environment still has its own. */
static int secrets_take(struct weir_config *config, struct secrets *to, size_t more_bytes,
                        char *text, size_t text_bytes)
{
    size_t own_bytes = weir_config_secret_bytes(config);
    size_t kept_bytes = env_bytes(config);
    size_t bytes = own_bytes + kept_bytes + more_bytes;
    *to = (struct secrets){0};
    if (secret_open(&to->area, bytes, text, text_bytes) != 0) {
        return -1;
    }
    if (own_bytes > 0) {
        weir_config_secret_move(config, secret_take(&to->area, own_bytes));
    }
    if (kept_bytes > 0) {
        to->env = secret_take(&to->area, kept_bytes);
        to->env_end = to->env;
        env_keep(to, config);
    }
    return 0;
}

/* The same for the configuration that is judged beside it, into the room that was left. */
static void secrets_take_shadow(struct weir_config *shadow, struct secrets *to)
{
    size_t bytes = shadow != NULL ? weir_config_secret_bytes(shadow) : 0;
    if (bytes > 0) {
        weir_config_secret_move(shadow, secret_take(&to->area, bytes));
    }
}

/* Can the limits be built as they are asked for? What the start would refuse, the check must. */
static bool tables_check(const struct weir_config *config)
{
    char text[256];
    struct tables_size size;
    tables_measure(config, &size);
    struct weir_shm_tables *block = aligned_alloc(WEIR_LINE_BYTES, size.bytes);
    if (block == NULL) {
        return false;
    }
    memset(block, 0, size.bytes);
    bool ok = tables_build(config, &size, 1, block, text, sizeof text) == WEIR_OK;
    if (!ok) {
        (void)fprintf(stderr, "weird: %s\n", text);
    }
    free(block);
    return ok;
}

/* Has this host the addresses that calls are to leave from? */
static bool egress_check(const struct weir_config *config, const char *name)
{
    char text[512];
    bool ok = weir_config_egress_try(config, name, text, sizeof text);
    if (!ok) {
        (void)fprintf(stderr, "%s\n", text);
    }
    return ok;
}

/* Is there such a user? */
static bool user_check(const struct weir_config *config)
{
    struct cage_identity identity;
    char text[256];
    bool ok = cage_identity_find(&identity, config->broker.user, text, sizeof text) == 0;
    if (!ok) {
        (void)fprintf(stderr, "weird: %s\n", text);
    }
    return ok;
}

/* libyaml reads it in a process of its own, which sees neither the environment nor `loaded`. NULL after messages. */
static struct weir_config *load(const char *path, enum cage_mode cage, struct weir_config *loaded,
                                struct weir_config_diag *diag)
{
    struct parser parser = {.mode = cage, .loaded = loaded};
    const struct weir_config_parser run = {.run = parser_run, .arg = &parser};
    struct weir_config *config = weir_config_load(path, &run, diag);
    weir_config_diag_print(stderr, diag);
    return config;
}

/* Load what is to be judged beside `config`, by the same rules. Returns false after saying why not. */
static bool shadow_load(struct weir_config *config, const char *option, enum cage_mode cage)
{
    static struct weir_config_diag diag;
    if (option != NULL) {
        config->broker.shadow = option;
    }
    if (config->broker.shadow[0] == '\0') {
        return true;
    }
    struct weir_config *shadow = load(config->broker.shadow, cage, config, &diag);
    config->shadow = shadow;
    if (shadow != NULL) {
        shadow->broker.state_dir = JOURNAL_NONE; /* what is only judged needs no memory */
    }
    return shadow != NULL && tables_check(shadow);
}

/* What SIGHUP needs: the options, the configuration in force with its secrets, and those of one that is judged. */
struct reread {
    const struct options *o;
    struct weir_config *config;
    struct secrets secrets, pending;
    char state[PATH_MAX];
};

/* The parser's child: neither the keys in force, nor what the supervisor has. */
struct forget_all {
    void (*forget)(void *);
    void *arg;
    const struct secret_area *secrets;
};

static void forget_all(void *arg)
{
    const struct forget_all *f = arg;
    f->forget(f->arg);
    secret_forget(f->secrets);
}

/* A reload: the file of the command line again, by the same rules, with the variables as they were at the start. */
static struct weir_config *reread_load(void *arg, void (*forget)(void *), void *forget_arg,
                                       char *text, size_t text_bytes)
{
    static struct weir_config_diag diag;
    struct reread *r = arg;
    struct forget_all all = {forget, forget_arg, &r->secrets.area};
    struct parser parser = {
        .mode = r->o->cage, .loaded = r->config, .forget = forget_all, .forget_arg = &all};
    const struct weir_config_parser run = {.run = parser_run, .arg = &parser};
    struct weir_config *shadow = r->config->shadow;
    env_show(&r->secrets);
    struct weir_config *config = weir_config_load(r->o->config, &run, &diag);
    bool ok = config != NULL;
    if (!ok) {
        (void)snprintf(text, text_bytes, "%s%s", diag.error[0].text,
                       diag.error_cnt > 1 ? " (and more: weird --check says all)" : "");
    } else {
        config->broker.state_dir = state_dir(r->o, config, r->state, sizeof r->state);
        config->broker.state_dir = config->broker.state_dir != NULL ? config->broker.state_dir : "";
        config->broker.shadow = r->o->shadow != NULL ? r->o->shadow : config->broker.shadow;
        config->shadow = shadow; /* it is not read again */
        size_t more_bytes = shadow != NULL ? weir_config_secret_bytes(shadow) : 0;
        ok = weir_config_egress_try(config, r->o->config, text, text_bytes) &&
             secrets_take(config, &r->pending, more_bytes, text, text_bytes) == 0;
        if (ok && r->pending.area.base != NULL && r->secrets.area.base == NULL) {
            (void)snprintf(text, text_bytes,
                           "the configuration has keys, and had none: their memory is made at the "
                           "start: stop weird and start it");
            secret_close(&r->pending.area);
            ok = false;
        }
    }
    env_hide(&r->secrets);
    if (!ok) {
        weir_config_free(config);
        return NULL;
    }
    return config;
}

static void reread_done(void *arg, struct weir_config *config, bool taken)
{
    struct reread *r = arg;
    if (!taken) {
        secret_close(&r->pending.area);
        weir_config_free(config);
        return;
    }
    weir_config_secret_env_wipe(config); /* those that were no secrets before */
    secrets_take_shadow(config->shadow, &r->pending);
    secret_close(&r->secrets.area);
    weir_config_free(r->config);
    r->secrets = r->pending; /* the cage knows where this is */
    r->config = config;
}

/* Run the broker. Returns the exit status; the configuration is given back. */
static int run(const struct options *o, struct weir_config *config)
{
    static struct reread reread;
    char sockets[PATH_MAX];
    reread.o = o;
    reread.config = config;
    config->broker.state_dir = state_dir(o, config, reread.state, sizeof reread.state);
    if (config->broker.state_dir == NULL || (config->broker.state_dir[0] != '/' &&
                                             strcmp(config->broker.state_dir, JOURNAL_NONE) != 0)) {
        (void)fprintf(stderr,
                      "weird: no place for the journal: state_dir=%s: give --state-dir an absolute "
                      "path, or \"none\" (a reboot then forgets what was used)\n",
                      config->broker.state_dir != NULL ? config->broker.state_dir : "");
        weir_config_free(config);
        return EXIT_USAGE;
    }
    char text[256];
    struct weir_config *shadow = config->shadow;
    size_t shadow_bytes = shadow != NULL ? weir_config_secret_bytes(shadow) : 0;
    if (secrets_take(config, &reread.secrets, shadow_bytes, text, sizeof text) != 0) {
        (void)fprintf(stderr, "weird: %s\n", text);
        weir_config_free(config);
        return EXIT_USAGE;
    }
    secrets_take_shadow(shadow, &reread.secrets);
    weir_config_secret_env_wipe(config);
    if (shadow != NULL) {
        weir_config_secret_env_wipe(shadow);
    }
    const struct supervisor_reload reload = {reread_load, reread_done, &reread};
    const struct supervisor_options options = {
        .runtime_dir = runtime_dir(o, config, sockets, sizeof sockets),
        .fresh = o->fresh,
        .takeover = o->takeover,
        .cage = o->cage,
        .secrets = &reread.secrets.area,
        .reload = &reload,
    };
    int rc = supervisor_run(config, &options);
    secret_close(&reread.secrets.area);
    weir_config_free(reread.config);
    return rc;
}

int main(int argc, char **argv)
{
    static struct weir_config_diag diag;
    struct options o = {0};
    int rc = options_read(&o, argc, argv);
    if (rc >= 0) {
        return rc;
    }
    if (o.print_schema) {
        weir_config_print_schema_man(stdout);
        return EXIT_OK;
    }
    struct weir_config *config = load(o.config, o.cage, NULL, &diag);
    if (config == NULL) {
        return EXIT_CONFIG;
    }
    if (!shadow_load(config, o.shadow, o.cage)) {
        rc = EXIT_CONFIG;
    } else if (o.check &&
               (!tables_check(config) || !egress_check(config, o.config) || !user_check(config))) {
        rc = EXIT_CONFIG;
    } else if (o.check) {
        (void)printf("%s: ok (%zu warnings)\n", o.config, diag.warning_cnt);
        rc = EXIT_OK;
    } else if (o.replay.log != NULL) {
        o.replay.config_path = o.config;
        config->broker.state_dir = JOURNAL_NONE; /* what is only judged needs no memory */
        rc = tables_check(config) ? replay_run(config, &o.replay) : EXIT_CONFIG;
    } else if (o.print_config) {
        weir_config_print(stdout, config);
        rc = EXIT_OK;
    } else {
        struct weir_config *shadow = config->shadow;
        if (!egress_check(config, o.config)) {
            weir_config_free(shadow);
            weir_config_free(config);
            return EXIT_CONFIG;
        }
        rc = run(&o, config);
        weir_config_free(shadow);
        return rc;
    }
    weir_config_free(config->shadow);
    weir_config_free(config);
    return rc;
}
