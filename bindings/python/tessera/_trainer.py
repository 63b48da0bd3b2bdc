"""One rank's part of training a model, and its checkpoints."""
import functools
from ctypes import byref, c_int64

from . import capi
from ._config import options_of
from ._future import Future, metrics_of, take_nothing
from ._library import Owner, array, call, fill, handle, i64, library, null_or, number, text, utf8
from ._mesh import Tensor, take_tensor


def _last_step(config):
    return int(config["train.steps"] or 0) if config is not None else 0


def _take_metrics(future):
    return metrics_of(fill(capi.Metrics, library.tessera_metrics_init, library.tessera_future_get_metrics, future))


def _take_tokens(future):
    return array(c_int64, library.tessera_future_get_tokens, future)


def _take_trainer(last_step, future):
    trainer = Trainer._of(handle(capi.Trainer, library.tessera_future_get_trainer, future))
    trainer._last_step = last_step
    return trainer


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
        return metrics_of(fill(capi.Metrics, library.tessera_metrics_init, function, self, *arguments))

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
        return byref(options_of(capi.GenerateOptions, library.tessera_generate_options_init, options))

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
        return Future(take_tensor, library.tessera_trainer_get_logits_async, self, batch)

    def parameter_names(self):
        """The Hugging Face names of all parameters."""
        count = number(c_int64, library.tessera_trainer_count_parameters, self)
        return [text(library.tessera_trainer_get_parameter_name, self, i) for i in range(count)]

    def parameter(self, name):
        """The full weight, gathered; a copy."""
        return Tensor(handle(capi.Tensor, library.tessera_trainer_get_parameter, self, utf8(name)))

    def parameter_async(self, name):
        """`parameter` without waiting: a Future."""
        return Future(take_tensor, library.tessera_trainer_get_parameter_async, self, utf8(name))

    def gradient(self, name):
        """The full gradient of the last forward_backward; a copy."""
        return Tensor(handle(capi.Tensor, library.tessera_trainer_get_gradient, self, utf8(name)))

    def gradient_async(self, name):
        """`gradient` without waiting: a Future."""
        return Future(take_tensor, library.tessera_trainer_get_gradient_async, self, utf8(name))

    def set_parameter(self, name, tensor):
        """Overwrites a weight with a full tensor of its shape, which every rank passes."""
        call(library.tessera_trainer_set_parameter, self, utf8(name), tensor)

    def set_parameter_async(self, name, tensor):
        """`set_parameter` without waiting: a Future."""
        return Future(take_nothing, library.tessera_trainer_set_parameter_async, self, utf8(name), tensor)

    def program(self, microbatches):
        """The compiled step, one instruction a line."""
        return text(library.tessera_trainer_get_program, self, microbatches)

    def save(self, directory, data=None):
        """Saves weights, optimizer, step and random state, and the position of a dataset."""
        call(library.tessera_checkpoint_save, self, utf8(directory), null_or(capi.Dataset, data))

    def save_async(self, directory, data=None):
        """`save` without waiting: a Future."""
        return Future(take_nothing, library.tessera_checkpoint_save_async, self, utf8(directory), null_or(capi.Dataset, data))

    def load(self, directory, data=None):
        """Continues from a checkpoint, whatever mesh wrote it, and moves a dataset to the saved position."""
        call(library.tessera_checkpoint_load, self, utf8(directory), null_or(capi.Dataset, data))

    def load_async(self, directory, data=None):
        """`load` without waiting: a Future."""
        return Future(take_nothing, library.tessera_checkpoint_load_async, self, utf8(directory), null_or(capi.Dataset, data))

    def export(self, directory, dtype=None):
        """Writes a Hugging Face directory in fp32, bf16, fp16, or the dtype of the master weights."""
        call(library.tessera_checkpoint_export, self, utf8(directory), dtype and utf8(dtype))

    def export_async(self, directory, dtype=None):
        """`export` without waiting: a Future."""
        return Future(take_nothing, library.tessera_checkpoint_export_async, self, utf8(directory), dtype and utf8(dtype))
