/*
 * weir_slot.h: the life of one request, in one word.
 *
 *   gen:32 | state:8 | thread:8 | 0:16
 *
 *   FREE         --client CAS-->    FILLING(thread)        --client store-->  SUBMITTED
 *   SUBMITTED    --worker CAS-->    CLAIMED               the worker has a private copy and a shadow
 *   SUBMITTED    --client CAS-->    CANCELLED             certainly never sent
 *   CLAIMED      --worker store-->  SENDING               at the send gate (PREREQ): the request is about to be written
 *   CLAIMED, SENDING --worker store--> DONE               the response is whole
 *   DONE, CANCELLED  --client store-->  FREE               nobody else writes these two; the worker keeps what it held until it sees this
 *
 * The generation goes up at every arrow into FILLING and at every arrow into FREE, so a request's number ends with it: whoever remembers
 * (slot, generation) and finds another generation knows that the request is over and released.
 *
 * The ring only says where to look; this word is what clients and worker agree on; the worker's shadow (ledger) is what it
 * believes. A word that contradicts the shadow changes nothing but a counter.
 *
 * Who dies: client - the worker ends what is queued and follows what is in flight, then the arena goes. Worker - SUBMITTED stays and is found
 * by the next one; CLAIMED was not sent; SENDING may have been.
 */
#ifndef WEIR_SLOT_H
#define WEIR_SLOT_H

#include "weir_base.h"

enum weir_slot_state {
    WEIR_SLOT_FREE = 0,
    WEIR_SLOT_FILLING = 1,
    WEIR_SLOT_SUBMITTED = 2,
    WEIR_SLOT_CLAIMED = 3,
    WEIR_SLOT_SENDING = 4,
    WEIR_SLOT_DONE = 5,
    WEIR_SLOT_CANCELLED = 6,
};

static inline uint64_t weir_slot_word(uint32_t gen, enum weir_slot_state state, uint32_t thread)
{
    return (uint64_t)gen << 32 | (uint64_t)state << 24 | (uint64_t)(thread & 255U) << 16;
}

static inline uint32_t weir_slot_gen(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static inline enum weir_slot_state weir_slot_state(uint64_t word)
{
    return (enum weir_slot_state)((word >> 24) & 255U);
}

static inline uint32_t weir_slot_thread(uint64_t word)
{
    return (uint32_t)(word >> 16) & 255U;
}

/* The same word with another state. */
static inline uint64_t weir_slot_with(uint64_t word, enum weir_slot_state state)
{
    return (word & ~(UINT64_C(255) << 24)) | (uint64_t)state << 24;
}

/* A ring entry: client:8 | slot:12 | generation tag:12. The tag only drops stale entries early; nothing depends on it. */
static inline uint32_t weir_handle_make(uint32_t client, uint32_t slot, uint32_t gen)
{
    return client << 24 | (slot & 4095U) << 12 | (gen & 4095U);
}

static inline uint32_t weir_handle_client(uint32_t handle)
{
    return handle >> 24;
}

static inline uint32_t weir_handle_slot(uint32_t handle)
{
    return (handle >> 12) & 4095U;
}

static inline uint32_t weir_handle_tag(uint32_t handle)
{
    return handle & 4095U;
}

#endif
