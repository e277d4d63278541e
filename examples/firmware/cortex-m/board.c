/* board.c - a Cortex-M7 without an operating system: vectors, start, printing and time through
 * semihosting, which a debugger or qemu answers. On a board of your own, a UART and a timer stand
 * here. */
#include "../board.h"

#include <string.h>

/* From board.ld. */
extern uint32_t board_data_load[], board_data[], board_data_end[], board_bss[], board_bss_end[];
extern uint32_t board_stack_low[], board_stack_top[];

int main(void);
void board_reset(void);

/* ---- Semihosting ----------------------------------------------------------------------------- */

#define SEMIHOSTING_WRITEC 0x03
#define SEMIHOSTING_CLOCK 0x10 /* hundredths of a second */
#define SEMIHOSTING_EXIT 0x18
#define SEMIHOSTING_EXIT_OK 0x20026u

static uint32_t semihosting(uint32_t operation, uint32_t argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register uint32_t r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_print(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        semihosting(SEMIHOSTING_WRITEC, (uint32_t)(uintptr_t)&text[i]);
    }
}

int64_t board_clock_ns(void)
{
    return (int64_t)semihosting(SEMIHOSTING_CLOCK, 0) * 10000000;
}

static void board_exit(int status)
{
    semihosting(SEMIHOSTING_EXIT, status == 0 ? SEMIHOSTING_EXIT_OK : 0x20023u);
    for (;;) {
    }
}

/* ---- Start ----------------------------------------------------------------------------------- */

#define STACK_PAINT 0xa5a5a5a5u

size_t board_stack_used(void)
{
    const uint32_t *p = board_stack_low;
    while (p < board_stack_top && *p == STACK_PAINT) {
        p++;
    }
    return (size_t)((uintptr_t)board_stack_top - (uintptr_t)p);
}

static void board_fault(void)
{
    static const char text[] = "fault\n";
    board_print(text, sizeof text - 1);
    board_exit(1);
}

void board_reset(void)
{
    volatile uint32_t *coprocessors = (volatile uint32_t *)0xe000ed88u; /* CPACR */
    uint32_t here = 0;
    *coprocessors |= 0xfu << 20; /* the floating-point unit */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
    memcpy(board_data, board_data_load,
           (size_t)((uintptr_t)board_data_end - (uintptr_t)board_data));
    memset(board_bss, 0, (size_t)((uintptr_t)board_bss_end - (uintptr_t)board_bss));
    for (volatile uint32_t *p = board_stack_low; (uintptr_t)p < (uintptr_t)&here - 64; p++) {
        *p = STACK_PAINT;
    }
    board_exit(main());
}

/* What the processor reads first: the stack, the way in, and a way out of every fault. */
__attribute__((section(".vectors"), used)) static const uintptr_t board_vectors[16] = {
    (uintptr_t)board_stack_top, (uintptr_t)board_reset, (uintptr_t)board_fault,
    (uintptr_t)board_fault,     (uintptr_t)board_fault, (uintptr_t)board_fault,
    (uintptr_t)board_fault,
};
