#include "inet_diag.h"
int grd_diag_version(void) { return 1; }
