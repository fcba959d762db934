/* builtins.h - compiler built-ins in words that the analyser knows. Included before every analysed file. */
#ifndef FLIGHTSW_FRAMA_BUILTINS_H
#define FLIGHTSW_FRAMA_BUILTINS_H
#include <string.h>
#include <math.h>
#define __builtin_memset memset
#define __builtin_memcpy memcpy
#define __builtin_fabs fabs
#define __builtin_sqrt sqrt
#endif
