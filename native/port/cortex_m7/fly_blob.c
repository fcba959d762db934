/* fly_blob on a bare Cortex-M7: the bundle lies in PSRAM behind a header of four little-endian u32 ("FLYB", bundle size, ticks between
 * keyframes, tick to stop at). Prints what native/test/fly_blob.c prints with -t. */
#include "flightsw/exact.h"
#include "fly_bundle.h"

#define ORDER ((uint8_t *)0x60000000u)
#define ARENA ((void *)0x60400000u)
#define ARENA_BYTES (10u << 20)
#define RECORD_BYTES (256u << 10)
#define RECORD_INDEX (RECORD_BYTES / 32u)
#define SCRATCH ((void *)0x60E00000u)

void fsw_m7_write(const char *text);
const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);

static uint64_t records[RECORD_BYTES / 8];
static fsw_index_entry_t entries[RECORD_INDEX];
static fly_t flight;

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void say(int64_t tick, const char *what, uint64_t digest) {
  char line[64];
  fly_format(line, tick, what, digest);
  fsw_m7_write(line);
}

int main(void) {
  if (get32(ORDER) != 0x42594c46u || fsw_contracted() || fsw_flushes_denormals()) return 3;
  uint32_t n_tasks, culprit, size = get32(ORDER + 4);
  const fsw_task_desc_t *const *tasks = fsw_builtin_tasks(&n_tasks);
  size_t used;
  flight.recorder = (fsw_recorder_t){.buffer = (uint8_t *)records, .index = entries, .capacity = RECORD_BYTES,
                                     .index_capacity = RECORD_INDEX};
  flight.scratch = SCRATCH;
  flight.say = say;
  int32_t rc = fsw_bundle_load(&flight.bench, ORDER + 16, size, ARENA, ARENA_BYTES, &used, tasks, n_tasks, &culprit);
  if (rc == FSW_OK) rc = fly(&flight, get32(ORDER + 8), get32(ORDER + 12), ORDER + 16, size);
  if (rc != FSW_OK) {
    fsw_m7_write("fly_blob: refused or stopped; tick and code: ");
    say(flight.bench.tick, "-", (uint64_t)(int64_t)rc);
  }
  return rc == FSW_OK ? 0 : 1;
}
