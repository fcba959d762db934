/* devices.h - the devices of the board: a millisecond clock, a UART and an Ethernet port, all bounded, no interrupt longer than its FIFO. */
#ifndef FLIGHTSW_M7_DEVICES_H
#define FLIGHTSW_M7_DEVICES_H
#include <stddef.h>
#include <stdint.h>

#define M7_ETHER_HEAD 16u     /* destination, source, type 88B5 (local experimental, IEEE 802), u16 length of what follows, little-endian */
#define M7_ETHER_MAX 1514u

void m7_devices_init(void);

/* Milliseconds since reset, wraps; and what is left of the present one in clock cycles, as something nobody can foretell. */
uint32_t m7_ms(void);
uint32_t m7_cycles(void);

/* Bytes that the UART has received, at most n. What found no room in the ring is counted by m7_uart_lost. */
size_t m7_uart_read(uint8_t *to, size_t n);
void m7_uart_write(const uint8_t *bytes, size_t n);
uint32_t m7_uart_lost(void);

/* One Ethernet frame without its checksum: its length, 0: none has arrived. `to` holds M7_ETHER_MAX + 6 bytes, 4-byte aligned. */
size_t m7_ether_read(uint32_t *to);
/* Send n bytes, a whole frame; `bytes` is 4-byte aligned. */
void m7_ether_write(const uint32_t *bytes, size_t n);

/* Sleep until an interrupt, unless something has arrived. */
void m7_idle(void);

#endif
