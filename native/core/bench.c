#include "flightsw/bench.h"

#include "flightsw/exact.h"

/* Link image: first the due lists, one per arrival slot (a power of two of them): a count and up to n_links link indices. Then per
 * linked source topic a ring of payloads, as deep as its slowest link: what is written in tick n lies in slot n % depth until
 * every link of the topic has delivered it, at the start of tick n + latency, before anything is sent in that tick. */

static uint32_t align8(uint32_t n) { return (n + 7u) & ~7u; }

static uint32_t max_latency(const fsw_link_t *links, uint32_t n) {
  uint32_t most = 1;
  for (uint32_t i = 0; i < n; i++)
    if (links[i].latency_ticks > most) most = links[i].latency_ticks;
  return most;
}

static uint32_t due_slots(uint32_t latency) {
  uint32_t slots = 2;
  while (slots <= latency && slots < 0x40000000u) slots *= 2;
  return slots;
}

static uint32_t due_stride(uint32_t n_links) { return align8(2u * (n_links + 2u)); }

static int same_source(const fsw_link_t *a, const fsw_link_t *b) {
  return a->src_node == b->src_node && a->src_topic == b->src_topic;
}

/* Depth of the ring of link i's source topic, or 0 when an earlier link already counts it. */
static uint32_t ring_depth(const fsw_link_t *links, uint32_t n, uint32_t i) {
  uint32_t depth = links[i].latency_ticks;
  for (uint32_t k = 0; k < n; k++) {
    if (!same_source(&links[k], &links[i])) continue;
    if (k < i) return 0;
    if (links[k].latency_ticks > depth) depth = links[k].latency_ticks;
  }
  return depth;
}

static uint32_t image_bytes(const fsw_link_t *links, uint32_t n) {
  uint64_t total = (uint64_t)due_stride(n) * due_slots(max_latency(links, n));
  for (uint32_t i = 0; i < n; i++) total += (uint64_t)align8(links[i].size) * ring_depth(links, n, i);
  return total > 0x7fffffffu ? 0 : (uint32_t)total;
}

size_t fsw_bench_memory(const fsw_link_t *links, uint32_t n_links) {
  return (size_t)image_bytes(links, n_links) + n_links * sizeof(fsw_link_rt_t) + align8(2u * n_links);
}

static int32_t check_links(const fsw_bench_t *b) {
  for (uint32_t i = 0; i < b->n_links; i++) {
    const fsw_link_t *k = &b->links[i];
    if (k->latency_ticks == 0 || k->src_node >= b->n_nodes || k->dst_node >= b->n_nodes) return FSW_E_RANGE;
    const fsw_node_t *src = &b->nodes[k->src_node], *dst = &b->nodes[k->dst_node];
    if (k->src_topic >= src->n_topics || k->dst_topic >= dst->n_topics) return FSW_E_RANGE;
    if (src->topics[k->src_topic].size != k->size || dst->topics[k->dst_topic].size != k->size) return FSW_E_RANGE;
  }
  return FSW_OK;
}

/* For each topic, the contiguous list of the links it feeds. */
static void sort_links(fsw_bench_t *b) {
  uint32_t at = 0;
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    for (uint32_t t = 0; t < b->nodes[n].n_topics; t++) {
      fsw_topic_rt_t *topic = &b->nodes[n].topics[t];
      topic->first_link = (uint16_t)at;
      topic->n_links = 0;
      for (uint32_t i = 0; i < b->n_links; i++) {
        if (b->links[i].src_node == n && b->links[i].src_topic == t) {
          b->link_of_topic[at++] = (uint16_t)i;
          topic->n_links++;
        }
      }
    }
  }
}

