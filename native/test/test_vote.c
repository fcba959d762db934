/* test_vote.c - the vote of three strings for every combination of messages: each string not bound, never written, late, or here with one
 * of three messages; each string in or out, with each count of agreements; and every course of three ticks from the start. What a vote
 * must do is stated by the test in `expected`, by counting, and in `holds`. */
#include <stdio.h>
#include <string.h>

#include "flightsw/messages.h"
#include "flightsw/vote.h"

static int failures;
#define CHECK(cond) ((cond) ? (void)0 : (failures++ < 20 ? (void)printf("%s:%d: %s\n", __func__, __LINE__, #cond) : (void)0))

enum { UNBOUND, NEVER, LATE, SAYS_A, SAYS_B, SAYS_C, KINDS }; /* what is there of a string */
enum { SIZE_MAX_BYTES = FSW_MAX_MESSAGE, GUARD = 0x5a, OLD = 0xee, REJOIN = 2 };

static uint64_t n_votes;

typedef struct {
  uint8_t message[FSW_STRINGS][SIZE_MAX_BYTES + 1], out[SIZE_MAX_BYTES + 1];
  fsw_topic_head_t head[FSW_STRINGS];
  const void *in[FSW_STRINGS];
  const fsw_topic_head_t *in_head[FSW_STRINGS];
  fsw_vote_t vote;
  void *outs[2];
  fsw_vote_params_t params;
  fsw_vote_state_t state;
  fsw_io_t io;
} rig_t;

/* Messages A, B and C differ in the byte `at` alone; behind the message all strings differ, and that must not matter. */
static void rig_set(rig_t *r, const uint32_t kind[FSW_STRINGS], uint32_t size, uint32_t at)
{
  for (uint32_t k = 0; k < FSW_STRINGS; k++) {
    memset(r->message[k], 0x11, size);
    r->message[k][at] = (uint8_t)(0x20 + kind[k]);
    r->message[k][size] = (uint8_t)(0x80 + k);
    r->head[k].tick = kind[k] == NEVER ? -1 : kind[k] == LATE ? r->io.tick - 1 : r->io.tick;
    r->in[k] = kind[k] == UNBOUND ? NULL : r->message[k];
    r->in_head[k] = kind[k] == UNBOUND ? NULL : &r->head[k];
  }
  memset(r->out, OLD, sizeof r->out);
  r->out[size] = GUARD;
  memset(&r->vote, OLD, sizeof r->vote);
  r->params.size = size;
  r->io.publish = 3;
}

static void rig_init(rig_t *r)
{
  memset(r, 0, sizeof *r);
  r->params.rejoin_votes = REJOIN;
  r->outs[0] = r->out;
  r->outs[1] = &r->vote;
  r->io = (fsw_io_t){ .tick = 7, .t_ns = 7000, .in = r->in, .in_head = r->in_head, .out = r->outs, .state = &r->state, .params = &r->params };
}

static uint32_t count(uint32_t mask) { return (mask & 1) + (mask >> 1 & 1) + (mask >> 2 & 1); }

/* What more than half of those that count say: SAYS_A to SAYS_C, or 0. */
static uint32_t expected(const uint32_t kind[FSW_STRINGS], uint32_t out_mask)
{
  uint32_t says[KINDS] = { 0 }, voters = 0;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) {
    if (kind[k] < SAYS_A || (out_mask >> k & 1)) continue;
    says[kind[k]]++;
    voters++;
  }
  for (uint32_t m = SAYS_A; m < KINDS; m++)
    if (2 * says[m] > voters) return m;
  return 0;
}

static void holds_of_strings(const rig_t *r, const fsw_vote_state_t *before, const uint32_t kind[FSW_STRINGS], uint32_t said)
{
  const fsw_vote_state_t *s = &r->state;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) {
    uint32_t bit = 1u << k, was_out = before->out_mask & bit;
    if (!said || kind[k] < SAYS_A) { /* not compared: nothing changes for it */
      CHECK((s->out_mask & bit) == was_out && s->agreed[k] == before->agreed[k] && s->wrong[k] == before->wrong[k]);
    } else if (kind[k] != said) {
      CHECK((s->out_mask & bit) && s->agreed[k] == 0 && s->wrong[k] == before->wrong[k] + 1);
    } else if (was_out && before->agreed[k] + 1 < REJOIN) {
      CHECK((s->out_mask & bit) && s->agreed[k] == before->agreed[k] + 1 && s->wrong[k] == before->wrong[k]);
    } else {
      CHECK(!(s->out_mask & bit) && s->wrong[k] == before->wrong[k] && s->agreed[k] == (was_out ? 0 : before->agreed[k]));
    }
  }
}

