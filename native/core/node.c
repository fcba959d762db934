#include "flightsw/node.h"

#include "flightsw/bench.h"
#include "flightsw/digest.h"
#include "flightsw/exact.h"
#include "publish.h"

#define FSW_POISON_BYTES 8192u
#define HASHED_FROM 16u /* magic, version and the hash itself are not under the hash */

static size_t up8(size_t n) { return (n + 7u) & ~(size_t)7u; }

static size_t text_length(const char *s) {
  size_t n = 0;
  while (n < 256 && s[n]) n++;
  return n;
}

/* ---- byte order --------------------------------------------------------------------------------------------------- */

static void swap_bytes(uint8_t *p, uint32_t width) {
  for (uint32_t i = 0; i < width / 2; i++) {
    uint8_t t = p[i];
    p[i] = p[width - 1u - i];
    p[width - 1u - i] = t;
  }
}

static uint8_t *swap_array(uint8_t *p, uint32_t width, uint32_t count) {
  for (uint32_t i = 0; i < count; i++, p += width)
    if (width > 1) swap_bytes(p, width);
  return p;
}

static void swap_runs(uint8_t *image, const fsw_run_t *runs, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) image = swap_array(image, runs[i].width, runs[i].count);
}

void fsw_node_swap(const fsw_node_t *node, uint32_t offset, uint8_t *bytes, uint32_t size) {
  uint32_t at = 0, end = offset + size;
  for (uint32_t i = 0; i < node->n_runs && at < end; i++) {
    uint32_t width = node->runs[i].width, next = at + width * node->runs[i].count;
    uint32_t from = at > offset ? at : offset, to = next < end ? next : end;
    if (from < to) (void)swap_array(bytes + (from - offset), width, (to - from) / width);
    at = next;
  }
}

static void swap_head(uint8_t *p) { /* layout of fsw_blob_head_t */
  p = swap_array(p, 4, 2);
  p = swap_array(p, 8, 3);
  (void)swap_array(p, 4, 16);
}

static void swap_tables(uint8_t *blob, const fsw_blob_head_t *h) {
  uint8_t *p = blob + h->off_topics;
  for (uint32_t i = 0; i < h->n_topics; i++) p = swap_array(swap_array(p, 8, 2), 4, 2);
  p = blob + h->off_tasks;
  for (uint32_t i = 0; i < h->n_tasks; i++) p = swap_array(swap_array(swap_array(p, 8, 2), 4, 9), 2, 2) + 8;
  (void)swap_array(blob + h->off_ports, 2, h->n_ports);
  (void)swap_array(blob + h->off_starts, 4, h->hyperperiod + 1u);
  (void)swap_array(blob + h->off_entries, 2, h->n_entries);
  p = blob + h->off_runs;
  for (uint32_t i = 0; i < h->n_runs; i++) p = swap_array(swap_array(p, 4, 1), 2, 2);
}

/* ---- blob --------------------------------------------------------------------------------------------------------- */

static int fits(uint32_t offset, uint64_t count, uint32_t each, size_t size) {
  return (offset & 7u) == 0 && offset <= size && count * each <= size - offset;
}

static int32_t check_ranges(const fsw_blob_head_t *h, size_t size) {
  int ok = fits(h->off_topics, h->n_topics, sizeof(fsw_blob_topic_t), size)
    && fits(h->off_tasks, h->n_tasks, sizeof(fsw_blob_task_t), size) && fits(h->off_ports, h->n_ports, 2, size)
    && fits(h->off_starts, (uint64_t)h->hyperperiod + 1u, 4, size) && fits(h->off_entries, h->n_entries, 2, size)
    && fits(h->off_runs, h->n_runs, sizeof(fsw_run_t), size) && fits(h->off_image, h->image_size, 1, size)
    && h->hyperperiod > 0 && h->base_tick_ns > 0 && h->image_size >= sizeof(fsw_image_head_t) && h->n_topics < FSW_UNBOUND;
  return ok ? FSW_OK : FSW_E_RANGE;
}

