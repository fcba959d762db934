/* realtime.h - a bench against the wall clock: the real-time driver of the port.
 *
 * One thread releases tick n at epoch + n * period on the monotonic clock (an absolute sleep, then, if wanted, a spin to the
 * instant), so that lateness never adds up to drift. On that thread there is no lock, no allocation and no system call but the sleep;
 * Python runs there only as far as the schedule has Python tasks. What it asked the kernel for and did not get is told, not hidden.
 *
 * A tick that begins a whole period late or more is a missed tick: it is counted, recorded and run all the same, at once, since a plant and its
 * flight software that are a tick short are no longer the same flight. To catch up, the flight computers shed their non-critical
 * tasks while they are late by `shed_ticks`; a task that misses its deadline `miss_limit` times in a row is answered as its on_miss
 * says. Each such decision enters through the input gate (fsw_node_skip), is recorded, and is an input of a replay.
 *
 * Release lateness: actual minus scheduled start of a tick. Deadline: completion of a task minus the scheduled release of its tick.
 * (Liu, C. L., Layland, J. W.: Scheduling algorithms for multiprogramming in a hard-real-time environment, JACM 20, 1973, for the terms.) */
#ifndef FLIGHTSW_REALTIME_H
#define FLIGHTSW_REALTIME_H
#include "flightsw/bench.h"

/* cffi: begin */
#define FSW_RT_RUNNING 0
#define FSW_RT_DONE 1         /* until_tick reached */
#define FSW_RT_STOPPED 2      /* the bench's stop condition, see `code` otherwise */
#define FSW_RT_ASKED 3        /* fsw_rt_stop */
#define FSW_RT_FAILED 4       /* `code` is what fsw_bench_run returned */
#define FSW_RT_TOO_LATE 5     /* late by stop_ticks */
#define FSW_RT_DEADLINE 6     /* a task whose on_miss is stop missed its deadline */
#define FSW_LATE_BINS 48

typedef struct { /* what is asked for */
  int64_t period_ns;          /* wall time from tick to tick */
  int64_t spin_ns;            /* of it, at most so much is spun before a release */
  int64_t until_tick;
  int64_t keyframe_ticks;     /* 0: none */
  int64_t shed_ticks;         /* 0: never */
  int64_t stop_ticks;         /* 0: never */
  int64_t warm_up_ticks;      /* not in the statistics: the first run of everything touches cold memory */
  uint32_t miss_limit;
  int32_t priority;           /* SCHED_FIFO; 0: ordinary scheduling */
  int32_t cpu;                /* -1: any */
  int32_t lock_memory;        /* all present memory of the process */
  uint16_t late_channel;      /* log channels of fsw_late_tick_t and fsw_overrun_t, or FSW_UNBOUND */
  uint16_t overrun_channel;
  uint32_t pad0;
} fsw_rt_config_t;

typedef struct { /* what was granted (0 granted, -1 not asked for, else errno), and what happened */
  int32_t fifo;
  int32_t memory;
  int32_t affinity;
  int32_t state;              /* FSW_RT_* */
  int32_t code;
  uint32_t pad0;
  int64_t epoch_ns;           /* scheduled release of tick 0 on the monotonic clock */
  int64_t first_tick;
  int64_t tick;               /* ticks complete */
  int64_t missed;             /* ticks that began a period late or more */
  int64_t shed;               /* ticks without the non-critical tasks */
  int64_t late_max_ns;
  int64_t late_max_tick;
  int64_t late_sum_ns;
  int64_t late_count;
  int64_t sleeps;
  int64_t switches;           /* voluntary context switches of the thread: not more than sleeps */
  int64_t preempted;          /* involuntary ones */
  int64_t faults;             /* page faults of the thread */
  int64_t keyframes_lost;     /* no slot was free */
  uint32_t histogram[FSW_LATE_BINS]; /* ticks released [2^k, 2^(k+1)) ns late */
} fsw_rt_report_t;

typedef struct fsw_rt fsw_rt_t; /* see fsw_rt_bytes */

size_t fsw_rt_bytes(void);

/* `rt`: fsw_rt_bytes() of memory, 8-byte aligned. bench NULL: only the clock is run, which shows the computer's own noise. late_ns: room for
 * one int32 per tick (saturating), or NULL; keyframes: `n_slots` slots of `slot_bytes`, each an int64 tick and then the images of all nodes
 * in order and the link image, or none. shed: per node, 1 when its non-critical tasks may be shed. All must stay in place. */
void fsw_rt_init(fsw_rt_t *rt, const fsw_rt_config_t *config, fsw_bench_t *bench, const uint8_t *shed);
void fsw_rt_buffers(fsw_rt_t *rt, int32_t *late_ns, int64_t n_late, uint8_t *slots, uint32_t n_slots, uint32_t slot_bytes);

/* Begin on a thread of its own; 0, or an errno. */
int32_t fsw_rt_start(fsw_rt_t *rt);
/* Sleep for at most so many milliseconds, or until it has ended; returns its state. For any other thread. */
int32_t fsw_rt_wait(fsw_rt_t *rt, int32_t ms);
/* Ask it to end at the next tick. */
void fsw_rt_stop(fsw_rt_t *rt);
/* Wait for its end, release thread and memory lock, and tell. */
void fsw_rt_join(fsw_rt_t *rt, fsw_rt_report_t *report);
/* What there is to tell so far: whole only after fsw_rt_join. */
int64_t fsw_rt_tick(const fsw_rt_t *rt);
/* Consumer of keyframes: the oldest slot that was filled, or NULL; it stays with the consumer until fsw_rt_keyframe_release. */
const uint8_t *fsw_rt_keyframe(const fsw_rt_t *rt);
void fsw_rt_keyframe_release(fsw_rt_t *rt);
/* The monotonic clock, ns. */
int64_t fsw_rt_clock(void);
/* Reserve disk space behind the end of a file, so that a full disk is met now; 0, or an errno (ENOTSUP: not known here). */
int32_t fsw_reserve(int32_t fd, int64_t bytes);
/* cffi: end */

#endif
