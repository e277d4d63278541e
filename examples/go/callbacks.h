/* callbacks.h - between slm's callbacks and Go's: each gets a pointer to a cell of C memory that has
 * the number of a cgo.Handle, since C must not keep Go pointers. */
#ifndef SLM_GO_CALLBACKS_H
#define SLM_GO_CALLBACKS_H

#include "slm.h"

/* Sets which call this thread is in, and gives the one before: a log is told which it belongs to. */
void *slm_go_call(void *call);

void slm_go_log(void *user, int32_t level, const char *message);
int32_t slm_go_progress(void *user, uint64_t done, uint64_t total);
int64_t slm_go_read(void *user, int32_t file, uint64_t offset, void *buffer, size_t size);

/* malloc that may fail: Go stops the program if its own does. */
void *slm_go_take(size_t size);

/* An slm_alloc_fn that counts in *user, an array of two numbers: blocks and bytes. For tests. */
void *slm_go_count(void *user, void *ptr, size_t old_size, size_t new_size, size_t align);

#endif
