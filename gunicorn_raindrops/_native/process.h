/* Processes, as proc(5) has them. None of these functions waits, none signals. */
#ifndef GRD_PROCESS_H
#define GRD_PROCESS_H

#include <stdint.h>
#include <sys/types.h>

/* cffi: begin */
/* When a process started, in clock ticks since boot; 0 if it lives and that cannot be known, -1 if
 * there is none. A zombie runs nothing and counts as none. */
int64_t grd_process_start(uint32_t pid);

/* Whether there is a process with this pid, and not as a zombie; its start time is not looked at,
 * which is what takes long. */
int grd_process_runs(uint32_t pid);

/* The PID namespace of this process: an inode that is its own on this machine, 0 if unknown. A pid
 * means something in its own namespace only. */
uint64_t grd_pid_namespace(void);
/* cffi: end */

/* Whether /proc has the pids of this process's namespace: one that was mounted in another PID
 * namespace has other processes' (pid_namespaces(7)). */
int grd_proc_is_ours(void);

/* Read /proc/PID/stat; returns how many bytes, -1 if there is none. */
ssize_t grd_read_stat(uint32_t pid, char *stat, size_t size);

enum { GRD_STAT_STATE = 3 };
/* Where a field of that begins, by its number in proc_pid_stat(5), from GRD_STAT_STATE on; NULL if it
 * is not there. */
const char *grd_stat_field(const char *stat, int number);

#endif
