/* The connections in the hands of a worker's threads, where a connection holds a thread (sync,
 * gthread).
 *
 * A thread takes a connection before it reads from it and lets go of it when it has closed or parked
 * it. In between it may begin and end requests, which the gauge counts as ever. So what is *reading*
 * is the connections that are held less the requests in flight, and a reader subtracts: a request
 * costs no more for it. The word also says whether its owner counts connections at all. */
#ifndef GRD_CONNECTIONS_H
#define GRD_CONNECTIONS_H

/* The attached slot's owner counts its connections from now on. */
void grd_count_connections(void);

/* This thread takes a connection: in the attached slot; whether it counts, which it does not in a
 * thread that holds one already. */
int grd_take_connection(void);
/* This thread lets go of the connection that it holds, if any. */
void grd_leave_connection(void);

#endif
