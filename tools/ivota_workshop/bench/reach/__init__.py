"""`make bench-reach`: third-party clients, brokers and servers, or equally strict ones."""
