#include "nowait.h"
int grd_nowait_x(void){return 1;}
