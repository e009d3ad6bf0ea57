"""Print the free blocks of a flash, as a board counts them: image, state file, blocks."""

import sys

import _sim_flash
import vfs

path, state_path, blocks = sys.argv[1:4]
print(vfs.VfsLfs2(_sim_flash.attach(path, state_path, int(blocks))).statvfs("/")[3])
