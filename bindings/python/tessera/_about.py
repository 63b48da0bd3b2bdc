"""The library itself: its version, live objects, and how much it logs."""
from ctypes import c_int32, c_int64

from . import capi
from ._library import call, library, number, text


def version():
    """The version of the library, such as "0.1.0"."""
    return library.tessera_version_string().decode()


def build_info():
    """What the library was built with and runs on, one "name: value" a line."""
    return text(library.tessera_build_info)


def status_name(code):
    """The name of a status, such as "E_ARGUMENT"."""
    return library.tessera_status_name(code).decode()


def status_text(code):
    """A status in plain words."""
    return library.tessera_status_string(code).decode()


def handle_count(kind=capi.KIND_ANY):
    """Live native objects of a kind, to find leaks."""
    return number(c_int64, library.tessera_handle_count, kind)


def set_log_level(level):
    """Lines below the level (a capi.LOG_*) are not written. Holds for the whole process."""
    call(library.tessera_log_set_level, level)


def log_level():
    """The present level."""
    return number(c_int32, library.tessera_log_get_level)
