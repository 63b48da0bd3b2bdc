"""Tessera from Python: training of transformer language models over many devices, through the C library libtessera.

A thin layer on ctypes without dependencies. Owners are closed with close(), with `with`, or by the garbage collector; use of a
closed owner raises ValueError, as that of a closed file does. Other failures raise tessera.Error with code, name and rank. Calls
release the interpreter's lock, so ranks can be threads.
"""
import contextlib
import ctypes
import functools
import itertools
import json
import threading
from ctypes import byref, c_char, c_int32, c_int64, c_size_t

from . import capi
from ._library import Error, Owner, array, bad_argument, call, call_or, fill, handle, i64, library, null_or, number, raw, text, utf8

__all__ = ["Batch", "Config", "Dataset", "Error", "Events", "Future", "Mesh", "Model", "Tensor", "Tokenizer", "Trainer", "World",
           "capi", "pack", "plan", "timeline", "run_ranks", "run_rank"]


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


def set_log_events(events):
    """Log lines go to a queue; None: to stderr again."""
    call(library.tessera_log_set_events, null_or(capi.Events, events))


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


def _metrics_of(struct):
    return {name: getattr(struct, name) for name, _ in struct._fields_ if name != "struct_size"}


def _options(struct, init, values):
    """A struct of options; unknown names raise TypeError."""
    options = struct()
    init(byref(options), ctypes.sizeof(options))
    fields = {name for name, _ in struct._fields_} - {"struct_size"}
    for name, value in values.items():
        if name not in fields:
            raise TypeError(f"there is no option {name}")
        setattr(options, name, utf8(value) if isinstance(value, str) else value)
    return options


class Future(Owner):
    """Work under way. Closing it does not stop the work."""

    _type = capi.Future

    def __init__(self, take, function, *arguments):
        self._take, self._keep = take, arguments
        super().__init__(handle(capi.Future, function, *arguments))

    def done(self):
        """Whether the work has ended, well or not."""
        done = number(c_int32, library.tessera_future_poll, self) != 0
        self._keep = () if done else self._keep
        return done

    def wait(self, timeout=None):
        """False when `timeout` seconds passed first."""
        ns = capi.FOREVER if timeout is None else int(timeout * 1e9)
        return call_or(capi.E_TIMEOUT, library.tessera_future_wait, self, ns)

    def result(self):
        """Waits, then returns what the blocking form returns. Objects are handed over once."""
        self.wait()
        self._keep = ()
        call(library.tessera_future_get_result, self)
        return self._take(self)

    def cancel(self):
        """Asks that work which has not begun is not begun. For collective work cancel on every rank."""
        call(library.tessera_future_cancel, self)


def wait_any(futures, timeout=None):
    """The index of the first future that has ended; None when `timeout` seconds passed first."""
    handles = (capi.Future * len(futures))(*map(raw, futures))
    index = c_int64()
    ns = capi.FOREVER if timeout is None else int(timeout * 1e9)
    done = call_or(capi.E_TIMEOUT, library.tessera_future_wait_any, handles, len(futures), ns, byref(index))
    return index.value if done else None


def _take_nothing(future):
    return None


def _take_metrics(future):
    return _metrics_of(fill(capi.Metrics, library.tessera_metrics_init, library.tessera_future_get_metrics, future))


def _take_tokens(future):
    return array(c_int64, library.tessera_future_get_tokens, future)


def _take_tensor(future):
    return Tensor(handle(capi.Tensor, library.tessera_future_get_tensor, future))


def _take_mesh(future):
    return Mesh._of(handle(capi.Mesh, library.tessera_future_get_mesh, future))


def _take_trainer(last_step, future):
    trainer = Trainer._of(handle(capi.Trainer, library.tessera_future_get_trainer, future))
    trainer._last_step = last_step
    return trainer


