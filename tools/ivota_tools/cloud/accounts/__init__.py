"""Users, API tokens, their roles, and the audit log."""
