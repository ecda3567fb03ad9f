#include "pages.h"

#include <sys/mman.h>
#include <unistd.h>

enum { SMALLEST_LINE = 64, LARGEST_LINE = 1024 };

static void *map(int fd, size_t length, int protection)
{
	void *address = mmap(NULL, length, protection, MAP_SHARED, fd, 0);

	return address == MAP_FAILED ? NULL : address;
}

void *grd_map(int fd, size_t length)
{
	return map(fd, length, PROT_READ | PROT_WRITE);
}

void *grd_map_read_only(int fd, size_t length)
{
	return map(fd, length, PROT_READ);
}

void grd_unmap(void *address, size_t length)
{
	munmap(address, length);
}

size_t grd_line_size(void)
{
	long size = -1;
#ifdef _SC_LEVEL1_DCACHE_LINESIZE
	size = sysconf(_SC_LEVEL1_DCACHE_LINESIZE);
#endif
	/* sysconf says 0 where it does not know (some virtual machines, musl, arm64) */
	if (size < SMALLEST_LINE || size > LARGEST_LINE || (size & (size - 1)))
		return SMALLEST_LINE;
	return (size_t)size;
}
