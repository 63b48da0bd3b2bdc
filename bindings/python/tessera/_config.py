"""Settings by key and text value, and the structs of options that are made from them."""
import ctypes
from ctypes import byref, c_int64

from . import capi
from ._library import Owner, call, fill, handle, library, number, text, utf8


class Config(Owner):
    """All settings: config["optimizer.lr"] = 3e-4. Keyword-like settings come as a dict."""

    _type = capi.Config

    def __init__(self, settings=()):
        super().__init__(handle(capi.Config, library.tessera_config_create))
        for key, value in dict(settings).items():
            self[key] = value

    def __setitem__(self, key, value):
        call(library.tessera_config_set, self, utf8(key), utf8(value))

    def __getitem__(self, key):
        return text(library.tessera_config_get, self, utf8(key))

    def load(self, path):
        """Sets keys from a YAML or JSON file, all or none."""
        call(library.tessera_config_load, self, utf8(path))
        return self

    def load_text(self, yaml):
        """Sets keys from YAML or JSON, all or none."""
        call(library.tessera_config_load_text, self, utf8(yaml))
        return self

    def yaml(self):
        """The keys that were set, as YAML."""
        return text(library.tessera_config_get_text, self)


def describe_key(key):
    """Type, bounds, default and meaning of a key, as a dict."""
    return _key_info(fill(capi.KeyInfo, library.tessera_key_info_init, library.tessera_key_describe, utf8(key)))


def keys():
    """All keys, in the order of the documentation."""
    return [_key_info(fill(capi.KeyInfo, library.tessera_key_info_init, library.tessera_key_get, i))
            for i in range(number(c_int64, library.tessera_key_count))]


def _key_info(info):
    out = {name: getattr(info, name).decode() for name in ("name", "default_value", "choices", "doc")}
    return {**out, "type": info.type, "min": info.min if info.has_min else None, "max": info.max if info.has_max else None}


def options_of(struct, init, values, load=None, config=None):
    """A struct of options: defaults, then what `load` takes from a Config, then values. Unknown names raise TypeError."""
    options = struct()
    init(byref(options), ctypes.sizeof(options))
    if config is not None:
        call(load, byref(options), config)
    fields = {name for name, _ in struct._fields_} - {"struct_size"}
    for name, value in values.items():
        if name not in fields:
            raise TypeError(f"there is no option {name}")
        setattr(options, name, utf8(value) if isinstance(value, str) else value)
    return options
