"""`make demo`: whole updates on a simulated board, over a bad link, before your eyes."""
