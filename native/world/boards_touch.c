/* boards_touch.c - simulated touchdown switches. Manual: flightsw/boards.h. */
#include "boards_internal.h"

#define CH_BOUNCE 8

typedef struct { /* faults per leg, bit k leg k */
  uint32_t off, stuck, wrong;
  bool board_off;
} touch_faults_t;

static void collect(const fsw_faults_t *m, touch_faults_t *f) {
  f->off = f->stuck = f->wrong = 0;
  f->board_off = false;
  if (m == NULL) return;
  uint32_t n = m->count < FSW_FAULT_SLOTS ? m->count : FSW_FAULT_SLOTS;
  for (uint32_t i = 0; i < n; i++) {
    if (m->target[i] != FSW_TARGET_TOUCH) continue;
    uint32_t legs = m->index[i] == 255 ? 0xffu : m->index[i] < FSW_MAX_LEGS ? 1u << m->index[i] : 0u;
    if (m->type[i] == FSW_FAULT_OFF) {
      f->off |= legs;
      if (m->index[i] == 255) f->board_off = true;
    }
    if (m->type[i] == FSW_FAULT_STUCK) f->stuck |= legs;
    if (m->type[i] == FSW_FAULT_WRONG) f->wrong |= legs;
  }
}

/* Raw switches: the true contacts, except that each chatters at random for a while after its contact changed. */
static uint32_t raw_switches(fsw_board_touch_state_t *s, const fsw_board_touch_params_t *p, const fsw_io_t *io) {
  const fsw_truth_t *t = io->in[0];
  uint32_t raw = t->contact_mask, changed = t->contact_mask ^ s->contact_mask, bouncing = 0;
  for (uint32_t k = 0; k < FSW_MAX_LEGS; k++) {
    if (changed >> k & 1u) s->t_change_ns[k] = io->t_ns + 1; /* 0 means never */
    if (s->t_change_ns[k] > 0 && (double)(io->t_ns - s->t_change_ns[k]) * 1e-9 < p->touch_bounce_s) bouncing |= 1u << k;
  }
  s->contact_mask = t->contact_mask;
  if (bouncing) {
    fsw_rng_t rng = board_rng(io);
    uint32_t w[4];
    fsw_rng_u32x4(&rng, io->tick, CH_BOUNCE, w);
    raw = (raw & ~bouncing) | (w[0] & bouncing);
  }
  return raw;
}

/* A reading follows its switch after touch_debounce equal samples in a row. */
static void debounce(fsw_board_touch_state_t *s, const fsw_board_touch_params_t *p, uint32_t raw) {
  for (uint32_t k = 0; k < FSW_MAX_LEGS; k++) {
    uint8_t now = raw >> k & 1u;
    s->run[k] = now != s->reading[k] ? (uint8_t)(s->run[k] + 1) : 0;
    if (s->run[k] < p->touch_debounce) continue;
    s->reading[k] = now;
    s->run[k] = 0;
  }
}

static int32_t step(fsw_io_t *io) {
  fsw_board_touch_state_t *s = io->state;
  const fsw_board_touch_params_t *p = io->params;
  const fsw_truth_t *t = io->in[0];
  fsw_touch_t *out = io->out[0];
  touch_faults_t f;
  uint32_t n = p->n_legs < FSW_MAX_LEGS ? p->n_legs : FSW_MAX_LEGS;
  io->publish = 0;
  if (!board_new_truth(io, &s->truth_seq)) return 0;
  collect(board_faults_at(io, 1), &f);
  debounce(s, p, raw_switches(s, p, io));
  if (f.board_off) return 0;
  for (uint32_t k = 0; k < FSW_MAX_LEGS; k++) {
    if (!(f.stuck >> k & 1u)) out->contact[k] = s->reading[k];
    if (f.off >> k & 1u) out->contact[k] = 0;
    if (f.wrong >> k & 1u) out->contact[k] = 1;
    if (k >= n) out->contact[k] = 0;
  }
  out->t_valid_ns = t->t_ns;
  out->seq = ++s->seq;
  out->n_legs = (uint8_t)n;
  out->valid = 1;
  __builtin_memset(out->pad0, 0, sizeof out->pad0);
  io->publish = 1;
  return 0;
}

static const fsw_port_t reads[] = { FSW_READ("truth", fsw_truth_t), FSW_READ_OPT("faults", fsw_faults_t) };
static const fsw_port_t writes[] = { FSW_WRITE("touch", fsw_touch_t) };
FSW_TASK(fsw_task_board_touch, "board.touch", step, NULL, fsw_board_touch_state_t, fsw_board_touch_params_t, reads, writes,
         "Touchdown switches, one per leg, with bounce and debouncing.");
