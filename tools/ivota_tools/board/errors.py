"""What `ivota board` tells its user instead of a traceback."""


class BoardError(RuntimeError):
    """What is wrong with the board, its port or its configuration, and what to do."""


class SilentError(BoardError):
    """The board has not answered for so long that another try would wait as long."""
