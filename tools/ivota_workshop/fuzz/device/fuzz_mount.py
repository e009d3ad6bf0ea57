"""Mount a bundle without examining it, as after damage: no path may lead out of it."""

import room

from bundlefs import Bundle


def check(data):
    path = room.put("fw.bin", data)
    try:
        mounted = Bundle(path)
    except ValueError:
        return "no bundle"
    try:
        count = look(mounted, "", data, 0)
    except ValueError as error:
        assert isinstance(error, UnicodeError)
        return "no names"
    room.inside(room.FOLDER + "/fw.bin")
    return "%d files" % count


def look(mounted, folder, data, depth):
    """Open every file and folder."""
    assert depth < 12
    count = 0
    for entry in mounted.ilistdir("/" + folder):
        assert not entry[0] or min(entry[0].encode()) >= 32
        name = (folder + "/" if folder else "") + entry[0]
        if entry[1] & 0x4000:
            count += look(mounted, name, data, depth + 1)
            continue
        try:
            size = mounted.stat("/" + name)[6]
            with mounted.open("/" + name, "rb") as file:
                content = file.read(4096)
                assert len(content) <= min(size, 4096) and content in data
                assert file.seek(0, 2) == size and file.seek(7, 1) == size
                assert file.read(1) == b""
        except OSError:
            continue  # a name that begins or ends with a slash
        count += 1
        assert count <= len(data) // 4
    return count
