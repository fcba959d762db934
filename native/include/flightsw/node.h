/* node.h - a node: one image, one schedule, and the step that takes it from tick to tick.
 *
 * All of a node (topics, task states, parameters, schedule position) lies in one contiguous, pointer-free image. The load
 * blob holds schedule table, task identities, parameters and the initial image; it is little-endian everywhere and the same
 * bytes load on the host, on firmware and in the cross-architecture test program. What the host knows beside it (pointers,
 * log channels) lives in memory that the caller provides and never enters the image.
 *
 * The caller owns all memory: size with fsw_node_memory(), then fsw_node_load(). No function allocates or blocks.
 * A snapshot is a copy of `image_size` bytes, a restore copies them back, a digest identifies them. */
#ifndef FLIGHTSW_NODE_H
#define FLIGHTSW_NODE_H
#include "flightsw/messages.h"
#include "flightsw/recorder.h"
#include "flightsw/task.h"

/* cffi: begin */
#define FSW_BLOB_MAGIC 1112036166
#define FSW_BLOB_VERSION 1
#define FSW_UNBOUND 65535
#define FSW_UPSET_TOPIC 65532 /* stands for its "_upsets", see fsw_upset_t */
#define FSW_GATE_TOPIC 65533 /* stands for a node's "_inputs", see fsw_gate_t */
#define FSW_SKIP_TOPIC 65534 /* stands for its "_skips", see fsw_skip_t */

#define FSW_OK 0
#define FSW_E_MAGIC -1        /* not a load blob */
#define FSW_E_VERSION -2      /* a load blob of another version */
#define FSW_E_HASH -3         /* bytes differ from the hash they carry */
#define FSW_E_SIZE -4         /* truncated, or memory given is too small */
#define FSW_E_TASK -5         /* a task of the blob is not linked in */
#define FSW_E_TASK_LAYOUT -6  /* a task's state, parameters or ports have another size here */
#define FSW_E_STEP -8         /* a task returned an error: see node error */
#define FSW_E_RANGE -9        /* an offset or index in the blob points outside */
#define FSW_NEED_DRAIN 1      /* recorder is full: drain it and call again */
#define FSW_STOPPED 2         /* stop condition met */

typedef struct { /* first bytes of a blob */
  uint32_t magic;
  uint32_t version;
  uint64_t hash;            /* XXH64, seed 0, of all bytes after this field */
  uint64_t fingerprint;     /* of the message definitions */
  int64_t base_tick_ns;
  uint32_t size;            /* of the blob, bytes */
  uint32_t image_size;
  uint32_t n_topics;
  uint32_t n_tasks;
  uint32_t n_ports;
  uint32_t hyperperiod;     /* ticks after which the table repeats */
  uint32_t n_entries;
  uint32_t n_runs;
  uint32_t off_topics;      /* offsets from the start of the blob */
  uint32_t off_tasks;
  uint32_t off_ports;
  uint32_t off_starts;
  uint32_t off_entries;
  uint32_t off_runs;
  uint32_t off_image;
  uint32_t pad0;
} fsw_blob_head_t;

typedef struct {
  uint64_t name_hash;       /* XXH64 of the topic's name */
  uint64_t type_hash;       /* XXH64 of the message definition */
  uint32_t offset;          /* of its fsw_topic_head_t in the image; the payload follows */
  uint32_t size;            /* of the payload */
} fsw_blob_topic_t;

typedef struct {
  uint64_t type_hash;       /* XXH64 of the task type's name */
  uint64_t name_hash;       /* XXH64 of the task's name */
  uint32_t period_ticks;
  uint32_t phase_ticks;
  uint32_t budget_us;
  uint32_t deadline_us;
  uint32_t state_offset;
  uint32_t state_size;
  uint32_t params_offset;
  uint32_t params_size;
  uint32_t first_port;      /* reads, then writes */
  uint16_t n_reads;
  uint16_t n_writes;
  uint8_t critical;
  uint8_t on_miss;          /* 0 warn, 1 skip, 2 safe, 3 stop */
  uint8_t pad0[6];
} fsw_blob_task_t;

typedef struct { /* the image as runs of equal scalars: what a big-endian machine swaps, where a digest looks for NaN */
  uint32_t count;
  uint16_t width;           /* bytes: 1 2 4 8 */
  uint16_t kind;            /* 0 integer, 1 floating point */
} fsw_run_t;

typedef struct { /* first bytes of an image */
  uint64_t blob_hash;
  int64_t tick;             /* the next tick to run */
  uint64_t seed;
  uint64_t skip_mask;       /* tasks (bit by index, the first 64) not to run in the next tick: a recorded decision */
  uint32_t stream;
  int32_t error;            /* 0, or what a task returned */
  uint32_t error_task;
  uint32_t skips;           /* decisions so far */
} fsw_image_head_t;

typedef struct { /* a topic as the host sees it */
  uint32_t offset;
  uint32_t size;
  uint16_t channel;         /* log channel, FSW_UNBOUND: not logged */
  uint16_t every;           /* log every n-th write */
  uint16_t first_route;     /* see bench.h */
  uint16_t n_routes;
} fsw_topic_rt_t;

