#define _GNU_SOURCE
#include "flightsw/realtime.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif
#include <sys/resource.h>
#include <time.h>

#define STACK_TOUCHED 65536
#define OWN_BYTES 4096u   /* room for the driver's own records in a tick */
#define OWN_RECORDS 64u

struct fsw_rt {
  fsw_rt_config_t config;
  fsw_rt_report_t report;
  fsw_bench_t *bench;
  const uint8_t *shed;
  int32_t *late_ns;
  int64_t n_late;
  uint8_t *slots;
  uint32_t n_slots, slot_bytes;
  uint32_t filled, freed;       /* keyframe slots: written by the real-time thread, by the consumer */
  int32_t state, asked, locked;
  int64_t tick;                 /* ticks complete, for other threads */
  uint64_t silent;              /* nodes that run no task any more: bit by index */
  uint64_t pending[64];         /* per node: tasks whose next release is skipped */
  pthread_t thread;
};

/* Constant data of the loop lies in the struct; nothing here is shared but `state`, `asked`, `tick` and the two slot counters. */

size_t fsw_rt_bytes(void) { return sizeof(fsw_rt_t); }

int64_t fsw_rt_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void fsw_rt_init(fsw_rt_t *rt, const fsw_rt_config_t *config, fsw_bench_t *bench, const uint8_t *shed) {
  memset(rt, 0, sizeof *rt);
  rt->config = *config;
  rt->bench = bench;
  rt->shed = shed;
  rt->tick = bench ? bench->tick : 0;
  rt->report.first_tick = rt->tick;
}

void fsw_rt_buffers(fsw_rt_t *rt, int32_t *late_ns, int64_t n_late, uint8_t *slots, uint32_t n_slots, uint32_t slot_bytes) {
  rt->late_ns = late_ns;
  rt->n_late = n_late;
  rt->slots = slots;
  rt->n_slots = n_slots;
  rt->slot_bytes = slot_bytes;
}

/* ---- what the kernel grants ---------------------------------------------------------------------------------------- */

static void ask_kernel(fsw_rt_t *rt) { /* on the real-time thread */
  fsw_rt_report_t *r = &rt->report;
  r->fifo = r->affinity = -1;
#ifdef PR_SET_TIMERSLACK
  (void)prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul); /* without SCHED_FIFO each wake-up would be 50 us late */
#endif
  if (rt->config.cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    r->affinity = EINVAL;
    if (rt->config.cpu < CPU_SETSIZE) {
      CPU_SET((size_t)rt->config.cpu, &set);
      r->affinity = pthread_setaffinity_np(pthread_self(), sizeof set, &set);
    }
  }
  if (rt->config.priority > 0) {
    struct sched_param param = {.sched_priority = rt->config.priority};
    r->fifo = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
  }
}

static void lock_memory(fsw_rt_t *rt) {
  rt->report.memory = -1;
  if (!rt->config.lock_memory) return;
  rt->report.memory = mlockall(MCL_CURRENT) == 0 ? 0 : errno;
  rt->locked = rt->report.memory == 0;
}

static __attribute__((noinline)) void touch_stack(void) {
  uint8_t area[STACK_TOUCHED];
  volatile uint8_t *p = area;
  for (size_t i = 0; i < sizeof area; i += 256) p[i] = 0;
}

/* ---- a tick ------------------------------------------------------------------------------------------------------- */

