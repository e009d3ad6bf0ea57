"""Define the roles of users and tokens; each role includes the permissions of the previous one."""

from __future__ import annotations

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)

MEANS = {
    VIEWER: "can view everything",
    OPERATOR: "can view everything and change what devices run",
    ADMIN: "can view everything, change what devices run, and manage users and tokens",
}


def allows(role: str, needed: str) -> bool:
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
