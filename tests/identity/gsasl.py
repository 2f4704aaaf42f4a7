"""SCRAM as a library of others plays it: the client side of GNU SASL, which mutt comes with."""

from __future__ import annotations

import base64
import ctypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_AUTHID, _PASSWORD, _TLS_UNIQUE, _TLS_EXPORTER = 1, 3, 17, 25
_OK, _NEEDS_MORE, _NO_CALLBACK = 0, 1, 51

_lib = ctypes.CDLL("libgsasl.so.18")
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
_lib.gsasl_callback_set.argtypes = [ctypes.c_void_p, _Callback]
_lib.gsasl_client_start.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_lib.gsasl_property_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p]
_lib.gsasl_finish.argtypes = _lib.gsasl_done.argtypes = [ctypes.c_void_p]
_lib.gsasl_free.argtypes = [ctypes.c_void_p]
_lib.gsasl_step.argtypes = [
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_size_t,
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.POINTER(ctypes.c_size_t),
]


class Failed(Exception):
    """GNU SASL does not go on; its own code."""


class Client:
    """One exchange."""

    def __init__(self, session: ctypes.c_void_p) -> None:
        self._session = session
        self.is_done = False

    def step(self, challenge: bytes) -> bytes:
        """The answer to a decoded challenge. Raises Failed, for a wrong server signature too."""
        output, octets = ctypes.c_void_p(), ctypes.c_size_t()
        code = _lib.gsasl_step(
            self._session,
            challenge,
            len(challenge),
            ctypes.byref(output),
            ctypes.byref(octets),
        )
        if code not in (_OK, _NEEDS_MORE):
            raise Failed(code)
        self.is_done = code == _OK
        said = ctypes.string_at(output, octets.value) if output.value else b""
        _lib.gsasl_free(output)
        return said


@contextmanager
def client(
    mechanism: str, login: str, password: str, bindings: Mapping[str, bytes] | None = None
) -> Iterator[Client]:
    """A client that knows the bindings of its connection, if any."""
    known = bindings or {}
    asked: list[int] = []

    def callback(context: int, session: int, wanted: int) -> int:
        asked.append(wanted)
        binding = known.get({_TLS_EXPORTER: "tls-exporter"}.get(wanted, ""))
        if binding is None:
            return _NO_CALLBACK
        _lib.gsasl_property_set(session, wanted, base64.b64encode(binding))
        return _OK

    context, session = ctypes.c_void_p(), ctypes.c_void_p()
    kept = _Callback(callback)
    assert _lib.gsasl_init(ctypes.byref(context)) == _OK
    _lib.gsasl_callback_set(context, kept)
    assert _lib.gsasl_client_start(context, mechanism.encode(), ctypes.byref(session)) == _OK
    _lib.gsasl_property_set(session, _AUTHID, login.encode())
    _lib.gsasl_property_set(session, _PASSWORD, password.encode())
    try:
        yield Client(session)
    finally:
        _lib.gsasl_finish(session)
        _lib.gsasl_done(context)
