/* Single counters in shared memory: what Raindrops and Struct are made of. */
#ifndef GRD_COUNTERS_H
#define GRD_COUNTERS_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
uint64_t grd_incr(uint64_t *at);                /* both return the new value, modulo 2**64 */
uint64_t grd_decr(uint64_t *at);
uint64_t grd_incr_by(uint64_t *at, uint64_t n);
uint64_t grd_decr_by(uint64_t *at, uint64_t n);
uint64_t grd_get(uint64_t *at);
void grd_set(uint64_t *at, uint64_t value);

void *grd_map(int fd, size_t length);           /* shared, read and write; NULL with errno */
void grd_unmap(void *address, size_t length);
size_t grd_line_size(void);                     /* bytes that two counters must be apart */
/* cffi: end */

#endif
