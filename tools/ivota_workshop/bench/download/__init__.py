"""The measurements of `make bench-download`: heap, code size, instructions, wire, flash."""
