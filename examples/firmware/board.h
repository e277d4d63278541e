/* board.h - what the story needs of a machine: a way to print, a clock, the model. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

void board_print(const char *text, size_t size);

/* Nanoseconds, monotonic. slm.c is compiled with this as its clock. */
int64_t board_clock_ns(void);

/* The deepest that the stack has been, in bytes; 0 where nobody knows. */
size_t board_stack_used(void);

/* model.S: the file, linked into read-only memory and used where it lies. */
extern const uint8_t board_model[];
extern const uint8_t board_model_end[];

#endif
