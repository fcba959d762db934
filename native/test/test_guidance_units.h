static int units(void) { return 0; }
