"""What `make bench-download` measures: heap, code size, instructions, wire, flash."""
