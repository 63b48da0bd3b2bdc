"""Work under way, and the queue of what happens meanwhile."""
import ctypes
from ctypes import byref, c_int32, c_int64

from . import capi
from ._library import Owner, call, call_or, handle, library, null_or, number, raw


def metrics_of(struct):
    return {name: getattr(struct, name) for name, _ in struct._fields_ if name != "struct_size"}


def _nanoseconds(timeout):
    """Of a timeout in seconds, None for one without end."""
    return capi.FOREVER if timeout is None else int(timeout * 1e9)


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
        return call_or(capi.E_TIMEOUT, library.tessera_future_wait, self, _nanoseconds(timeout))

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
    done = call_or(capi.E_TIMEOUT, library.tessera_future_wait_any, handles, len(futures), _nanoseconds(timeout), byref(index))
    return index.value if done else None


def take_nothing(future):
    return None


class Events(Owner):
    """A queue of metrics, log lines, failures and checkpoints."""

    _type = capi.Events

    def __init__(self, capacity=0):
        super().__init__(handle(capi.Events, library.tessera_events_create, capacity))

    def next(self, timeout=None):
        """The oldest event as a dict; None when none came within `timeout` seconds."""
        event = capi.Event()
        library.tessera_event_init(byref(event), ctypes.sizeof(event))
        if not call_or(capi.E_TIMEOUT, library.tessera_events_next, self, _nanoseconds(timeout), byref(event)):
            return None
        return {**metrics_of(event), "message": event.message.decode(errors="replace")}


def set_log_events(events):
    """Log lines go to a queue; None: to stderr again."""
    call(library.tessera_log_set_events, null_or(capi.Events, events))
