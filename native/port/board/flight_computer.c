/* The flight computer: all tasks of the package, no outputs of its own. What it flies comes over the link. */
#include "board.h"

const fsw_task_desc_t *const *fsw_builtin_tasks(uint32_t *n);

int main(int argc, char **argv) {
  fsw_board_t board = {.name = FSW_BOARD_NAME, .role = "flight_computer", .serial = FSW_BOARD_SERIAL};
  board.tasks = fsw_builtin_tasks(&board.n_tasks);
  return fsw_board_serve(&board, argc, argv);
}
