/*-------------------------------------------------------------------------
 *
 * inspect_io.h
 *	  How an inspector writes its answer: what inspect_worker.c and
 *	  inspect_data.c share.
 *
 *-------------------------------------------------------------------------
 */
#ifndef PG_HEAL_INSPECT_IO_H
#define PG_HEAL_INSPECT_IO_H

#include "job.h"

typedef struct Writer
{
	HealJobSlot *job;
	InspectHeader header;
	bool		overflow;		/* the row at hand does not fit or is not text */
} Writer;

/* ---- inspect_worker.c ---- */

extern void put_bytes(Writer *w, const void *bytes, Size len);
extern void put_int64(Writer *w, int64 value);
extern void put_uint32(Writer *w, uint32 value);
extern void put_text(Writer *w, const char *text);
/* Close a row: taken back whole when it does not fit. */
extern bool row_done(Writer *w, uint32 start);

/* ---- inspect_data.c: each in a transaction of its own ---- */

extern void inspect_columns(Writer *w, const InspectRequest *request, const char *watched, Size len);
extern void inspect_behind(Writer *w, Oid after);
extern void inspect_faults(Writer *w);
extern void inspect_amcheck(Writer *w, const InspectRequest *request);

#endif							/* PG_HEAL_INSPECT_IO_H */
