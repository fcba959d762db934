/* recorder.h - finished MCAP message records in a buffer that somebody else empties.
 *
 * The core formats each topic write as one MCAP Message record (opcode 5, CDR payload: 00 01 00 00 + the struct) and notes its
 * channel, time and offset for the message index. Whoever owns the buffer wraps full buffers into chunks and writes them;
 * the core never waits: the caller checks fsw_recorder_room() before a tick. Record layout: MCAP specification, version 0. */
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

typedef struct {
  uint8_t *buffer;
  fsw_index_entry_t *index;
  uint32_t capacity;        /* bytes of buffer */
  uint32_t index_capacity;  /* entries of index */
  uint32_t used;
  uint32_t n_index;
  uint64_t records;         /* since start */
  uint64_t dropped;         /* records that found no room */
} fsw_recorder_t;

/* 1 when `bytes` more bytes in `n` records fit. */
int32_t fsw_recorder_room(const fsw_recorder_t *rec, uint32_t bytes, uint32_t n);

/* Append one record; counts it as dropped when it does not fit. `payload` in native order of a little-endian machine. */
void fsw_record(fsw_recorder_t *rec, uint16_t channel, uint32_t seq, int64_t t_ns, const void *payload, uint32_t size);
/* cffi: end */
#define FSW_RECORD_OVERHEAD 35u /* opcode 1, length 8, channel 2, sequence 4, two times 16, encapsulation 4 */

#endif
