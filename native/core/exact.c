#include "flightsw/exact.h"

/* volatile: otherwise compilers answer at compile time, about their own arithmetic instead of the machine's. */

int fsw_contracted(void)
{
    volatile double x = 1.0 + 0x1p-30, c = 1.0 + 0x1p-29;
    double a = x;
    return a * a - c != 0.0; /* a*a = c + 2^-60: the last term is lost exactly when the product is rounded on its own */
}

int fsw_flushes_denormals(void)
{
    volatile double m = 0x1p-1022;
    return m * 0.5 == 0.0;
}
