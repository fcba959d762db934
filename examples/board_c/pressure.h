/* What the pressure gauge says, its parameters and its state. */
#ifndef EXAMPLE_PRESSURE_H
#define EXAMPLE_PRESSURE_H
#include <stdint.h>
/* cffi: begin */
typedef struct {
  double tau_s;             /* [0.001, 10] = 0.05 : time constant of the gauge */
  double step_pa;           /* [0.01, 1000] = 4 : of its converter */
  double lamp_pa;           /* [0, 1e6] = 100000 : below this the lamp is lit */
} pressure_params_t;

typedef struct {
  double filtered_pa;
} pressure_state_t;
/* cffi: end */
#endif
