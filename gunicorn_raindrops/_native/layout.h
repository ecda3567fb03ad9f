/* The layout of the scoreboard's pages: every struct that processes share, each offset asserted.
 *
 * The pages begin with one header; a slot for each worker follows. Any process that maps the pages
 * can read them: the header holds a magic, the version of this layout, and all sizes. A change of
 * any offset below needs a new GRD_LAYOUT_VERSION.
 *
 * Who may write each word, and which memory order publishes it
 * ------------------------------------------------------------
 * Readers write nothing. A process that reads with a read-only mapping sees what others see.
 *
 * owner: generation, state, tag of the owner's start time, pid. It changes by compare-and-swap
 *     (acquire and release) only. FREE -> CLAIMED: an arbiter, or a process for itself, adds 1 to
 *     the generation. CLAIMED -> CLAIMED -> STARTING: the worker takes the slot over; the first
 *     step puts its own pid there, the second publishes the slot. Then only the owner changes the
 *     state. Any state -> FREE: the arbiter that has the claim, or a reaper of the owner's PID
 *     namespace that has found the owner dead. Each of these compares the whole word, so a late or
 *     a second one fails.
 * namespace: the owner's PID namespace below its generation. It is stored after the claim, by the
 *     process that claimed; until then the generation is another one and the namespace is unknown.
 *     An acquire load of it synchronizes with that release store.
 * start, age, started, base, base_busy, gauge, websockets, connections: stored by the worker between
 *     the two steps of its take-over. A release fence after the first step keeps these stores behind
 *     it; the second step is their release. A reader loads owner (acquire), the words, an acquire
 *     fence, owner again: the same owner twice means that all the words are that owner's. The
 *     owner's generation stands in the last three as well: one of another generation was left by a
 *     dead owner and reads as 0. Afterwards the owner's threads add to these three.
 * requests, responses, errors, queue_ignored, histograms: only added to, by the owner's threads,
 *     over all owners that the slot ever has. Each counter stands for itself (relaxed); a histogram
 *     publishes its words by a release addition to a bucket.
 * busy, busy_turn, busy_step: see busy.h. exited: any process that counts an end, by compare-and-swap.
 * turned, late: stored by the owner's status thread, each for itself (relaxed); turned is 0 until it
 *     has had a turn.
 * entries: two seqlocks each, written by the owner's threads; see entry.h.
 * killed: a seqlock each, written by arbiters; the number of the kill is the sequence.
 * marks: see marks.h. history: see history.h. untracked, wanted: see tally.h. exits, kills: only added to, by arbiters and workers (relaxed).
 * used: raised before a slot is claimed, so a reader that sees an owner looks far enough; a reader
 *     that sees it late misses a slot that was claimed a moment ago. A worker raises it again each
 *     second, and a process that finds no slot free: a hostile worker may have lowered it.
 * The rest of the header: the process that adopts the pages, before any other process uses them.
 *
 * What a reader must expect
 * -------------------------
 * A hostile worker may have written anything anywhere. It can spoil figures. No word from the pages
 * bounds a loop, indexes an array or sizes an allocation before it was checked: `used` is cut to
 * the number of slots, which was checked against the file's size; lengths of texts are cut to the
 * room for them; causes are looked up, not indexed; seconds and kills are taken modulo the length
 * of their arrays. A pid from the pages is asked for, never signalled. */
#ifndef GRD_LAYOUT_H
#define GRD_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
enum {
	GRD_LAYOUT_VERSION = 7,
	GRD_HEADER_SIZE = 24576,        /* bytes before the first slot */
	GRD_SLOT_SIZE = 16384,
	GRD_TALLIES = 20,               /* of processes that count workers without a slot */
	GRD_WANTS = 4,                  /* of arbiters: two during an upgrade */
	GRD_MAX_SLOTS = 65536           /* whatever a header says: reading costs memory for each */
};

enum {                          /* the state of a slot */
	GRD_FREE, GRD_CLAIMED, GRD_STARTING, GRD_READY, GRD_FINISHING
};

enum {
	GRD_PID_BITS = 22,      /* Linux: PID_MAX_LIMIT, include/linux/threads.h */
	GRD_STATE_BITS = 3,
	GRD_TAG_BITS = 15,
	GRD_GENERATION_SHIFT = 40,
	GRD_GAUGE_BITS = 20,    /* writing in the low bits, calling above it */
	GRD_MOST_IN_FLIGHT = (1 << GRD_GAUGE_BITS) - 1, /* of a slot; more are in the totals only */
	GRD_NAMESPACE_BITS = 32,        /* an inode of procfs, include/linux/ns_common.h */
	GRD_BUSY_COUNT_BITS = GRD_GAUGE_BITS,
	GRD_BUSY_TICK_BITS = 14 /* a tick is 16384 ns: 2^44 of them are 9 years */
};

