#include "flightsw/bench.h"

#include "flightsw/exact.h"
#include "publish.h"

/* A route is what the links of one source topic with the same latency have in common: they fall due together. Link image: first the
 * due lists, one per arrival slot (a power of two of them): a count and up to n_links indices of routes. Then per linked source
 * topic a ring of payloads, as deep as its slowest link: what is written in tick n lies in slot n % depth until every link of the topic
 * has delivered it, at the start of tick n + latency, before anything is sent in that tick. */

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
  return (size_t)image_bytes(links, n_links) + n_links * (sizeof(fsw_route_t) + sizeof(fsw_end_t));
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

/* The links from link i on that have its source and its latency become one route, unless an earlier link has done so. */
static uint32_t add_route(fsw_bench_t *b, uint32_t i, fsw_route_t *route, uint32_t first) {
  const fsw_link_t *link = &b->links[i];
  *route = (fsw_route_t){.size = link->size, .stride = align8(link->size), .latency = link->latency_ticks, .first = first};
  for (uint32_t k = 0; k < b->n_links; k++) {
    const fsw_link_t *other = &b->links[k];
    if (!same_source(other, link) || other->latency_ticks != link->latency_ticks) continue;
    if (k < i) return 0;
    const fsw_node_t *dst = &b->nodes[other->dst_node];
    b->ends[first + route->count++] = (fsw_end_t){dst->image + dst->topics[other->dst_topic].offset, other->dst_node, other->dst_topic};
  }
  return route->count;
}

/* The routes of one topic share a ring as deep as the slowest of them. Returns its end. */
static uint8_t *place_ring(fsw_route_t *routes, uint32_t n, uint8_t *at) {
  uint32_t depth = 0;
  for (uint32_t i = 0; i < n; i++)
    if (routes[i].latency > depth) depth = routes[i].latency;
  for (uint32_t i = 0; i < n; i++) {
    routes[i].ring = at;
    routes[i].depth = depth;
  }
  return n ? at + (size_t)routes[0].stride * depth : at;
}

/* For each topic its routes, for each route its ends, both contiguous. */
static void sort_links(fsw_bench_t *b) {
  uint32_t routes = 0, ends = 0;
  uint8_t *at = b->link_image + (size_t)b->due_stride * ((size_t)b->due_mask + 1u);
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    for (uint32_t t = 0; t < b->nodes[n].n_topics; t++) {
      fsw_topic_rt_t *topic = &b->nodes[n].topics[t];
      topic->first_route = (uint16_t)routes;
      for (uint32_t i = 0; i < b->n_links; i++) {
        if (b->links[i].src_node != n || b->links[i].src_topic != t) continue;
        uint32_t added = add_route(b, i, &b->routes[routes], ends);
        routes += added > 0;
        ends += added;
      }
      topic->n_routes = (uint16_t)(routes - topic->first_route);
      at = place_ring(b->routes + topic->first_route, topic->n_routes, at);
    }
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
  b->routes = (fsw_route_t *)(void *)at;
  b->ends = (fsw_end_t *)(void *)(at + n_links * sizeof(fsw_route_t));
  __builtin_memset(memory, 0, size);
  int32_t rc = check_links(b);
  if (rc != FSW_OK) return rc;
  b->due_mask = (int64_t)due_slots(max_latency(links, n_links)) - 1;
  b->due_stride = due_stride(n_links);
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
    if (b->nodes[n].gate_channel != FSW_UNBOUND || b->nodes[n].skip_channel != FSW_UNBOUND) {
      b->worst_bytes += (uint32_t)(sizeof(fsw_gate_t) + sizeof(fsw_skip_t)) + 2u * FSW_RECORD_OVERHEAD;
      b->worst_records += 2;
    }
  }
}

/* The digests of a node's present 64 ticks, if anything entered in them. The digests begin anew. */
static void flush_gate(fsw_node_t *node, int64_t tick) {
  if (node->gate_channel == FSW_UNBOUND || node->gate.first_tick < 0) return;
  uint8_t *p = fsw_record(node->recorder, node->gate_channel, (uint32_t)(node->gate.first_tick / FSW_GATE_TICKS) + 1u,
                          tick * node->base_tick_ns, &node->gate, sizeof node->gate);
  for (uint32_t i = 0; BIG_ENDIAN_HOST && p && i < sizeof node->gate / 8; i++) {
    uint64_t v;
    __builtin_memcpy(&v, p + 8u * i, 8);
    v = __builtin_bswap64(v);
    __builtin_memcpy(p + 8u * i, &v, 8);
  }
  node->gate.first_tick = -1;
}

void fsw_bench_flush_gates(fsw_bench_t *b) {
  for (uint32_t n = 0; b->recorder && b->tick > 0 && n < b->n_nodes; n++) flush_gate(&b->nodes[n], b->tick - 1);
}

void fsw_bench_publish(fsw_node_t *node, uint32_t topic) {
  publish_topic(node, topic, ((const fsw_image_head_t *)(const void *)node->image)->tick);
}

