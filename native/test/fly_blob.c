/* fly_blob [-t] BUNDLE [EVERY_TICKS UNTIL_TICK]: fly a bundle (flightsw/bundle.h) on this processor and print the digests of every
 * keyframe (fly_bundle.h); -t: of the topics too. Exit code 1: refused or stopped, 2: usage or file, 3: not exact, or no memory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flightsw/exact.h"
#include "fly_bundle.h"

#define RECORD_BYTES (4u << 20)
#define RECORD_INDEX (RECORD_BYTES / 32u)

const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) {
    fprintf(stderr, "fly_blob: %s: cannot be read\n", path);
    exit(2);
  }
  *size = (size_t)ftell(f);
  rewind(f);
  uint8_t *bytes = malloc(*size + 1);
  if (!bytes || fread(bytes, 1, *size, f) != *size) exit(2);
  fclose(f);
  return bytes;
}

static void say(int64_t tick, const char *what, uint64_t digest) {
  char line[64];
  fly_format(line, tick, what, digest);
  fputs(line, stdout);
}

static void *space(size_t bytes) {
  void *p = calloc(bytes / 8 + 1, 8);
  if (!p) exit(3);
  return p;
}

int main(int argc, char **argv) {
  int topics = argc > 1 && strcmp(argv[1], "-t") == 0;
  argc -= topics;
  argv += topics;
  int64_t every = argc == 4 ? atoll(argv[2]) : 1000, until = argc == 4 ? atoll(argv[3]) : 1000;
  if ((argc != 2 && argc != 4) || every < 1) {
    fprintf(stderr, "usage: fly_blob [-t] BUNDLE [EVERY_TICKS UNTIL_TICK]\n");
    return 2;
  }
  if (fsw_contracted() || fsw_flushes_denormals()) {
    fprintf(stderr, "fly_blob: arithmetic of this build is not exact\n");
    return 3;
  }
  size_t size, used, capacity = 64u << 20;
  uint8_t *bytes = read_file(argv[1], &size);
  uint32_t n_tasks, culprit;
  const fsw_task_desc_t *const *tasks = fsw_builtin_tasks(&n_tasks);
  void *memory = space(capacity), *index = space(RECORD_INDEX * sizeof(fsw_index_entry_t));
  fly_t f = {.scratch = space(size), .say = say};
  if (topics)
    f.recorder = (fsw_recorder_t){.buffer = space(RECORD_BYTES), .index = index, .capacity = RECORD_BYTES,
                                  .index_capacity = RECORD_INDEX};
  int32_t rc = fsw_bundle_load(&f.bench, bytes, size, memory, capacity, &used, tasks, n_tasks, &culprit);
  if (rc != FSW_OK) {
    fprintf(stderr, "fly_blob: %s: refused with %" PRId32 ", node %" PRIu32 "\n", argv[1], rc, culprit);
  } else if ((rc = fly(&f, every, until, bytes, size)) != FSW_OK) {
    fprintf(stderr, "fly_blob: %s: stopped with %" PRId32 " in tick %" PRId64 "\n", argv[1], rc, f.bench.tick);
  }
  free(f.recorder.buffer);
  free(index);
  free(f.scratch);
  free(memory);
  free(bytes);
  return rc == FSW_OK ? 0 : 1;
}