static void place_rings(fsw_bench_t *b) {
  uint32_t at = b->due_stride * ((uint32_t)b->due_mask + 1u);
  for (uint32_t i = 0; i < b->n_links; i++) {
    uint32_t depth = ring_depth(b->links, b->n_links, i);
    if (depth == 0) continue;
    for (uint32_t k = i; k < b->n_links; k++) {
      if (!same_source(&b->links[k], &b->links[i])) continue;
      const fsw_node_t *dst = &b->nodes[b->links[k].dst_node];
      b->links_rt[k] = (fsw_link_rt_t){.ring = b->link_image + at, .dst = dst->image + dst->topics[b->links[k].dst_topic].offset,
        .size = b->links[k].size, .stride = align8(b->links[k].size), .depth = depth, .latency = b->links[k].latency_ticks};
    }
    at += align8(b->links[i].size) * depth;
  }
}

int32_t fsw_bench_init(fsw_bench_t *b, fsw_node_t *nodes, uint32_t n_nodes, const fsw_link_t *links, uint32_t n_links,
                       void *memory, size_t size) {
  __builtin_memset(b, 0, sizeof *b);
  uint32_t bytes = image_bytes(links, n_links);
  if (size < fsw_bench_memory(links, n_links) || (n_links && bytes == 0) || n_links >= FSW_UNBOUND) return FSW_E_SIZE;
  b->nodes = nodes;
  b->n_nodes = n_nodes;
  b->links = links;
  b->n_links = n_links;
  b->link_image = memory;
  b->link_image_size = bytes;
  uint8_t *at = (uint8_t *)memory + bytes;
  b->links_rt = (fsw_link_rt_t *)(void *)at;
  b->link_of_topic = (uint16_t *)(void *)(at + n_links * sizeof(fsw_link_rt_t));
  __builtin_memset(memory, 0, size);
  int32_t rc = check_links(b);
  if (rc != FSW_OK) return rc;
  b->due_mask = (int64_t)due_slots(max_latency(links, n_links)) - 1;
  b->due_stride = due_stride(n_links);
  place_rings(b);
  sort_links(b);
  for (uint32_t n = 0; n < n_nodes; n++) {
    nodes[n].bench = b;
    nodes[n].index = n;
  }
  return FSW_OK;
}

void fsw_bench_set_recorder(fsw_bench_t *b, fsw_recorder_t *rec) {
  b->recorder = rec;
  b->worst_bytes = b->worst_records = 0;
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    b->nodes[n].recorder = rec;
    for (uint32_t t = 0; t < b->nodes[n].n_topics; t++) {
      const fsw_topic_rt_t *topic = &b->nodes[n].topics[t];
      if (topic->channel == FSW_UNBOUND) continue;
      b->worst_bytes += topic->size + FSW_RECORD_OVERHEAD;
      b->worst_records++;
    }
  }
}

static inline uint16_t *due_list(const fsw_bench_t *b, int64_t tick) {
  return (uint16_t *)(void *)(b->link_image + (size_t)(tick & b->due_mask) * b->due_stride);
}

static inline uint8_t *ring_slot(const fsw_link_rt_t *k, int64_t sent) {
  return k->depth == 1 ? k->ring : k->ring + (size_t)(sent % (int64_t)k->depth) * k->stride;
}

void fsw_bench_publish(fsw_node_t *node, uint32_t topic) {
  const fsw_topic_rt_t *rt = &node->topics[topic];
  fsw_topic_head_t *head = (fsw_topic_head_t *)(void *)(node->image + rt->offset);
  int64_t tick = ((const fsw_image_head_t *)(const void *)node->image)->tick;
  head->tick = tick;
  head->seq++;
  if (rt->channel != FSW_UNBOUND && node->recorder && (rt->every == 1 || head->seq % rt->every == 1))
    fsw_record(node->recorder, rt->channel, head->seq, tick * node->base_tick_ns, head + 1, rt->size);
  if (rt->n_links == 0) return;
  const fsw_bench_t *b = node->bench;
  const uint16_t *links = b->link_of_topic + rt->first_link;
  __builtin_memcpy(ring_slot(&b->links_rt[links[0]], tick), head + 1, rt->size);
  for (uint32_t i = 0; i < rt->n_links; i++) {
    uint16_t *due = due_list(b, tick + (int64_t)b->links_rt[links[i]].latency);
    due[2u + due[0]++] = links[i];
  }
}