static int32_t check_tables(const uint8_t *blob, const fsw_blob_head_t *h) {
  const fsw_blob_topic_t *topics = (const void *)(blob + h->off_topics);
  const fsw_blob_task_t *tasks = (const void *)(blob + h->off_tasks);
  const uint16_t *ports = (const void *)(blob + h->off_ports), *entries = (const void *)(blob + h->off_entries);
  const uint32_t *starts = (const void *)(blob + h->off_starts);
  const fsw_run_t *runs = (const void *)(blob + h->off_runs);
  uint64_t covered = 0;
  for (uint32_t i = 0; i < h->n_topics; i++)
    if (!fits(topics[i].offset, (uint64_t)topics[i].size + sizeof(fsw_topic_head_t), 1, h->image_size)) return FSW_E_RANGE;
  for (uint32_t i = 0; i < h->n_tasks; i++) {
    const fsw_blob_task_t *t = &tasks[i];
    if (t->period_ticks == 0 || (uint64_t)t->first_port + t->n_reads + t->n_writes > h->n_ports || t->n_writes > 32
        || !fits(t->state_offset, t->state_size, 1, h->image_size)
        || !fits(t->params_offset, t->params_size, 1, h->image_size))
      return FSW_E_RANGE;
  }
  for (uint32_t i = 0; i < h->n_ports; i++)
    if (ports[i] != FSW_UNBOUND && ports[i] >= h->n_topics) return FSW_E_RANGE;
  for (uint32_t i = 0; i < h->hyperperiod; i++)
    if (starts[i] > starts[i + 1]) return FSW_E_RANGE;
  if (starts[0] != 0 || starts[h->hyperperiod] != h->n_entries) return FSW_E_RANGE;
  for (uint32_t i = 0; i < h->n_entries; i++)
    if (entries[i] >= h->n_tasks) return FSW_E_RANGE;
  for (uint32_t i = 0; i < h->n_runs; i++) {
    if (runs[i].width != 1 && runs[i].width != 2 && runs[i].width != 4 && runs[i].width != 8) return FSW_E_RANGE;
    covered += (uint64_t)runs[i].width * runs[i].count;
  }
  return covered == h->image_size ? FSW_OK : FSW_E_RANGE;
}

int32_t fsw_blob_check(void *blob, size_t size) {
  uint8_t *bytes = blob;
  fsw_blob_head_t *h = blob;
  if (size < sizeof *h) return FSW_E_SIZE;
  uint64_t hash = fsw_digest(bytes + HASHED_FROM, size - HASHED_FROM, 0);
  if (BIG_ENDIAN_HOST) swap_head(bytes);
  if (h->magic != FSW_BLOB_MAGIC) return FSW_E_MAGIC;
  if (h->version != FSW_BLOB_VERSION) return FSW_E_VERSION;
  if (h->size != size) return FSW_E_SIZE;
  if (h->hash != hash) return FSW_E_HASH;
  int32_t rc = check_ranges(h, size);
  if (rc != FSW_OK) return rc;
  if (BIG_ENDIAN_HOST) swap_tables(bytes, h);
  rc = check_tables(bytes, h);
  if (rc == FSW_OK && BIG_ENDIAN_HOST) swap_runs(bytes + h->off_image, (const void *)(bytes + h->off_runs), h->n_runs);
  return rc;
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

size_t fsw_node_memory(const void *blob) {
  const fsw_blob_head_t *h = blob;
  if (h->magic != FSW_BLOB_MAGIC) return 0;
  return up8(h->image_size) + up8(h->n_tasks * sizeof(fsw_bound_task_t)) + up8(h->n_topics * sizeof(fsw_topic_rt_t))
    + 2u * up8(h->n_ports * sizeof(void *)) + up8(h->hyperperiod * sizeof(uint32_t));
}

static uint32_t expanded(const fsw_port_t *ports, uint32_t n) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < n; i++) total += ports[i].count;
  return total;
}

static const fsw_task_desc_t *find_task(uint64_t hash, const fsw_task_desc_t *const *tasks, uint32_t n) {
  for (uint32_t i = 0; i < n; i++)
    if (fsw_digest(tasks[i]->name, text_length(tasks[i]->name), 0) == hash) return tasks[i];
  return NULL;
}

