"""`make bench-console`: the console under a swarm, under kills, under a flood."""
