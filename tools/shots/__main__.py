"""`python -m ivota_tools.shots [NAME]`: all pictures, or those whose name begins with NAME."""

import sys

from .take import FOLDER, take

written = take(only=sys.argv[1] if len(sys.argv) > 1 else "")
total = sum(path.stat().st_size for path in written)
print(f"{len(written)} pictures, {total / 1e6:.2f} MB, in {FOLDER}")
