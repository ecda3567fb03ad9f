/* When proxies got a request, as they write it into a header: Unix time as they like it, in seconds,
 * milli-, micro- or nanoseconds, with a fraction or without, behind `t=` or not. The unit follows
 * from the magnitude: 1e11 seconds are the year 5138, 1e11 milliseconds were 1973. */
#ifndef GRD_INSTANT_H
#define GRD_INSTANT_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
/* Return the instant, ns; -1 if there is none in the text. */
int64_t grd_instant(const char *text, size_t size);
/* cffi: end */

#endif
