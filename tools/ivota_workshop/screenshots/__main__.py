"""`python -m ivota_workshop.screenshots [NAME]`: all pictures, or those that start with NAME."""

import sys

from .take import FOLDER, take

count = total = 0
for path in take(only=sys.argv[1] if len(sys.argv) > 1 else ""):
    count, total = count + 1, total + path.stat().st_size
    print(path.name, flush=True)
print(f"{count} pictures, {total / 1e6:.2f} MB, in {FOLDER}")