typedef struct { /* a bound task; io comes first, so a step function's argument also identifies its task */
  fsw_io_t io;
  int32_t (*step)(fsw_io_t *io);
  const uint16_t *out_topics;
  uint32_t n_out;
  uint32_t all_out;         /* publish mask of the bound write ports */
  uint32_t period_ticks;    /* as in fsw_blob_task_t, for who watches it */
  uint32_t phase_ticks;
  uint32_t budget_us;
  uint32_t deadline_us;
  uint32_t critical;
  uint32_t on_miss;
} fsw_bound_task_t;

#define FSW_TIME_BINS 40

typedef struct { /* executions of a task as a port measures them; never part of an image */
  int64_t runs;
  int64_t sum_ns;
  int64_t max_ns;
  int64_t max_tick;
  uint64_t overruns;        /* ran longer than its budget */
  uint64_t misses;          /* complete after its deadline, counted from the scheduled release of the tick */
  uint64_t skipped;         /* releases that a decision took away */
  int64_t after_ns;         /* the last miss: from the scheduled release to completion */
  uint32_t consecutive;     /* misses in a row */
  uint32_t pad0;
  uint32_t histogram[FSW_TIME_BINS]; /* executions of [2^k, 2^(k+1)) ns */
} fsw_task_timing_t;

typedef struct { /* somebody watches a node: its tasks then run a little slower, and do the same */
  int64_t (*clock_ns)(void);   /* NULL: no times are taken */
  fsw_task_timing_t *tasks;    /* one per task */
  int64_t release_ns;          /* scheduled release of the present tick, on that clock */
  uint64_t missed;             /* tasks that missed their deadline in the present tick: bit by index, the first 64 */
  uint32_t poison;             /* 1 + byte that the stack below a task is filled with before it runs; 0: it is left alone */
  uint32_t pad0;
} fsw_watch_t;

struct fsw_bench;
typedef struct fsw_node {
  uint8_t *image;
  uint32_t image_size;
  uint32_t hyperperiod;
  uint32_t n_tasks;
  uint32_t n_topics;
  uint32_t n_runs;
  uint32_t index;           /* in its bench */
  uint32_t due_slot;        /* due_tick modulo hyperperiod */
  uint32_t pad0;
  int64_t due_tick;         /* the next tick with a task to run, -1: not known */
  int64_t base_tick_ns;
  uint64_t blob_hash;
  fsw_bound_task_t *tasks;
  fsw_topic_rt_t *topics;
  const uint32_t *starts;
  const uint16_t *entries;
  const uint32_t *idle;     /* per slot: ticks until the next slot with a task */
  const fsw_run_t *runs;
  fsw_recorder_t *recorder; /* NULL: no log */
  struct fsw_bench *bench;  /* NULL: stands alone */
  fsw_watch_t *watch;       /* NULL: nobody watches */
  uint16_t gate_channel;    /* log channel of "_inputs", FSW_UNBOUND: not logged */
  uint16_t skip_channel;    /* log channel of "_skips" */
  uint16_t upset_channel;   /* log channel of "_upsets" */
  uint16_t pad1;
  fsw_gate_t gate;          /* digests of the present 64 ticks; first_tick -1: nothing entered yet */
} fsw_node_t;

/* Check a blob (magic, version, size, hash, ranges) and, on a big-endian machine, turn it into native order in place.
 * Call once per blob, before anything else. `blob` must be 8-byte aligned. */
int32_t fsw_blob_check(void *blob, size_t size);

/* Bytes that fsw_node_load needs (8-byte aligned), or 0 for an unchecked blob. */
size_t fsw_node_memory(const void *blob);

/* Build `node` in `memory` from a checked blob. `tasks` are the descriptors that may be named in it. The blob must stay in
 * place: table and runs are used where they lie. Returns FSW_OK or FSW_E_*; with FSW_E_TASK*, *culprit is the task index. */
int32_t fsw_node_load(fsw_node_t *node, void *memory, size_t size, const void *blob,
                      const fsw_task_desc_t *const *tasks, uint32_t n_tasks, uint32_t *culprit);

/* The input gate: everything that enters a node passes here, before the tick's tasks, and is recorded. */
void fsw_node_input(fsw_node_t *node, uint32_t topic, const void *payload);

/* The same gate for a decision: the tasks in `mask` (bit by index) do not run in the tick that comes next. */
void fsw_node_skip(fsw_node_t *node, uint64_t mask);

/* The same gate for an upset: turn bits of one byte of the image behind its head, in front of the tick that comes next, as a particle might.
 * FSW_OK or FSW_E_RANGE. */
int32_t fsw_node_upset(fsw_node_t *node, uint32_t offset, uint32_t mask);

/* Run the tasks of one tick. FSW_OK or FSW_E_STEP (image head names code and task; the node does not run on). */
int32_t fsw_node_step(fsw_node_t *node);

/* n ticks without a bench: the inputs stay as they are. */
int32_t fsw_node_run(fsw_node_t *node, uint32_t n);

/* XXH64 of the image in little-endian order with every NaN replaced by 0x7ff8000000000000. `scratch` holds image_size bytes and
 * is used only on big-endian machines or when the image contains a NaN. */
uint64_t fsw_node_digest(const fsw_node_t *node, void *scratch);

/* As above for any bytes described by runs (image, snapshot). */
uint64_t fsw_canonical_digest(const void *bytes, const fsw_run_t *runs, uint32_t n_runs, size_t size, void *scratch);
/* cffi: end */

#endif
