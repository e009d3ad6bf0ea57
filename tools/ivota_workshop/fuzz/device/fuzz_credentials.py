"""Sign in with a device's secret: the result must equal a cloud's own computation."""

from ivota.cloud_sign_in import sign_in

reference = None  # whether the cloud's front accepts these three for that secret


def check(data):
    name, _, secret = data.partition(b"\n")
    try:
        name = str(name, "utf-8")
        secret = str(secret, "utf-8")
    except ValueError:
        return "no text"
    try:
        config = {"dialect": "tencent", "product_id": "P", "device_name": name}
        config["device_secret"] = secret
        made = sign_in(config, "12345", 2000000000)
    except ValueError:
        return "no base64"
    client_id, user, password = made
    assert client_id == "P" + name
    assert user == client_id + ";12010126;12345;2000000000"
    digest, _, method = password.partition(";")
    assert len(digest) == 64 and method == "hmacsha256"
    if reference:
        assert reference(client_id, user, password, secret), "the cloud refuses it"
    return password
