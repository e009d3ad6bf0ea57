"""What users and tokens may do: each role may all that the one before it may."""

from __future__ import annotations

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)

MEANS = {
    VIEWER: "may look",
    OPERATOR: "may look and change what devices run",
    ADMIN: "may do everything, also let others in",
}


def allows(role: str, needed: str) -> bool:
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
