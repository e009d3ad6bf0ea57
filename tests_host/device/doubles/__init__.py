"""Stand-ins for what does not run here, by the facts known of each; nothing of it is copied."""
