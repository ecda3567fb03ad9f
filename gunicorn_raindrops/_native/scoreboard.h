#include <stdint.h>
/* cffi: begin */
int grd_scoreboard_x(void);
/* cffi: end */
