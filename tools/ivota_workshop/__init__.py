"""Tools for this project's developers: measurements, proofs, fuzzing, generated documents."""
