/* board.h - a board in one C file: who it is, its tasks, and what it does to its outputs. A port (native/port/cortex_m7, or posix.c here) does
 * the rest: it answers a bench by the session of flightsw/session.h.
 *
 *     static const fsw_task_desc_t *const tasks[] = {&my_task};
 *     int main(int argc, char **argv) {
 *       const fsw_board_t board = {.name = "gauge", .role = "sensor", .serial = FSW_BOARD_SERIAL, .tasks = tasks, .n_tasks = 1};
 *       return fsw_board_serve(&board, argc, argv);
 *     }
 *
 * FSW_BOARD_SERIAL is what the build was given; the CMake function fsw_board() builds such a file. */
#ifndef FLIGHTSW_PORT_BOARD_H
#define FLIGHTSW_PORT_BOARD_H
#include "flightsw/session.h"

#define FSW_BOARD_SILENCE_MS 90u /* of the link, after which driven outputs go safe: 100 ms with the 5 ms between two looks at the clock */

typedef struct {
  const char *name;
  const char *role;             /* of the nodes that it may be: sensor, actuator, engine_controller, flight_computer; "boards": any */
  const char *serial;
  const fsw_task_desc_t *const *tasks; /* that nodes on it may have */
  uint32_t n_tasks;
  uint32_t live;                /* 1: its outputs move something: a bench must know `key` (FSW_BLAKE2S_KEY bytes) */
  const uint8_t *key;
  void *context;
  void (*outputs)(void *context, const fsw_bench_t *bench); /* a tick is complete: drive the outputs. NULL: there are none */
  void (*safe)(void *context);  /* outputs to their safe state, now */
} fsw_board_t;

/* Answer benches. On a computer without an operating system it does not return, and argc and argv mean nothing. */
int fsw_board_serve(const fsw_board_t *board, int argc, char **argv);

#endif
