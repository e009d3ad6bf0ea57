"""`builtins`: the world's own."""
