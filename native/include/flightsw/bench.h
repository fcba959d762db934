/* bench.h - a bench: nodes joined by links, stepped together.
 *
 * A tick: messages whose latency has passed enter their nodes through the input gate, in the order in which they were sent;
 * then every node runs its tasks. What is written in tick n arrives in tick n + latency, latency >= 1, so the order in
 * which nodes run, or the process they run in, changes nothing. Messages in flight lie in a pointer-free link image of their own.
 *
 * A node may be remote: the bench then holds a mirror of it whose tasks are not run; `remote_begin` is called once before the
 * nodes run, `remote_end` in the remote node's turn; the latter publishes what the other process wrote with fsw_bench_publish. */
#ifndef FLIGHTSW_BENCH_H
#define FLIGHTSW_BENCH_H
#include "flightsw/node.h"

/* cffi: begin */
typedef struct {
  uint16_t src_node;
  uint16_t src_topic;
  uint16_t dst_node;
  uint16_t dst_topic;
  uint32_t latency_ticks;   /* >= 1 */
  uint32_t size;            /* payload */
} fsw_link_t;

typedef struct { /* the links of one source topic that have the same latency, as the host sees them */
  uint8_t *ring;            /* payloads of the topic, in the link image */
  uint32_t size;            /* of the payload */
  uint32_t stride;          /* of the ring */
  uint32_t depth;           /* of the ring */
  uint32_t latency;         /* ticks */
  uint32_t first;           /* in ends */
  uint32_t count;
} fsw_route_t;

typedef struct { /* where a link ends */
  uint8_t *dst;             /* fsw_topic_head_t, the payload follows */
  uint32_t node;
  uint32_t topic;
} fsw_end_t;

typedef struct { /* messages of a recording or of a log, fed in through the gate: ticks ascending */
  const int64_t *ticks;
  const uint16_t *nodes;
  const uint16_t *topics;   /* FSW_SKIP_TOPIC: a decision, fsw_skip_t */
  const uint64_t *offsets;  /* into payload */
  const uint8_t *payload;
  uint64_t count;
  uint64_t next;
} fsw_feed_t;

typedef struct { /* stop when an unsigned field of `width` bytes, or a double with width 9, equals `value` for hold_ticks */
  uint32_t node;
  uint32_t topic;
  uint32_t offset;
  uint32_t width;           /* 0: no stop condition */
  double value;
  int64_t hold_ticks;
  int64_t held;
} fsw_stop_t;

typedef struct fsw_bench {
  fsw_node_t *nodes;
  const fsw_link_t *links;
  uint8_t *link_image;      /* due lists, then rings of payloads */
  uint32_t link_image_size;
  uint32_t n_nodes;
  uint32_t n_links;
  uint32_t due_stride;      /* bytes of one due list */
  uint32_t pad1;
  int64_t due_mask;         /* number of due lists - 1 */
  fsw_route_t *routes;      /* sorted by source node, topic and latency */
  fsw_end_t *ends;          /* sorted by route */
  int64_t tick;
  uint32_t worst_bytes;     /* greatest record volume of one tick */
  uint32_t worst_records;
  const uint8_t *remote;    /* per node: 1 when it runs elsewhere; NULL: none */
  int32_t (*remote_begin)(void *context, int64_t tick);
  int32_t (*remote_end)(void *context, int64_t tick, uint32_t node);
  void *remote_context;     /* handed to both */
  fsw_feed_t feed;
  fsw_stop_t stop;
  fsw_recorder_t *recorder;
  uint32_t error_node;
  uint32_t pad0;
} fsw_bench_t;

/* Bytes that fsw_bench_init needs for these links (8-byte aligned). */
size_t fsw_bench_memory(const fsw_link_t *links, uint32_t n_links);

/* Join loaded nodes. `links` and `nodes` must stay in place. FSW_OK, FSW_E_RANGE or FSW_E_SIZE. */
int32_t fsw_bench_init(fsw_bench_t *bench, fsw_node_t *nodes, uint32_t n_nodes, const fsw_link_t *links, uint32_t n_links,
                       void *memory, size_t size);

/* Call after log channels were set: computes the greatest record volume of a tick. */
void fsw_bench_set_recorder(fsw_bench_t *bench, fsw_recorder_t *rec);

/* Run until `until_tick` ticks are complete. FSW_OK, FSW_NEED_DRAIN, FSW_STOPPED, FSW_E_STEP or a remote's negative code. */
int32_t fsw_bench_run(fsw_bench_t *bench, int64_t until_tick);

/* Record the digests of inputs (fsw_gate_t) of the 64 ticks that are not complete yet: before a log is closed. */
void fsw_bench_flush_gates(fsw_bench_t *bench);

/* Count a topic of a node as written in the present tick: record it and send it down its links. */
void fsw_bench_publish(fsw_node_t *node, uint32_t topic);

/* The same in two parts, for what a node wrote in an earlier tick of its own, on a link without lockstep: count and record it with that
 * tick, as often as it happens; then send the topic as it stands down its links, at most once in a tick of the bench. */
void fsw_bench_record(fsw_node_t *node, uint32_t topic, int64_t written);
void fsw_bench_send(fsw_node_t *node, uint32_t topic);
/* cffi: end */

#endif
