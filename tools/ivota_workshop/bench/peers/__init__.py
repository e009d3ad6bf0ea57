"""What `make bench-peers` measures: ours, and other ways to download, in the same cases."""
