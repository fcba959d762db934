/* vote.h - redundant flight computers: a vote for equality.
 *
 * Strings of the same software on the same inputs compute the same bits, on whatever processor, so a vote needs no tolerance: what two strings of
 * three agree on to the bit is right, and a string that differs is wrong, in the tick in which it shows (replica determinism: Poledna, S.:
 * Fault-Tolerant Real-Time Systems, 1996). A string whose message did not arrive in this tick is out for it and is not compared. A string that was out-voted stays
 * out until it has agreed so many times in a row: it is restored meanwhile. Without a majority nothing is published: the last command stands. */
#ifndef FLIGHTSW_VOTE_H
#define FLIGHTSW_VOTE_H
#include "flightsw/task.h"

/* cffi: begin */
#define FSW_STRINGS 3

typedef struct {
  uint32_t agreed[FSW_STRINGS]; /* votes in a row in which a string that is out agreed */
  uint32_t out_mask;            /* strings that were out-voted and have not come back */
  uint32_t votes;
  uint32_t wrong[FSW_STRINGS];  /* votes in which a string differed from the majority */
  uint32_t no_majority;
} fsw_vote_state_t;

typedef struct {
  uint32_t size;                /* [1, 608] : bytes of the message */
  uint32_t rejoin_votes;        /* [1, 1000000] = 10 : agreements in a row until a string counts again */
} fsw_vote_params_t;

/* Reads the message of each string (optional from the second on) and writes the voted one and fsw_vote_t. For any message type. */
int32_t fsw_vote_step(fsw_io_t *io);
/* cffi: end */

#endif
