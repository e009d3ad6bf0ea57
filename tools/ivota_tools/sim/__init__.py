"""Simulate a board: the real boot.py, main.py and lib/ on MicroPython's unix port.

Its flash is an image file that can fail or lose power at any operation. Its network is a proxy
that can cut, stall and slow down connections.
"""

from ivota_tools.sim.board import Board, BoardError
from ivota_tools.sim.filesystem import FlashError
from ivota_tools.sim.flash import Death, Fault, Flash
from ivota_tools.sim.flash_record import Operation, operations
from ivota_tools.sim.link_proxy import Connection, Cut, CutRecord, Proxy

__all__ = [
    "Board",
    "BoardError",
    "Connection",
    "Cut",
    "CutRecord",
    "Death",
    "Fault",
    "Flash",
    "FlashError",
    "Operation",
    "Proxy",
    "operations",
]
