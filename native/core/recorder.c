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

uint8_t *fsw_record(fsw_recorder_t *rec, uint16_t channel, uint32_t seq, int64_t t_ns, const void *payload, uint32_t size) {
  if (!fsw_recorder_room(rec, size + FSW_RECORD_OVERHEAD, 1)) {
    rec->dropped++;
    return NULL;
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
  return p;
}

/* The counters grow without end and wrap: their difference is what counts. Acquire and release order the blocks' contents. */

int32_t fsw_recorder_cut(fsw_recorder_t *rec) {
  uint32_t freed = __atomic_load_n(&rec->freed, __ATOMIC_ACQUIRE), next = rec->filled + 1u;
  if (rec->n_index == 0 || next - freed >= rec->n_blocks) return 0;
  fsw_record_block_t *block = &rec->blocks[rec->filled % rec->n_blocks];
  block->used = rec->used;
  block->n_index = rec->n_index;
  block->dropped = rec->dropped;
  __atomic_store_n(&rec->filled, next, __ATOMIC_RELEASE);
  block = &rec->blocks[next % rec->n_blocks];
  rec->buffer = block->buffer;
  rec->index = block->index;
  rec->used = rec->start;
  rec->n_index = 0;
  return 1;
}

void fsw_recorder_pace(fsw_recorder_t *rec, int64_t t_ns, uint32_t bytes, uint32_t n) {
  if (t_ns < rec->cut_ns && fsw_recorder_room(rec, bytes, n)) return;
  if (rec->n_index == 0 || fsw_recorder_cut(rec)) rec->cut_ns = t_ns + rec->span_ns;
}

const fsw_record_block_t *fsw_recorder_take(const fsw_recorder_t *rec) {
  return __atomic_load_n(&rec->filled, __ATOMIC_ACQUIRE) == rec->freed ? NULL : &rec->blocks[rec->freed % rec->n_blocks];
}

void fsw_recorder_release(fsw_recorder_t *rec) { __atomic_store_n(&rec->freed, rec->freed + 1u, __ATOMIC_RELEASE); }
