"""`make bench-neighbours`: DDI with the clients that others wrote, and Home Assistant."""
