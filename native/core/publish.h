/* publish.h - what happens to every topic write, inlined where tasks run. Not a public header. */
#ifndef FLIGHTSW_CORE_PUBLISH_H
#define FLIGHTSW_CORE_PUBLISH_H
#include "flightsw/bench.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BIG_ENDIAN_HOST 1
#else
#define BIG_ENDIAN_HOST 0
#endif

/* Turn the byte order of `size` bytes that are laid out like the image of `node` from `offset` on. */
void fsw_node_swap(const fsw_node_t *node, uint32_t offset, uint8_t *bytes, uint32_t size);

/* A topic's record; its payload is little-endian in every log. Returns that payload, or NULL when it was dropped. */
static inline uint8_t *record_topic(const fsw_node_t *node, const fsw_topic_rt_t *topic, uint32_t seq, int64_t tick, const void *payload) {
  uint8_t *p = fsw_record(node->recorder, topic->channel, seq, tick * node->base_tick_ns, payload, topic->size);
  if (BIG_ENDIAN_HOST && p) fsw_node_swap(node, topic->offset + (uint32_t)sizeof(fsw_topic_head_t), p, topic->size);
  return p;
}

static inline uint16_t *due_list(const fsw_bench_t *b, int64_t tick) {
  return (uint16_t *)(void *)(b->link_image + (size_t)(tick & b->due_mask) * b->due_stride);
}

static inline uint8_t *ring_slot(const fsw_route_t *route, int64_t sent) {
  return route->depth == 1 ? route->ring : route->ring + (size_t)(sent % (int64_t)route->depth) * route->stride;
}

/* Down the links: one copy into the ring, one note per arrival tick. */
static inline void send_topic(const fsw_node_t *node, const fsw_topic_rt_t *topic, const void *payload, int64_t tick) {
  const fsw_bench_t *b = node->bench;
  const fsw_route_t *route = b->routes + topic->first_route, *last = route + topic->n_routes;
  __builtin_memcpy(ring_slot(route, tick), payload, topic->size);
  for (; route != last; route++) {
    uint16_t *due = due_list(b, tick + (int64_t)route->latency);
    due[2u + due[0]++] = (uint16_t)(route - b->routes);
  }
}

/* Counts the topic as written in this tick and records it; returns its payload. */
static inline const void *note_write(const fsw_node_t *node, const fsw_topic_rt_t *topic, int64_t tick) {
  fsw_topic_head_t *head = (fsw_topic_head_t *)(void *)(node->image + topic->offset);
  head->tick = tick;
  head->seq++;
  if (topic->channel != FSW_UNBOUND && node->recorder && (topic->every == 1 || head->seq % topic->every == 1))
    (void)record_topic(node, topic, head->seq, tick, head + 1);
  return head + 1;
}

/* Counts the topic as written in this tick, records it, sends it. */
static inline void publish_topic(const fsw_node_t *node, uint32_t index, int64_t tick) {
  const fsw_topic_rt_t *topic = &node->topics[index];
  const void *payload = note_write(node, topic, tick);
  if (topic->n_routes) send_topic(node, topic, payload, tick);
}

#endif
