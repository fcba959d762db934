#include "flightsw/mirror.h"

#include "flightsw/exact.h"
#include "flightsw/session.h"
#include "publish.h"

static fsw_node_t *node_of(const fsw_mirror_t *m, uint32_t k) { return &m->bench->nodes[m->nodes[k]]; }

static fsw_topic_head_t *head_of(const fsw_node_t *node, uint32_t topic) {
  return (fsw_topic_head_t *)(void *)(node->image + node->topics[topic].offset);
}

size_t fsw_mirror_bytes(const fsw_mirror_t *m) {
  size_t total = FSW_FRAME_MAX;
  for (uint32_t k = 0; k < m->n_nodes; k++)
    for (uint32_t t = 0; t < node_of(m, k)->n_topics; t++) total += FSW_FRAME_HEADER + FSW_FRAME_CRC + node_of(m, k)->topics[t].size;
  return total;
}

static size_t pack_topic(const fsw_node_t *node, uint32_t topic, fsw_frame_header_t *h, uint8_t *out, size_t capacity) {
  uint8_t swapped[FSW_FRAME_PAYLOAD_MAX];
  fsw_topic_head_t *head = head_of(node, topic);
  const uint8_t *payload = (const uint8_t *)(head + 1);
  h->type = (uint8_t)topic;
  h->length = (uint16_t)node->topics[topic].size;
  h->sequence = head->seq;
  if (BIG_ENDIAN_HOST && h->length <= sizeof swapped) {
    __builtin_memcpy(swapped, payload, h->length);
    fsw_node_swap(node, node->topics[topic].offset + (uint32_t)sizeof *head, swapped, h->length);
    payload = swapped;
  }
  int n = fsw_frame_encode(h, payload, out, capacity);
  return n < 0 ? 0 : (size_t)n;
}

size_t fsw_mirror_pack(fsw_mirror_t *m, int64_t tick, uint8_t *out, size_t capacity) {
  fsw_frame_header_t h = {.version = FSW_FRAME_VERSION, .src = (uint8_t)m->src, .tick = (uint32_t)tick,
                          .t_ns = tick * m->bench->nodes[0].base_tick_ns};
  size_t used = FSW_FRAME_HEADER + FSW_FRAME_CRC; /* the head is written last: it says how many follow */
  uint32_t count = 0;
  if (capacity < used) return 0;
  for (uint32_t k = 0; k < m->n_nodes; k++) {
    const fsw_node_t *node = node_of(m, k);
    h.dst = (uint8_t)(k + 1u);
    for (uint32_t t = 0; t < node->n_topics; t++) {
      if (head_of(node, t)->tick != tick) continue;
      size_t n = pack_topic(node, t, &h, out + used, capacity - used);
      if (n == 0) return 0;
      used += n;
      count++;
    }
  }
  h.type = FSW_LINK_TICK;
  h.dst = 0;
  h.length = 0;
  h.sequence = count;
  (void)fsw_frame_encode(&h, NULL, out, capacity);
  m->asked = tick;
  return used;
}

static int32_t complete(fsw_mirror_t *m) {
  m->last = m->answering;
  m->answering = -1;
  m->answered++;
  return FSW_MIRROR_COMPLETE;
}

static int32_t answer_begins(fsw_mirror_t *m, const fsw_frame_header_t *h) {
  int64_t tick = m->asked + (int64_t)(int32_t)(h->tick - (uint32_t)m->asked);
  m->n_pending = 0;
  m->answering = -1;
  if (m->asked < 0 || tick > m->asked) {
    m->wrong_tick++;
    return FSW_MIRROR_BROKEN;
  }
  if (tick <= m->last || (tick < m->asked && !m->free_pacing)) {
    m->stale++;
    return FSW_MIRROR_DROPPED;
  }
  m->answering = tick;
  m->count = h->sequence;
  m->got = 0;
  return m->count == 0 ? complete(m) : FSW_MIRROR_MORE;
}

