"""`ivota board test`: test updates on one board at a serial port, and write a report."""
