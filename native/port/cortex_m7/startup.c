/* Start-up of a Cortex-M7 (QEMU machine mps2-an500): FPU on before any C code may use it, .data copied, .bss cleared, main called.
 * Output and exit by semihosting (Arm, "Semihosting for AArch32 and AArch64"). Memory map: Arm AN500. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t fsw_ld_stack[], fsw_ld_data_from[], fsw_ld_data[], fsw_ld_data_end[], fsw_ld_bss[], fsw_ld_bss_end[];
int main(int argc, char **argv);
void fsw_m7_write(const char *text);
void fsw_m7_reset(void);
void fsw_m7_start(void);
void fsw_m7_fault(void);

static int32_t semihost(uint32_t operation, const void *argument) {
  register uint32_t r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = argument;
  __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
  return (int32_t)r0;
}

void fsw_m7_write(const char *text) { (void)semihost(0x04, text); }

void fsw_m7_start(void) {
  uint32_t *from = fsw_ld_data_from;
  for (uint32_t *to = fsw_ld_data; to < fsw_ld_data_end;) *to++ = *from++;
  for (uint32_t *to = fsw_ld_bss; to < fsw_ld_bss_end;) *to++ = 0;
  uint32_t block[2] = {0x20026u, (uint32_t)main(0, NULL)};
  (void)semihost(0x20, block); /* exit with main's status */
  for (;;) {}
}

__attribute__((noreturn, naked)) void fsw_m7_reset(void) {
  __asm volatile("ldr r0,=0xE000ED88\n ldr r1,[r0]\n orr r1,r1,#(0xF<<20)\n str r1,[r0]\n dsb\n isb\n b fsw_m7_start\n");
}

void fsw_m7_fault(void) {
  fsw_m7_write("fault\n");
  uint32_t block[2] = {0x20026u, 1u};
  (void)semihost(0x20, block);
  for (;;) {}
}

/* Interrupts that a program may define; not defined, each is a fault. */
void fsw_m7_systick(void) __attribute__((weak, alias("fsw_m7_fault")));
void fsw_m7_uart_rx(void) __attribute__((weak, alias("fsw_m7_fault")));
void fsw_m7_ethernet(void) __attribute__((weak, alias("fsw_m7_fault")));

typedef void (*handler_t)(void);
__attribute__((section(".vectors"), used)) static const handler_t vectors[16 + 32] = {
  (handler_t)(void *)fsw_ld_stack, fsw_m7_reset, fsw_m7_fault, fsw_m7_fault, fsw_m7_fault, fsw_m7_fault, fsw_m7_fault,
  [15] = fsw_m7_systick, [16 + 0] = fsw_m7_uart_rx, [16 + 13] = fsw_m7_ethernet};
