"""`make bench-neighbours`: DDI with third-party clients, and Home Assistant."""
