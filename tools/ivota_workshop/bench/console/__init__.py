"""`make bench-console`: the console under a swarm, under kills and under a flood."""
