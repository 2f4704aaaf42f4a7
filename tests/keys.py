"""RSA keys, made once per process and shared: they are the slow part of every certificate.

Nothing of the server is imported here: a process that forks others makes the keys for all of them.
"""

from __future__ import annotations

from functools import cache

from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def key(number: int) -> rsa.RSAPrivateKey:
    """RSA 2048; another number is another key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
