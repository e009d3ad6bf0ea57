"""`make bench-holds`: what one bad client costs, and whether everybody else is served."""
