#include "flightsw/bundle.h"

#include "flightsw/exact.h"

typedef struct {
  uint8_t *memory;
  size_t capacity;
  size_t used;
} arena_t;

typedef struct {
  const uint8_t *at;
  size_t left;
} reader_t;

static void *take(arena_t *a, size_t n) {
  n = (n + 7u) & ~(size_t)7u;
  if (n > a->capacity - a->used) return NULL;
  void *p = a->memory + a->used;
  a->used += n;
  __builtin_memset(p, 0, n);
  return p;
}

static const uint8_t *skip(reader_t *r, size_t n) {
  if (n > r->left) return NULL;
  const uint8_t *p = r->at;
  r->at += n;
  r->left -= n;
  return p;
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int32_t load_node(fsw_node_t *node, reader_t *r, arena_t *a, const fsw_task_desc_t *const *tasks, uint32_t n_tasks) {
  const uint8_t *head = skip(r, 16);
  if (!head) return FSW_E_SIZE;
  uint32_t size = get32(head), culprit;
  const uint8_t *bytes = skip(r, ((size_t)size + 7u) & ~(size_t)7u);
  void *blob = bytes ? take(a, size) : NULL;
  if (!blob) return FSW_E_SIZE;
  __builtin_memcpy(blob, bytes, size);
  int32_t rc = fsw_blob_check(blob, size);
  if (rc != FSW_OK) return rc;
  size_t need = fsw_node_memory(blob);
  void *memory = take(a, need);
  if (!memory) return FSW_E_SIZE;
  rc = fsw_node_load(node, memory, need, blob, tasks, n_tasks, &culprit);
  if (rc != FSW_OK) return rc;
  fsw_image_head_t *image = (fsw_image_head_t *)(void *)node->image;
  image->stream = get32(head + 4);
  image->seed = (uint64_t)get32(head + 8) | (uint64_t)get32(head + 12) << 32;
  return FSW_OK;
}

static int32_t read_links(fsw_link_t *links, uint32_t n, reader_t *r) {
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *p = skip(r, 24);
    if (!p) return FSW_E_SIZE;
    for (uint32_t k = 0; k < 4; k++)
      if (get32(p + 4u * k) > 0xffffu) return FSW_E_RANGE;
    links[i] = (fsw_link_t){(uint16_t)get32(p), (uint16_t)get32(p + 4), (uint16_t)get32(p + 8), (uint16_t)get32(p + 12),
                            get32(p + 16), get32(p + 20)};
  }
  return FSW_OK;
}

int32_t fsw_bundle_load(fsw_bench_t *bench, const uint8_t *bytes, size_t size, void *memory, size_t capacity, size_t *used,
                        const fsw_task_desc_t *const *tasks, uint32_t n_tasks, uint32_t *culprit) {
  arena_t a = {memory, capacity, 0};
  reader_t r = {bytes, size};
  const uint8_t *head = skip(&r, 16);
  *culprit = 0;
  if (!head) return FSW_E_SIZE;
  if (get32(head) != 0x4e575346u) return FSW_E_MAGIC; /* "FSWN" */
  if (get32(head + 4) != 1) return FSW_E_VERSION;
  uint32_t n_nodes = get32(head + 8), n_links = get32(head + 12);
  if (n_nodes > 4096 || n_links > 65534) return FSW_E_RANGE;
  fsw_node_t *nodes = take(&a, n_nodes * sizeof *nodes);
  fsw_link_t *links = take(&a, n_links * sizeof *links);
  if (!nodes || !links) return FSW_E_SIZE;
  for (uint32_t n = 0; n < n_nodes; n++) {
    int32_t rc = load_node(&nodes[n], &r, &a, tasks, n_tasks);
    *culprit = n;
    if (rc != FSW_OK) return rc;
  }
  int32_t rc = read_links(links, n_links, &r);
  if (rc != FSW_OK) return rc;
  size_t need = fsw_bench_memory(links, n_links);
  void *link_memory = take(&a, need);
  if (!link_memory) return FSW_E_SIZE;
  *used = a.used;
  return fsw_bench_init(bench, nodes, n_nodes, links, n_links, link_memory, need);
}
