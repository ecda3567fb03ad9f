#include "scoreboard.h"
int grd_scoreboard_x(void){return 1;}
