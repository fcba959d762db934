/* fly_blob BUNDLE [EVERY_TICKS TICKS]: fly a bundle (flightsw/bundle.h) on this processor and print, every so many ticks, the digest
 * of each node's image: tick, node, XXH64. The same lines must come out of every compiler and every machine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "flightsw/bundle.h"
#include "flightsw/exact.h"

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

static void print_digests(const fsw_bench_t *bench, void *scratch) {
  for (uint32_t n = 0; n < bench->n_nodes; n++)
    printf("%" PRId64 " %" PRIu32 " %016" PRIx64 "\n", bench->tick, n, fsw_node_digest(&bench->nodes[n], scratch));
}

int main(int argc, char **argv) {
  if (argc != 2 && argc != 4) {
    fprintf(stderr, "usage: fly_blob BUNDLE [EVERY_TICKS TICKS]\n");
    return 2;
  }
  if (fsw_contracted() || fsw_flushes_denormals()) {
    fprintf(stderr, "fly_blob: arithmetic of this build is not exact\n");
    return 3;
  }
  size_t size, used, capacity = 64u << 20;
  uint8_t *bytes = read_file(argv[1], &size);
  void *memory = calloc(capacity / 8, 8), *scratch = calloc(1u << 20, 8);
  int64_t every = argc == 4 ? atoll(argv[2]) : 1000, ticks = argc == 4 ? atoll(argv[3]) : 1000;
  uint32_t n_tasks, culprit;
  const fsw_task_desc_t *const *tasks = fsw_builtin_tasks(&n_tasks);
  fsw_bench_t bench;
  if (!memory || !scratch) return 3;
  int32_t rc = fsw_bundle_load(&bench, bytes, size, memory, capacity, &used, tasks, n_tasks, &culprit);
  while (rc == FSW_OK && bench.tick < ticks) {
    rc = fsw_bench_run(&bench, bench.tick + every < ticks ? bench.tick + every : ticks);
    if (rc == FSW_OK) print_digests(&bench, scratch);
  }
  if (rc != FSW_OK) fprintf(stderr, "fly_blob: %s: refused or stopped with %" PRId32 "\n", argv[1], rc);
  free(bytes);
  free(memory);
  free(scratch);
  return rc == FSW_OK ? 0 : 1;
}
