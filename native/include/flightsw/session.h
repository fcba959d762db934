/* session.h - the far end of a link: a board, or several, that a bench loads and steps. The same code in a process of the host and in firmware.
 *
 * A message is a head frame (frame.h) and, where it says so, more frames. Types from FSW_LINK_FIRST on are heads; lower types are topics:
 *
 *     from the bench                                            answer
 *     HELLO     payload: manifest (pack.h) of the bench         MANIFEST  payload: that of the board, or FAILED
 *     LOAD      payload: u32 size, u32 0, u64 XXH64 of a        DONE; sequence: bytes to begin with (0)
 *               bundle (bundle.h) without links
 *     DATA      sequence: offset; payload: bytes of it          DONE; sequence: offset + length; with the last one the bundle is loaded,
 *                                                               payload: u64 XXH64 of the bundle
 *     TICK      tick, sequence n: n topic frames follow, what   TICK      the same tick, sequence m: m topic frames follow, what the
 *               entered the boards at the start of this tick              boards wrote in it, in that order
 *     GET       sequence: offset                                DATA      tick: of the state; payload: bytes of the bundle of this moment
 *     SELECT    dst: board; payload: bit mask of the topics that    DONE      the same sequence
 *               it sends from now on, topic 0 in the lowest bit of
 *               the first byte. Without one: all that it writes
 *     PING      payload: any                                    PONG      payload: the same
 *     BYE       end of the session                              none
 *                                                               FAILED    payload: why, a sentence. In place of any other answer
 *
 * Topic frame: type = topic index, src or dst = board number (from 1; the bench is 0), sequence = how often that topic has been written,
 * or has entered, tick and t_ns of the bench. A topic's payload is the message, little-endian. LOAD, DATA and GET are answered one by one, so no
 * receiver needs more memory than one frame. A request that is repeated is answered again and not carried out again: an answer that was
 * lost is asked for by asking again. Sequence numbers show what was lost, doubled or out of order on the way.
 *
 * Where TICKs come in lockstep, a board that is asked for another tick than its next refuses. Where the bench said `pacing` = "free" in
 * its manifest, ticks that it left out are run without inputs first.
 *
 * HELLO may carry `probe` = 1: it is answered with the manifest and changes nothing, whoever is served meanwhile. A `session` in HELLO comes back in
 * the manifest, and the src of a question comes back as the dst of its answer: so a bench tells what was kept on the way from an earlier session.
 * A LIVE board loads nothing before a second HELLO of the same session has brought the `proof`: 32 hexadecimal digits, the BLAKE2s tag (blake2s.h, 16
 * bytes) with the board's key over "flightsw live 1", token and serial number of the manifest, each closed with a zero byte, and session and `greeting` of
 * that manifest, u64 each.
 *
 * Nothing here waits, allocates or knows a clock. Bytes from the link are untrusted. */
#ifndef FLIGHTSW_SESSION_H
#define FLIGHTSW_SESSION_H
#include "flightsw/bundle.h"
#include "flightsw/frame.h"

/* cffi: begin */
#define FSW_LINK_PROTOCOL 2
#define FSW_LINK_FIRST 240
#define FSW_LINK_TICK 255
#define FSW_LINK_HELLO 254
#define FSW_LINK_MANIFEST 253
#define FSW_LINK_LOAD 252
#define FSW_LINK_DATA 251
#define FSW_LINK_GET 250
#define FSW_LINK_DONE 249
#define FSW_LINK_FAILED 248
#define FSW_LINK_BYE 247
#define FSW_LINK_PING 246
#define FSW_LINK_PONG 245
#define FSW_LINK_SELECT 244

#define FSW_SESSION_IDLE 0     /* nobody has said HELLO */
#define FSW_SESSION_GREETED 1
#define FSW_SESSION_LOADING 2
#define FSW_SESSION_RUNNING 3
#define FSW_SESSION_TEXT 64    /* room for a serial number or a token, its closing zero included */
#define FSW_SESSION_PROOF 16   /* bytes of a proof */
#define FSW_SESSION_SAFE 4     /* the link fell silent: outputs are safe until the next HELLO */

