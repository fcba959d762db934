#include "flightsw/vote.h"

#include "flightsw/exact.h"
#include "flightsw/messages.h"

static int same(const void *a, const void *b, uint32_t size) {
  const uint8_t *x = a, *y = b;
  for (uint32_t i = 0; i < size; i++)
    if (x[i] != y[i]) return 0;
  return 1;
}

/* Strings whose message arrived in this tick. */
static uint32_t present(const fsw_io_t *io) {
  uint32_t mask = 0;
  for (uint32_t k = 0; k < FSW_STRINGS; k++)
    if (io->in[k] && io->in_head[k]->tick == io->tick) mask |= 1u << k;
  return mask;
}

/* The string whose message more than half of those in `mask` share, or -1. */
static int32_t majority(const fsw_io_t *io, uint32_t mask, uint32_t size) {
  uint32_t count = 0;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) count += mask >> k & 1u;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) {
    uint32_t votes = 0;
    if (!(mask >> k & 1u)) continue;
    for (uint32_t j = 0; j < FSW_STRINGS; j++) votes += (mask >> j & 1u) && same(io->in[k], io->in[j], size);
    if (2 * votes > count) return (int32_t)k;
  }
  return -1;
}

/* Who disagrees with what was voted is out; who is out and has agreed often enough is back. Returns who disagrees now. */
static uint32_t judge(const fsw_io_t *io, fsw_vote_state_t *s, const fsw_vote_params_t *p, uint32_t here, uint32_t chosen) {
  uint32_t wrong = 0;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) {
    if (!(here >> k & 1u)) continue;
    if (!same(io->in[k], io->in[chosen], p->size)) {
      wrong |= 1u << k;
      s->out_mask |= 1u << k;
      s->wrong[k]++;
      s->agreed[k] = 0;
    } else if (s->out_mask >> k & 1u && ++s->agreed[k] >= p->rejoin_votes) {
      s->out_mask &= ~(1u << k);
      s->agreed[k] = 0;
    }
  }
  return wrong;
}

int32_t fsw_vote_step(fsw_io_t *io) {
  fsw_vote_state_t *s = io->state;
  const fsw_vote_params_t *p = io->params;
  uint32_t here = present(io), voters = here & ~s->out_mask, wrong = 0;
  if (here == 0) {
    io->publish = 0;
    return 0;
  }
  s->votes++;
  int32_t chosen = voters ? majority(io, voters, p->size) : -1;
  if (chosen < 0) {
    s->no_majority++;
    io->publish &= ~1u;
  } else {
    wrong = judge(io, s, p, here, (uint32_t)chosen);
    __builtin_memcpy(io->out[0], io->in[chosen], p->size);
  }
  fsw_vote_t *vote = io->out[1];
  *vote = (fsw_vote_t){.t_ns = io->t_ns, .present = here, .disagree = wrong, .out = s->out_mask, .no_majority = chosen < 0};
  return 0;
}
