"""Ranks: one seat in a job, or all of them as threads of this process."""
import contextlib
import threading
from ctypes import byref, c_int32

from . import capi
from ._config import options_of
from ._future import Future, take_nothing
from ._library import Error, Owner, bad_argument, call, handle, library, number, utf8


class World(Owner):
    """One rank's seat in a job. Options are the fields of tessera_world_options."""

    _type = capi.World

    @staticmethod
    def _options(config, options):
        return options_of(capi.WorldOptions, library.tessera_world_options_init, options,
                          library.tessera_world_options_load, config)

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
        return Future(take_nothing, library.tessera_world_close_async, self)

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


def _join(thread):
    # In steps: a signal that comes between the interpreter's last look and the wait would be seen only after the wait.
    while thread.is_alive():
        thread.join(0.1)


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
            _join(thread)
    except BaseException as interruption:  # a signal, such as Ctrl-C: the interpreter would wait for the ranks all the same
        for world in worlds:
            with contextlib.suppress(ValueError, Error):  # closed, perhaps this moment: its rank has ended
                world.abort(f"interrupted: {type(interruption).__name__}")
        for thread, world in zip(threads, worlds):
            _join(thread)
            world.close()
        raise
    for failure in failures:
        if not (isinstance(failure, Error) and failure.code == capi.E_PEER_FAILED):
            raise failure
    if failures:
        raise failures[0]
