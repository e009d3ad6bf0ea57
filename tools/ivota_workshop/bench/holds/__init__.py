"""`make bench-holds`: measure what one bad client costs, and whether all others are served."""
