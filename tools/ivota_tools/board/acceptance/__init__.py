"""`ivota board test`: an acceptance run of one board at a serial port, and its report."""
