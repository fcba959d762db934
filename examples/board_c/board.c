/* The board: who it is, its task, its lamp. Everything else is the port's and the core's. */
#include "board.h"

#include "pressure_messages.h"

const fsw_task_desc_t *const *fsw_plugin_tasks(uint32_t *n);

#ifdef __arm__
static volatile uint32_t pin; /* in place of a register of a real board */
static void lamp(uint32_t lit) { pin = lit; }
#else
#include <stdio.h>
static void lamp(uint32_t lit) {
  static uint32_t was = 2;
  if (lit != was) fputs(lit ? "lamp on\n" : "lamp off\n", stderr);
  was = lit;
}
#endif

static void outputs(void *context, const fsw_bench_t *bench) {
  (void)context;
  const air_pressure_t *reading = bench->nodes[0].tasks[0].io.out[0];
  lamp(reading->lamp);
}

static void safe(void *context) {
  (void)context;
  lamp(0);
}

int main(int argc, char **argv) {
  fsw_board_t board = {.name = "pressure_gauge", .role = "sensor", .serial = FSW_BOARD_SERIAL, .outputs = outputs, .safe = safe};
  board.tasks = fsw_plugin_tasks(&board.n_tasks);
  return fsw_board_serve(&board, argc, argv);
}
