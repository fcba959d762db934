/* recorder.h - finished MCAP message records in a buffer that somebody else empties.
 *
 * The core formats each topic write as one MCAP Message record (opcode 5, CDR payload: 00 01 00 00 + the struct) and notes its
 * channel, time and offset for the message index. Whoever owns the buffer wraps full buffers into chunks and writes them.
 * Record layout: MCAP specification, version 0; the bytes are the same on every machine.
 *
 * Two ways of emptying it. Simulated time waits: the caller checks fsw_recorder_room() before a tick and installs an empty buffer when
 * there is none. Real time does not: the recorder has a ring of blocks, one producer and one consumer that share two
 * counters; the producer hands over a block when its span of time or its room is used up, and goes on with the next. When the consumer is
 * too slow, records are dropped and counted, and the producer neither waits nor calls the operating system. */
#ifndef FLIGHTSW_RECORDER_H
#define FLIGHTSW_RECORDER_H
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
typedef struct {
  int64_t t_ns;
  uint32_t offset;      /* of the record in the buffer */
  uint16_t channel;
  uint16_t pad0;
} fsw_index_entry_t;

typedef struct { /* a buffer of the ring */
  uint8_t *buffer;
  fsw_index_entry_t *index;
  uint32_t used;        /* set when it is handed over: end of its records */
  uint32_t n_index;
  uint64_t dropped;     /* records dropped up to then, since start */
} fsw_record_block_t;

typedef struct {
  uint8_t *buffer;          /* where records go now */
  fsw_index_entry_t *index;
  uint32_t capacity;        /* bytes of buffer */
  uint32_t index_capacity;  /* entries of index */
  uint32_t used;
  uint32_t n_index;
  uint64_t records;         /* since start */
  uint64_t dropped;         /* records that found no room */
  fsw_record_block_t *blocks; /* ring of n_blocks, all of the same capacity; NULL: the caller installs buffers */
  uint32_t n_blocks;
  uint32_t start;           /* offset of the first record in a block: room in front of it */
  uint32_t filled;          /* blocks handed over since start: written by the producer */
  uint32_t freed;           /* blocks given back since start: written by the consumer */
  int64_t span_ns;          /* greatest span of time in a block */
  int64_t cut_ns;           /* when the present block is to be handed over */
} fsw_recorder_t;

/* 1 when `bytes` more bytes in `n` records fit. */
int32_t fsw_recorder_room(const fsw_recorder_t *rec, uint32_t bytes, uint32_t n);

/* Append one record. `payload` in native order. Returns where its payload lies in the buffer, or NULL when it does not fit: it is counted
 * as dropped. */
uint8_t *fsw_record(fsw_recorder_t *rec, uint16_t channel, uint32_t seq, int64_t t_ns, const void *payload, uint32_t size);

/* Producer, before a tick at t_ns whose records need at most `bytes` in `n` records: hands the block over when it is time. */
void fsw_recorder_pace(fsw_recorder_t *rec, int64_t t_ns, uint32_t bytes, uint32_t n);

/* Producer: hand the present block over if there is something in it and a free one to go on with. 1 when that was done. */
int32_t fsw_recorder_cut(fsw_recorder_t *rec);

/* Consumer: the oldest block handed over, or NULL. It stays with the consumer until fsw_recorder_release. */
const fsw_record_block_t *fsw_recorder_take(const fsw_recorder_t *rec);
void fsw_recorder_release(fsw_recorder_t *rec);
/* cffi: end */
#define FSW_RECORD_OVERHEAD 35u /* opcode 1, length 8, channel 2, sequence 4, two times 16, encapsulation 4 */

#endif
