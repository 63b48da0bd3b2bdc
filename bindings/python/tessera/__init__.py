"""Tessera from Python: training of transformer language models over many devices, through the C library libtessera.

A thin layer on ctypes without dependencies. Owners are closed with close(), with `with`, or by the garbage collector; use of a
closed owner raises ValueError, as that of a closed file does. Other failures raise tessera.Error with code, name and rank. Calls
release the interpreter's lock, so ranks can be threads.
"""
from . import capi
from ._about import build_info, handle_count, log_level, set_log_level, status_name, status_text, version
from ._config import Config, describe_key, keys
from ._data import Batch, Dataset, Tokenizer, pack, pack_pieces
from ._future import Events, Future, set_log_events, wait_any
from ._library import Error
from ._mesh import Mesh, Tensor
from ._model import Model, plan, timeline
from ._trainer import Trainer
from ._world import World, run_rank, run_ranks

__all__ = ["Batch", "Config", "Dataset", "Error", "Events", "Future", "Mesh", "Model", "Tensor", "Tokenizer", "Trainer", "World",
           "build_info", "capi", "describe_key", "handle_count", "keys", "log_level", "pack", "pack_pieces", "plan", "run_rank",
           "run_ranks", "set_log_events", "set_log_level", "status_name", "status_text", "timeline", "version", "wait_any"]
