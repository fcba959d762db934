"""Links between a bench and boards that run elsewhere: one session protocol (native/include/flightsw/session.h) over several transports.

    transport   frames over ZeroMQ, a byte stream (serial line, pseudo-terminal, socket) or the Ethernet of an emulator
    session     the far end: boards in a Python process, by the same C code as in firmware
    group       the near end: the boards of one link, stepped by a bench
"""
