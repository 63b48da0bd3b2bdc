"""An architecture, and what a job with it will do."""
from ctypes import byref, c_int64

from . import capi
from ._config import options_of
from ._library import Owner, call, handle, library, number, text, utf8


class Model(Owner):
    """An architecture from the text of a config.json; Model.open reads a Hugging Face directory."""

    _type = capi.Model

    def __init__(self, config_json, plugin=None):
        """`plugin` is a shared library with architectures of your own."""
        if plugin is None:
            super().__init__(handle(capi.Model, library.tessera_model_create, utf8(config_json)))
        else:
            super().__init__(handle(capi.Model, library.tessera_model_create_plugin, utf8(config_json), utf8(plugin)))

    @classmethod
    def open(cls, directory, plugin=None):
        if plugin is None:
            return cls._of(handle(capi.Model, library.tessera_model_open, utf8(directory)))
        return cls._of(handle(capi.Model, library.tessera_model_open_plugin, utf8(directory), utf8(plugin)))

    def __str__(self):
        return text(library.tessera_model_get_text, self)

    @property
    def parameter_count(self):
        """The number of parameters, tied ones once."""
        return number(c_int64, library.tessera_model_get_parameter_count, self)

    def set_tp_plan(self, name, plan):
        """Registers a tensor-parallel plan, a JSON or YAML map of name patterns and styles, for parallel.tp_plan=name."""
        call(library.tessera_model_set_tp_plan, self, utf8(name), utf8(plan))


def plan(model, config, world_size, part=capi.PLAN_SUMMARY):
    """What a job will do, as text; with part=capi.PLAN_SEARCH or PLAN_SEARCH_JSON the fastest meshes on config's cluster."""
    return text(library.tessera_plan_get_text, model, config, world_size, part)


def timeline(model, config, world_size, **options):
    """A picture of the step: text, or with format=capi.TIMELINE_COLOUR, TIMELINE_SVG or TIMELINE_TRACE. columns, backward,
    collective and transfer are the fields of tessera_timeline_options."""
    given = byref(options_of(capi.TimelineOptions, library.tessera_timeline_options_init, options))
    return text(library.tessera_plan_get_timeline, model, config, world_size, given)
