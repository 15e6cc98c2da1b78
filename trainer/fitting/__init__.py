"""A training run: batches, epochs, stopping, checkpoints, simulated hardware."""

from trainer.fitting.batches import Batch, Rows
from trainer.fitting.doubts import history_doubts, training_doubts
from trainer.fitting.gradient_check import check_gradients
from trainer.fitting.options import OF_ONE_RUN, SETTINGS, Defaults, TrainingOptions
from trainer.fitting.profiling import Profile, ProfiledChain
from trainer.fitting.run_setup import describe_run, fit_to_hardware, owned_bytes, pair_of, with_share_apart
from trainer.fitting.simulation import HardwareLimitWarning, MemoryCount
from trainer.fitting.throttle import Throttle
from trainer.fitting.training import TrainingRun

__all__ = [
    "OF_ONE_RUN",
    "SETTINGS",
    "Batch",
    "Defaults",
    "HardwareLimitWarning",
    "MemoryCount",
    "Profile",
    "ProfiledChain",
    "Rows",
    "Throttle",
    "TrainingOptions",
    "TrainingRun",
    "check_gradients",
    "describe_run",
    "fit_to_hardware",
    "history_doubts",
    "owned_bytes",
    "pair_of",
    "training_doubts",
    "with_share_apart",
]
