/* The message of the gauge. */
#ifndef EXAMPLE_PRESSURE_MESSAGES_H
#define EXAMPLE_PRESSURE_MESSAGES_H
#include <stdint.h>
/* cffi: begin */
typedef struct { /* a reading of the pressure gauge */
  int64_t t_ns;
  double pressure_pa;     /* Pa */
  uint32_t readings;
  uint8_t lamp;           /* 1: lit */
  uint8_t pad0[3];
} air_pressure_t;
/* cffi: end */
#endif