static int32_t topic_arrives(fsw_mirror_t *m, const fsw_frame_header_t *h, const uint8_t *payload) {
  if (m->answering < 0 || h->tick != (uint32_t)m->answering) {
    m->stale++;
    return FSW_MIRROR_DROPPED;
  }
  if (h->src == 0 || h->src > m->n_nodes || m->n_pending >= FSW_MIRROR_PENDING) return FSW_MIRROR_BROKEN;
  const fsw_node_t *node = node_of(m, h->src - 1u);
  if (h->type >= node->n_topics || node->topics[h->type].size != h->length) return FSW_MIRROR_BROKEN;
  fsw_topic_head_t *head = head_of(node, h->type);
  uint16_t id = (uint16_t)((h->src - 1u) << 8 | h->type);
  int32_t ahead = (int32_t)(h->sequence + m->neutral - head->seq);
  for (uint32_t i = 0; i < m->n_pending; i++)
    if (m->pending[i] == id) ahead = 0;
  if (ahead < 1) {
    if (ahead == 0) m->duplicate++;
    else m->reordered++;
    return FSW_MIRROR_DROPPED;
  }
  if (ahead > 1) {
    m->lost += (uint32_t)ahead - 1u;
    return FSW_MIRROR_BROKEN;
  }
  __builtin_memcpy(head + 1, payload, h->length);
  if (BIG_ENDIAN_HOST) fsw_node_swap(node, node->topics[h->type].offset + (uint32_t)sizeof *head, (uint8_t *)(head + 1), h->length);
  m->pending[m->n_pending++] = id;
  if (++m->got < m->count) return FSW_MIRROR_MORE;
  return complete(m);
}

int32_t fsw_mirror_take(fsw_mirror_t *m, const uint8_t *frame, size_t n) {
  fsw_frame_header_t h;
  const uint8_t *payload;
  if (fsw_frame_decode(frame, n, &h, &payload) != 0) {
    m->corrupt++;
    return FSW_MIRROR_DROPPED;
  }
  if (h.dst != (uint8_t)m->src) { /* of an earlier session: a line or a driver may have kept it */
    m->stale++;
    return FSW_MIRROR_DROPPED;
  }
  if (h.type == FSW_LINK_TICK) return answer_begins(m, &h);
  return h.type >= FSW_LINK_FIRST ? FSW_MIRROR_OTHER : topic_arrives(m, &h, payload);
}

int32_t fsw_mirror_publish(fsw_mirror_t *m, uint32_t k) {
  int32_t n = 0;
  for (uint32_t i = 0; i < m->n_pending; i++) {
    if (m->pending[i] >> 8 != k) continue;
    fsw_bench_publish(node_of(m, k), m->pending[i] & 0xffu);
    n++;
  }
  return n;
}

void fsw_mirror_note(fsw_mirror_t *m) {
  for (uint32_t i = 0; i < m->n_pending; i++) {
    uint32_t k = 0;
    fsw_bench_record(node_of(m, m->pending[i] >> 8), m->pending[i] & 0xffu, m->last);
    while (k < m->n_fresh && m->fresh[k] != m->pending[i]) k++;
    if (k < m->n_fresh) m->superseded++;
    else if (k < FSW_MIRROR_PENDING) m->fresh[m->n_fresh++] = m->pending[i];
  }
  m->n_pending = 0;
}

void fsw_mirror_send_fresh(fsw_mirror_t *m) {
  for (uint32_t i = 0; i < m->n_fresh; i++) fsw_bench_send(node_of(m, m->fresh[i] >> 8), m->fresh[i] & 0xffu);
  m->n_fresh = 0;
}

void fsw_mirror_neutral(fsw_mirror_t *m, const uint8_t *const *writes) {
  m->neutral++;
  for (uint32_t k = 0; k < m->n_nodes; k++) {
    fsw_node_t *node = node_of(m, k);
    for (uint32_t t = 0; t < node->n_topics; t++) {
      if (!writes[k][t]) continue;
      __builtin_memset(head_of(node, t) + 1, 0, node->topics[t].size);
      fsw_bench_record(node, t, m->bench->tick);
      fsw_bench_send(node, t);
    }
  }
}