/* The message bound to each port must have the size the task was compiled with; 0: a Python task, checked by type. */
static int ports_match(const fsw_port_t *ports, uint32_t n, const uint16_t *bound, const fsw_topic_rt_t *topics) {
  uint32_t k = 0;
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < ports[i].count; j++, k++)
      if (bound[k] != FSW_UNBOUND && ports[i].size && topics[bound[k]].size != ports[i].size) return 0;
  return 1;
}

static void bind_pointers(fsw_node_t *node, const uint16_t *ports, uint32_t n, void **payload, const void **heads) {
  for (uint32_t i = 0; i < n; i++) {
    uint8_t *head = ports[i] == FSW_UNBOUND ? NULL : node->image + node->topics[ports[i]].offset;
    heads[i] = head;
    payload[i] = head ? head + sizeof(fsw_topic_head_t) : NULL;
  }
}

static int32_t bind_task(fsw_node_t *node, fsw_bound_task_t *b, const fsw_blob_task_t *t, const fsw_task_desc_t *d,
                         const uint16_t *ports, void **payload, const void **heads) {
  if (d->state_size != t->state_size || d->params_size != t->params_size || expanded(d->reads, d->n_reads) != t->n_reads
      || expanded(d->writes, d->n_writes) != t->n_writes || !ports_match(d->reads, d->n_reads, ports, node->topics)
      || !ports_match(d->writes, d->n_writes, ports + t->n_reads, node->topics))
    return FSW_E_TASK_LAYOUT;
  bind_pointers(node, ports, (uint32_t)t->n_reads + t->n_writes, payload, heads);
  b->step = d->step;
  b->period_ticks = t->period_ticks;
  b->phase_ticks = t->phase_ticks;
  b->budget_us = t->budget_us;
  b->deadline_us = t->deadline_us;
  b->critical = t->critical;
  b->on_miss = t->on_miss;
  b->out_topics = ports + t->n_reads;
  b->n_out = t->n_writes;
  for (uint32_t i = 0; i < b->n_out; i++)
    if (b->out_topics[i] != FSW_UNBOUND) b->all_out |= 1u << i;
  b->io.dt_ns = (int64_t)t->period_ticks * node->base_tick_ns;
  b->io.in = (const void *const *)payload;
  b->io.in_head = (const fsw_topic_head_t *const *)(const void *)heads;
  b->io.out = payload + t->n_reads;
  b->io.state = t->state_size ? node->image + t->state_offset : NULL;
  b->io.params = t->params_size ? node->image + t->params_offset : NULL;
  return FSW_OK;
}

/* From each slot the way to the next one that has a task: at most once around. */
static void find_idle(const uint32_t *starts, uint32_t n, uint32_t *idle) {
  uint32_t ahead = n;
  for (uint32_t round = 0; round < 2; round++)
    for (uint32_t i = n; i-- > 0;) {
      idle[i] = ahead;
      ahead = starts[i] != starts[i + 1] ? 1 : (ahead < n ? ahead + 1 : n);
    }
}

