#include <stdint.h>
/* cffi: begin */
int grd_nowait_x(void);
/* cffi: end */