class Events(Owner):
    """A queue of metrics, log lines, failures and checkpoints."""

    _type = capi.Events

    def __init__(self, capacity=0):
        super().__init__(handle(capi.Events, library.tessera_events_create, capacity))

    def next(self, timeout=None):
        """The oldest event as a dict; None when none came within `timeout` seconds."""
        event = capi.Event()
        library.tessera_event_init(byref(event), ctypes.sizeof(event))
        ns = capi.FOREVER if timeout is None else int(timeout * 1e9)
        if not call_or(capi.E_TIMEOUT, library.tessera_events_next, self, ns, byref(event)):
            return None
        return {**_metrics_of(event), "message": event.message.decode(errors="replace")}


class World(Owner):
    """One rank's seat in a job. Options are the fields of tessera_world_options."""

    _type = capi.World

    @staticmethod
    def _options(config, options):
        made = _options(capi.WorldOptions, library.tessera_world_options_init, {})
        if config is not None:
            call(library.tessera_world_options_load, byref(made), config)
        for name, value in options.items():
            if name not in dict(capi.WorldOptions._fields_):
                raise TypeError(f"there is no option {name}")
            setattr(made, name, utf8(value) if isinstance(value, str) else value)
        return made

    def __init__(self, config=None, **options):
        made = self._options(config, options)
        super().__init__(handle(capi.World, library.tessera_world_create, byref(made)))

    @classmethod
    def from_environment(cls, config=None, **options):
        """The rank that torchrun, mpirun or srun describes; without a launcher one rank."""
        made = cls._options(config, options)
        return cls._of(handle(capi.World, library.tessera_world_create_from_environment, byref(made)))

    @classmethod
    def threads(cls, size, config=None, **options):
        """All ranks of a job in this process."""
        made = cls._options(config, options)
        if not 0 < size <= 65536:
            raise bad_argument(f"size={size} ranks in one process")
        handles = (capi.World * size)()
        call(library.tessera_world_create_threads, size, byref(made), handles)
        return [cls._of(capi.World(one.id)) for one in handles]

    @property
    def rank(self):
        """This rank's number, from 0."""
        return number(c_int32, library.tessera_world_get_rank, self)

    @property
    def size(self):
        """The number of ranks."""
        return number(c_int32, library.tessera_world_get_size, self)

    def leave(self):
        """Orderly end with all ranks; close() alone leaves them a failed peer."""
        call(library.tessera_world_close, self)

    def leave_async(self):
        """`leave` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_world_close_async, self)

    def abort(self, reason):
        """Tells all ranks that this one cannot go on."""
        call(library.tessera_world_abort, self, utf8(str(reason).replace("\0", " ")))


def run_rank(work, world):
    """Runs work(world) on one rank, then leaves the job. When it raises, the other ranks are told."""
    try:
        work(world)
        world.leave()
    except BaseException as failure:
        if world.is_open:
            world.abort(failure)
        raise


def run_ranks(size, work, config=None, **options):
    """Runs work(world) on a thread for each of `size` ranks. The exception that came first is raised, not its echoes. When a signal
    interrupts the caller, the ranks are told and waited for first."""
    failures = []

    def run(world):
        with world:
            try:
                run_rank(work, world)
            except BaseException as failure:  # goes to the caller
                failures.append(failure)

    worlds = World.threads(size, config, **options)
    threads = [threading.Thread(target=run, args=(world,)) for world in worlds]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as interruption:  # a signal, such as Ctrl-C: the interpreter would wait for the ranks all the same
        for world in worlds:
            with contextlib.suppress(ValueError):  # closed: its rank has ended
                world.abort(f"interrupted: {type(interruption).__name__}")
        for thread, world in zip(threads, worlds):
            if thread.is_alive():
                thread.join()
            world.close()
        raise
    for failure in failures:
        if not (isinstance(failure, Error) and failure.code == capi.E_PEER_FAILED):
            raise failure
    if failures:
        raise failures[0]


_ELEMENTS = {capi.DTYPE_F32: "f", capi.DTYPE_F64: "d", capi.DTYPE_F16: "e", capi.DTYPE_BF16: "H", capi.DTYPE_I64: "q",
             capi.DTYPE_I32: "i", capi.DTYPE_U8: "B"}


class Tensor(Owner):
    """A tensor in row-major order; its elements come and go as objects with the buffer protocol (bytes, array, numpy)."""

    _type = capi.Tensor

    @staticmethod
    def _make(function, dtype, dims, data, size):
        return Tensor(handle(capi.Tensor, function, dtype, i64(dims), len(dims), data, size))

    @classmethod
    def zeros(cls, dtype, dims):
        return cls._make(library.tessera_tensor_create, dtype, dims, None, 0)

    @classmethod
    def of(cls, dtype, dims, data):
        """A copy of `data`."""
        content = memoryview(data).tobytes()
        return cls._make(library.tessera_tensor_create, dtype, dims, content, len(content))

    @classmethod
    def view(cls, dtype, dims, data):
        """A tensor on the memory of a writable buffer, which collectives read and write in place."""
        memory = (c_char * memoryview(data).nbytes).from_buffer(data)
        tensor = cls._make(library.tessera_tensor_create_view, dtype, dims, memory, len(memory))
        tensor._memory = memory
        return tensor

    @classmethod
    def from_dlpack(cls, pointer):
        """Takes over a DLManagedTensorVersioned; on an exception the caller keeps it."""
        return cls(handle(capi.Tensor, library.tessera_tensor_create_dlpack, pointer))

    def dlpack(self):
        """The address of a DLManagedTensorVersioned without a copy; the caller releases it by its deleter."""
        return number(ctypes.c_void_p, library.tessera_tensor_get_dlpack, self)

    @property
    def dtype(self):
        """The element type, a capi.DTYPE_*."""
        return number(c_int32, library.tessera_tensor_get_dtype, self)

    @property
    def dims(self):
        """The sizes, outermost first."""
        return array(c_int64, library.tessera_tensor_get_dims, self)

    def data(self):
        """A copy of the elements as a memoryview of the tensor's shape; those of bf16 as their 16 bits."""
        length = c_size_t()
        call_or(capi.E_BUFFER, library.tessera_tensor_get_data, self, None, 0, byref(length))
        content = bytearray(length.value)
        memory = (c_char * len(content)).from_buffer(content)
        call(library.tessera_tensor_get_data, self, memory, len(content), byref(length))
        dims = self.dims
        return memoryview(content).cast(_ELEMENTS[self.dtype], dims) if dims else memoryview(content).cast(_ELEMENTS[self.dtype])

    def set_data(self, data):
        """Overwrites all elements from an object with the buffer protocol, in row-major order."""
        content = memoryview(data).tobytes()
        call(library.tessera_tensor_set_data, self, content, len(content))