typedef struct { /* who this board is, and its memory; all of it stays with the caller */
  const char *name;
  const char *role;
  const char *serial;
  const char *token;            /* made anew in each power cycle; a bench that started this process knows it */
  uint64_t messages;            /* fingerprint of the message definitions */
  uint64_t sources;             /* fingerprint of the sources */
  uint32_t live;                /* 1: its outputs move something */
  uint32_t n_tasks;
  const fsw_task_desc_t *const *tasks;
  uint8_t *bundle;              /* 8-byte aligned, as all of these */
  size_t bundle_capacity;
  uint8_t *memory;              /* for the loaded nodes */
  size_t memory_capacity;
  uint8_t *inbox;               /* for the frames of a TICK that is not complete */
  size_t inbox_capacity;
  uint8_t *reply;
  size_t reply_capacity;
  uint8_t *records;             /* for what is written in a tick */
  fsw_index_entry_t *entries;
  uint32_t records_capacity;
  uint32_t n_entries;
  void *context;                /* handed to the two below; either may be NULL */
  void (*outputs)(void *context, const fsw_bench_t *bench); /* a tick is complete: drive the outputs */
  void (*safe)(void *context);  /* outputs to their safe state, now */
  const uint8_t *key;           /* FSW_BLAKE2S_KEY bytes that a bench must know to drive a LIVE board; NULL: nobody may */
} fsw_session_config_t;

typedef struct {
  fsw_session_config_t config;
  fsw_bench_t bench;
  fsw_recorder_t recorder;
  uint32_t state;               /* FSW_SESSION_* */
  uint32_t free_pacing;
  uint32_t expected;            /* size of the bundle that is being loaded */
  uint32_t received;
  uint64_t bundle_hash;
  int64_t pending_tick;         /* of the TICK whose frames arrive; -1: none */
  uint32_t pending_count;
  uint32_t pending_got;
  size_t inbox_used;
  size_t reply_used;
  int64_t reply_tick;           /* of the TICK that `reply` answers; -1: it answers something else */
  uint32_t pending_src;         /* of the bench, to answer to */
  uint32_t armed;               /* a LIVE board: 1 once the bench has proved that it knows the key */
  uint32_t driven;              /* 1: outputs have been driven since they were safe */
  uint32_t pad0;
  uint64_t session;             /* of the bench, from its HELLO */
  uint64_t greetings;           /* manifests sent in this power cycle */
  uint8_t proof[FSW_SESSION_PROOF]; /* the last one accepted */
  /* counters: they describe the link and are not part of any state that is compared */
  uint32_t ticks;
  uint32_t repeated;            /* TICKs that came again */
  uint32_t incomplete;          /* TICKs of which a frame is missing */
  uint32_t stray;               /* topic frames that belong to no TICK */
  uint32_t wrong_tick;
  uint32_t refused;
  uint32_t bad_frames;          /* given here, but not intact */
  uint32_t silences;            /* times that the link fell silent */
} fsw_session_t;

void fsw_session_init(fsw_session_t *s, const fsw_session_config_t *config);

/* Take one bare frame of n bytes. Returns how many bytes of answer lie in config.reply: bare frames one after the other, each 28 bytes plus its
 * length field long; 0 when there is nothing to say (yet). */
size_t fsw_session_take(fsw_session_t *s, const uint8_t *frame, size_t n);

/* To be called now and then with the time since the last frame arrived. When it exceeds limit_ms in a session that has driven its outputs: they go
 * safe, and nothing is run before the next HELLO. 1 when that happened just now. */
int32_t fsw_session_silent(fsw_session_t *s, uint32_t silent_ms, uint32_t limit_ms);
/* cffi: end */

#endif
