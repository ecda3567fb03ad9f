/* The scoreboard: a header, then one slot per worker.
 *
 * Whoever maps the pages can read them without knowing who made them: the header holds magic,
 * version, sizes and the offset of the monotonic clock to Unix time. A reader checks each length
 * against its mapping before it uses it.
 *
 * Owner. A slot's first word says whose it is: generation, state, a tag of the owner's start
 * time, and its pid. It changes by compare-and-swap only, so two arbiters may claim at once, and
 * any number of processes may free the slot of a dead owner.
 *
 * Gauge. Calling and writing share one word, so that a request which moves from one to the other
 * is never seen in both or in neither. Its high bits repeat the owner's generation: a gauge whose
 * generation is not the owner's was left by an earlier, dead owner and reads as zero. So freeing
 * the owner word takes the dead worker's requests out of the gauges, without writing to the gauge
 * that a new owner may already use. Open websockets are a gauge of the same kind; its word is on
 * the first line, since a websocket comes and goes seldom.
 *
 * Totals grow for ever, over all owners of the slot. Only the owner's threads add to the second
 * line; nobody else writes there. */
#ifndef GRD_SCOREBOARD_H
#define GRD_SCOREBOARD_H

#include <stdint.h>

/* cffi: begin */
enum {
	GRD_FREE, GRD_CLAIMED, GRD_STARTING, GRD_READY, GRD_FINISHING
};

enum {
	GRD_PID_BITS = 22,      /* Linux: PID_MAX_LIMIT, include/linux/threads.h */
	GRD_STATE_BITS = 3,
	GRD_TAG_BITS = 15,
	GRD_GENERATION_SHIFT = 40,
	GRD_GAUGE_BITS = 20     /* writing below, calling above it */
};

struct grd_header {
	char magic[8];
	uint32_t version;
	uint32_t header_size;   /* where the first slot begins */
	uint32_t slot_size;
	uint32_t slots;
	uint64_t length;        /* of the whole, in bytes */
	uint64_t created;       /* CLOCK_MONOTONIC, ns */
	int64_t unix_offset;    /* Unix time less CLOCK_MONOTONIC at that instant, ns */
	char boot_id[40];       /* of the boot whose pids and monotonic instants stand here */
	uint64_t untracked;     /* workers alive that found no free slot */
};

struct grd_slot {
	uint64_t owner;
	uint64_t start;         /* the owner's start time, clock ticks since boot (proc_pid_stat(5)) */
	uint64_t age;           /* gunicorn's ordinal of the worker */
	uint64_t started;       /* when the owner took the slot, CLOCK_MONOTONIC, ns */
	uint64_t capacity;      /* requests that the owner can run at once */
	uint64_t base;          /* requests of the slot when the owner took it */
	uint64_t websockets;    /* open, below the owner's generation */
	uint64_t spare;

	uint64_t gauge;
	uint64_t requests;
	uint64_t responses[5];  /* 1xx to 5xx */
	uint64_t errors;
};

struct grd_row {                /* what a reader sees of one slot that is not free */
	uint32_t slot;
	uint32_t state;
	uint32_t pid;
	uint32_t tag;
	uint64_t owner;
	uint64_t start;
	uint64_t age;
	uint64_t started;
	uint64_t capacity;
	uint64_t requests;      /* of this owner */
	uint32_t calling;
	uint32_t writing;
	uint64_t websockets;
};

struct grd_totals {
	uint64_t requests;
	uint64_t responses[5];
	uint64_t errors;
};

/* Claiming and freeing. `who` is a pid and a tag, made by grd_who. Of the row that a new owner
 * gives, `owner` (its who), start, age, started and capacity count. */
uint64_t grd_who(uint32_t pid, uint64_t start);
int64_t grd_claim(struct grd_slot *slots, uint32_t count, uint64_t who);
int64_t grd_find_claimed(struct grd_slot *slots, uint32_t count, uint64_t who);
uint64_t grd_owner(struct grd_slot *slot);
int grd_take(struct grd_slot *slot, uint64_t claimed, const struct grd_row *owner);
int grd_free(struct grd_slot *slot, uint64_t owner);
int grd_free_generation(struct grd_slot *slot, uint64_t owner);
void grd_add_untracked(struct grd_header *header, int64_t n);

/* Sum the totals of all slots and list those that are not free; returns how many. */
uint32_t grd_read(struct grd_slot *slots, uint32_t count,
		  struct grd_row *rows, struct grd_totals *totals);

/* When a process started, in clock ticks since boot; 0 where it lives but does not tell, -1 where
 * there is none. A zombie runs nothing and is none. */
int64_t grd_process_start(uint32_t pid);

/* One request of this thread, in the slot that this process has attached. Each function does
 * nothing unless the thread is in the phase that it ends, so that an end without a begin, or a
 * second end, counts nothing. */
void grd_attach(struct grd_slot *slot);
void grd_state(uint32_t state);         /* of the attached slot */
void grd_capacity(uint64_t capacity);   /* the same, where it is known only later */
void grd_begin(void);                   /* calling */
void grd_respond(void);                 /* calling -> writing */
void grd_fail(void);                    /* the request ends in an error: before its end */
void grd_end_1xx(void);
void grd_end_2xx(void);
void grd_end_3xx(void);
void grd_end_4xx(void);
void grd_end_5xx(void);
void grd_end_other(void);
void grd_cancel(void);                  /* it never reached the application */

/* Requests whose phase the caller keeps, each in an object of its own: where many of them
 * interleave on one thread (asyncio, greenlets), or one of them moves between threads.
 *
 * A seat is a slot as its owner holds it. Memory that forks is the child's as well, so a seat
 * knows how many forks are behind the process that took it: in any later process it is nobody's,
 * grd_seat_begin says 0, and the rest does nothing. A child thus never ends its parent's requests,
 * and learns at its first own one that it needs a slot of its own. No function here asks which
 * phase the request is in: begin, then respond at most once, then end once. */
struct grd_seat {
	struct grd_slot *slot;
	uint64_t forks;
};

enum {                                  /* how a request ends: 1 to 5, its status's class, or 0 */
	GRD_WRITING = 1 << 3,           /* it was writing, else calling */
	GRD_ERROR = 1 << 4,             /* its application raised */
	GRD_CANCELLED = 1 << 5          /* it never reached the application: no totals */
};

uint64_t grd_forks(void);               /* behind this process, since the first such question */
void grd_seat_take(struct grd_seat *seat, struct grd_slot *slot);
void grd_seat_state(struct grd_seat *seat, uint32_t state);
int grd_seat_begin(struct grd_seat *seat);              /* calling; 0: another process's seat */
void grd_seat_respond(struct grd_seat *seat);           /* calling -> writing */
void grd_seat_end(struct grd_seat *seat, uint32_t how);
void grd_seat_open(struct grd_seat *seat);              /* a websocket */
void grd_seat_close(struct grd_seat *seat);

/* The same in the slot that this process has attached, which a child has not: there they count
 * nowhere. */
int grd_here_begin(void);                               /* always 1 */
void grd_here_respond(void);
void grd_here_end(uint32_t how);
void grd_here_open(void);
void grd_here_close(void);
/* cffi: end */

#endif