class Mesh(Owner):
    """The ranks of a world laid out on axes. Degrees are keywords: dp_shard=4, tp=2."""

    _type = capi.Mesh

    @staticmethod
    def _options(config, degrees):
        options = _options(capi.MeshOptions, library.tessera_mesh_options_init, {})
        if config is not None:
            call(library.tessera_mesh_options_load, byref(options), config)
        for name, value in degrees.items():
            if name not in dict(capi.MeshOptions._fields_):
                raise TypeError(f"a mesh has no {name}")
            setattr(options, name, value)
        return options

    def __init__(self, world, config=None, **degrees):
        super().__init__(handle(capi.Mesh, library.tessera_mesh_create, world, byref(self._options(config, degrees))))

    @classmethod
    def create_async(cls, world, config=None, **degrees):
        """`create` without waiting: a Future."""
        return Future(_take_mesh, library.tessera_mesh_create_async, world, byref(cls._options(config, degrees)))

    def size(self, axis):
        """The number of ranks along an axis."""
        return number(c_int64, library.tessera_mesh_get_size, self, utf8(axis))

    def index(self, axis):
        """This rank's position along an axis."""
        return number(c_int64, library.tessera_mesh_get_index, self, utf8(axis))

    def ranks(self, axis):
        """The world ranks along an axis through this one."""
        return array(c_int32, library.tessera_mesh_get_ranks, self, utf8(axis))

    def __str__(self):
        return text(library.tessera_mesh_get_text, self)

    def barrier(self, axis):
        """Returns when every rank of the axis has called."""
        call(library.tessera_mesh_barrier, self, utf8(axis))

    def all_reduce(self, axis, tensor, reduce=capi.REDUCE_SUM):
        """Reduces the tensor over the axis, in place; `reduce` is a capi.REDUCE_*."""
        call(library.tessera_mesh_all_reduce, self, utf8(axis), tensor, reduce)

    def all_gather(self, axis, input, output):
        """Joins the inputs of all ranks along the axis in the output of each."""
        call(library.tessera_mesh_all_gather, self, utf8(axis), input, output)

    def reduce_scatter(self, axis, input, output, reduce=capi.REDUCE_SUM):
        """Reduces the inputs and leaves each rank its part."""
        call(library.tessera_mesh_reduce_scatter, self, utf8(axis), input, output, reduce)

    def all_to_all(self, axis, input, output):
        """Sends part i of the input to position i of the axis."""
        call(library.tessera_mesh_all_to_all, self, utf8(axis), input, output)

    def broadcast(self, axis, tensor, root):
        """Copies the tensor of position `root` to all others, in place."""
        call(library.tessera_mesh_broadcast, self, utf8(axis), tensor, root)

    def barrier_async(self, axis):
        """`barrier` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_mesh_barrier_async, self, utf8(axis))

    def all_reduce_async(self, axis, tensor, reduce=capi.REDUCE_SUM):
        """`all_reduce` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_mesh_all_reduce_async, self, utf8(axis), tensor, reduce)

    def all_gather_async(self, axis, input, output):
        """`all_gather` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_mesh_all_gather_async, self, utf8(axis), input, output)

    def reduce_scatter_async(self, axis, input, output, reduce=capi.REDUCE_SUM):
        """`reduce_scatter` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_mesh_reduce_scatter_async, self, utf8(axis), input, output, reduce)

    def all_to_all_async(self, axis, input, output):
        """`all_to_all` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_mesh_all_to_all_async, self, utf8(axis), input, output)

    def broadcast_async(self, axis, tensor, root):
        """`broadcast` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_mesh_broadcast_async, self, utf8(axis), tensor, root)


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
    given = byref(_options(capi.TimelineOptions, library.tessera_timeline_options_init, options))
    return text(library.tessera_plan_get_timeline, model, config, world_size, given)


