"""`python -m ivota_tools.board [BASE_URL] > package.json`, when a file of lib/ comes or goes."""

import sys

from ivota_tools import tree
from ivota_tools.board.files import package_json

print(package_json(tree.root(), *sys.argv[1:2]), end="")
