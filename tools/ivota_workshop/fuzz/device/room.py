"""The folder of a target's files; set by the runner."""

FOLDER = "/flash"
ram = None  # on CPython: the file system, which records changed paths


def put(name, data):
    """Write a file in the folder; return its path."""
    path = FOLDER + "/" + name
    with open(path, "wb") as file:
        file.write(data)
    return path


def inside(*folders):
    """Check that nothing outside these folders was changed."""
    for path in ram.changed if ram else ():
        fits = any(path == each or path.startswith(each + "/") for each in folders)
        assert fits and ".." not in path.split("/"), "escaped: " + path
