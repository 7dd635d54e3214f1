/*
 * fuzz_events.c: a parser process that lies (broker/config/config_events.h).
 *
 * The input is a YAML file behind some changes of what libyaml says about it: a byte with their number in its low half, then for each 16 bits of the place and one byte. So the
 * corpus of fuzz_config is one for this, too. Oracle: no sanitizer report; a refusal has at least one message, and what is accepted can be printed.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"
#include "broker/config/config_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t cnt);

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

struct input {
    const uint8_t *change;
    size_t change_cnt;
};

static ssize_t lie(void *arg, const char *buf, size_t bytes, char *out, size_t room, char *why,
                   size_t why_bytes)
{
    const struct input *input = arg;
    (void)why;
    (void)why_bytes;
    size_t said = weir_config_yaml_events(buf, bytes, out, room);
    require(said > 0 && said <= room);
    for (size_t i = 0; i < input->change_cnt; i++) {
        const uint8_t *c = input->change + 3 * i;
        out[(c[0] | (size_t)c[1] << 8) % said] = (char)c[2];
    }
    /* With many changes it is cut off, too. */
    size_t cut = input->change_cnt > 12 ? input->change[0] : 0;
    return (ssize_t)(cut < said ? said - cut : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t cnt)
{
    static struct weir_config_diag diag;
    if (cnt == 0) {
        return 0;
    }
    struct input input = {.change = bytes + 1, .change_cnt = bytes[0] & 15U};
    size_t head = 1 + 3 * input.change_cnt;
    if (cnt < head) {
        return 0;
    }
    const struct weir_config_parser parser = {.run = lie, .arg = &input};
    struct weir_config *config =
        weir_config_parse_by(&parser, (const char *)bytes + head, cnt - head, "fuzz", &diag);
    require((config == NULL) == (diag.error_cnt > 0));
    if (config) {
        FILE *out = fopen("/dev/null", "we");
        require(out != NULL);
        weir_config_print(out, config);
        require(fclose(out) == 0);
    }
    weir_config_free(config);
    return 0;
}
