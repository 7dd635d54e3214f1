/*
 * fuzz_config.c: any bytes are a configuration or are refused with a reason.
 *
 * Oracle: no sanitizer report; a refusal has at least one message; what is accepted, printed and read again is accepted and
 * prints the same, unless it hides a key.
 */
#include <stdlib.h>
#include <string.h>

#include "broker/config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t cnt);

static void require(bool is_true)
{
    if (!is_true) {
        abort();
    }
}

static char *print(const struct weir_config *config, size_t *bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, bytes);
    require(out != NULL);
    weir_config_print(out, config);
    require(fclose(out) == 0);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t cnt)
{
    static struct weir_config_diag diag;
    struct weir_config *first = weir_config_parse((const char *)bytes, cnt, "fuzz", &diag);
    require((first == NULL) == (diag.error_cnt > 0));
    if (!first) {
        return 0;
    }
    size_t first_bytes = 0;
    char *first_text = print(first, &first_bytes);
    if (strstr(first_text, "\"***\"") != NULL) { /* a key that is not shown cannot be read again */
        free(first_text);
        weir_config_free(first);
        return 0;
    }
    struct weir_config *second = weir_config_parse(first_text, first_bytes, "again", &diag);
    require(second != NULL);

    size_t second_bytes = 0;
    char *second_text = print(second, &second_bytes);
    require(first_bytes == second_bytes && memcmp(first_text, second_text, first_bytes) == 0);

    free(first_text);
    free(second_text);
    weir_config_free(first);
    weir_config_free(second);
    return 0;
}
