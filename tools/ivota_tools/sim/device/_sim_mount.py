"""Mount the flash of a board, or several, at its start."""

# Arguments: image, state file, blocks, file for a record of operations or "", and
# for a FAT image, state file, blocks, sector size. For an ESP32's flash "+", image, state file,
# blocks, blocks of a slot, and the rest as before.

import vfs


def mount(args):
    if args[0] == "+":
        import _sim_boot_loader

        return _sim_boot_loader.mount(args)
    fat = args[4:]
    if fat:
        import _sim_fat  # now: later there is only the board's own file system
    import _sim_flash

    kind = None
    if args[3]:
        import _sim_record

        kind = _sim_record.Recorder
    flash = _sim_flash.attach(args[0], args[1], int(args[2]), 0, kind)
    if kind:
        flash.record(args[3])
    system = vfs.VfsLfs2(flash)
    vfs.umount("/")
    vfs.mount(system, "/")
    if fat:
        _sim_fat.mount(fat[0], fat[1], int(fat[2]), int(fat[3]))
