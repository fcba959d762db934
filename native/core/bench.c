#include "flightsw/bench.h"

#include "flightsw/exact.h"

/* Link image: per arrival slot s in [0, max_latency]: a count and up to n_links link indices; then per link latency_ticks
 * payload slots. A message sent in tick n over a link of latency L lies in slot n % L until it is delivered at the start of
 * tick n + L, before anything is sent in that tick. */

static uint32_t align8(uint32_t n) { return (n + 7u) & ~7u; }

static uint32_t max_latency(const fsw_link_t *links, uint32_t n) {
  uint32_t most = 1;
  for (uint32_t i = 0; i < n; i++)
    if (links[i].latency_ticks > most) most = links[i].latency_ticks;
  return most;
}

static uint32_t due_stride(uint32_t n_links) { return align8(2u * (n_links + 2u)); }

static uint32_t image_bytes(const fsw_link_t *links, uint32_t n) {
  uint64_t total = (uint64_t)due_stride(n) * (max_latency(links, n) + 1u);
  for (uint32_t i = 0; i < n; i++) total += (uint64_t)align8(links[i].size) * links[i].latency_ticks;
  return total > 0x7fffffffu ? 0 : (uint32_t)total;
}

size_t fsw_bench_memory(const fsw_link_t *links, uint32_t n_links) {
  return (size_t)image_bytes(links, n_links) + align8(4u * n_links) + align8(2u * n_links);
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
  b->slot_offset = (uint32_t *)(void *)((uint8_t *)memory + bytes);
  b->link_of_topic = (uint16_t *)(void *)((uint8_t *)memory + bytes + align8(4u * n_links));
  __builtin_memset(memory, 0, size);
  int32_t rc = check_links(b);
  if (rc != FSW_OK) return rc;
  b->max_latency = max_latency(links, n_links);
  uint32_t at = due_stride(n_links) * (b->max_latency + 1u);
  b->off_slots = at;
  for (uint32_t i = 0; i < n_links; i++) {
    b->slot_offset[i] = at;
    at += align8(links[i].size) * links[i].latency_ticks;
  }
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

static uint16_t *due_list(const fsw_bench_t *b, int64_t tick) {
  uint32_t slot = (uint32_t)(tick % (int64_t)(b->max_latency + 1u));
  return (uint16_t *)(void *)(b->link_image + (size_t)slot * due_stride(b->n_links));
}

static inline uint8_t *link_slot(const fsw_bench_t *b, uint32_t link, int64_t sent) {
  uint32_t latency = b->links[link].latency_ticks;
  uint32_t k = latency == 1 ? 0 : (uint32_t)(sent % (int64_t)latency);
  return b->link_image + b->slot_offset[link] + (size_t)k * align8(b->links[link].size);
}

void fsw_bench_publish(fsw_node_t *node, uint32_t topic) {
  fsw_topic_rt_t *rt = &node->topics[topic];
  fsw_topic_head_t *head = (fsw_topic_head_t *)(void *)(node->image + rt->offset);
  const uint8_t *payload = (const uint8_t *)(head + 1);
  int64_t tick = ((const fsw_image_head_t *)(const void *)node->image)->tick;
  head->tick = tick;
  head->seq++;
  if (rt->channel != FSW_UNBOUND && node->recorder && (rt->every == 1 || head->seq % rt->every == 1))
    fsw_record(node->recorder, rt->channel, head->seq, tick * node->base_tick_ns, payload, rt->size);
  fsw_bench_t *b = node->bench;
  for (uint32_t i = 0; i < rt->n_links; i++) {
    uint32_t link = b->link_of_topic[rt->first_link + i];
    uint16_t *due = due_list(b, tick + (int64_t)b->links[link].latency_ticks);
    __builtin_memcpy(link_slot(b, link, tick), payload, rt->size);
    due[2u + due[0]] = (uint16_t)link;
    due[0]++;
  }
}

static void deliver(fsw_bench_t *b, int64_t tick) {
  uint16_t *due = due_list(b, tick);
  for (uint32_t i = 0; i < due[0]; i++) {
    uint32_t link = due[2u + i];
    const fsw_link_t *k = &b->links[link];
    fsw_node_input(&b->nodes[k->dst_node], k->dst_topic, link_slot(b, link, tick - (int64_t)k->latency_ticks));
  }
  due[0] = 0;
  fsw_feed_t *f = &b->feed;
  for (; f->next < f->count && f->ticks[f->next] <= tick; f->next++)
    fsw_node_input(&b->nodes[f->nodes[f->next]], f->topics[f->next], f->payload + f->offsets[f->next]);
}

static int32_t run_nodes(fsw_bench_t *b, int64_t tick) {
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    int32_t rc;
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
