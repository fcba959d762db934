/* fly_blob FILE [EVERY_TICKS TICKS]: fly a bench file that Python wrote (flightsw.bundle) on this processor and print the digest of
 * every image each EVERY_TICKS ticks. The same lines must come out of every compiler and every machine.
 * Bundle, little-endian: "FSWN", version u32, node count u32, link count u32; per node: blob length u32, stream u32, seed u64,
 * blob padded to 8; then links as six u32: source node, source topic, destination node, destination topic, latency, size. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flightsw/bench.h"
#include "flightsw/exact.h"

const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static uint64_t get64(const uint8_t *p) { return get32(p) | (uint64_t)get32(p + 4) << 32; }

static void *aligned(size_t n) {
  void *p = calloc(n / 8 + 1, 8);
  if (!p) {
    fprintf(stderr, "fly_blob: out of memory\n");
    exit(3);
  }
  return p;
}

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) {
    fprintf(stderr, "fly_blob: %s: cannot be read\n", path);
    exit(2);
  }
  *size = (size_t)ftell(f);
  rewind(f);
  uint8_t *bytes = aligned(*size);
  if (fread(bytes, 1, *size, f) != *size) exit(2);
  fclose(f);
  return bytes;
}

static const uint8_t *load_node(fsw_node_t *node, const uint8_t *p, uint32_t index) {
  uint32_t size = get32(p), stream = get32(p + 4), n_tasks, culprit = 0;
  uint64_t seed = get64(p + 8);
  uint8_t *blob = aligned(size);
  memcpy(blob, p + 16, size);
  int32_t rc = fsw_blob_check(blob, size);
  if (rc == FSW_OK) {
    const fsw_task_desc_t *const *tasks = fsw_builtin_tasks(&n_tasks);
    size_t need = fsw_node_memory(blob);
    rc = fsw_node_load(node, aligned(need), need, blob, tasks, n_tasks, &culprit);
  }
  if (rc != FSW_OK) {
    fprintf(stderr, "fly_blob: node %" PRIu32 ": load blob refused (%" PRId32 ", task %" PRIu32 ")\n", index, rc, culprit);
    exit(2);
  }
  fsw_image_head_t *head = (fsw_image_head_t *)(void *)node->image;
  head->seed = seed;
  head->stream = stream;
  return p + 16 + ((size + 7u) & ~7u);
}

static void print_digests(const fsw_bench_t *bench) {
  for (uint32_t n = 0; n < bench->n_nodes; n++) {
    void *scratch = aligned(bench->nodes[n].image_size);
    printf("%" PRId64 " %" PRIu32 " %016" PRIx64 "\n", bench->tick, n, fsw_node_digest(&bench->nodes[n], scratch));
    free(scratch);
  }
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
  size_t size;
  const uint8_t *p = read_file(argv[1], &size);
  if (size < 16 || memcmp(p, "FSWN", 4) != 0 || get32(p + 4) != 1) {
    fprintf(stderr, "fly_blob: %s: not a bundle of version 1\n", argv[1]);
    return 2;
  }
  uint32_t n_nodes = get32(p + 8), n_links = get32(p + 12);
  int64_t every = argc == 4 ? atoll(argv[2]) : 1000, ticks = argc == 4 ? atoll(argv[3]) : 1000;
  fsw_node_t *nodes = aligned(n_nodes * sizeof *nodes);
  fsw_link_t *links = aligned(n_links * sizeof *links + 8);
  p += 16;
  for (uint32_t n = 0; n < n_nodes; n++) p = load_node(&nodes[n], p, n);
  for (uint32_t i = 0; i < n_links; i++, p += 24)
    links[i] = (fsw_link_t){(uint16_t)get32(p), (uint16_t)get32(p + 4), (uint16_t)get32(p + 8), (uint16_t)get32(p + 12),
                            get32(p + 16), get32(p + 20)};
  fsw_bench_t bench;
  size_t need = fsw_bench_memory(links, n_links);
  if (fsw_bench_init(&bench, nodes, n_nodes, links, n_links, aligned(need), need) != FSW_OK) {
    fprintf(stderr, "fly_blob: links cannot be joined\n");
    return 2;
  }
  while (bench.tick < ticks) {
    int32_t rc = fsw_bench_run(&bench, bench.tick + every < ticks ? bench.tick + every : ticks);
    if (rc != FSW_OK) {
      fprintf(stderr, "fly_blob: stopped with %" PRId32 " at tick %" PRId64 "\n", rc, bench.tick);
      return 1;
    }
    print_digests(&bench);
  }
  return 0;
}
