"""The host side of ivota: cloud, releases, simulated boards, the command `ivota`."""
