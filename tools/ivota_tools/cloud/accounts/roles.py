"""What users and tokens may do: each role may all that the one before it may."""

from __future__ import annotations

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
ROLES = (VIEWER, OPERATOR, ADMIN)

MEANS = {
    VIEWER: "can view everything",
    OPERATOR: "can view and update devices",
    ADMIN: "can manage devices, users and tokens",
}


def allows(role: str, needed: str) -> bool:
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
