"""Certificates no library would make: octets are changed and signed again by the authority."""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_RSA = bytes.fromhex("2a864886f70d0101")
"""1.2.840.113549.1.1; the last octet tells the digest."""
_DIGESTS: dict[int, hashes.HashAlgorithm] = {
    4: hashes.MD5(),  # noqa: S303  # too old on purpose
    5: hashes.SHA1(),  # noqa: S303  # too old on purpose
    11: hashes.SHA256(),
    14: hashes.SHA224(),
}


def element(tag: int, *contents: bytes) -> bytes:
    """One DER element."""
    content = b"".join(contents)
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(octets)]) + octets + content


def algorithm(last: int) -> bytes:
    """AlgorithmIdentifier of RSA PKCS #1 v1.5 with a digest, NULL parameters."""
    return element(0x30, element(0x06, _RSA, bytes([last])), element(0x05))


def sealed(to_be_signed: bytes, key: rsa.RSAPrivateKey, last: int = 11) -> bytes:
    """DER of a certificate or CRL whose signed part is `to_be_signed`."""
    signature = key.sign(to_be_signed, padding.PKCS1v15(), _DIGESTS[last])
    return element(0x30, to_be_signed, algorithm(last), element(0x03, b"\0", signature))


def forged(
    certificate: x509.Certificate, key: rsa.RSAPrivateKey, change: Callable[[bytes], bytes]
) -> bytes:
    """DER of `certificate` with its signed part changed, signed again; lengths must stay."""
    before = certificate.tbs_certificate_bytes
    after = change(before)
    assert after != before
    assert len(after) == len(before)
    return sealed(after, key)


def with_digest(certificate: x509.Certificate, key: rsa.RSAPrivateKey, last: int) -> bytes:
    """DER of `certificate`, signed again with another digest."""
    before = certificate.tbs_certificate_bytes
    after = before.replace(algorithm(11), algorithm(last), 1)
    assert after != before
    return sealed(after, key, last)
