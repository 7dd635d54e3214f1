/*
 * fuzz_board.c: the monitor on any board.
 *
 * The input edits a right board, because random bytes never get past its header. First byte: bit 0 = make the tables' checksum right after
 * the edits, bit 1 = the rest is a whole board. Each edit: offset (3 bytes), count (1 byte, low 4 bits + 1), bytes. Oracle: the sanitizers, and time.
 */
#include "../unit/board_fixture.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

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
    if ((data[0] & 2) != 0) {
        (void)board_fixture_look(data + 1, bytes - 1, sink);
        return 0;
    }
    memcpy(board, right, size);
    edit(board, size, data + 1, bytes - 1);
    if ((data[0] & 1) != 0) {
        board_fixture_seal(board, size);
    }
    (void)board_fixture_look(board, size, sink);
    return 0;
}