static void holds(const rig_t *r, const fsw_vote_state_t *before, const uint32_t kind[FSW_STRINGS], uint32_t size, uint32_t at)
{
  uint32_t here = 0, wrong = 0, said = expected(kind, before->out_mask);
  for (uint32_t k = 0; k < FSW_STRINGS; k++) here |= (uint32_t)(kind[k] >= SAYS_A) << k;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) wrong |= (uint32_t)(said && kind[k] >= SAYS_A && kind[k] != said) << k;
  CHECK(r->out[size] == GUARD);
  holds_of_strings(r, before, kind, said);
  if (!here) { /* nobody: nothing is written, nothing counted */
    CHECK(r->io.publish == 0 && memcmp(&r->state, before, sizeof *before) == 0 && r->out[0] == OLD);
    return;
  }
  CHECK(r->state.votes == before->votes + 1 && r->state.no_majority == before->no_majority + (said == 0));
  CHECK(r->vote.t_ns == r->io.t_ns && r->vote.present == here && r->vote.disagree == wrong && r->vote.out == r->state.out_mask);
  CHECK(r->vote.no_majority == (said == 0));
  if (!said) { /* the last command stands */
    CHECK(r->io.publish == 2 && r->out[0] == OLD && r->out[at] == OLD);
    return;
  }
  CHECK(r->io.publish == 3 && r->out[at] == 0x20 + said);
  for (uint32_t i = 0; i < size; i++) CHECK(i == at || r->out[i] == 0x11);
  /* a message that is published is the one of at least two strings, unless only one counts */
  uint32_t alike = 0;
  for (uint32_t k = 0; k < FSW_STRINGS; k++) alike += kind[k] == said;
  CHECK(alike >= 2 || count(here & ~before->out_mask) == 1);
}

static void vote(rig_t *r, const uint32_t kind[FSW_STRINGS], uint32_t size, uint32_t at)
{
  fsw_vote_state_t before;
  memcpy(&before, &r->state, sizeof before);
  rig_set(r, kind, size, at);
  CHECK(fsw_vote_step(&r->io) == 0);
  holds(r, &before, kind, size, at);
  n_votes++;
}

/* Every combination of messages, of strings out, and of agreements so far; the byte that differs first, in the middle, last. */
static void every_vote(void)
{
  static const uint32_t sizes[] = { 1, 2, 3, 24, SIZE_MAX_BYTES };
  static rig_t r;
  rig_init(&r);
  for (uint32_t code = 0; code < KINDS * KINDS * KINDS * 64; code++) {
    uint32_t kind[FSW_STRINGS] = { code / 64 % KINDS, code / 64 / KINDS % KINDS, code / 64 / KINDS / KINDS };
    for (uint32_t i = 0; i < 5; i++) {
      for (uint32_t where = 0; where < 3; where++) {
        memset(&r.state, 0, sizeof r.state);
        r.state.out_mask = code & 7;
        for (uint32_t k = 0; k < FSW_STRINGS; k++) r.state.agreed[k] = code >> (3 + k) & 1;
        vote(&r, kind, sizes[i], where * (sizes[i] - 1) / 2);
      }
    }
  }
}

/* Every course of three ticks: what is remembered from vote to vote. */
static void every_course(void)
{
  static rig_t r;
  for (uint32_t code = 0; code < 1u << 18; code++) {
    rig_init(&r);
    for (uint32_t tick = 0; tick < 3; tick++) {
      uint32_t kind[FSW_STRINGS];
      for (uint32_t k = 0; k < FSW_STRINGS; k++) kind[k] = LATE + (code >> (6 * tick + 2 * k) & 3);
      r.io.tick++;
      vote(&r, kind, 4, 2);
    }
  }
}

/* I17 in words: of three that disagree the majority is published; of two that disagree nothing is, and the last command stands; a string
 * that was out-voted cannot out-vote anybody before it has agreed REJOIN times in a row. */
static void in_words(void)
{
  static const uint32_t odd[FSW_STRINGS] = { SAYS_A, SAYS_B, SAYS_A }, two[FSW_STRINGS] = { SAYS_A, LATE, SAYS_B },
                        all[FSW_STRINGS] = { SAYS_A, SAYS_B, SAYS_C }, same[FSW_STRINGS] = { SAYS_C, SAYS_C, SAYS_C },
                        against[FSW_STRINGS] = { SAYS_A, SAYS_B, LATE };
  static rig_t r;
  rig_init(&r);
  vote(&r, all, 8, 3);
  CHECK(r.io.publish == 2 && r.vote.no_majority && r.vote.disagree == 0 && r.vote.out == 0);
  vote(&r, two, 8, 3);
  CHECK(r.io.publish == 2);
  vote(&r, odd, 8, 3);
  CHECK(r.io.publish == 3 && r.out[3] == 0x20 + SAYS_A && r.vote.disagree == 2 && r.vote.out == 2);
  vote(&r, against, 8, 3); /* string 1 is out: string 0 alone counts */
  CHECK(r.io.publish == 3 && r.out[3] == 0x20 + SAYS_A && r.state.wrong[1] == 2);
  vote(&r, same, 8, 3);
  CHECK(r.vote.out == 2);
  vote(&r, same, 8, 3);
  CHECK(r.vote.out == 0);
  vote(&r, against, 8, 3); /* it counts again: one against one */
  CHECK(r.io.publish == 2 && r.state.no_majority == 3 && r.state.votes == 7);
}

int main(void)
{
  every_vote();
  every_course();
  in_words();
  printf("%s: %llu votes, %d failures\n", failures ? "FAILED" : "ok", (unsigned long long)n_votes, failures);
  return failures != 0;
}
