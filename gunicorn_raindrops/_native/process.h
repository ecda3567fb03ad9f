/* Processes, as proc(5) has them. */
#ifndef GRD_PROCESS_H
#define GRD_PROCESS_H

#include <stdint.h>

/* cffi: begin */
/* When a process started, in clock ticks since boot; 0 where it lives but does not tell, -1 where
 * there is none. A zombie runs nothing and is none. */
int64_t grd_process_start(uint32_t pid);
/* cffi: end */

#endif
