"""`make bench-operations`: the operator's files, tried with the programs that read them."""
