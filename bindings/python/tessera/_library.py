"""How functions of the library are called: errors, owners of native objects, text and arrays out."""
import ctypes
import os
import weakref
from ctypes import byref, c_int64, c_size_t

from . import capi


def _load():
    # TESSERA_LIBRARY, or what the system's loader finds.
    loaded = ctypes.CDLL(os.environ.get("TESSERA_LIBRARY", f"libtessera.so.{capi.VERSION_MAJOR}.{capi.VERSION_MINOR}"))
    for name, (result, arguments) in capi.FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    if loaded.tessera_abi_version() != capi.ABI_VERSION:
        raise ImportError(f"the library's abi={loaded.tessera_abi_version()} is not {capi.ABI_VERSION}")
    return loaded


library = _load()


class Error(Exception):
    """A failed call: code (a capi.E_*), name, rank that failed first (-1: this one or unknown), domain, native_code."""

    def __init__(self, code, message, rank=-1, domain=0, native_code=0):
        super().__init__(message)
        self.code, self.rank, self.domain, self.native_code = code, rank, domain, native_code

    @property
    def name(self):
        """The code's name, such as "E_ARGUMENT"."""
        return library.tessera_status_name(self.code).decode()


def bad_argument(message):
    return Error(capi.E_ARGUMENT, message)


class Owner:
    """Something that owns a native object."""

    def __init__(self, native):
        self._handle = native
        destroy = getattr(library, f"tessera_{self._type.__name__.lower()}_destroy")
        # Destroying never blocks, so the collector may do it, on any thread.
        self._finalizer = weakref.finalize(self, destroy, self._type(native.id))
        self._finalizer.atexit = False

    @classmethod
    def _of(cls, native):
        owner = cls.__new__(cls)
        Owner.__init__(owner, native)
        return owner

    @property
    def is_open(self):
        """Whether it was not closed."""
        return self._finalizer.alive

    def close(self):
        """Gives the native object up at once. It never blocks and may be called again."""
        self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def raw(value):
    if not isinstance(value, Owner):
        return value
    if not value.is_open:
        raise ValueError(f"{type(value).__name__} is closed")
    return value._handle


def null_or(kind, owner):
    """An owner, or the null handle for None."""
    return kind() if owner is None else owner


def call_or(accepted, function, *arguments):
    """Calls function(arguments..., err); True, or False for the one status that is no failure, or an exception."""
    err = capi.Error()
    status = function(*map(raw, arguments), byref(err))
    if status == capi.OK:
        return True
    if status == accepted:
        return False
    raise Error(status, err.message.decode(errors="replace"), err.rank, err.domain, err.native_code)


def call(function, *arguments):
    call_or(capi.OK, function, *arguments)


def handle(kind, function, *arguments):
    out = kind()
    call(function, *arguments, byref(out))
    return out


def number(kind, function, *arguments):
    out = kind()
    call(function, *arguments, byref(out))
    return out.value


def fill(struct, init, function, *arguments):
    """A struct that the library fills."""
    out = struct()
    init(byref(out), ctypes.sizeof(out))
    call(function, *arguments, byref(out))
    return out


def _read(kind, extra, function, arguments, guess=256):
    size = guess
    while True:
        out, length = (kind * size)(), c_size_t()
        if call_or(capi.E_BUFFER, function, *arguments, out, size, byref(length)):
            return out, length.value
        size = length.value + extra  # the length may change between two calls


def array(kind, function, *arguments, guess=256):
    out, length = _read(kind, 0, function, arguments, guess)
    return list(out[:length])


def text(function, *arguments):
    out, length = _read(ctypes.c_char, 1, function, arguments)
    return out.raw[:length].decode(errors="replace")


def utf8(value):
    """Text for C, which would cut it at a NUL."""
    encoded = os.fsencode(value) if isinstance(value, os.PathLike) else str(value).encode()
    if b"\0" in encoded:
        raise ValueError(f"text {value!r:.40} contains a NUL")
    return encoded


def i64(values):
    return (c_int64 * (len(values) or 1))(*values)
