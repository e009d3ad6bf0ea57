"""`make bench-reach`: clients, brokers and servers that others wrote, or that are as strict."""
