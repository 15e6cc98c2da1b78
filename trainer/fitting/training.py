"""The training loop: epochs of mini-batches on arrays that are made once, resumable at every batch."""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from edge_runtime.array_types import Array
from edge_runtime.files import PathLike
from trainer.errors import CheckpointError, TrainingDiverged, TrainingStopped
from trainer.fitting.batches import Batch, Rows
from trainer.fitting.checkpoint import CHECKPOINT_MAX_BYTES, check_same_run, read_checkpoint, write_checkpoint
from trainer.fitting.early_stopping import EarlyStopping
from trainer.fitting.interrupts import deferred_interrupt
from trainer.fitting.options import TrainingOptions
from trainer.fitting.throttle import Throttle
from trainer.history import EpochRecord, History
from trainer.losses import Loss
from trainer.network import FlatParameters, LayerChain

FLUSH_EVERY, NEGLIGIBLE = 64, 1e-30  # steps, and the magnitude below which a value is 0 to all purposes
_MOST = 1 << 53  # of a counter: float64, in which rates are computed, holds no larger whole numbers
_LARGE = 30.0  # beyond this, inputs and targets are not of a size to learn from
PENALTY_CHUNK = 1 << 13  # entries of the L2 penalty's scratch array: it stays in the nearest cache


class TrainingRun:
    """One call of `fit`, with everything that it needs to go on after any batch.

    epoch: finished epochs. offset: rows of the present epoch that were trained on. order: the rows' order in this
    epoch, which the next one shuffles further. step: updates so far. sums: of loss and metric over the rows of this
    epoch.
    """

    def __init__(
        self,
        chain: LayerChain,
        parameters: FlatParameters,
        rng: np.random.Generator,
        options: TrainingOptions,
        loss: Loss,
        l2_lambda: float,
        rows: Rows,
        validation: Rows | None,
        settings: dict[str, Any],
        throttle: Throttle,
    ) -> None:
        self.chain, self.parameters, self.rng = chain, parameters, rng
        self.options, self.loss, self.l2_lambda = options, loss, l2_lambda
        self.rows, self.validation = rows, validation
        self.settings, self.throttle = settings, throttle
        self.batch_size = min(options.batch_size or len(rows), len(rows))
        is_watching = validation is not None or options.patience is not None
        self.stopping = EarlyStopping(options.patience, options.min_delta, is_watching, parameters)
        self.slots = options.optimizer.start(parameters.values.size, parameters.values.dtype)
        self.order = np.arange(len(rows), dtype=np.int64) if rows.picked is None else rows.picked.copy()
        self.epoch = self.offset = self.step = 0
        self.sums = [0.0, 0.0]
        self.history = History(metric_name=rows.targets.metric_name)
        self._penalty = np.empty(min(PENALTY_CHUNK, parameters.decayed), parameters.values.dtype)
        if options.resume is not None:
            self._resume(options.resume)

    def start_from_present(self) -> EpochRecord:
        """Let the weights that the run begins with be the best ones, until an epoch is better on the validation rows.

        Of epochs that are equal by what is monitored, the one of least loss is better; where nothing is said of what is
        monitored, none of a higher loss than now is: that a few more rows come out right may be chance. Returns what
        the weights reach there, as the record of epoch 0. The run must have validation rows.
        """
        assert self.validation is not None
        self.check_batch = Batch(self.validation, self.batch_size, gathers=False)
        loss, metric = self._validate()
        record = EpochRecord(0, self.learning_rate, loss, metric, loss, metric)
        self.stopping.best_value, self.stopping.least_loss = self._watched(record), loss
        self.stopping.most_loss = loss if self.options.monitor is None else None
        return record

    def run(self) -> History:
        """Train to the end; the network then has the kept weights. Raises TrainingDiverged, KeyboardInterrupt."""
        self.batch = Batch(self.rows, self.batch_size, gathers=self._gathers)
        if self.validation is not None:
            self.check_batch = Batch(self.validation, self.batch_size, gathers=False)
        self._save()  # a run that is killed in its first epoch can be continued as well
        with deferred_interrupt(self.options.checkpoint is not None) as request:
            self.stop_request = request
            try:
                with np.errstate(all="ignore"):  # overflow is looked for where it matters, and reported with its place
                    while self.epoch < self.options.epochs and not self.stopping.should_stop:
                        self._train_epoch()
                        self._finish_epoch()
                        if request.is_set:
                            self._interrupt()
            except TrainingDiverged:
                self.stopping.restore(self.parameters)
                raise
            except KeyboardInterrupt as stop:
                if self.options.checkpoint is None:  # a batch may be half done
                    self.stopping.restore(self.parameters)
                raise TrainingStopped(str(stop), self.stopping.best_epoch) from None
        self.stopping.restore(self.parameters)
        return self.history

    @property
    def _gathers(self) -> bool:
        """Whether batches are copied together; else they are parts of the data as they stand."""
        return self.options.shuffle or self.rows.picked is not None or self.options.augment is not None

    @property
    def learning_rate(self) -> float:
        """Of the present epoch."""
        options = self.options
        return float(options.learning_rate * options.schedule.factor(self.epoch, options.epochs))

    def _train_epoch(self) -> None:
        if self.offset == 0:
            self.sums = [0.0, 0.0]
            if self.options.shuffle:
                self.rng.shuffle(self.order)
        rate, size, total = self.learning_rate, self.batch_size, len(self.rows)
        throttled = self.throttle.is_active
        self.throttle.start()
        while self.offset < total:
            rows = min(size, total - self.offset)
            self._resize(self.batch, rows)
            self._train_batch(rows, rate)
            self.offset += rows
            if throttled:
                self.throttle.catch_up()
            if self.stop_request.is_set:
                self._interrupt()

    def _train_batch(self, rows: int, rate: float) -> None:
        batch, chain, values = self.batch, self.chain, self.parameters
        if self._gathers:
            batch.gather(self.order[self.offset : self.offset + rows])
        else:
            batch.view(self.offset)
        if self.options.augment is not None:
            self.options.augment.move(batch.x, self.rng)
        outputs = chain.forward(batch.x, self.rng)
        loss, metric = batch.measure(self.loss, outputs)
        if not math.isfinite(loss):
            self._fail("the loss")
        self.sums[0] += loss
        self.sums[1] += metric
        gradient_scale = rate if self.options.optimizer.takes_scaled_gradient else 1.0
        per_row = self.loss.per_row(outputs.shape[1])
        chain.backward(self.loss, batch.targets, batch.weight, gradient_scale * per_row / rows)
        self.step += 1
        if self.step % FLUSH_EVERY == 0:
            self._flush_tiny()
        if self.l2_lambda:
            self._penalize(rate, gradient_scale)
        self.options.optimizer.step(values.values, values.gradients, self.slots, self.step, rate)

    def _penalize(self, rate: float, gradient_scale: float) -> None:
        """Add the gradient of l2_lambda / 2 * sum(w^2), or for decoupled rules shrink the weights themselves."""
        parameters, decayed = self.parameters, self.parameters.decayed
        kind = parameters.values.dtype.type
        if self.options.optimizer.is_decoupled:
            weights = parameters.values[:decayed]
            np.multiply(weights, kind(1.0 - rate * self.l2_lambda), out=weights)
            return
        for start in range(0, decayed, PENALTY_CHUNK):
            part = slice(start, min(start + PENALTY_CHUNK, decayed))
            scratch = self._penalty[: part.stop - start]
            np.multiply(parameters.values[part], kind(gradient_scale * self.l2_lambda), out=scratch)
            np.add(parameters.gradients[part], scratch, out=parameters.gradients[part])

    def _flush_tiny(self) -> None:
        """Values that fade away (unused weights under an L2 penalty, means of vanished gradients) become 0 at once.

        Left alone they end below float32's normal range, where processors are ten to a hundred times slower.
        """
        for array in (self.parameters.values, *self.slots):
            for start in range(0, array.size, PENALTY_CHUNK):
                part = array[start : start + PENALTY_CHUNK]
                part[(part < NEGLIGIBLE) & (part > -NEGLIGIBLE)] = 0

    def _finish_epoch(self) -> None:
        if not np.isfinite(self.parameters.values.min()) or not np.isfinite(self.parameters.values.max()):
            self._fail("a weight")
        total, rate = len(self.rows), self.learning_rate
        checked = (None, None) if self.validation is None else self._validate()
        self.epoch += 1
        self.offset = 0
        record = EpochRecord(self.epoch, rate, self.sums[0] / total, self.sums[1] / total, *checked)
        self.history.records.append(record)
        self.stopping.update(self.epoch, self._watched(record), self.parameters, record.validation_loss)
        self.history.best_epoch = self.stopping.best_epoch
        self.history.stopped_early = self.stopping.should_stop
        self.throttle.catch_up(is_last=True)
        self._save()
        if self.options.on_epoch is not None:
            self.options.on_epoch(record)

    def _watched(self, record: EpochRecord) -> float:
        """The number that early stopping looks at, lower is better: the validation's where there is one."""
        is_accuracy = self.history.metric_name == "accuracy"
        if self.options.monitor == "loss" or (self.options.monitor is None and not is_accuracy):
            return record.loss if record.validation_loss is None else record.validation_loss
        metric = record.metric if record.validation_metric is None else record.validation_metric
        return -metric if is_accuracy else metric

    def _validate(self) -> tuple[float, float]:
        batch, total = self.check_batch, len(self.validation or ())
        folded = [block.folded() for block in self.chain.blocks]
        sums = [0.0, 0.0]
        for start in range(0, total, self.batch_size):
            rows = min(self.batch_size, total - start)
            self._resize(batch, rows)
            batch.view(start)
            loss, metric = batch.measure(self.loss, self.chain.infer(batch.x, folded))
            sums = [sums[0] + loss, sums[1] + metric]
        if not np.isfinite(sums[0]):
            self._fail("the validation loss")
        return sums[0] / total, sums[1] / total

    def _resize(self, batch: Batch, rows: int) -> None:
        if rows != batch.size:
            batch.resize(rows)
        self.chain.resize(rows)

    def _fail(self, what: str) -> None:
        place = self.chain.first_not_finite() or "the last layer's outputs"
        kept = f"epoch {self.stopping.best_epoch}" if self.stopping.best_epoch else "before training"
        raise TrainingDiverged(
            f"{what} became NaN or infinite in epoch {self.epoch + 1} at step {self.step + 1}, first in {place}; "
            f"the network keeps its weights from {kept}; lower the learning rate ({self.learning_rate:g})"
            f"{self._other_causes()}",
            self.stopping.best_epoch or 0,
        )

    def _other_causes(self) -> str:
        """What to do about data whose size is a likely cause; nothing where they are of a size to learn from."""
        data = {"inputs": self.rows.x, "targets": self.rows.targets.values}
        reach = {name: float(max(-values.min(), values.max())) for name, values in data.items()}
        large = [f"the {name}, which reach {most:.3g}" for name, most in reach.items() if most > _LARGE]
        return f", or standardize {' and '.join(large)}" if large else ""

    # checkpoints

    def arrays(self) -> dict[str, Array]:
        """The arrays that a checkpoint holds, by name; reading one copies into them."""
        kept = self.stopping.best
        named = {"values": self.parameters.values, "state": self.parameters.state, "order": self.order}
        named |= {"best.values": kept[0], "best.state": kept[1]}
        return named | {f"slot{index}": slot for index, slot in enumerate(self.slots)}

    def _save(self) -> None:
        if self.options.checkpoint is None:
            return
        facts = {
            "settings": self.settings,
            "epoch": self.epoch,
            "offset": self.offset,
            "step": self.step,
            "sums": self.sums,
            "history": self.history.to_json(),
            "stopping": self.stopping.counters(),
            "generator": self.rng.bit_generator.state,
        }
        write_checkpoint(self.options.checkpoint, facts, self.arrays())

    def _resume(self, path: PathLike) -> None:
        # what this run itself would write; the history grows by some hundred bytes an epoch
        most = CHECKPOINT_MAX_BYTES + sum(array.nbytes for array in self.arrays().values())
        facts, arrays = read_checkpoint(path, max_bytes=most)
        if not isinstance(facts.get("settings"), dict):
            raise CheckpointError(f"{path}: it holds no settings; start anew")
        check_same_run(path, facts["settings"], self.settings)
        self._require_more_epochs(path, facts)
        for name, array in self.arrays().items():
            if name not in arrays or arrays[name].shape != array.shape or arrays[name].dtype != array.dtype:
                raise CheckpointError(f"{path}: its array '{name}' does not fit this network; start anew")
            np.copyto(array, arrays[name])
        try:
            self._take_facts(facts)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError, RecursionError) as error:
            raise CheckpointError(f"{path}: its counters do not fit together ({error!r}); start anew") from error

    def _require_more_epochs(self, path: PathLike, facts: dict[str, Any]) -> None:
        """What was learned cannot be taken back: a run to fewer epochs would not be what it says it is."""
        finished, offset, wanted = facts.get("epoch"), facts.get("offset"), self.options.epochs
        if not isinstance(finished, int) or not isinstance(offset, int) or not 0 <= offset <= len(self.rows):
            return  # refused with the other counters
        if finished > wanted or (finished == wanted and offset > 0):
            part = " and a part of the next" if offset > 0 else ""
            raise CheckpointError(
                f"{path}: holds {finished} epochs{part}, this run is to end after {wanted}; "
                f"ask for {finished + (offset > 0)} epochs or more, or start anew"
            )

    def _take_facts(self, facts: dict[str, Any]) -> None:
        """The counters of a checkpoint, checked: a file that was made on purpose passes any digest."""
        self.epoch, self.offset, self.step = (int(facts[name]) for name in ("epoch", "offset", "step"))
        if not (0 <= self.epoch < _MOST and 0 <= self.step < _MOST and 0 <= self.offset <= len(self.rows)):
            raise ValueError(f"epoch {self.epoch}, offset {self.offset}, step {self.step}")
        expected = np.arange(len(self.rows)) if self.rows.picked is None else self.rows.picked
        if not np.array_equal(np.sort(self.order), expected):
            raise ValueError("the order of the rows is not a permutation")
        total, right = facts["sums"]
        self.sums, self.history = [float(total), float(right)], History.from_json(facts["history"])
        self.stopping.set_counters(facts["stopping"])
        self.rng.bit_generator.state = _generator_state(facts["generator"])

    def _interrupt(self) -> None:
        self._save()
        raise KeyboardInterrupt(
            f"stopped in epoch {self.epoch + 1} after {self.offset} of {len(self.rows)} rows; "
            f"continue with resume={os.fspath(self.options.checkpoint or '')!r}"
        )


def _generator_state(facts: dict[str, Any]) -> dict[str, Any]:
    """The state of a PCG64 generator, checked: NumPy before 1.25 takes -1 for the largest number and only warns."""
    numbers = {**facts["state"], "has_uint32": facts["has_uint32"], "uinteger": facts["uinteger"]}
    for name, most in {"state": 1 << 128, "inc": 1 << 128, "has_uint32": 2, "uinteger": 1 << 32}.items():
        if not (isinstance(numbers[name], int) and 0 <= numbers[name] < most):
            raise ValueError(f"the generator's {name} is {numbers[name]!r}, expected a whole number in 0..{most - 1}")
    return facts