int32_t fsw_node_load(fsw_node_t *node, void *memory, size_t size, const void *blob, const fsw_task_desc_t *const *tasks,
                      uint32_t n_tasks, uint32_t *culprit) {
  const fsw_blob_head_t *h = blob;
  const uint8_t *bytes = blob;
  size_t need = fsw_node_memory(blob);
  if (need == 0) return FSW_E_MAGIC;
  if (size < need) return FSW_E_SIZE;
  __builtin_memset(memory, 0, need);
  uint8_t *at = memory;
  *node = (fsw_node_t){.image = at, .image_size = h->image_size, .hyperperiod = h->hyperperiod, .n_tasks = h->n_tasks,
    .n_topics = h->n_topics, .n_runs = h->n_runs, .base_tick_ns = h->base_tick_ns, .blob_hash = h->hash,
    .starts = (const void *)(bytes + h->off_starts), .entries = (const void *)(bytes + h->off_entries),
    .runs = (const void *)(bytes + h->off_runs), .due_tick = -1,
    .gate_channel = FSW_UNBOUND, .skip_channel = FSW_UNBOUND, .upset_channel = FSW_UNBOUND, .gate = {.first_tick = -1}};
  __builtin_memcpy(node->image, bytes + h->off_image, h->image_size);
  ((fsw_image_head_t *)(void *)node->image)->blob_hash = h->hash;
  at += up8(h->image_size);
  node->tasks = (void *)at;
  at += up8(h->n_tasks * sizeof(fsw_bound_task_t));
  node->topics = (void *)at;
  at += up8(h->n_topics * sizeof(fsw_topic_rt_t));
  void **payload = (void *)at;
  at += up8(h->n_ports * sizeof(void *));
  const void **heads = (void *)at;
  uint32_t *idle = (void *)(at + up8(h->n_ports * sizeof(void *)));
  find_idle(node->starts, h->hyperperiod, idle);
  node->idle = idle;
  const fsw_blob_topic_t *topics = (const void *)(bytes + h->off_topics);
  for (uint32_t i = 0; i < h->n_topics; i++)
    node->topics[i] = (fsw_topic_rt_t){.offset = topics[i].offset, .size = topics[i].size, .channel = FSW_UNBOUND, .every = 1};
  const fsw_blob_task_t *table = (const void *)(bytes + h->off_tasks);
  const uint16_t *ports = (const void *)(bytes + h->off_ports);
  for (uint32_t i = 0; i < h->n_tasks; i++) {
    const fsw_task_desc_t *d = find_task(table[i].type_hash, tasks, n_tasks);
    uint32_t first = table[i].first_port;
    int32_t rc = d ? bind_task(node, &node->tasks[i], &table[i], d, ports + first, payload + first, heads + first) : FSW_E_TASK;
    if (rc != FSW_OK) {
      *culprit = i;
      return rc;
    }
  }
  return FSW_OK;
}

/* ---- running ------------------------------------------------------------------------------------------------------ */

/* Each step is a bijection of the digest and of the word, so that no single changed word can be missed. */
static uint64_t stir(uint64_t h, uint64_t word) {
  h = (h ^ word) * 0x9e3779b185ebca87u;
  return h ^ h >> 29;
}

static uint64_t word_of(const uint8_t *p, uint32_t n) { /* little-endian, at most 8 bytes */
  uint64_t w = 0;
  if (n == 8 && !BIG_ENDIAN_HOST) {
    __builtin_memcpy(&w, p, 8);
    return w;
  }
  for (uint32_t i = 0; i < n; i++) w |= (uint64_t)p[i] << (8u * i);
  return w;
}

/* What enters is noted twice, as a record and in the digest of its tick: if the record is changed later, the digest tells in which. */
static void note_input(fsw_node_t *node, uint32_t topic, uint32_t seq, int64_t tick, const uint8_t *payload, uint32_t size) {
  fsw_gate_t *gate = &node->gate;
  int64_t first = tick & ~(int64_t)(FSW_GATE_TICKS - 1);
  if (gate->first_tick != first) {
    __builtin_memset(gate, 0, sizeof *gate);
    gate->first_tick = first;
  }
  uint64_t h = stir(gate->digest[tick - first], ((uint64_t)topic + 1u) << 32 | seq);
  for (uint32_t i = 0; i < size; i += 8) h = stir(h, word_of(payload + i, size - i < 8 ? size - i : 8));
  gate->digest[tick - first] = h ? h : 1u;
}

void fsw_node_skip(fsw_node_t *node, uint64_t mask) {
  fsw_image_head_t *head = (fsw_image_head_t *)(void *)node->image;
  head->skip_mask = mask;
  head->skips++;
  if (node->skip_channel == FSW_UNBOUND || !node->recorder) return;
  fsw_skip_t skip = {mask};
  uint8_t *p = fsw_record(node->recorder, node->skip_channel, head->skips, head->tick * node->base_tick_ns, &skip, sizeof skip);
  if (p && BIG_ENDIAN_HOST) swap_bytes(p, 8);
  if (p && node->gate_channel != FSW_UNBOUND) note_input(node, FSW_SKIP_TOPIC, head->skips, head->tick, p, sizeof skip);
}

