/* mirror.h - the near end of a link: the bench's view of boards that run elsewhere (session.h is the far end).
 *
 * The bench holds a mirror of each such node: inputs are delivered into it through the gate, and recorded, as if it ran here; what the board
 * wrote is put into it and published from it. So links, log and sequence numbers are those of a bench in one process.
 *
 * A link never invents data. What went wrong on the way is told apart by the sequence numbers and ticks in the frames, and counted:
 * corrupt (not intact), lost (a sequence number was left out), duplicate (one came again), reordered (one came after its successor),
 * stale (an answer to an earlier tick), wrong tick (an answer to a tick that was not asked), late (no answer when it was due; counted by
 * whoever waits). Counters are no part of any image. */
#ifndef FLIGHTSW_MIRROR_H
#define FLIGHTSW_MIRROR_H
#include "flightsw/bench.h"
#include "flightsw/frame.h"

/* cffi: begin */
#define FSW_MIRROR_PENDING 4096

#define FSW_MIRROR_MORE 0      /* taken, more frames are to come */
#define FSW_MIRROR_COMPLETE 1  /* the answer to `asked` is complete */
#define FSW_MIRROR_OTHER 2     /* a message that is not the answer to a TICK: for the caller, header and payload as given */
#define FSW_MIRROR_DROPPED 3   /* corrupt, duplicate, stale ...: counted and left out */
#define FSW_MIRROR_BROKEN -20  /* the answer cannot be right any more: a message was lost, or one that the board cannot have written */

typedef struct {
  fsw_bench_t *bench;
  const uint32_t *nodes;       /* in the bench, in the order of their board numbers */
  uint32_t n_nodes;
  uint32_t src;                /* number of the bench on this link */
  int64_t asked;               /* tick of the last TICK packed; -1: none */
  int64_t answering;           /* tick of the answer that arrives; -1: none */
  uint32_t count;              /* frames of it */
  uint32_t got;
  uint32_t free_pacing;        /* 1: the answer to any TICK after the last one answered will do; 0: to the last one packed */
  uint32_t pad0;
  int64_t last;                /* tick of the last complete answer; -1: none */
  uint32_t n_pending;          /* topics that are not published yet: board index << 8 | topic, in their order */
  uint32_t corrupt;
  uint32_t lost;
  uint32_t duplicate;
  uint32_t reordered;
  uint32_t stale;
  uint32_t wrong_tick;
  uint32_t late;
  uint32_t answered;
  uint32_t superseded;         /* messages that a fresher one of the same topic replaced before the bench could take them */
  uint32_t n_fresh;
  uint32_t neutral;            /* times that zeros were published in the boards' place: their own counts lag by so many */
  uint32_t pad1;
  uint16_t pending[FSW_MIRROR_PENDING];
  uint16_t fresh[FSW_MIRROR_PENDING]; /* free pacing: topics to be sent in the present tick */
} fsw_mirror_t;

/* Bytes that a TICK of these nodes takes at most, all frames together. */
size_t fsw_mirror_bytes(const fsw_mirror_t *m);

/* TICK with all that entered the mirrors in this tick, as bare frames one after the other in `out`. Returns its size; 0 when it does not fit. */
size_t fsw_mirror_pack(fsw_mirror_t *m, int64_t tick, uint8_t *out, size_t capacity);

/* Take one bare frame from the board. FSW_MIRROR_*. */
int32_t fsw_mirror_take(fsw_mirror_t *m, const uint8_t *frame, size_t n);

/* Lockstep: publish what board k wrote, in its order, in the present tick of the bench. Returns how many messages. */
int32_t fsw_mirror_publish(fsw_mirror_t *m, uint32_t k);

/* Free pacing: note a complete answer, which may be of an earlier tick of the board. All its messages are recorded, with that tick; ... */
void fsw_mirror_note(fsw_mirror_t *m);
/* ... and when all that has arrived is noted, the freshest message of each topic goes down its links with the present tick. */
void fsw_mirror_send_fresh(fsw_mirror_t *m);

/* Publish zeros in every topic that the boards write, with the present tick: what a link that fell silent delivers where its policy is
 * `neutral`. writes: per board, one byte per topic, 1 where the board writes it. */
void fsw_mirror_neutral(fsw_mirror_t *m, const uint8_t *const *writes);
/* cffi: end */

#endif
