#include <stdio.h>
#include <weir.h>

/* One line that says what failed, and what to do. */
static void complain(const char *what, int rc)
{
    if (rc < 0) {
        fprintf(stderr, "%s: %s: %s\n", what, weir_strerror(rc), weir_hint(rc));
    }
}

int main(void)
{
    printf("libweir %s\n", weir_version());
    complain("find", WEIR_E_ROUTE_UNKNOWN);
    return 0;
}
