/* any.h - arbitrary values for the drivers of the analysis. */
#ifndef FLIGHTSW_FRAMA_ANY_H
#define FLIGHTSW_FRAMA_ANY_H
#include "__fc_builtin.h"

#define ANY(object) Frama_C_make_unknown((char *)&(object), sizeof(object)) /* every bit pattern */
#define ANY_U32() Frama_C_unsigned_int_interval(0u, 0xffffffffu)
#define NUMBER() Frama_C_double_interval(-0x1.fffffffffffffp+1023, 0x1.fffffffffffffp+1023)
#define UP_TO(n) Frama_C_unsigned_int_interval(0u, (unsigned)(n))
#endif
