/*
 * names.c: preloaded into weird, it says where "*.weir.test" leads: to the address that stands in the file WEIR_TEST_NAMES now. Every other name is libc's.
 *
 * The file is mapped while the library is loaded: the resolver's cage lets it open nothing later.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES 64

static const char *page;

__attribute__((constructor)) static void names_open(void)
{
    const char *path = getenv("WEIR_TEST_NAMES");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *at = fd >= 0 ? mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    page = at != MAP_FAILED ? at : NULL;
    if (fd >= 0) {
        (void)close(fd);
    }
}

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict node,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict found)
{
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    static const char end[] = ".weir.test";
    char address[BYTES];
    void *at = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&next, &at, sizeof next);
    size_t n = node != NULL ? strlen(node) : 0;
    if (page != NULL && n >= sizeof end && strcmp(node + n - (sizeof end - 1), end) == 0) {
        memcpy(address, page, sizeof address);
        address[sizeof address - 1] = '\0';
        node = address;
    }
    return next(node, service, hints, found);
}
