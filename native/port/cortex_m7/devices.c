/* Devices of the QEMU machine mps2-an500: SysTick of the ARMv7-M architecture, the CMSDK UART (Arm DDI 0479), the LAN9118 Ethernet
 * controller (SMSC datasheet DS00002266). */
#include "devices.h"

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))
#define SYST_CSR REG(0xE000E010u)
#define SYST_RVR REG(0xE000E014u)
#define SYST_CVR REG(0xE000E018u)
#define NVIC_ENABLE REG(0xE000E100u)
#define CYCLES_PER_MS 25000u
#define MS_PER_INTERRUPT 5u          /* each wakes the processor, and in an emulator its timers */

#define UART_DATA REG(0x40004000u)
#define UART_STATE REG(0x40004004u)  /* 1: transmitter full, 2: receiver full */
#define UART_CTRL REG(0x40004008u)
#define UART_INT REG(0x4000400Cu)
#define UART_BAUD REG(0x40004010u)

#define ETHER(offset) REG(0xA0000000u + (offset))
#define RX_DATA 0x00u
#define TX_DATA 0x20u
#define RX_STATUS 0x40u
#define INT_CFG 0x54u
#define INT_STS 0x58u
#define INT_EN 0x5Cu
#define BYTE_TEST 0x64u
#define FIFO_INT 0x68u
#define TX_CFG 0x70u
#define RX_INF 0x7Cu
#define MAC_CMD 0xA4u
#define MAC_VALUE 0xA8u
#define RSFL 8u                      /* a received frame waits */

#define RING 32768u

static uint8_t ring[RING];
static volatile uint32_t ring_in, ring_out, ring_lost, milliseconds;
static volatile uint32_t uart_wakes, ether_wakes; /* something is worth to be looked at */

void fsw_m7_systick(void);
void fsw_m7_uart_rx(void);
void fsw_m7_ethernet(void);

void fsw_m7_systick(void) { milliseconds = milliseconds + MS_PER_INTERRUPT; }

/* One byte an interrupt: this UART has no FIFO. Acknowledged first and then read: the other way round loses a wake-up. The program is told
 * only of a byte that can end a frame, so that it sleeps through all others: an emulator pays dearly for each access to a device. */
void fsw_m7_uart_rx(void) {
  UART_INT = 2u;
  uint8_t byte = (uint8_t)UART_DATA;
  uint32_t in = ring_in;
  if (in - ring_out >= RING) {
    ring_lost = ring_lost + 1u;
  } else {
    ring[in % RING] = byte;
    ring_in = in + 1u;
  }
  if (byte == 0 || in - ring_out >= RING / 2u) uart_wakes = 1u;
}

void fsw_m7_ethernet(void) { /* masked until the frames have been taken */
  ETHER(INT_EN) = 0;
  ether_wakes = 1u;
}

static void mac_write(uint32_t index, uint32_t value) {
  ETHER(MAC_VALUE) = value;
  ETHER(MAC_CMD) = 0x80000000u | index;
  while (ETHER(MAC_CMD) & 0x80000000u) {}
}

void m7_devices_init(void) {
  SYST_RVR = MS_PER_INTERRUPT * CYCLES_PER_MS - 1u;
  SYST_CVR = 0;
  SYST_CSR = 7u;                     /* processor clock, interrupt, on */
  UART_BAUD = 16u;
  UART_CTRL = 1u | 2u | 8u;          /* transmitter, receiver, receive interrupt */
  (void)UART_DATA;                   /* QEMU looks at its socket only after a read */
  while (ETHER(BYTE_TEST) != 0x87654321u) {}
  mac_write(1, (1u << 18) | (1u << 3) | (1u << 2)); /* promiscuous, transmitter and receiver on */
  ETHER(TX_CFG) = 2u;
  ETHER(INT_CFG) = 0x111u;
  ETHER(FIFO_INT) = 0;
  ETHER(INT_EN) = RSFL;
  NVIC_ENABLE = 1u << 0 | 1u << 13;
}

uint32_t m7_ms(void) { return milliseconds; }

uint32_t m7_cycles(void) { return SYST_CVR; }

uint32_t m7_uart_lost(void) { return ring_lost; }

size_t m7_uart_read(uint8_t *to, size_t n) {
  uint32_t out = ring_out, waiting = ring_in - out;
  if (n > waiting) n = waiting;
  for (size_t k = 0; k < n; k++) to[k] = ring[(out + k) % RING];
  ring_out = out + (uint32_t)n;
  return n;
}

void m7_uart_write(const uint8_t *bytes, size_t n) {
  for (size_t k = 0; k < n; k++) {
    while (UART_STATE & 1u) {}
    UART_DATA = bytes[k];
  }
}

size_t m7_ether_read(uint32_t *to) {
  if (!ether_wakes) return 0;
  if ((ETHER(RX_INF) >> 16 & 255u) == 0) { /* all taken: listen again, and look once more for what came meanwhile */
    ether_wakes = 0;
    ETHER(INT_STS) = ~0u;
    ETHER(INT_EN) = RSFL;
    if ((ETHER(RX_INF) >> 16 & 255u) == 0) return 0;
    ether_wakes = 1u;
  }
  uint32_t n = ETHER(RX_STATUS) >> 16 & 0x3fffu, words = (n + 3u) / 4u; /* with its 4 bytes of checksum */
  for (uint32_t i = 0; i < words; i++) {
    uint32_t word = ETHER(RX_DATA);
    if (i < (M7_ETHER_MAX + 6u) / 4u) to[i] = word;
  }
  return n < 4u || n - 4u > M7_ETHER_MAX ? 0 : n - 4u;
}

void m7_ether_write(const uint32_t *bytes, size_t n) {
  ETHER(TX_DATA) = (1u << 13) | (1u << 12) | (uint32_t)n; /* first and last segment */
  ETHER(TX_DATA) = (uint32_t)n;
  for (size_t i = 0; i < (n + 3u) / 4u; i++) ETHER(TX_DATA) = bytes[i];
}

void m7_idle(void) {
  __asm volatile("cpsid i" ::: "memory"); /* what arrives from here on wakes the wait, and is served after it */
  if (!uart_wakes && !ether_wakes) __asm volatile("wfi" ::: "memory");
  uart_wakes = 0;
  __asm volatile("cpsie i\n isb" ::: "memory");
}
