"""Check the header of an ESP32 image in the other slot; the input begins with its boot tries."""

from slots import Esp32, installed

import ivota
from ivota import OtaError

MD5 = "0" * 32
CHIP = 9
OWN = b"\xe9\x01\0\0" + bytes(8) + bytes((CHIP, 0))


class State:
    pass


def check(data):
    state = State()
    # Stored tries: of this image, of another, none, or a value that is not a number.
    count = data[0] - 48 if data[:1].isdigit() else None
    state.tries = [[], [MD5, count], ["1" * 32, 10]][data[0] % 3 if data else 0]
    image = data[1:]
    with installed(Esp32(OWN, image)):
        try:
            ivota.once("image_trial").examine(state, MD5)
        except OtaError as error:
            assert error.code == -5
            assert len(error.message) < 100
            return "refused"
    assert image[:1] == b"\xe9" and image[12:14] == bytes((CHIP, 0))
    assert image[32:36] == b"\x32\x54\xcd\xab"
    return "image"
