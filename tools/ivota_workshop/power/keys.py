"""The keys of the proof: fixed, so that a case has the same bytes on every machine.

They are public, and only simulated boards trust them.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateNumbers,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
)

from ivota_tools.firmware.signing_keys import PrivateKey

_EXPONENT = 65537
_OWNER = (
    int(
        "ec974a67081fdbaad22d8f93bffb5dd5e3fc8b619f1ea9e777acaa02b8aec6933bd6c1e6fc7a1ae7"
        "c4762bd19e020babefb5306c6021b7703b2e72d605160a2a9ca8568f30a5d72becbbf1da75387d0b"
        "4bef47658faac2f941ed867ae7df8247ec70413faf2e0213dfb0a99eb92e9ffbac2597092926f777"
        "c4d514a94f02720975781d8453031b7586d9069e30324692f8c1b1134a884357b6eec7d91e591be8"
        "ddd8c1c82ccb31be3f58a012302662c6b297c4982ef70ac62e50c4851b690325",
        16,
    ),
    int(
        "dea701f133619024d7c4d217c5eb22fe456de47d28b097aac7b43240791544242a515ee0e364f4f8"
        "c15abfbc3aab86e5f05569c41f810148dea31904f9a4118868f6994b1247b1f19e9b7eed2dbf3ce4"
        "4237e748e27a2973b41753dc54cd2cccb8fe48a7b4f79639e34782c45358d5698b90fb571b487350"
        "d2a8d9f9b90b0cf7291d93d23edb13829c1b32832b1285901d771cf1416070e27a835ec1be6058b1"
        "747de9797078febb9afe8469bdd42a53e4d34906fefaf6077e4a737194422beb",
        16,
    ),
)
_STRANGER = (
    int(
        "fa23a95a2b925fe22c22e117027339ff3db8cb4553f8cdb5b41ccb81bb0e851a152e0b168dcc78e7"
        "eed3ea0c2225cabc9e8ab18c50dbe4636ed30965955f94dae6d2f6fd5041ab0c67d4c257343f1796"
        "570b6a6e40b66ed79ebe25a9e5e9c3cf16f76bd760095e61d8783309dc09d25492f46112bff069cf"
        "8f46547f3301224241e00a316677c791714df004a844a21c4acb11622f76312b5629d7ba85451963"
        "d4c3049b7ffa4511f817181e709c0a9b8d76c635c3c80604222d33e0f85e3ea7",
        16,
    ),
    int(
        "b54e405499fca10127897fee1ab74fb58ce69b2e0c7e083aba3f5f0bb85e268dd25daa92d5252837"
        "36195be7a76bd6fd7275edcde901e021c6a9e350a7bbba6bed71d805b18d79f7a39db9c711ad6e69"
        "2350985353c32cecc3f45794f8d8aeb3c51a9826028efc8a143cc24e23169837fbef5f6387f714e7"
        "9bf268475831a4e9dabde74eb69b482f3f80bacb47fc6530576ac5ed5655c8c5d760c4310e7aa339"
        "c4b8ab46d5fe2fb09c92e2e629d167a6183a0a94d296ed169543841c9679abad",
        16,
    ),
)


def _key(p: int, q: int) -> PrivateKey:
    d = pow(_EXPONENT, -1, (p - 1) * (q - 1))
    crt = rsa_crt_dmp1(d, p), rsa_crt_dmq1(d, q), rsa_crt_iqmp(p, q)
    numbers = RSAPrivateNumbers(p, q, d, *crt, RSAPublicNumbers(_EXPONENT, p * q))
    return PrivateKey(numbers.private_key())


def owner() -> PrivateKey:
    """Return the key that boards trust."""
    return _key(*_OWNER)


def stranger() -> PrivateKey:
    """Return a key that they do not trust."""
    return _key(*_STRANGER)