def pack(packer, lengths, capacity, seed=0):
    """The pack of each document, and how many packs there are."""
    packs, count = (c_int64 * (len(lengths) or 1))(), c_int64()
    call(library.tessera_pack_create, utf8(packer), i64(lengths), len(lengths), capacity, seed, packs, byref(count))
    return list(packs[:len(lengths)]), count.value


def pack_pieces(config, lengths):
    """The rows that a dataset with these keys makes of documents of these lengths: (row, document, begin, length) of each piece
    of a document."""
    numbers = array(c_int64, library.tessera_pack_get_pieces, config, i64(lengths), len(lengths), guess=6 * len(lengths) + 64)
    return list(zip(*[iter(numbers)] * 4))


def _labels(labels, tokens):
    if labels is not None and len(labels) != len(tokens):
        raise bad_argument(f"{len(labels)} labels for {len(tokens)} tokens")
    return None if labels is None else i64(labels)


class Batch(Owner):
    """One rank's share of a step: micro-batches, each of which is some documents end to end."""

    _type = capi.Batch

    def __init__(self):
        super().__init__(handle(capi.Batch, library.tessera_batch_create))

    def push(self, tokens, lengths, labels=None):
        """Appends one micro-batch; without labels the tokens are their own."""
        call(library.tessera_batch_push, self, i64(tokens), _labels(labels, tokens), len(tokens), i64(lengths), len(lengths))

    def __len__(self):
        return number(c_int64, library.tessera_batch_count, self)

    def count_tokens(self):
        """Tokens, and labels that are trained on."""
        tokens, labels = c_int64(), c_int64()
        call(library.tessera_batch_count_tokens, self, byref(tokens), byref(labels))
        return tokens.value, labels.value

    def array(self, index, which):
        """One array (a capi.BATCH_*) of micro-batch `index`."""
        return array(c_int64, library.tessera_batch_get_array, self, index, which)

    def push_form(self, form, tokens, index, labels=None, labels_shifted=False, extent=0, layout=None):
        """Appends a micro-batch from another form of packed documents, a capi.BATCH_FORM_* that `index` tells."""
        call(library.tessera_batch_push_form, self, null_or(capi.Config, layout), form, i64(tokens), _labels(labels, tokens),
             len(tokens), int(labels_shifted), i64(index), len(index), extent)

    def rows(self, index, row_length=0, pad_token=0):
        """Micro-batch `index` as one padded row for each document: tokens, labels in their positions, position ids and
        attention mask, each a list of rows."""
        numbers = array(c_int64, library.tessera_batch_get_rows, self, index, row_length, pad_token)
        count = len(self.array(index, capi.BATCH_CU_SEQLENS)) - 1
        width = len(numbers) // (4 * count)
        rows = [numbers[at:at + width] for at in range(0, len(numbers), width)]
        return tuple(rows[part * count:(part + 1) * count] for part in range(4))