static void deliver(fsw_bench_t *b, int64_t tick) {
  uint16_t *due = due_list(b, tick);
  for (uint32_t i = 0; i < due[0]; i++) {
    const fsw_link_rt_t *k = &b->links_rt[due[2u + i]];
    const uint8_t *payload = ring_slot(k, tick - (int64_t)k->latency);
    if (b->recorder) { /* the whole gate; without a recorder it comes down to the lines below */
      const fsw_link_t *link = &b->links[due[2u + i]];
      fsw_node_input(&b->nodes[link->dst_node], link->dst_topic, payload);
      continue;
    }
    fsw_topic_head_t *head = (fsw_topic_head_t *)(void *)k->dst;
    __builtin_memcpy(head + 1, payload, k->size);
    head->tick = tick;
    head->seq++;
  }
  due[0] = 0;
  fsw_feed_t *f = &b->feed;
  for (; f->next < f->count && f->ticks[f->next] <= tick; f->next++)
    fsw_node_input(&b->nodes[f->nodes[f->next]], f->topics[f->next], f->payload + f->offsets[f->next]);
}

/* Most nodes have nothing to do in most ticks: let them pass without a call. */
static inline int pass_idle(fsw_node_t *node, int64_t tick) {
  fsw_image_head_t *head = (fsw_image_head_t *)(void *)node->image;
  if (node->slot_tick + 1 != tick || head->error) return 0;
  uint32_t slot = node->slot + 1u == node->hyperperiod ? 0 : node->slot + 1u;
  if (node->starts[slot] != node->starts[slot + 1]) return 0;
  node->slot = slot;
  node->slot_tick = tick;
  head->skip_mask = 0;
  head->tick = tick + 1;
  return 1;
}

static int32_t run_nodes(fsw_bench_t *b, int64_t tick) {
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    int32_t rc;
    if (!b->remote && pass_idle(&b->nodes[n], tick)) continue;
    if (b->remote && b->remote[n]) {
      rc = b->remote_end(tick, n);
      ((fsw_image_head_t *)(void *)b->nodes[n].image)->tick = tick + 1;
    } else {
      rc = fsw_node_step(&b->nodes[n]);
    }
    if (rc != FSW_OK) {
      b->error_node = n;
      return rc;
    }
  }
  return FSW_OK;
}

static int32_t stop_met(fsw_bench_t *b) {
  fsw_stop_t *s = &b->stop;
  if (s->width == 0) return 0;
  const fsw_node_t *node = &b->nodes[s->node];
  const uint8_t *p = node->image + node->topics[s->topic].offset + sizeof(fsw_topic_head_t) + s->offset;
  double value = 0.0;
  if (s->width == 9) {
    __builtin_memcpy(&value, p, 8);
  } else if (s->width == 1) {
    value = (double)*p;
  } else if (s->width == 2) {
    uint16_t v;
    __builtin_memcpy(&v, p, 2);
    value = (double)v;
  } else {
    uint32_t v;
    __builtin_memcpy(&v, p, 4);
    value = (double)v;
  }
  s->held = value == s->value ? s->held + 1 : 0;
  return s->held > s->hold_ticks;
}

int32_t fsw_bench_run(fsw_bench_t *b, int64_t until_tick) {
  while (b->tick < until_tick) {
    if (b->recorder && !fsw_recorder_room(b->recorder, b->worst_bytes, b->worst_records)) return FSW_NEED_DRAIN;
    int64_t tick = b->tick;
    int32_t rc = FSW_OK;
    deliver(b, tick);
    if (b->remote && b->remote_begin) rc = b->remote_begin(tick);
    if (rc == FSW_OK) rc = run_nodes(b, tick);
    if (rc != FSW_OK) return rc;
    b->tick = tick + 1;
    if (b->after_tick && (rc = b->after_tick(tick)) != FSW_OK) return rc;
    if (stop_met(b)) return FSW_STOPPED;
  }
  return FSW_OK;
}
