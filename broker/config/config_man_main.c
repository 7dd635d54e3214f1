/*
 * config_man_main.c: writes weir.yaml(5) to standard output while weir is built.
 */
#include <stdio.h>

#include "broker/config/config.h"

int main(void)
{
    weir_config_print_schema_man(stdout);
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
