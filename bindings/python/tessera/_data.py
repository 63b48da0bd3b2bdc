"""Batches and where they come from: packs, datasets and the tokenizer."""
import ctypes
import itertools
import json
from ctypes import byref, c_int64

from . import capi
from ._library import Owner, array, bad_argument, call, call_or, handle, i64, library, null_or, number, text, utf8


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
