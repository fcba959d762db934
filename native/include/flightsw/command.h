/* command.h - commands that permit engines to be started: who may give them, and what has to be said in which order. The manual.
 *
 * Two parts, two places. The *receiver* (task board.receiver, a board of its own) has the key. It lets a command pass only if its tag is
 * right and its counter is above that of every authentic command before it. The *permit* (task gnc.permit, in the flight computer) has no
 * key, so none is in that computer's image, parameters, snapshots or log; it takes only what the receiver passed on, and decides in which
 * order what is legal.
 *
 *   board.receiver   reads command                        writes accepted, status (fsw_permit_t, optional: counts and reason of refusals)
 *   gnc.permit       reads command, touchdown (optional)  writes permit
 *
 * A command is 40 bytes, little-endian, as fsw_command_t lies in memory: counter u64, token u64, id u16, source u16, four zero bytes, tag.
 * The tag is BLAKE2s (RFC 7693) with the key, 16 bytes long, over the 24 bytes before it. The key has 16 to 32 bytes.
 *
 *   ARM      SAFE or ARMED -> ARMED, with a token that holds for 10 s. The receiver derives it from the key and the counter of this ARM
 *            (BLAKE2s, 8 bytes): whoever has no key cannot know it beforehand, and a replay finds the same. It passes it on in `token`,
 *            and the permit publishes it. Refused in FIRE, in ABORT and after touchdown
 *   FIRE     ARMED -> FIRE, when it carries that token, in a later tick than ARM. The token is used up. A FIRE that is refused closes it too
 *   DISARM   SAFE, ARMED or FIRE -> SAFE
 *   ABORT    from every state, at any time; nothing but a restart leads out of it
 * The token's end and touchdown lead to SAFE by themselves. In FIRE the flight is autonomous: silence on the command link changes nothing.
 * The permit's state has a check word: a state with a flipped bit becomes SAFE, where engines that run go on and none is started (that an
 * engine was aborted, the sequencer knows by itself).
 *
 * Wrong tags: after ten within one second the receiver examines nothing for one second. A command that falls into that is lost, and is
 * given again with a new counter; `counter` of fsw_permit_t tells what has arrived.
 *
 * Sources: NASA NPR 7150.2D, SWE-134 (two independent actions before a hazard, out-of-sequence commands refused); CCSDS 355.0-B,
 * Space Data Link Security (authentication with an anti-replay counter). */
#ifndef FLIGHTSW_COMMAND_H
#define FLIGHTSW_COMMAND_H
#include <stddef.h>
#include <stdint.h>

#include "flightsw/messages.h"
#include "flightsw/task.h"

/* cffi: begin */
#define FSW_COMMAND_BYTES 40         /* on a link */
#define FSW_COMMAND_SIGNED 24        /* of them, covered by the tag */
#define FSW_COMMAND_TAG 16
#define FSW_COMMAND_KEY_MIN 16
#define FSW_COMMAND_KEY_MAX 32
#define FSW_COMMAND_WRONG_MAX 10     /* wrong tags within FSW_COMMAND_MUTE_NS, and the receiver is mute for as long */
#define FSW_COMMAND_MUTE_NS 1000000000
#define FSW_PERMIT_TOKEN_NS 10000000000

#define FSW_COMMAND_ACCEPTED 0
#define FSW_COMMAND_REFUSED_LENGTH 1 /* not 40 bytes */
#define FSW_COMMAND_REFUSED_KEY 2    /* the receiver has no key that can be used */
#define FSW_COMMAND_REFUSED_MUTED 3  /* too many wrong tags: not examined */
#define FSW_COMMAND_REFUSED_TAG 4
#define FSW_COMMAND_REFUSED_COUNTER 5 /* not above the last one: said before, or out of order */
#define FSW_COMMAND_REFUSED_FORM 6   /* unknown id, reserved bytes not zero, or a token where there is none */
#define FSW_COMMAND_REFUSED_STATE 7  /* not legal now: ARM in FIRE, FIRE without an open token (none, expired, used), any in ABORT */
#define FSW_COMMAND_REFUSED_TOKEN 8  /* another token than ARM was answered with */
#define FSW_COMMAND_REFUSED_SAME_TICK 9 /* FIRE in the tick of its ARM */
#define FSW_COMMAND_REFUSED_LANDED 10

typedef struct {
  uint8_t bytes[32];
  uint32_t size;              /* 16 to 32 */
} fsw_command_key_t;

typedef struct { /* what a receiver remembers; all zero at the start */
  uint64_t counter;           /* of the last authentic command; a real receiver keeps it in non-volatile memory */
  int64_t t_wrong_ns[10];     /* ns, when the last wrong tags came, in a ring */
  int64_t t_mute_ns;          /* ns, since when it is mute */
  uint32_t accepted;
  uint32_t refused;
  uint8_t next;               /* entry of the ring */
  uint8_t full;               /* 1: all entries of the ring are in use */
  uint8_t muted;
  uint8_t reason;             /* of the last refusal, FSW_COMMAND_REFUSED_* */
  uint8_t pad0[4];
} fsw_command_receiver_t;

typedef struct { /* the permit, 56 bytes */
  uint64_t counter;           /* of the last command that was not refused for its counter */
  uint64_t done;              /* counter of the last command accepted */
  uint64_t token;             /* 0: none open */
  int64_t t_armed_ns;         /* ns, of the ARM that the token belongs to; 0: none open */
  uint32_t accepted;
  uint32_t refused;
  uint8_t state;              /* FSW_PERMIT_* */
  uint8_t reason;             /* of the last refusal */
  uint8_t pad0[6];
  uint64_t check;             /* over the fields before: any change of one of them is noticed */
} fsw_permit_state_t;

/* The 40 bytes of a command, and back. They do not depend on the machine. */
void fsw_command_pack(const fsw_command_t *command, uint8_t *out);
void fsw_command_unpack(const uint8_t *bytes, fsw_command_t *out);
/* 1 when a key can be used. */
int32_t fsw_command_key_usable(const fsw_command_key_t *key);
/* The tag (16 bytes) over the first 24 bytes of a command, and the token of an ARM with this counter; never 0. The key must be usable. */
void fsw_command_tag(const fsw_command_key_t *key, const uint8_t *bytes, uint8_t *tag);
uint64_t fsw_command_token(const fsw_command_key_t *key, uint64_t counter);
/* n bytes from a link at t_ns: 0 and the command in *out, its tag zero, an ARM with its token; or FSW_COMMAND_REFUSED_*, and *out untouched.
 * Takes bytes of any content. The tag is compared in constant time. */
uint32_t fsw_command_open(const fsw_command_key_t *key, const uint8_t *bytes, size_t n, fsw_command_receiver_t *r, int64_t t_ns,
                          fsw_command_t *out);

void fsw_permit_init(fsw_permit_state_t *s);
/* One tick of the permit: time and touchdown, then the command, if there is one (else NULL). Pure: depends on its arguments alone. */
void fsw_permit_step(fsw_permit_state_t *s, const fsw_command_t *command, int64_t t_ns, int32_t landed);

typedef struct {
  fsw_permit_state_t permit;
  uint32_t command_seq;       /* last command seen */
  uint32_t quiet_ticks;       /* runs since `permit` was last published */
} fsw_permit_task_state_t;

typedef struct {
  uint32_t repeat_ticks;      /* [1, 100000] = 100 : runs after which `permit` is published again although nothing changed */
} fsw_permit_task_params_t;
/* cffi: end */

extern const fsw_task_desc_t fsw_task_gnc_permit;

#endif
