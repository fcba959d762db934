/* command_boards.h - the two ends of a command link on the bench: a ground range that gives commands by a script, and the receiver on board
 * that alone has the key. The manual.
 *
 *   bench.range      reads permit (optional)   writes command
 *   board.receiver   reads command             writes accepted, status (optional: fsw_permit_t with counts and reason of refusals; state SAFE)
 *
 * What commands are and mean: command.h. The receiver's key is a parameter here because a simulated board has nothing else to keep it in: USE A
 * KEY MADE FOR TESTS. Whatever stands in a bench file ends up in the log. A real receiver has its key in its own memory, and the host
 * gives commands with hil/commands.py, whose keys are in files that only their owner can read.
 *
 * The range can also be made to misbehave, to see what follows: send its last command once more as it was (replay_s), send an ABORT with one
 * bit of its 40 bytes turned (flip_s, flip_bit: bit 0 is the lowest of byte 0), or with a tag made with another key (forge_s). None of them
 * may have an effect. */
#ifndef FLIGHTSW_COMMAND_BOARDS_H
#define FLIGHTSW_COMMAND_BOARDS_H
#include "flightsw/command.h"

/* cffi: begin */
typedef struct {
  fsw_command_receiver_t receiver;
  fsw_command_key_t key;
  uint32_t command_seq;       /* last command seen */
} fsw_board_receiver_state_t;

typedef struct {
  uint64_t last_counter;      /* [0, 9007199254740991] = 0 : of the last command before power-up, as non-volatile memory has it */
  uint32_t command_key_size;  /* [16, 32] = 32 : bytes of the key in use */
  uint8_t command_key[32];    /* [0, 255] pad : key, for tests only */
  uint8_t pad0[4];
} fsw_board_receiver_params_t;

typedef struct {
  fsw_command_t last;         /* last command sent; id 0 before the first */
  uint64_t counter;           /* of the last command sent */
  uint32_t sent;              /* bit k: entry k of the script is done */
  fsw_command_key_t key;
} fsw_bench_range_state_t;

typedef struct { /* times from the start of the run; negative: never */
  double arm_s;               /* [-1, 1e6] = -1 : ARM */
  double fire_s;              /* [-1, 1e6] = -1 : FIRE, or later, when the token of ARM has come back */
  double disarm_s;            /* [-1, 1e6] = -1 : DISARM */
  double abort_s;             /* [-1, 1e6] = -1 : ABORT */
  double replay_s;            /* [-1, 1e6] = -1 : the last command once more, byte for byte */
  double flip_s;              /* [-1, 1e6] = -1 : ABORT with one bit turned */
  double forge_s;             /* [-1, 1e6] = -1 : ABORT with a tag made with another key */
  uint64_t first_counter;     /* [1, 9007199254740991] = 1 : of the first command */
  uint32_t flip_bit;          /* [0, 319] = 0 : which bit */
  uint32_t command_key_size;  /* [16, 32] = 32 : bytes of the key in use */
  uint16_t source;            /* [0, 65535] = 1 : who says it */
  uint8_t command_key[32];    /* [0, 255] pad : key, for tests only */
  uint8_t pad0[6];
} fsw_bench_range_params_t;
/* cffi: end */

extern const fsw_task_desc_t fsw_task_board_receiver;
extern const fsw_task_desc_t fsw_task_bench_range;

#endif