enum {                          /* why a worker ended */
	GRD_EXIT_GRACEFUL,      /* it was told to */
	GRD_EXIT_MAX_REQUESTS,
	GRD_EXIT_TIMEOUT,       /* the arbiter's */
	GRD_EXIT_KILLED,        /* by a signal, or in another way that it had no say in */
	GRD_EXIT_BOOT_FAILURE,
	GRD_EXIT_FAILED,        /* by an exception, or with an exit status of its own */
	GRD_EXIT_CAUSES
};

enum {                          /* who says how long a request has waited */
	GRD_QUEUE_SOCKET, GRD_QUEUE_HEADER, GRD_QUEUE_SOURCES
};

enum {
	GRD_MARK_CALLING, GRD_MARK_WRITING, GRD_MARK_QUEUED, GRD_MARK_WAITING, GRD_MARKS,
	GRD_MARK_SECONDS = 64   /* that are kept, the present one included */
};

enum {                          /* what is kept of each second; two figures a word */
	GRD_HISTORY_CALLING, GRD_HISTORY_WRITING, GRD_HISTORY_READING, GRD_HISTORY_WAITING,
	GRD_HISTORY_QUEUED, GRD_HISTORY_CAPACITY, GRD_HISTORY_FIGURES,
	GRD_HISTORY_WORDS = GRD_HISTORY_FIGURES / 2,
	GRD_HISTORY_SECONDS = 600
};

enum {
	GRD_HISTOGRAM_A_DECADE = 24,
	GRD_HISTOGRAM_DECADES = 10,
	GRD_HISTOGRAM_BUCKETS = 242,    /* of ten decades, and the outliers */
	GRD_HISTOGRAM_LIMBS = 4,
	GRD_HISTOGRAM_LIMB_BITS = 24,
	GRD_HISTOGRAM_LIMIT_BITS = 53   /* 104 days: up to there a double holds every nanosecond */
};

enum {
	GRD_BOOT_ID_SIZE = 40,
	GRD_KILLS_KEPT = 8,
	GRD_RESPONSE_CLASSES = 5,       /* 1xx to 5xx */
	GRD_ENTRIES = 32,               /* of a slot; requests beyond these have none */
	GRD_ENTRY_METHOD = 20,          /* bytes of a method at most; the longest of RFC 9110 has 7 */
	GRD_ENTRY_TEXT = 104,           /* bytes of method and path together */
	GRD_ENTRY_WHERE = 120           /* bytes of what it was doing, with a NUL */
};

struct grd_histogram {          /* see histogram.h */
	uint64_t sum;           /* ns */
	uint64_t lowest;        /* 2^64-1 less the least value, ns */
	uint64_t highest;       /* ns */
	uint64_t spare;
	uint64_t squares[GRD_HISTOGRAM_LIMBS];          /* ns^2, in limbs of 24 bits */
	uint64_t buckets[GRD_HISTOGRAM_BUCKETS];
	uint64_t padding[6];    /* to whole cache lines */
};

struct grd_entry {              /* a request in flight, see entry.h */
	uint64_t turn;
	uint64_t began;         /* CLOCK_MONOTONIC, ns; 0: the entry is free */
	uint8_t method;         /* length of the method, with which the text begins */
	uint8_t path;           /* length of the path, which follows */
	uint8_t cut;            /* the path was longer than that */
	uint8_t spare[5];
	char text[GRD_ENTRY_TEXT];      /* bytes as the server has them, mostly UTF-8 */
	uint64_t looked;        /* the turn whose request `where` is about; odd while it is written */
	char where[GRD_ENTRY_WHERE];    /* the line that this request stood at when it was looked at */
};

struct grd_kill {               /* a worker that was killed; the last few are kept */
	uint64_t turn;          /* its number, from 1; 0 while it is written */
	uint64_t time;          /* Unix time, ns */
	uint32_t slot;
	uint32_t pid;
	uint32_t cause;
	uint32_t in_flight;
	uint64_t age;
	uint64_t took;          /* how long its oldest request had been in flight, ns */
	struct grd_entry entry; /* that request */
};

struct grd_marks {              /* see marks.h */
	uint64_t level;
	uint64_t padding[7];
	uint64_t seconds[GRD_MARK_SECONDS][GRD_MARKS];
};

struct grd_tally {              /* a number that a process holds, see tally.h */
	uint64_t word;          /* the number, above the owner word of the process; 0: free */
	uint64_t namespace;     /* the process's, above the low bits of that word */
};