def _capsule(capsule, name):
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(capsule, name)


class Dataset(Owner):
    """The files of data.*; iterating gives this rank's share of each step. Dataset.create makes one that is pushed."""

    _type = capi.Dataset

    def __init__(self, config, mesh=None, model=None):
        super().__init__(self._make(library.tessera_dataset_open, config, mesh, model))

    @classmethod
    def create(cls, config, mesh=None, model=None):
        return cls._of(cls._make(library.tessera_dataset_create, config, mesh, model))

    @staticmethod
    def _make(function, config, mesh, model):
        return handle(capi.Dataset, function, config, null_or(capi.Mesh, mesh), null_or(capi.Model, model))

    def push(self, tokens, labels=None):
        """Appends a document to a dataset without files; without labels the tokens are their own."""
        call(library.tessera_dataset_push, self, i64(tokens), _labels(labels, tokens), len(tokens))

    def push_arrow(self, batch):
        """The rows of a record batch of pyarrow, or of anything with __arrow_c_array__."""
        schema, array = (_capsule(part, name) for part, name in
                         zip(batch.__arrow_c_array__(), (b"arrow_schema", b"arrow_array")))
        call(library.tessera_dataset_push_arrow, self, schema, array)

    def push_end(self):
        """No more documents will be pushed."""
        call(library.tessera_dataset_push_end, self)

    def __iter__(self):
        return self

    def __next__(self):
        batch = capi.Batch()
        if not call_or(capi.E_END, library.tessera_dataset_next, self, byref(batch)):
            raise StopIteration
        return Batch._of(batch)

    @property
    def state(self):
        """The position in the data, as text for `set_state`."""
        return text(library.tessera_dataset_get_state, self)

    @state.setter
    def state(self, state):
        """The position in the data, as text for `set_state`."""
        call(library.tessera_dataset_set_state, self, utf8(state))

    def count_steps(self):
        """Steps in one pass; -1 when that is not known."""
        return number(c_int64, library.tessera_dataset_count_steps, self)

    def report(self):
        """Counts of the whole data, as a dict."""
        return json.loads(text(library.tessera_dataset_get_report, self))

    def lengths(self):
        """Tokens of each document, in the order of the data."""
        return array(c_int64, library.tessera_dataset_get_lengths, self)