void fsw_bench_record(fsw_node_t *node, uint32_t topic, int64_t written) {
  (void)note_write(node, &node->topics[topic], written);
}

void fsw_bench_send(fsw_node_t *node, uint32_t topic) {
  const fsw_topic_rt_t *rt = &node->topics[topic];
  if (rt->n_routes) send_topic(node, rt, node->image + rt->offset + sizeof(fsw_topic_head_t), node->bench->tick);
}

/* A message at the end of its links: through the whole gate with a recorder, which comes down to the lines below without one. */
static inline void arrive(const fsw_bench_t *b, const fsw_route_t *route, int64_t tick) {
  const uint8_t *payload = ring_slot(route, tick - (int64_t)route->latency);
  const fsw_end_t *end = b->ends + route->first, *last = end + route->count;
  if (b->recorder) {
    for (; end != last; end++) fsw_node_input(&b->nodes[end->node], end->topic, payload);
    return;
  }
  for (; end != last; end++) {
    fsw_topic_head_t *head = (fsw_topic_head_t *)(void *)end->dst;
    __builtin_memcpy(head + 1, payload, route->size);
    head->tick = tick;
    head->seq++;
  }
}

static void deliver(const fsw_bench_t *b, int64_t tick) {
  uint16_t *due = due_list(b, tick);
  const uint16_t *at = due + 2, *last = at + due[0];
  for (; at != last; at++) arrive(b, &b->routes[*at], tick);
  due[0] = 0;
}

static void deliver_feed(fsw_bench_t *b, int64_t tick) {
  fsw_feed_t *f = &b->feed;
  for (; f->next < f->count && f->ticks[f->next] <= tick; f->next++) {
    fsw_node_t *node = &b->nodes[f->nodes[f->next]];
    const uint8_t *payload = f->payload + f->offsets[f->next];
    if (f->topics[f->next] == FSW_SKIP_TOPIC) {
      uint64_t mask;
      __builtin_memcpy(&mask, payload, sizeof mask);
      fsw_node_skip(node, mask);
    } else if (f->topics[f->next] == FSW_UPSET_TOPIC) {
      uint32_t word[2];
      __builtin_memcpy(word, payload, sizeof word);
      (void)fsw_node_upset(node, word[0], word[1]);
    } else {
      fsw_node_input(node, f->topics[f->next], payload);
    }
  }
}

/* Most nodes have nothing to do in most ticks: let them pass without a call. */
static inline int pass_idle(fsw_node_t *node, int64_t tick) {
  if (tick >= node->due_tick) return 0;
  fsw_image_head_t *head = (fsw_image_head_t *)(void *)node->image;
  head->skip_mask = 0;
  head->tick = tick + 1;
  return 1;
}

static int32_t run_node(const fsw_bench_t *b, fsw_node_t *node, int64_t tick) {
  if (!b->remote || !b->remote[node->index]) return fsw_node_step(node);
  int32_t rc = b->remote_end(b->remote_context, tick, node->index);
  ((fsw_image_head_t *)(void *)node->image)->tick = tick + 1;
  return rc;
}

static int32_t run_nodes(fsw_bench_t *b, int64_t tick) {
  for (fsw_node_t *node = b->nodes, *last = node + b->n_nodes; node != last; node++) {
    if (pass_idle(node, tick)) continue;
    int32_t rc = run_node(b, node, tick);
    if (rc != FSW_OK) {
      b->error_node = node->index;
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

/* Simulated time goes on only when all records of a tick find room; real time hands blocks over and drops what finds none. */
static inline int room_for(const fsw_bench_t *b, int64_t tick) {
  if (b->recorder->n_blocks == 0) return fsw_recorder_room(b->recorder, b->worst_bytes, b->worst_records);
  fsw_recorder_pace(b->recorder, tick * b->nodes[0].base_tick_ns, b->worst_bytes, b->worst_records);
  return 1;
}

int32_t fsw_bench_run(fsw_bench_t *b, int64_t until_tick) {
  for (uint32_t n = 0; n < b->n_nodes; n++) b->nodes[n].due_tick = -1; /* the caller may have restored a snapshot */
  while (b->tick < until_tick) {
    int64_t tick = b->tick;
    if (b->recorder && !room_for(b, tick)) return FSW_NEED_DRAIN;
    int32_t rc = FSW_OK;
    deliver(b, tick);
    deliver_feed(b, tick);
    if (b->remote && b->remote_begin) rc = b->remote_begin(b->remote_context, tick);
    if (rc == FSW_OK) rc = run_nodes(b, tick);
    if (rc != FSW_OK) return rc;
    b->tick = tick + 1;
    if (b->recorder && (tick & (FSW_GATE_TICKS - 1)) == FSW_GATE_TICKS - 1) fsw_bench_flush_gates(b);
    if (stop_met(b)) return FSW_STOPPED;
  }
  return FSW_OK;
}
