/* A program outside the tree, as C11 and as C++: it compiles, links and runs against what was installed. */
#include <stdio.h>
#include <string.h>
#include <weir.h>

int main(void)
{
    struct weir_open_opts opts;
    struct weir_diag diag;
    struct weir *w = NULL;
    memset(&opts, 0, sizeof opts);
    opts.struct_bytes = sizeof opts;
    opts.runtime_dir = "/nonexistent";
    int rc = weir_open(&w, "nobody", &opts, &diag);
    printf("version: %s\n", weir_version());
    printf("text: %s\n", weir_strerror(WEIR_E_NO_BROKER));
    printf("open: %s\n", rc == WEIR_E_NO_BROKER && w == NULL ? "no broker" : diag.text);
    weir_close(w);
    return 0;
}
