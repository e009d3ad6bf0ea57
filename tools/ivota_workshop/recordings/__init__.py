"""`make recordings`: the demo's terminal and the console's page as animations."""