struct grd_second {             /* see history.h */
	uint64_t second;        /* Unix time; 0 while it is written */
	uint64_t words[GRD_HISTORY_WORDS];
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
	char boot_id[GRD_BOOT_ID_SIZE]; /* of the boot whose pids and instants stand here */
	uint64_t pid_namespace; /* of the process that adopted the pages: an inode; 0: unknown */
	uint64_t joinable;      /* 1: processes may join by the file; 0: it is an arbiter's */
	uint64_t used;          /* slots from here on have never been claimed */
	uint64_t exits[GRD_EXIT_CAUSES];
	uint64_t kills;         /* how many have been kept below, in turn */
	struct grd_kill killed[GRD_KILLS_KEPT];
	uint64_t padding[3];    /* to a cache line that every request writes to */
	struct grd_marks marks;
	struct grd_tally untracked[GRD_TALLIES];
	struct grd_tally wanted[GRD_WANTS];     /* 1 more than the workers that an arbiter wants */
	struct grd_second history[GRD_HISTORY_SECONDS];
};

struct grd_slot {
	/* first line: written by whoever claims, takes over or frees the slot */
	uint64_t owner;
	uint64_t start;         /* the owner's start time, clock ticks since boot (proc_pid_stat(5)) */
	uint64_t age;           /* gunicorn's ordinal of the worker */
	uint64_t started;       /* when the owner took the slot over, CLOCK_MONOTONIC, ns */
	uint64_t capacity;      /* requests that the owner can run at once */
	uint64_t base;          /* requests of the slot when the owner took it over */
	uint64_t websockets;    /* open, below the owner's generation */
	uint64_t base_busy;     /* as base, ns */

	/* two lines that each request of the owner writes to */
	uint64_t gauge;
	uint64_t requests;
	uint64_t responses[GRD_RESPONSE_CLASSES];
	uint64_t errors;

	uint64_t busy;          /* see busy.h */
	uint64_t busy_turn;     /* a total that it had: tells how often the word has gone round */
	uint64_t queue_ignored; /* headers that said no time, or one to come */
	uint64_t busy_step;     /* an instant before the last step began, CLOCK_MONOTONIC, ns */
	uint64_t connections;   /* see connections.h */
	uint64_t spare[3];

	/* as the first line */
	uint64_t namespace;     /* the owner's PID namespace, below the owner's generation */
	uint64_t exited;        /* the last generation whose end has been counted */
	uint64_t turned;        /* the last turn of the owner's status thread, CLOCK_MONOTONIC, ns */
	uint64_t late;          /* how late that turn came, ns */
	uint64_t spare_owner[4];

	struct grd_histogram request;   /* from begin to end */
	struct grd_histogram queue[GRD_QUEUE_SOURCES];  /* before that, by source */
	uint64_t padding[224];          /* to the page where the entries begin */
	struct grd_entry entries[GRD_ENTRIES];
};
/* cffi: end */

#define GRD_ONE_WRITING 1ull
#define GRD_ONE_CALLING (1ull << GRD_GAUGE_BITS)
#define GRD_COUNTS_CONNECTIONS (1ull << (GRD_GENERATION_SHIFT - 1))

