"""What only this project's developers run: measurements, proofs, fuzzing, generated documents."""
