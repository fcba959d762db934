/* fly_blob on a bare Cortex-M7: the bundle lies at 0x60000000, behind a header of four little-endian u32 ("FLYB", bundle size,
 * ticks between digests, ticks). Prints what native/test/fly_blob.c prints. */
#include "flightsw/bundle.h"
#include "flightsw/exact.h"

#define BUNDLE ((const uint8_t *)0x60000000u)
#define ARENA ((void *)0x60400000u)
#define ARENA_BYTES (10u << 20)
#define SCRATCH ((void *)0x60E00000u)

void fsw_m7_write(const char *text);
const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static char *put_decimal(char *p, uint32_t v) {
  char digits[10];
  uint32_t n = 0;
  do {
    digits[n++] = (char)('0' + v % 10u);
    v /= 10u;
  } while (v);
  while (n) *p++ = digits[--n];
  return p;
}

static void print_line(int64_t tick, uint32_t node, uint64_t digest) {
  char line[64], *p = put_decimal(line, (uint32_t)tick);
  *p++ = ' ';
  p = put_decimal(p, node);
  *p++ = ' ';
  for (int shift = 60; shift >= 0; shift -= 4) *p++ = "0123456789abcdef"[digest >> shift & 15u];
  *p++ = '\n';
  *p = 0;
  fsw_m7_write(line);
}

int main(void) {
  if (get32(BUNDLE) != 0x42594c46u || fsw_contracted() || fsw_flushes_denormals()) return 3;
  uint32_t n_tasks, culprit;
  int64_t every = get32(BUNDLE + 8), ticks = get32(BUNDLE + 12);
  const fsw_task_desc_t *const *tasks = fsw_builtin_tasks(&n_tasks);
  fsw_bench_t bench;
  size_t used;
  int32_t rc = fsw_bundle_load(&bench, BUNDLE + 16, get32(BUNDLE + 4), ARENA, ARENA_BYTES, &used, tasks, n_tasks, &culprit);
  while (rc == FSW_OK && bench.tick < ticks) {
    rc = fsw_bench_run(&bench, bench.tick + every < ticks ? bench.tick + every : ticks);
    for (uint32_t n = 0; rc == FSW_OK && n < bench.n_nodes; n++)
      print_line(bench.tick, n, fsw_node_digest(&bench.nodes[n], SCRATCH));
  }
  if (rc != FSW_OK) {
    fsw_m7_write("fly_blob: refused or stopped, code and node: -");
    print_line((int64_t)-rc, culprit, (uint64_t)bench.tick);
  }
  return rc == FSW_OK ? 0 : 1;
}
