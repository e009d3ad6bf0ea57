"""`make soak-load`: run all tests on busy cores, those that wait five times; resumable."""