class Tokenizer(Owner):
    """Text to token ids and back, as a Hugging Face directory says."""

    _type = capi.Tokenizer

    def __init__(self, directory):
        super().__init__(handle(capi.Tokenizer, library.tessera_tokenizer_open, utf8(directory)))

    def __len__(self):
        return number(c_int64, library.tessera_tokenizer_count, self)

    def encode(self, words, add_special=True):
        """The token ids of a text."""
        content = words.encode()
        return array(c_int64, library.tessera_tokenizer_encode, self, content, len(content), int(add_special))

    def encode_batch(self, texts, add_special=True):
        """Many texts, on many threads: a list of ids for each."""
        contents = [words.encode() for words in texts]
        ends = list(itertools.accumulate(map(len, contents)))
        id_ends = (c_int64 * max(1, len(ends)))()
        content = b"".join(contents)
        ids = array(c_int64, library.tessera_tokenizer_encode_batch, self, content, len(content), i64(ends or [0]),
                    len(ends), int(add_special), id_ends, guess=len(content) // 2 + 256)
        bounds = [0, *id_ends[:len(ends)]]
        return [ids[begin:end] for begin, end in zip(bounds, bounds[1:])]

    def decode(self, ids, skip_special=False):
        """The text of token ids."""
        return text(library.tessera_tokenizer_decode, self, i64(ids), len(ids), int(skip_special))

    def chat_text(self, conversation, add_generation_prompt=False):
        """A conversation as the chat template prints it."""
        return text(library.tessera_tokenizer_get_chat_text, self, utf8(conversation), int(add_generation_prompt))

    def encode_chat(self, conversation):
        """A conversation (JSON) as tokens and labels."""
        labels = None

        def both(tokenizer, json, tokens, cap, length, err):
            nonlocal labels
            labels = (c_int64 * cap)()
            return library.tessera_tokenizer_encode_chat(tokenizer, json, tokens, labels, cap, length, err)

        tokens = array(c_int64, both, self, utf8(conversation))
        return tokens, list(labels[:len(tokens)])


def _last_step(config):
    return int(config["train.steps"] or 0) if config is not None else 0


class Trainer(Owner):
    """One rank's part of training a model on a mesh. What waits for other ranks has a twin ..._async that returns a Future."""

    _type = capi.Trainer

    def __init__(self, mesh, model, config=None):
        super().__init__(handle(capi.Trainer, library.tessera_trainer_create, mesh, model, null_or(capi.Config, config)))
        self._last_step = _last_step(config)

    @classmethod
    def create_async(cls, mesh, model, config=None):
        """`create` without waiting: a Future."""
        take = functools.partial(_take_trainer, _last_step(config))
        return Future(take, library.tessera_trainer_create_async, mesh, model, null_or(capi.Config, config))

    def set_events(self, events):
        """Metrics, failures and checkpoints go to a queue; None: nowhere."""
        call(library.tessera_trainer_set_events, self, null_or(capi.Events, events))

    def _measure(self, function, *arguments):
        return _metrics_of(fill(capi.Metrics, library.tessera_metrics_init, function, self, *arguments))

    def step(self, batch):
        """One optimizer step over this rank's micro-batches; its metrics as a dict."""
        return self._measure(library.tessera_trainer_step, batch)

    def steps(self, data):
        """Trains on a dataset until it is used up, or until `step_count` is train.steps of the configuration that the trainer was
        made with: a step for each turn of the loop, which gets its metrics."""
        while not self._last_step or self.step_count < self._last_step:
            batch = next(data, None)
            if batch is None:
                return
            with batch:
                metrics = self.step(batch)
            yield metrics

    def forward_backward(self, batch, label_tokens=0):
        """Adds the gradients of a batch. `label_tokens` is what the loss is divided by; 0: the labels of this batch."""
        return self._measure(library.tessera_trainer_forward_backward, batch, label_tokens)

    def optimizer_step(self):
        """Clips the gradients, updates the weights and forgets the gradients."""
        return self._measure(library.tessera_trainer_optimizer_step)

    def evaluate(self, batch):
        """The metrics of a batch, without gradients."""
        return self._measure(library.tessera_trainer_evaluate, batch)

    def step_async(self, batch):
        """`step` without waiting: a Future."""
        return Future(_take_metrics, library.tessera_trainer_step_async, self, batch)

    def forward_backward_async(self, batch, label_tokens=0):
        """`forward_backward` without waiting: a Future."""
        return Future(_take_metrics, library.tessera_trainer_forward_backward_async, self, batch, label_tokens)

    def optimizer_step_async(self):
        """`optimizer_step` without waiting: a Future."""
        return Future(_take_metrics, library.tessera_trainer_optimizer_step_async, self)

    def evaluate_async(self, batch):
        """`evaluate` without waiting: a Future."""
        return Future(_take_metrics, library.tessera_trainer_evaluate_async, self, batch)

    def zero_grad(self):
        """Forgets the gradients."""
        call(library.tessera_trainer_zero_grad, self)

    @property
    def step_count(self):
        """Optimizer steps so far, also those before a checkpoint was loaded."""
        return number(c_int64, library.tessera_trainer_get_step_count, self)

    @staticmethod
    def _generate_options(options):
        return byref(_options(capi.GenerateOptions, library.tessera_generate_options_init, options))

    def generate(self, prompt, **options):
        """The tokens that follow the prompt; max_new_tokens, temperature, top_k, top_p, seed."""
        return array(c_int64, library.tessera_trainer_generate, self, i64(prompt), len(prompt), self._generate_options(options))

    def generate_async(self, prompt, **options):
        """`generate` without waiting: a Future."""
        return Future(_take_tokens, library.tessera_trainer_generate_async, self, i64(prompt), len(prompt),
                      self._generate_options(options))

    def logits(self, batch):
        """Logits of a batch's first micro-batch, (tokens, vocabulary), as a Tensor."""
        return Tensor(handle(capi.Tensor, library.tessera_trainer_get_logits, self, batch))

    def logits_async(self, batch):
        """`logits` without waiting: a Future."""
        return Future(_take_tensor, library.tessera_trainer_get_logits_async, self, batch)

    def parameter_names(self):
        """The Hugging Face names of all parameters."""
        count = number(c_int64, library.tessera_trainer_count_parameters, self)
        return [text(library.tessera_trainer_get_parameter_name, self, i) for i in range(count)]

    def parameter(self, name):
        """The full weight, gathered; a copy."""
        return Tensor(handle(capi.Tensor, library.tessera_trainer_get_parameter, self, utf8(name)))

    def parameter_async(self, name):
        """`parameter` without waiting: a Future."""
        return Future(_take_tensor, library.tessera_trainer_get_parameter_async, self, utf8(name))

    def gradient(self, name):
        """The full gradient of the last forward_backward; a copy."""
        return Tensor(handle(capi.Tensor, library.tessera_trainer_get_gradient, self, utf8(name)))

    def gradient_async(self, name):
        """`gradient` without waiting: a Future."""
        return Future(_take_tensor, library.tessera_trainer_get_gradient_async, self, utf8(name))

    def set_parameter(self, name, tensor):
        """Overwrites a weight with a full tensor of its shape, which every rank passes."""
        call(library.tessera_trainer_set_parameter, self, utf8(name), tensor)

    def set_parameter_async(self, name, tensor):
        """`set_parameter` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_trainer_set_parameter_async, self, utf8(name), tensor)

    def program(self, microbatches):
        """The compiled step, one instruction a line."""
        return text(library.tessera_trainer_get_program, self, microbatches)

    def save(self, directory, data=None):
        """Saves weights, optimizer, step and random state, and the position of a dataset."""
        call(library.tessera_checkpoint_save, self, utf8(directory), null_or(capi.Dataset, data))

    def save_async(self, directory, data=None):
        """`save` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_checkpoint_save_async, self, utf8(directory), null_or(capi.Dataset, data))

    def load(self, directory, data=None):
        """Continues from a checkpoint, whatever mesh wrote it, and moves a dataset to the saved position."""
        call(library.tessera_checkpoint_load, self, utf8(directory), null_or(capi.Dataset, data))

    def load_async(self, directory, data=None):
        """`load` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_checkpoint_load_async, self, utf8(directory), null_or(capi.Dataset, data))

    def export(self, directory, dtype=None):
        """Writes a Hugging Face directory in fp32, bf16, fp16, or the dtype of the master weights."""
        call(library.tessera_checkpoint_export, self, utf8(directory), dtype and utf8(dtype))

    def export_async(self, directory, dtype=None):
        """`export` without waiting: a Future."""
        return Future(_take_nothing, library.tessera_checkpoint_export_async, self, utf8(directory), dtype and utf8(dtype))
