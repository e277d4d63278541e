/* board.c - a 64-bit RISC-V without an operating system: start, UART, timer and power switch of
 * qemu's "virt" machine. */
#include "../board.h"

#include <string.h>

/* From board.ld. */
extern uint32_t board_bss[], board_bss_end[], board_stack_low[], board_stack_top[];

int main(void);
void board_start(void);
void board_run(void);

#define UART ((volatile uint8_t *)0x10000000)
#define UART_LINE_STATUS 5
#define UART_ROOM 0x20
#define TIMER ((volatile uint64_t *)0x0200bff8) /* 10 MHz */
#define POWER ((volatile uint32_t *)0x00100000)
#define POWER_OFF 0x5555u
#define POWER_OFF_FAILED 0x13333u
#define STACK_PAINT 0xa5a5a5a5u

void board_print(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        while ((UART[UART_LINE_STATUS] & UART_ROOM) == 0) {
        }
        UART[0] = (uint8_t)text[i];
    }
}

int64_t board_clock_ns(void)
{
    return (int64_t)*TIMER * 100;
}

size_t board_stack_used(void)
{
    const uint32_t *p = board_stack_low;
    while (p < board_stack_top && *p == STACK_PAINT) {
        p++;
    }
    return (size_t)((uintptr_t)board_stack_top - (uintptr_t)p);
}

static void board_exit(int status)
{
    *POWER = status == 0 ? POWER_OFF : POWER_OFF_FAILED;
    for (;;) {
    }
}

__attribute__((aligned(4))) static void board_fault(void)
{
    static const char text[] = "fault\n";
    board_print(text, sizeof text - 1);
    board_exit(1);
}

void board_run(void)
{
    uint32_t here = 0;
    __asm__ volatile("csrw mtvec, %0" ::"r"(board_fault));
    memset(board_bss, 0, (size_t)((uintptr_t)board_bss_end - (uintptr_t)board_bss));
    for (volatile uint32_t *p = board_stack_low; (uintptr_t)p < (uintptr_t)&here - 256; p++) {
        *p = STACK_PAINT;
    }
    board_exit(main());
}

/* The first hart goes on, with floating point (mstatus.FS), the others sleep. */
__attribute__((naked, section(".start"), used)) void board_start(void)
{
    __asm__ volatile("csrr t0, mhartid\n"
                     "1: beqz t0, 2f\n"
                     "wfi\n"
                     "j 1b\n"
                     "2: li t0, 0x2000\n"
                     "csrs mstatus, t0\n"
                     "la sp, board_stack_top\n"
                     "j board_run\n");
}
