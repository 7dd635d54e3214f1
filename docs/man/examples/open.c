#include <stdio.h>
#include <weir.h>

int main(void)
{
    struct weir_open_opts opts = {
        .struct_bytes = sizeof opts,
        .role = WEIR_ROLE_CALLER,
        .client_name = "maker-1",
        .patience_ns = 5000000000, /* the broker may still be starting: 5 s */
    };
    struct weir_diag diag;
    struct weir *w;

    if (weir_open(&w, NULL, &opts, &diag) != 0) {
        fprintf(stderr, "%s\n", diag.text);
        return 1;
    }
    if (weir_check(w) != 0) {
        fprintf(stderr, "the broker has gone\n");
    }
    weir_close(w);
    return 0;
}