static int64_t wait_for(fsw_rt_t *rt, int64_t release) {
  int64_t wake = release - rt->config.spin_ns, now = fsw_rt_clock();
  if (now < wake) {
    struct timespec t = {.tv_sec = (time_t)(wake / 1000000000), .tv_nsec = (long)(wake % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
    rt->report.sleeps++;
    now = fsw_rt_clock();
  }
  while (now < release) now = fsw_rt_clock();
  return now;
}

static void note_late(fsw_rt_t *rt, int64_t tick, int64_t late) {
  fsw_rt_report_t *r = &rt->report;
  int64_t k = tick - r->first_tick;
  if (k < rt->n_late) rt->late_ns[k] = late > INT32_MAX ? INT32_MAX : (int32_t)late;
  if (late >= rt->config.period_ns) r->missed++; /* counted from the first tick on */
  if (k < rt->config.warm_up_ticks) return;
  uint32_t bin = late > 0 ? 63u - (uint32_t)__builtin_clzll((uint64_t)late) : 0;
  r->histogram[bin < FSW_LATE_BINS ? bin : FSW_LATE_BINS - 1]++;
  r->late_sum_ns += late;
  r->late_count++;
  if (late > r->late_max_ns) {
    r->late_max_ns = late;
    r->late_max_tick = tick;
  }
}

static int due(const fsw_bound_task_t *t, int64_t tick) { return tick % (int64_t)t->period_ticks == (int64_t)t->phase_ticks; }

/* Which tasks of a node do not run in this tick. */
static uint64_t mask_of(fsw_rt_t *rt, uint32_t n, int64_t tick, int shed) {
  const fsw_node_t *node = &rt->bench->nodes[n];
  uint32_t count = node->n_tasks < 64 ? node->n_tasks : 64;
  uint64_t mask = 0;
  if (n < 64 && rt->silent >> n & 1u) return ~(uint64_t)0;
  for (uint32_t i = 0; i < count; i++) {
    const fsw_bound_task_t *t = &node->tasks[i];
    uint64_t bit = (uint64_t)1 << i;
    int pending = n < 64 && (rt->pending[n] & bit);
    if (!due(t, tick) || !(pending || (shed && rt->shed && rt->shed[n] && !t->critical))) continue;
    mask |= bit;
    if (n < 64) rt->pending[n] &= ~bit;
  }
  return mask;
}

/* Decisions about this tick, through the gate. */
static void decide(fsw_rt_t *rt, int64_t tick, int64_t late, int64_t release) {
  fsw_bench_t *b = rt->bench;
  int shed = rt->config.shed_ticks > 0 && late >= rt->config.shed_ticks * rt->config.period_ns;
  rt->report.shed += shed;
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    fsw_node_t *node = &b->nodes[n];
    if (node->watch) {
      node->watch->release_ns = release;
      node->watch->missed = 0;
    }
    uint64_t mask = mask_of(rt, n, tick, shed);
    if (mask) fsw_node_skip(node, mask);
  }
  if (late >= rt->config.period_ns && b->recorder && rt->config.late_channel != FSW_UNBOUND) {
    fsw_late_tick_t m = {.tick = tick, .late_ns = late, .missed = (uint32_t)rt->report.missed, .shed = (uint32_t)shed};
    (void)fsw_record(b->recorder, rt->config.late_channel, (uint32_t)rt->report.missed, tick * b->nodes[0].base_tick_ns, &m, sizeof m);
  }
}

/* A task missed its deadline: record it, and do what its on_miss says once it has happened often enough in a row. */
static int answer_miss(fsw_rt_t *rt, uint32_t n, uint32_t i, int64_t tick) {
  fsw_bench_t *b = rt->bench;
  const fsw_bound_task_t *task = &b->nodes[n].tasks[i];
  const fsw_task_timing_t *t = &b->nodes[n].watch->tasks[i];
  uint32_t action = t->consecutive >= rt->config.miss_limit ? task->on_miss : 0;
  if (b->recorder && rt->config.overrun_channel != FSW_UNBOUND) {
    fsw_overrun_t m = {.tick = tick, .after_ns = t->after_ns, .node = n, .task = i, .consecutive = t->consecutive, .on_miss = action};
    (void)fsw_record(b->recorder, rt->config.overrun_channel, (uint32_t)t->misses, tick * b->nodes[0].base_tick_ns, &m, sizeof m);
  }
  if (n < 64 && action == 1) rt->pending[n] |= (uint64_t)1 << i;
  if (n < 64 && action == 2) rt->silent |= (uint64_t)1 << n;
  return action == 3;
}

static int answer_misses(fsw_rt_t *rt, int64_t tick) {
  int stop = 0;
  for (uint32_t n = 0; n < rt->bench->n_nodes; n++) {
    const fsw_watch_t *watch = rt->bench->nodes[n].watch;
    for (uint64_t m = watch ? watch->missed : 0; m; m &= m - 1u) stop |= answer_miss(rt, n, (uint32_t)__builtin_ctzll(m), tick);
  }
  return stop;
}

static void keyframe(fsw_rt_t *rt) {
  const fsw_bench_t *b = rt->bench;
  if (rt->n_slots == 0) return;
  if (rt->filled - __atomic_load_n(&rt->freed, __ATOMIC_ACQUIRE) >= rt->n_slots) {
    rt->report.keyframes_lost++;
    return;
  }
  uint8_t *at = rt->slots + (size_t)(rt->filled % rt->n_slots) * rt->slot_bytes;
  memcpy(at, &b->tick, sizeof b->tick);
  at += sizeof b->tick;
  for (uint32_t n = 0; n < b->n_nodes; n++) {
    memcpy(at, b->nodes[n].image, b->nodes[n].image_size);
    at += b->nodes[n].image_size;
  }
  memcpy(at, b->link_image, b->link_image_size);
  __atomic_store_n(&rt->filled, rt->filled + 1u, __ATOMIC_RELEASE);
}

/* One tick of the bench; FSW_RT_RUNNING to go on. */
static int32_t run_tick(fsw_rt_t *rt, int64_t late, int64_t release) {
  fsw_bench_t *b = rt->bench;
  int64_t tick = b->tick;
  if (rt->config.stop_ticks > 0 && late >= rt->config.stop_ticks * rt->config.period_ns) return FSW_RT_TOO_LATE;
  if (b->recorder && b->recorder->n_blocks) /* decisions and lateness are recorded before the tick's own messages */
    fsw_recorder_pace(b->recorder, tick * b->nodes[0].base_tick_ns, b->worst_bytes + OWN_BYTES, b->worst_records + OWN_RECORDS);
  decide(rt, tick, late, release);
  int32_t rc = fsw_bench_run(b, tick + 1);
  if (rc == FSW_OK || rc == FSW_STOPPED) {
    if (answer_misses(rt, tick)) return FSW_RT_DEADLINE;
    if (rt->config.keyframe_ticks > 0 && b->tick % rt->config.keyframe_ticks == 0) keyframe(rt);
    return rc == FSW_OK ? FSW_RT_RUNNING : FSW_RT_STOPPED;
  }
  rt->report.code = rc;
  return FSW_RT_FAILED;
}

static void usage(fsw_rt_report_t *r, int sign) {
  struct rusage u;
  if (getrusage(RUSAGE_THREAD, &u)) return;
  r->switches += sign * u.ru_nvcsw;
  r->preempted += sign * u.ru_nivcsw;
  r->faults += sign * (u.ru_minflt + u.ru_majflt);
}

static void *run(void *arg) {
  fsw_rt_t *rt = arg;
  int32_t state = FSW_RT_RUNNING;
  lock_memory(rt); /* here: the stack of this thread is to be part of it */
  ask_kernel(rt);
  touch_stack();
  int64_t tick = rt->tick;
  rt->report.epoch_ns = fsw_rt_clock() + 2000000 - tick * rt->config.period_ns; /* the first release lies 2 ms ahead */
  usage(&rt->report, -1);
  while (state == FSW_RT_RUNNING) {
    if (tick >= rt->config.until_tick) {
      state = FSW_RT_DONE;
      break;
    }
    int64_t release = rt->report.epoch_ns + tick * rt->config.period_ns, late = wait_for(rt, release) - release;
    if (__atomic_load_n(&rt->asked, __ATOMIC_RELAXED)) {
      state = FSW_RT_ASKED;
      break;
    }
    note_late(rt, tick, late);
    if (rt->bench) state = run_tick(rt, late, release);
    tick = rt->bench ? rt->bench->tick : tick + 1;
    __atomic_store_n(&rt->tick, tick, __ATOMIC_RELAXED);
  }
  usage(&rt->report, 1);
  if (rt->bench && rt->bench->recorder) fsw_bench_flush_gates(rt->bench);
  rt->report.state = state;
  rt->report.tick = tick;
  __atomic_store_n(&rt->state, state, __ATOMIC_RELEASE);
  return NULL;
}

/* ---- from other threads -------------------------------------------------------------------------------------------- */

int32_t fsw_rt_start(fsw_rt_t *rt) {
  return pthread_create(&rt->thread, NULL, run, rt);
}

int32_t fsw_rt_wait(fsw_rt_t *rt, int32_t ms) {
  for (int32_t k = 0; k < ms; k += 2) {
    int32_t state = __atomic_load_n(&rt->state, __ATOMIC_ACQUIRE);
    if (state != FSW_RT_RUNNING) return state;
    struct timespec t = {.tv_sec = 0, .tv_nsec = 2000000};
    nanosleep(&t, NULL);
  }
  return __atomic_load_n(&rt->state, __ATOMIC_ACQUIRE);
}

void fsw_rt_stop(fsw_rt_t *rt) { __atomic_store_n(&rt->asked, 1, __ATOMIC_RELAXED); }

void fsw_rt_join(fsw_rt_t *rt, fsw_rt_report_t *report) {
  pthread_join(rt->thread, NULL);
  if (rt->locked) munlockall();
  *report = rt->report;
}

int64_t fsw_rt_tick(const fsw_rt_t *rt) { return __atomic_load_n(&rt->tick, __ATOMIC_RELAXED); }

const uint8_t *fsw_rt_keyframe(const fsw_rt_t *rt) {
  uint32_t filled = __atomic_load_n(&rt->filled, __ATOMIC_ACQUIRE);
  return filled == rt->freed ? NULL : rt->slots + (size_t)(rt->freed % rt->n_slots) * rt->slot_bytes;
}

void fsw_rt_keyframe_release(fsw_rt_t *rt) { __atomic_store_n(&rt->freed, rt->freed + 1u, __ATOMIC_RELEASE); }

int32_t fsw_reserve(int32_t fd, int64_t bytes) {
#ifdef FALLOC_FL_KEEP_SIZE
  return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, bytes) == 0 ? 0 : errno;
#else
  (void)fd, (void)bytes;
  return ENOTSUP;
#endif
}
