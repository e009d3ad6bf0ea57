"""The measurements of `make bench-peers`: ours and other downloaders, in the same cases."""
