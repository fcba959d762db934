/* State and parameters of the gauge task. */
#ifndef EXAMPLE_GAUGE_H
#define EXAMPLE_GAUGE_H
#include <stdint.h>
/* cffi: begin */
typedef struct {
  double isp_sl_s;          /* [1, 600] : specific impulse; taken from the vehicle */
  double propellant_kg;     /* [0, 1e7] : at the start; taken from the vehicle */
  double reserve_kg;        /* [0, 1e7] = 500 : below this the gauge says low */
} gauge_params_t;

typedef struct {
  double left_kg;
} gauge_state_t;
/* cffi: end */
#endif
