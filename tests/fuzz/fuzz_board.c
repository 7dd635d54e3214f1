/*
 * fuzz_board.c: the monitor on any board: every way in which `weir` looks at one.
 *
 * The input edits a right board, because random bytes never get past its header. First byte: bit 0 = make the tables' checksum right after
 * the edits, bit 1 = the rest is a whole board, bits 2 and 3 = what looks:
 *   0  all printers, with the same board as the turn before
 *   1  the same, and the right board was the turn before; it is copied as from a live one (weir ... --watch, weir audit --follow)
 *   2  the same, the other way round: the damaged one was before
 *   3  the program: the next byte chooses the command line, and the board is a saved one (--image). With its own options, messages and exit codes
 * Each edit: offset (3 bytes), count (1 byte, low 4 bits + 1), bytes. Oracle: the sanitizers, and time.
 */
#include "../unit/board_fixture.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The program itself, but for its name. */
int weir_main(int argc, char *argv[]);
#define main weir_main
#include "../../monitor/weir.c"
#undef main

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define WORDS_MAX 8

static const char *const lines[][WORDS_MAX] = {
    {"stat"},
    {"stat", "--json"},
    {"limits"},
    {"limits", "--json"},
    {"limits", "--all", "--priorities"},
    {"limits", "--routes"},
    {"limits", "--routes", "--json"},
    {"limits", "--by", "client"},
    {"limits", "--by", "client", "--json"},
    {"limits", "--forecast"},
    {"limits", "--forecast", "--json"},
    {"limits", "--budget"},
    {"limits", "--budget", "--json"},
    {"limits", "--shadow"},
    {"limits", "--shadow", "--json"},
    {"audit"},
    {"audit", "--json"},
    {"audit", "--since", "10m", "--client", "maker-btc"},
    {"audit", "--json", "--limit", "binance.orders_10s"},
    {"inspect"},
    {"inspect", "--json"},
    {"inspect", "--check"},
    {"inspect", "--dump", "audit_record"},
    {"inspect", "--dump", "header"},
};

/* Run `weir` on the board as a file. */
static void command_run(unsigned which, const unsigned char *board, uint64_t size)
{
    static int file = -1;
    static char image[64];
    char *argv[WORDS_MAX + 4];
    int argc = 0;
    if (file < 0) {
        file = memfd_create("board", MFD_CLOEXEC);
        (void)snprintf(image, sizeof image, "--image=/proc/self/fd/%d", file);
    }
    if (file < 0 || ftruncate(file, (off_t)size) != 0 ||
        pwrite(file, board, size, 0) != (ssize_t)size) {
        abort();
    }
    argv[argc++] = strdup("weir");
    for (const char *const *word = lines[which % WEIR_ARRAY_CNT(lines)]; *word != NULL; word++) {
        argv[argc++] = strdup(*word); /* getopt moves them about */
    }
    argv[argc++] = strdup(image);
    argv[argc] = NULL;
    char *words[WORDS_MAX + 4];
    memcpy(words, argv, sizeof words);
    optind = 0; /* from the beginning */
    (void)weir_main(argc, argv);
    for (int i = 0; i < argc; i++) {
        free(words[i]);
    }
}

static void edit(unsigned char *board, uint64_t size, const uint8_t *data, size_t bytes)
{
    while (bytes >= 5) {
        uint64_t at = ((uint64_t)data[0] << 16 | (uint64_t)data[1] << 8 | data[2]) % size;
        size_t cnt = 1U + (data[3] & 15U);
        cnt = cnt < bytes - 4 ? cnt : bytes - 4;
        cnt = cnt < size - at ? cnt : (size_t)(size - at);
        memcpy(board + at, data + 4, cnt);
        data += 4 + cnt;
        bytes -= 4 + cnt;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static unsigned char *right, *board;
    static uint64_t size;
    static FILE *sink;
    if (right == NULL) {
        right = board_fixture_make(&size);
        board = aligned_alloc(WEIR_LINE_BYTES, size);
        sink = fopen("/dev/null", "w");
        if (right == NULL || board == NULL || sink == NULL) {
            abort();
        }
    }
    if (bytes == 0) {
        return 0;
    }
    unsigned how = data[0] >> 2 & 3U;
    if ((data[0] & 2) != 0) {
        (void)board_fixture_look(data + 1, bytes - 1, sink);
        return 0;
    }
    size_t from = how == 3 ? 2 : 1;
    memcpy(board, right, size);
    if (bytes > from) {
        edit(board, size, data + from, bytes - from);
    }
    if ((data[0] & 1) != 0) {
        board_fixture_seal(board, size);
    }
    switch (how) {
    case 0:
        (void)board_fixture_look(board, size, sink);
        break;
    case 1:
        (void)board_fixture_watch(board, right, size, sink);
        break;
    case 2:
        (void)board_fixture_watch(right, board, size, sink);
        break;
    default:
        command_run(bytes > 1 ? data[1] : 0, board, size);
        break;
    }
    return 0;
}
