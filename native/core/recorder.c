#include "flightsw/recorder.h"

#include "flightsw/exact.h"

static inline uint8_t *put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
  return p + 2;
}
static inline uint8_t *put32(uint8_t *p, uint32_t v) { return put16(put16(p, v), v >> 16); }
static inline uint8_t *put64(uint8_t *p, uint64_t v) { return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32)); }

int32_t fsw_recorder_room(const fsw_recorder_t *rec, uint32_t bytes, uint32_t n) {
  return rec->capacity - rec->used >= bytes && rec->index_capacity - rec->n_index >= n;
}

void fsw_record(fsw_recorder_t *rec, uint16_t channel, uint32_t seq, int64_t t_ns, const void *payload, uint32_t size) {
  if (!fsw_recorder_room(rec, size + FSW_RECORD_OVERHEAD, 1)) {
    rec->dropped++;
    return;
  }
  uint8_t *p = rec->buffer + rec->used;
  rec->index[rec->n_index++] = (fsw_index_entry_t){.t_ns = t_ns, .offset = rec->used, .channel = channel};
  *p++ = 5;                                     /* Message */
  p = put64(p, 2u + 4u + 8u + 8u + 4u + (uint64_t)size);
  p = put16(p, channel);
  p = put32(p, seq);
  p = put64(p, (uint64_t)t_ns);                 /* log time */
  p = put64(p, (uint64_t)t_ns);                 /* publish time */
  p = put32(p, 0x00000100u);                    /* encapsulation: CDR, little-endian */
  __builtin_memcpy(p, payload, size);
  rec->used += size + FSW_RECORD_OVERHEAD;
  rec->records++;
}