int32_t fsw_node_upset(fsw_node_t *node, uint32_t offset, uint32_t mask) {
  if (offset < sizeof(fsw_image_head_t) || offset >= node->image_size || mask > 255u) return FSW_E_RANGE;
  int64_t tick = ((const fsw_image_head_t *)(const void *)node->image)->tick;
  node->image[offset] ^= (uint8_t)mask;
  if (node->upset_channel == FSW_UNBOUND || !node->recorder) return FSW_OK;
  fsw_upset_t upset = {offset, mask};
  uint8_t *p = fsw_record(node->recorder, node->upset_channel, (uint32_t)tick, tick * node->base_tick_ns, &upset, sizeof upset);
  if (p && BIG_ENDIAN_HOST) (void)swap_array(p, 4, 2);
  if (p && node->gate_channel != FSW_UNBOUND) note_input(node, FSW_UPSET_TOPIC, (uint32_t)tick, tick, p, sizeof upset);
  return FSW_OK;
}

void fsw_node_input(fsw_node_t *node, uint32_t topic, const void *payload) {
  const fsw_topic_rt_t *rt = &node->topics[topic];
  fsw_topic_head_t *head = (fsw_topic_head_t *)(void *)(node->image + rt->offset);
  int64_t tick = ((const fsw_image_head_t *)(const void *)node->image)->tick;
  __builtin_memcpy(head + 1, payload, rt->size);
  head->tick = tick;
  head->seq++;
  if (rt->channel == FSW_UNBOUND || !node->recorder || (rt->every != 1 && head->seq % rt->every != 1)) return;
  const uint8_t *p = record_topic(node, rt, head->seq, tick, payload);
  if (p && node->gate_channel != FSW_UNBOUND) note_input(node, topic, head->seq, tick, p, rt->size);
}

/* Slot of the tick; knows from then on when the next task is due. Without a division while due ticks follow one another. */
static inline uint32_t slot_of(fsw_node_t *node, int64_t tick) {
  uint32_t slot = tick == node->due_tick ? node->due_slot : (uint32_t)(tick % (int64_t)node->hyperperiod);
  uint32_t ahead = node->idle[slot], next = slot + ahead;
  node->due_tick = tick + (int64_t)ahead;
  node->due_slot = next >= node->hyperperiod ? next - node->hyperperiod : next;
  return slot;
}

static inline int32_t run_task(fsw_node_t *node, fsw_bound_task_t *task, const fsw_image_head_t *head, int64_t tick) {
  task->io.tick = tick;
  task->io.t_ns = tick * node->base_tick_ns;
  task->io.seed = head->seed; /* from the image: a restored snapshot brings its own */
  task->io.stream = head->stream;
  task->io.publish = task->all_out;
  int32_t rc = task->step(&task->io);
  if (rc != 0) return rc;
  uint32_t publish = task->io.publish & task->all_out;
  for (; publish; publish &= publish - 1u) publish_topic(node, task->out_topics[__builtin_ctz(publish)], tick);
  return 0;
}

/* Whoever uses what it never wrote finds this there instead of what happened to be left. */
static __attribute__((noinline)) void poison_stack(uint32_t byte) {
  uint8_t area[FSW_POISON_BYTES];
  volatile uint8_t *p = area; /* the compiler must not know that nobody reads them here */
  for (uint32_t i = 0; i < FSW_POISON_BYTES; i++) p[i] = (uint8_t)byte;
}

static void note_time(fsw_watch_t *watch, const fsw_bound_task_t *task, uint32_t index, int64_t began, int64_t tick) {
  fsw_task_timing_t *t = &watch->tasks[index];
  int64_t now = watch->clock_ns(), spent = now - began;
  uint32_t bin = spent > 0 ? 63u - (uint32_t)__builtin_clzll((uint64_t)spent) : 0;
  t->runs++;
  t->sum_ns += spent;
  t->histogram[bin < FSW_TIME_BINS ? bin : FSW_TIME_BINS - 1]++;
  if (spent > t->max_ns) {
    t->max_ns = spent;
    t->max_tick = tick;
  }
  if (task->budget_us && spent > (int64_t)task->budget_us * 1000) t->overruns++;
  if (task->deadline_us == 0 || now - watch->release_ns <= (int64_t)task->deadline_us * 1000) {
    t->consecutive = 0;
    return;
  }
  t->misses++;
  t->consecutive++;
  t->after_ns = now - watch->release_ns;
  if (index < 64) watch->missed |= (uint64_t)1 << index;
}

