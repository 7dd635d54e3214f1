#include "broker/config/config_address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES 64

/* Bits of the network: 32 or 128 where no length is written. -1: it is none. */
static int parse(const char *text, int *family, unsigned char address[16])
{
    char copy[TEXT_BYTES];
    size_t bytes = strcspn(text, "/");
    if (bytes >= sizeof copy) {
        return -1;
    }
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    memset(address, 0, 16);
    *family = strchr(copy, ':') != NULL ? AF_INET6 : AF_INET;
    int most = *family == AF_INET6 ? 128 : 32;
    if (inet_pton(*family, copy, address) != 1) {
        return -1;
    }
    if (text[bytes] == '\0') {
        return most;
    }
    const char *length = text + bytes + 1;
    size_t digits = strspn(length, "0123456789");
    if (digits == 0 || digits > 3 || length[digits] != '\0' || (digits > 1 && length[0] == '0')) {
        return -1;
    }
    long bits = strtol(length, NULL, 10);
    return bits <= most ? (int)bits : -1;
}

/* Are the first `bits` bits the same? */
static bool is_same(const unsigned char a[16], const unsigned char b[16], int bits)
{
    int whole = bits / 8;
    unsigned mask = 0xff00U >> (bits % 8) & 0xffU;
    return memcmp(a, b, (size_t)whole) == 0 &&
           (bits % 8 == 0 || ((unsigned)(a[whole] ^ b[whole]) & mask) == 0);
}

bool weir_config_address_ok(const char *text)
{
    unsigned char address[16];
    unsigned char first[16] = {0};
    int family;
    int bits = parse(text, &family, address);
    if (bits < 0) {
        return false;
    }
    memcpy(first, address, (size_t)(bits / 8));
    if (bits % 8 != 0) {
        first[bits / 8] = (unsigned char)(address[bits / 8] & 0xff00U >> (bits % 8));
    }
    return memcmp(first, address, sizeof first) == 0;
}

bool weir_config_address_in(const char *address, const char *rule)
{
    unsigned char at[16];
    unsigned char net[16];
    int family;
    int net_family;
    int bits = parse(rule, &net_family, net);
    return strchr(address, '/') == NULL && parse(address, &family, at) >= 0 && bits >= 0 &&
           family == net_family && is_same(at, net, bits);
}
