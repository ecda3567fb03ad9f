#ifndef GRD_INET_DIAG_H
#define GRD_INET_DIAG_H
/* cffi: begin */
int grd_diag_version(void);
/* cffi: end */
#endif