/* An offset of a field, in bytes from the begin of its struct. */
#define GRD_AT(type, field, offset) \
	_Static_assert(offsetof(struct type, field) == (offset), #type "." #field)
#define GRD_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type)
#define GRD_LENGTH(type, field, length) \
	_Static_assert(sizeof(((struct type *)0)->field) / sizeof(((struct type *)0)->field[0]) == \
		       (length), #type "." #field)

GRD_AT(grd_histogram, sum, 0);
GRD_AT(grd_histogram, lowest, 8);
GRD_AT(grd_histogram, highest, 16);
GRD_AT(grd_histogram, squares, 32);
GRD_AT(grd_histogram, buckets, 64);
GRD_SIZE(grd_histogram, 2048);
_Static_assert(sizeof(struct grd_histogram) % 64 == 0, "no histogram shares a cache line");
_Static_assert((int)GRD_HISTOGRAM_BUCKETS ==
	       (int)GRD_HISTOGRAM_A_DECADE * (int)GRD_HISTOGRAM_DECADES + 2,
	       "each decade has its buckets, outliers have two");

GRD_AT(grd_entry, turn, 0);
GRD_AT(grd_entry, began, 8);
GRD_AT(grd_entry, method, 16);
GRD_AT(grd_entry, path, 17);
GRD_AT(grd_entry, cut, 18);
GRD_AT(grd_entry, text, 24);
GRD_AT(grd_entry, looked, 128);
GRD_AT(grd_entry, where, 136);
GRD_SIZE(grd_entry, 256);
_Static_assert(GRD_ENTRY_METHOD < GRD_ENTRY_TEXT && GRD_ENTRY_TEXT <= UINT8_MAX,
	       "lengths fit into a byte");

GRD_AT(grd_kill, turn, 0);
GRD_AT(grd_kill, time, 8);
GRD_AT(grd_kill, slot, 16);
GRD_AT(grd_kill, pid, 20);
GRD_AT(grd_kill, cause, 24);
GRD_AT(grd_kill, in_flight, 28);
GRD_AT(grd_kill, age, 32);
GRD_AT(grd_kill, took, 40);
GRD_AT(grd_kill, entry, 48);
GRD_SIZE(grd_kill, 304);

GRD_AT(grd_marks, level, 0);
GRD_AT(grd_marks, seconds, 64);
GRD_SIZE(grd_marks, 2112);
GRD_LENGTH(grd_marks, seconds, 64);
GRD_LENGTH(grd_marks, seconds[0], 4);
_Static_assert((GRD_MARK_SECONDS & (GRD_MARK_SECONDS - 1)) == 0, "seconds go round evenly");

GRD_AT(grd_second, second, 0);
GRD_AT(grd_second, words, 8);
GRD_SIZE(grd_second, 32);
_Static_assert(GRD_HISTORY_FIGURES % 2 == 0, "figures fill their words");

GRD_AT(grd_tally, word, 0);
GRD_AT(grd_tally, namespace, 8);
GRD_SIZE(grd_tally, 16);

GRD_AT(grd_header, magic, 0);
GRD_AT(grd_header, version, 8);
GRD_AT(grd_header, header_size, 12);
GRD_AT(grd_header, slot_size, 16);
GRD_AT(grd_header, slots, 20);
GRD_AT(grd_header, length, 24);
GRD_AT(grd_header, created, 32);
GRD_AT(grd_header, unix_offset, 40);
GRD_AT(grd_header, boot_id, 48);
GRD_AT(grd_header, pid_namespace, 88);
GRD_AT(grd_header, joinable, 96);
GRD_AT(grd_header, used, 104);
GRD_AT(grd_header, exits, 112);
GRD_AT(grd_header, kills, 160);
GRD_AT(grd_header, killed, 168);
GRD_AT(grd_header, marks, 2624);
GRD_AT(grd_header, untracked, 4736);
GRD_AT(grd_header, wanted, 5056);
GRD_AT(grd_header, history, 5120);
GRD_LENGTH(grd_header, exits, 6);
GRD_LENGTH(grd_header, killed, 8);
GRD_LENGTH(grd_header, history, 600);
_Static_assert(offsetof(struct grd_header, marks) % 64 == 0, "the level has a line of its own");
_Static_assert(sizeof(struct grd_header) <= GRD_HEADER_SIZE, "the header is six pages");

GRD_AT(grd_slot, owner, 0);
GRD_AT(grd_slot, start, 8);
GRD_AT(grd_slot, age, 16);
GRD_AT(grd_slot, started, 24);
GRD_AT(grd_slot, capacity, 32);
GRD_AT(grd_slot, base, 40);
GRD_AT(grd_slot, websockets, 48);
GRD_AT(grd_slot, base_busy, 56);
GRD_AT(grd_slot, gauge, 64);
GRD_AT(grd_slot, requests, 72);
GRD_AT(grd_slot, responses, 80);
GRD_AT(grd_slot, errors, 120);
GRD_AT(grd_slot, busy, 128);
GRD_AT(grd_slot, busy_turn, 136);
GRD_AT(grd_slot, queue_ignored, 144);
GRD_AT(grd_slot, busy_step, 152);
GRD_AT(grd_slot, connections, 160);
GRD_AT(grd_slot, namespace, 192);
GRD_AT(grd_slot, exited, 200);
GRD_AT(grd_slot, turned, 208);
GRD_AT(grd_slot, late, 216);
GRD_AT(grd_slot, request, 256);
GRD_AT(grd_slot, queue, 2304);
GRD_AT(grd_slot, entries, 8192);
GRD_LENGTH(grd_slot, responses, 5);
GRD_LENGTH(grd_slot, queue, 2);
GRD_LENGTH(grd_slot, entries, 32);
GRD_SIZE(grd_slot, GRD_SLOT_SIZE);
_Static_assert(GRD_PID_BITS + GRD_STATE_BITS + GRD_TAG_BITS == GRD_GENERATION_SHIFT,
	       "an owner fills its word");
_Static_assert(2 * GRD_GAUGE_BITS == GRD_GENERATION_SHIFT, "a gauge fills its word");
_Static_assert((int)GRD_NAMESPACE_BITS <= (int)GRD_GENERATION_SHIFT, "a namespace fits its word");

#endif
