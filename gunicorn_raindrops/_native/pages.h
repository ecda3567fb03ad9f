/* Shared pages of a file. */
#ifndef GRD_PAGES_H
#define GRD_PAGES_H

#include <stddef.h>

/* cffi: begin */
void *grd_map(int fd, size_t length);           /* shared, read and write; NULL with errno */
void *grd_map_read_only(int fd, size_t length);
void grd_unmap(void *address, size_t length);
size_t grd_line_size(void);                     /* bytes that two counters must be apart */
/* cffi: end */

#endif
