/* What the fly_blob programs have in common: fly a bundle and say, at every keyframe, the digests of all that happened.
 *
 * A line is: tick, what, 16 hexadecimal digits.
 *   TICK topics H   XXH64 of the log records of all topic writes and arrivals since the start, in their order; the log channel of a topic
 *                   is its running number over all nodes
 *   TICK K H        digest of the image of node K (fsw_node_digest)
 *   TICK bundle H   at the end, when the bundle holds start images: XXH64 of the bundle of this moment (fsw_bundle_save)
 * The same lines must come out of every compiler and every machine. */
#ifndef FLIGHTSW_TEST_FLY_BUNDLE_H
#define FLIGHTSW_TEST_FLY_BUNDLE_H
#include "flightsw/bundle.h"
#include "flightsw/digest.h"

typedef struct {
  fsw_bench_t bench;
  fsw_recorder_t recorder; /* buffer, index and their capacities are given; no buffer: topics are not digested */
  fsw_digest_t topics;
  void *scratch;           /* as large as the largest image */
  void (*say)(int64_t tick, const char *what, uint64_t digest);
} fly_t;

static inline void fly_put(char **at, const char *text) {
  while (*text) *(*at)++ = *text++;
  **at = 0;
}

static inline void fly_decimal(char *out, uint64_t v) {
  char digits[20];
  uint32_t n = 0;
  do digits[n++] = (char)('0' + v % 10u);
  while (v /= 10u);
  while (n) *out++ = digits[--n];
  *out = 0;
}

/* A line of at most 63 characters. */
static inline void fly_format(char *line, int64_t tick, const char *what, uint64_t digest) {
  char number[24], *at = line;
  fly_decimal(number, (uint64_t)tick);
  fly_put(&at, number);
  fly_put(&at, " ");
  fly_put(&at, what);
  fly_put(&at, " ");
  for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[digest >> shift & 15u];
  fly_put(&at, "\n");
}

static inline void fly_drain(fly_t *f) {
  fsw_digest_update(&f->topics, f->recorder.buffer, f->recorder.used);
  f->recorder.used = f->recorder.n_index = 0;
}

static inline void fly_keyframe(fly_t *f) {
  char number[24];
  if (f->recorder.buffer) {
    fly_drain(f);
    f->say(f->bench.tick, "topics", fsw_digest_final(&f->topics));
  }
  for (uint32_t n = 0; n < f->bench.n_nodes; n++) {
    fly_decimal(number, n);
    f->say(f->bench.tick, number, fsw_node_digest(&f->bench.nodes[n], f->scratch));
  }
}

static inline int32_t fly_record(fly_t *f) {
  uint16_t channel = 0;
  for (uint32_t n = 0; n < f->bench.n_nodes; n++)
    for (uint32_t t = 0; t < f->bench.nodes[n].n_topics; t++) f->bench.nodes[n].topics[t].channel = channel++;
  fsw_bench_set_recorder(&f->bench, &f->recorder);
  fsw_digest_init(&f->topics, 0);
  return fsw_recorder_room(&f->recorder, f->bench.worst_bytes, f->bench.worst_records) ? FSW_OK : FSW_E_SIZE;
}

/* Fly on to tick `until`, with a keyframe at the start, at every multiple of `every` and at the end. `bundle`: where f->bench came from, and
 * where its state is put. */
static inline int32_t fly(fly_t *f, int64_t every, int64_t until, uint8_t *bundle, size_t size) {
  int32_t rc = f->recorder.buffer ? fly_record(f) : FSW_OK;
  if (rc == FSW_OK) fly_keyframe(f);
  while (rc == FSW_OK && f->bench.tick < until) {
    int64_t next = (f->bench.tick / every + 1) * every;
    while ((rc = fsw_bench_run(&f->bench, next < until ? next : until)) == FSW_NEED_DRAIN) fly_drain(f);
    if (rc == FSW_OK) fly_keyframe(f);
  }
  if (rc == FSW_OK && fsw_bundle_save(&f->bench, bundle, size) == FSW_OK)
    f->say(f->bench.tick, "bundle", fsw_digest(bundle, size, 0));
  return rc;
}

#endif
