"""A simulated board: the very boot.py, main.py and lib on MicroPython's unix port.

Its flash is an image file that can fail or die at any operation, its network a proxy that can cut,
stall and pace.
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
