#include "flightsw/bundle.h"

#include "flightsw/digest.h"
#include "flightsw/exact.h"
#include "publish.h"

#define MAGIC 0x4e575346u /* "FSWN" */
#define HEAD 40u
#define HASHED_FROM 16u
#define NODE_HEAD 24u
#define LINK_BYTES 24u

typedef struct {
  uint8_t *memory;
  size_t capacity;
  size_t used;
} arena_t;

typedef struct { /* what is left of a bundle */
  const uint8_t *at;
  size_t left;
} reader_t;

typedef struct {
  int64_t tick;
  uint32_t n_nodes;
  uint32_t n_links;
  uint32_t link_image;
} head_t;

typedef struct { /* a node's part; blob and image point into the bundle */
  const uint8_t *head;
  const uint8_t *blob;
  const uint8_t *image;
  uint32_t blob_size;
  uint32_t image_size;
} part_t;

static size_t up8(size_t n) { return (n + 7u) & ~(size_t)7u; }

static void *take(arena_t *a, size_t n) {
  if (n > a->capacity - a->used || up8(n) > a->capacity - a->used) return NULL;
  void *p = a->memory + a->used;
  a->used += up8(n);
  __builtin_memset(p, 0, up8(n));
  return p;
}

static const uint8_t *skip(reader_t *r, size_t n) {
  if (n > r->left || up8(n) > r->left) return NULL;
  const uint8_t *p = r->at;
  r->at += up8(n);
  r->left -= up8(n);
  return p;
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t get64(const uint8_t *p) { return (uint64_t)get32(p) | (uint64_t)get32(p + 4) << 32; }

static void put32(uint8_t *p, uint32_t v) {
  for (uint32_t i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (8u * i));
}

static void put64(uint8_t *p, uint64_t v) {
  put32(p, (uint32_t)v);
  put32(p + 4, (uint32_t)(v >> 32));
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

static int32_t read_head(reader_t *r, head_t *h) {
  size_t size = r->left;
  const uint8_t *p = skip(r, HEAD);
  if (!p) return FSW_E_SIZE;
  if (get32(p) != MAGIC) return FSW_E_MAGIC;
  if (get32(p + 4) != FSW_BUNDLE_VERSION) return FSW_E_VERSION;
  if (get32(p + 24) != size) return FSW_E_SIZE;
  if (get64(p + 8) != fsw_digest(p + HASHED_FROM, size - HASHED_FROM, 0)) return FSW_E_HASH;
  uint64_t tick = get64(p + 16);
  *h = (head_t){(int64_t)(tick & INT64_MAX), get32(p + 28), get32(p + 32), get32(p + 36)};
  return tick > INT64_MAX || h->n_nodes > 4096 || h->n_links > 65534 ? FSW_E_RANGE : FSW_OK;
}

static int32_t read_part(reader_t *r, part_t *part) {
  part->head = skip(r, NODE_HEAD);
  if (!part->head) return FSW_E_SIZE;
  part->blob_size = get32(part->head);
  part->image_size = get32(part->head + 4);
  part->blob = skip(r, part->blob_size);
  part->image = part->blob ? skip(r, part->image_size) : NULL;
  return part->image ? FSW_OK : FSW_E_SIZE;
}

static int32_t start_image(const fsw_node_t *node, const part_t *part, int64_t tick) {
  fsw_image_head_t *head = (fsw_image_head_t *)(void *)node->image;
  if (part->image_size) {
    if (part->image_size != node->image_size) return FSW_E_SIZE;
    __builtin_memcpy(node->image, part->image, part->image_size);
    if (BIG_ENDIAN_HOST) fsw_node_swap(node, 0, node->image, node->image_size);
    if (head->blob_hash != node->blob_hash) return FSW_E_HASH;
    if (head->tick != tick) return FSW_E_RANGE;
  }
  head->tick = tick;
  head->stream = get32(part->head + 8);
  head->seed = get64(part->head + 16);
  return FSW_OK;
}

static int32_t load_node(fsw_node_t *node, const part_t *part, int64_t tick, arena_t *a, const fsw_task_desc_t *const *tasks,
                         uint32_t n_tasks) {
  uint32_t culprit;
  void *blob = take(a, part->blob_size);
  if (!blob) return FSW_E_SIZE;
  __builtin_memcpy(blob, part->blob, part->blob_size);
  int32_t rc = fsw_blob_check(blob, part->blob_size);
  if (rc != FSW_OK) return rc;
  size_t need = fsw_node_memory(blob);
  void *memory = take(a, need);
  if (!memory) return FSW_E_SIZE;
  rc = fsw_node_load(node, memory, need, blob, tasks, n_tasks, &culprit);
  return rc == FSW_OK ? start_image(node, part, tick) : rc;
}

static int32_t read_links(fsw_link_t *links, uint32_t n, reader_t *r) {
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *p = skip(r, LINK_BYTES);
    if (!p) return FSW_E_SIZE;
    for (uint32_t k = 0; k < 4; k++)
      if (get32(p + 4u * k) > 0xffffu) return FSW_E_RANGE;
    links[i] = (fsw_link_t){(uint16_t)get32(p), (uint16_t)get32(p + 4), (uint16_t)get32(p + 8), (uint16_t)get32(p + 12),
                            get32(p + 16), get32(p + 20)};
  }
  return FSW_OK;
}

/* ---- messages in flight ------------------------------------------------------------------------------------------- */

static size_t due_bytes(const fsw_bench_t *b) { return ((size_t)b->due_mask + 1u) * b->due_stride; }

/* `image` is a link image of this bench in native order or in the other one: turn it. Due lists are uint16 throughout, what lies behind
 * their count is left over from earlier ticks; payloads are laid out like the topic that they come from. */
static void swap_link_image(const fsw_bench_t *b, uint8_t *image) {
  for (size_t i = 0; i < due_bytes(b); i += 2) {
    uint8_t t = image[i];
    image[i] = image[i + 1];
    image[i + 1] = t;
  }
  for (uint32_t n = 0; n < b->n_nodes; n++)
    for (uint32_t t = 0; t < b->nodes[n].n_topics; t++) {
      const fsw_topic_rt_t *topic = &b->nodes[n].topics[t];
      if (topic->n_routes == 0) continue;
      const fsw_route_t *route = &b->routes[topic->first_route];
      uint8_t *slot = image + (route->ring - b->link_image);
      for (uint32_t k = 0; k < route->depth; k++, slot += route->stride)
        fsw_node_swap(&b->nodes[n], topic->offset + (uint32_t)sizeof(fsw_topic_head_t), slot, topic->size);
    }
}

static uint32_t count_routes(const fsw_bench_t *b) {
  uint32_t n = 0;
  for (uint32_t k = 0; k < b->n_nodes; k++)
    for (uint32_t t = 0; t < b->nodes[k].n_topics; t++) n += b->nodes[k].topics[t].n_routes;
  return n;
}

/* What falls due `ahead` ticks from now was sent before now: down a route slower than that, once at most. So no list can overflow
 * when the bench runs, and no index points outside. */
static int32_t check_due(const fsw_bench_t *b) {
  uint32_t n_routes = count_routes(b);
  for (int64_t ahead = 0; ahead <= b->due_mask; ahead++) {
    const uint16_t *due = due_list(b, b->tick + ahead);
    uint32_t possible = 0;
    for (uint32_t r = 0; r < n_routes; r++) possible += b->routes[r].latency > ahead;
    if (due[0] > possible) return FSW_E_RANGE;
    for (uint32_t i = 0; i < due[0]; i++)
      if (due[2u + i] >= n_routes || b->routes[due[2u + i]].latency <= ahead) return FSW_E_RANGE;
  }
  return FSW_OK;
}

static int32_t start_links(fsw_bench_t *b, const head_t *h, reader_t *r) {
  const uint8_t *bytes = skip(r, h->link_image);
  if (!bytes || r->left) return FSW_E_SIZE;
  b->tick = h->tick;
  if (h->link_image == 0) return FSW_OK;
  if (h->link_image != b->link_image_size) return FSW_E_SIZE;
  __builtin_memcpy(b->link_image, bytes, h->link_image);
  if (BIG_ENDIAN_HOST) swap_link_image(b, b->link_image);
  return check_due(b);
}

/* ---- the whole ---------------------------------------------------------------------------------------------------- */

int32_t fsw_bundle_load(fsw_bench_t *bench, const uint8_t *bytes, size_t size, void *memory, size_t capacity, size_t *used,
                        const fsw_task_desc_t *const *tasks, uint32_t n_tasks, uint32_t *culprit) {
  arena_t a = {memory, capacity, 0};
  reader_t r = {bytes, size};
  head_t h = {0};
  int32_t rc = read_head(&r, &h);
  *used = 0;
  *culprit = h.n_nodes;
  if (rc != FSW_OK) return rc;
  fsw_node_t *nodes = take(&a, h.n_nodes * sizeof *nodes);
  fsw_link_t *links = take(&a, h.n_links * sizeof *links);
  if (!nodes || !links) return FSW_E_SIZE;
  for (uint32_t n = 0; n < h.n_nodes; n++) {
    part_t part;
    *culprit = n;
    rc = read_part(&r, &part);
    if (rc == FSW_OK) rc = load_node(&nodes[n], &part, h.tick, &a, tasks, n_tasks);
    if (rc != FSW_OK) return rc;
  }
  *culprit = h.n_nodes;
  rc = read_links(links, h.n_links, &r);
  if (rc != FSW_OK) return rc;
  size_t need = fsw_bench_memory(links, h.n_links);
  void *link_memory = take(&a, need);
  if (!link_memory) return FSW_E_SIZE;
  *used = a.used;
  rc = fsw_bench_init(bench, nodes, h.n_nodes, links, h.n_links, link_memory, need);
  return rc == FSW_OK ? start_links(bench, &h, &r) : rc;
}

int32_t fsw_bundle_save(const fsw_bench_t *bench, uint8_t *bytes, size_t size) {
  reader_t r = {bytes, size};
  if (size < HEAD || get32(bytes) != MAGIC || get32(bytes + 28) != bench->n_nodes || get32(bytes + 32) != bench->n_links
      || get32(bytes + 36) != bench->link_image_size)
    return FSW_E_SIZE;
  (void)skip(&r, HEAD);
  for (uint32_t n = 0; n < bench->n_nodes; n++) {
    const fsw_node_t *node = &bench->nodes[n];
    const fsw_image_head_t *head = (const fsw_image_head_t *)(const void *)node->image;
    part_t part;
    if (read_part(&r, &part) != FSW_OK || part.image_size != node->image_size) return FSW_E_SIZE;
    uint8_t *entry = bytes + (part.head - bytes), *image = bytes + (part.image - bytes);
    put32(entry + 8, head->stream);
    put64(entry + 16, head->seed);
    __builtin_memcpy(image, node->image, node->image_size);
    if (BIG_ENDIAN_HOST) fsw_node_swap(node, 0, image, node->image_size);
  }
  if (!skip(&r, (size_t)bench->n_links * LINK_BYTES) || r.left != up8(bench->link_image_size)) return FSW_E_SIZE;
  uint8_t *in_flight = bytes + (size - r.left);
  __builtin_memcpy(in_flight, bench->link_image, bench->link_image_size);
  if (BIG_ENDIAN_HOST) swap_link_image(bench, in_flight);
  put64(bytes + 16, (uint64_t)bench->tick);
  put64(bytes + 8, fsw_digest(bytes + HASHED_FROM, size - HASHED_FROM, 0));
  return FSW_OK;
}
