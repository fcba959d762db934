/* task.h - what a task is.
 *
 * A task is a descriptor (constant data) and a step function. The runtime gives the step function pointers to exactly the
 * topics it declares, its state, its parameters and the tick; it has no other way to see or change anything. A step function
 * must not keep pointers, call the operating system, or use static mutable data; its result depends on the bytes it is given.
 *
 * State and parameter structs are declared between the cffi markers of their header so that Python knows their layout.
 * Parameter fields carry an annotation that configuration is checked against, in the comment on the same line:
 *     double kp_1_s2;        // [0, 100] = 2.5 : attitude gain          (with slash-star comments)
 *     double mach_bp[12];    // [0, 10] pad : break points              (pad: a shorter list is filled with zeros)
 * `[lo, hi]` is the inclusive range; `= x` the default (none: required); a parameter takes, in this order, the value given for
 * the task, the constant of the same name in the vehicle file, its default. */
#ifndef FLIGHTSW_TASK_H
#define FLIGHTSW_TASK_H
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
typedef struct { /* in front of every topic in an image */
  int64_t tick;   /* tick of the last write; -1 before the first */
  uint32_t seq;   /* writes so far */
  uint32_t pad0;
} fsw_topic_head_t;

typedef struct {
  int64_t tick;                 /* base ticks since start */
  int64_t t_ns;                 /* mission elapsed time at this tick */
  int64_t dt_ns;                /* period of this task */
  uint64_t seed;                /* random seed of the run (fsw_rng_t) */
  uint32_t stream;              /* random stream of this node */
  uint32_t publish;             /* bit k: write port k counts as written; all set on entry, clear to withhold */
  const void *const *in;        /* payload per read port, in order; NULL where an optional port is not bound */
  const fsw_topic_head_t *const *in_head; /* when each was last written (tick -1: never); NULL where not bound */
  void *const *out;             /* payload per write port; NULL where an optional port is not bound */
  void *state;
  const void *params;
} fsw_io_t;

typedef struct {
  const char *name;   /* port name; with count > 1 the ports are name0, name1, ... */
  const char *type;   /* message struct, for example "fsw_imu_t" */
  uint32_t size;      /* sizeof of it; 0: checked by the type name alone */
  uint16_t count;     /* number of ports, at least 1 */
  uint16_t required;  /* how many of them must be bound */
} fsw_port_t;

typedef struct {
  const char *name;             /* for example "gnc.filter" */
  const char *doc;              /* one sentence */
  int32_t (*step)(fsw_io_t *io);/* 0, or a negative code that stops the node */
  void (*init)(void *state, const void *params); /* fills the zeroed initial state; NULL: all zero */
  const char *state_type;       /* NULL: none */
  const char *params_type;      /* NULL: none */
  const fsw_port_t *reads;
  const fsw_port_t *writes;
  uint32_t state_size;
  uint32_t params_size;
  uint32_t n_reads;             /* entries of reads, not expanded */
  uint32_t n_writes;
} fsw_task_desc_t;
/* cffi: end */

#define FSW_READ(name, type) { name, #type, (uint32_t)sizeof(type), 1, 1 }
#define FSW_READ_OPT(name, type) { name, #type, (uint32_t)sizeof(type), 1, 0 }
#define FSW_READ_N(name, type, count, required) { name, #type, (uint32_t)sizeof(type), count, required }
#define FSW_WRITE(name, type) { name, #type, (uint32_t)sizeof(type), 1, 1 }
#define FSW_WRITE_OPT(name, type) { name, #type, (uint32_t)sizeof(type), 1, 0 }
#define FSW_WRITE_N(name, type, count, required) { name, #type, (uint32_t)sizeof(type), count, required }
#define FSW_COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

/* FSW_TASK(symbol, "name", step, init, state type, params type, reads, writes, "doc") defines a descriptor. */
#define FSW_TASK(sym, nm, stp, ini, st, pt, rd, wr, dc) \
  const fsw_task_desc_t sym = { .name = nm, .doc = dc, .step = stp, .init = ini, .state_type = #st, .params_type = #pt, \
    .reads = rd, .writes = wr, .state_size = (uint32_t)sizeof(st), .params_size = (uint32_t)sizeof(pt), \
    .n_reads = FSW_COUNT(rd), .n_writes = FSW_COUNT(wr) }

#endif