static int32_t run_watched(fsw_node_t *node, uint32_t index, const fsw_image_head_t *head, int64_t tick) {
  fsw_watch_t *watch = node->watch;
  if (watch->poison) poison_stack(watch->poison - 1u);
  if (!watch->clock_ns) return run_task(node, &node->tasks[index], head, tick);
  int64_t began = watch->clock_ns();
  int32_t rc = run_task(node, &node->tasks[index], head, tick);
  note_time(watch, &node->tasks[index], index, began, tick);
  return rc;
}

static inline int skipped(const fsw_node_t *node, const fsw_image_head_t *head, uint32_t index) {
  if (!head->skip_mask || index >= 64 || !(head->skip_mask >> index & 1u)) return 0;
  if (node->watch && node->watch->clock_ns) node->watch->tasks[index].skipped++;
  return 1;
}

int32_t fsw_node_step(fsw_node_t *node) {
  fsw_image_head_t *head = (fsw_image_head_t *)(void *)node->image;
  if (head->error) return FSW_E_STEP;
  int64_t tick = head->tick;
  uint32_t slot = slot_of(node, tick);
  const uint16_t *entry = node->entries + node->starts[slot], *end = node->entries + node->starts[slot + 1];
  for (; entry != end; entry++) {
    if (skipped(node, head, *entry)) continue;
    int32_t rc = node->watch ? run_watched(node, *entry, head, tick) : run_task(node, &node->tasks[*entry], head, tick);
    if (rc != 0) {
      head->error = rc;
      head->error_task = *entry;
      return FSW_E_STEP;
    }
  }
  head->skip_mask = 0;
  head->tick = tick + 1;
  return FSW_OK;
}

int32_t fsw_node_run(fsw_node_t *node, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    int32_t rc = fsw_node_step(node);
    if (rc != FSW_OK) return rc;
  }
  return FSW_OK;
}

/* ---- digest ------------------------------------------------------------------------------------------------------- */

static int is_nan_bits(uint64_t u) { return (u & 0x7fffffffffffffffu) > 0x7ff0000000000000u; }

static int has_nan(const uint8_t *p, const fsw_run_t *runs, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (runs[i].kind == 1 && runs[i].width == 8)
      for (uint32_t k = 0; k < runs[i].count; k++) {
        uint64_t u;
        __builtin_memcpy(&u, p + 8u * (size_t)k, 8);
        if (is_nan_bits(u)) return 1;
      }
    p += (size_t)runs[i].width * runs[i].count;
  }
  return 0;
}

static void canonical_nan(uint8_t *p, const fsw_run_t *runs, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    if (runs[i].kind == 1 && runs[i].width == 8)
      for (uint32_t k = 0; k < runs[i].count; k++) {
        uint64_t u;
        __builtin_memcpy(&u, p + 8u * (size_t)k, 8);
        if (is_nan_bits(u)) {
          u = 0x7ff8000000000000u;
          __builtin_memcpy(p + 8u * (size_t)k, &u, 8);
        }
      }
    p += (size_t)runs[i].width * runs[i].count;
  }
}

uint64_t fsw_canonical_digest(const void *bytes, const fsw_run_t *runs, uint32_t n_runs, size_t size, void *scratch) {
  if (!BIG_ENDIAN_HOST && !has_nan(bytes, runs, n_runs)) return fsw_digest(bytes, size, 0);
  __builtin_memcpy(scratch, bytes, size);
  canonical_nan(scratch, runs, n_runs);
  if (BIG_ENDIAN_HOST) swap_runs(scratch, runs, n_runs);
  return fsw_digest(scratch, size, 0);
}

uint64_t fsw_node_digest(const fsw_node_t *node, void *scratch) {
  return fsw_canonical_digest(node->image, node->runs, node->n_runs, node->image_size, scratch);
}
