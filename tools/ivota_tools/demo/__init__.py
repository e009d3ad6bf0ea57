"""Show whole updates of a simulated board over a bad link (`make demo`)."""
