"""One data set in one study: its name, settings, folders and seeds; its steps run in parts, and what these cost.

Costs are seconds on one core of the machine in docs/draem.md, and bytes of memory. They decide whether processes pay
and how many fit into the memory; forecasts multiply the seconds by what this machine was measured to take.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from lib.anomaly_maps.detectors import detector
from lib.artifacts import StaleError, Store, read_only
from lib.config import Study, cuda_available
from lib.execution.parallel import max_parallel, run_tasks
from lib.features.backbone_weights import size_of
from lib.synthetic.products import PRODUCTS

PROJECT = Path(__file__).resolve().parents[2]
NAMED = (*PRODUCTS, "magnetic_tile")  # data sets known by name
PROCESS = 350_000_000  # bytes of Python with PyTorch and what else a kernel imports
P = ParamSpec("P")
T = TypeVar("T")
FIT, INFORMATION = 0.45, 0.1  # seconds for 400 rows: an MLP's fit, mutual information of 1,024 columns
LEAST = 80  # rows: so long a fit takes whatever its rows


@dataclass(frozen=True)
class Run:
    """One data set in one study; plain values only, so that it travels to a worker."""

    dataset: str
    study: Study
    study_dir: str
    data_dir: str = ""
    scheduler: str = ""
    done: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)  # see `once`

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"done": {}}  # a worker looks for itself

    @property
    def synthetic(self) -> bool:
        """Whether the images are drawn."""
        return self.dataset in PRODUCTS and not self.data_dir

    @property
    def name(self) -> str:
        """The data set's name as folders and captions show it."""
        return f"{self.dataset}-synthetic" if self.synthetic else self.dataset

    @property
    def store(self) -> Store:
        """Where the artefacts of this data set live."""
        return Store(Path(self.study_dir) / self.name)

    @property
    def device(self) -> str:
        """Where torch runs on the machine that asks."""
        if self.study.device != "auto":
            return self.study.device
        return "cuda" if cuda_available() else "mps" if mps_available() else "cpu"

    def seed(self, *purpose: object) -> int:
        """Return a seed from (study seed, data set, purpose)."""
        return self.study.seed_for(self.name, *purpose)


def mps_available() -> bool:
    """Tell whether torch finds an Apple GPU; torch, seconds to import, is asked on Apple's system only."""
    if sys.platform != "darwin":
        return False
    import torch

    return torch.backends.mps.is_available()


def once(step: Callable[Concatenate[Run, P], T]) -> Callable[Concatenate[Run, P], T]:
    """Let a step be done once, for as long as the run lives in this process; its callers get copies of the result."""

    @wraps(step)
    def found(run: Run, *args: P.args, **named: P.kwargs) -> T:
        key = (step, *args, *named.items())
        if key not in run.done:
            run.done[key] = step(run, *args, **named)
        return copy(run.done[key])

    return found


def open_run(
    dataset: str,
    preset: str = "quick",
    data_dir: str = "",
    output_dir: str = "outputs/quick",
    overrides: Mapping[str, Any] | None = None,
    scheduler: str = "",
) -> Run:
    """Return the run that a notebook's parameters describe; relative folders are taken from the project's root."""
    data = str(dataset_folder(dataset, PROJECT / data_dir)) if data_dir else ""
    return Run(dataset, Study.of(preset, overrides), str(PROJECT / output_dir), data, scheduler)


def dataset_folder(dataset: str, data_dir: Path) -> Path:
    """Return `data_dir/dataset` for a named set or a product in splits that has its folder there, else `data_dir`."""
    inner = data_dir / dataset
    own = dataset in NAMED or any((inner / split).is_dir() for split in ("train", "test"))
    return inner if own and inner.is_dir() else data_dir


def each_part(
    run: Run,
    step: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    label: str,
    cost: Mapping[str, float] | None = None,
    *,
    gpu: bool = True,
    makes: bool = False,
) -> list[Any]:
    """Return what `step` returns for each of the arguments, here or on the cluster.

    `cost`: about what a call takes, `seconds` and bytes of `memory`. Calls run side by side where that pays, in turn
    where they take the `gpu` and there is one. A step `makes` artefacts: where all are proven, no process is started.
    """
    if makes:
        with suppress(StaleError), read_only():
            return [step(*call) for call in calls]
    threads, cost = run.study.threads, cost or {"seconds": 0, "memory": 0}
    alone = gpu and run.device != "cpu"
    return run_tasks(
        step,
        calls,
        label=label,
        shared_folder=run.store.root,
        scheduler=run.scheduler,
        processes=1 if alone else max_parallel(cost["seconds"], len(calls), cost["memory"], threads),
        threads=threads,
        gpu=gpu,
    )


def fit_cost(run: Run, n_good: int, sharing: int) -> dict[str, float]:
    """Return seconds and bytes of fitting one of the map source's models, as one of `sharing` that share a fold."""
    seconds, memory = detector(run.study.map_source).fit_cost(run.study, n_good, sharing)
    return {"seconds": seconds, "memory": PROCESS + memory}


def map_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the maps of one split."""
    each = detector(run.study.map_source).map_seconds(run.study)
    held = 0.5e9 if run.study.tiles == 1 else 2e9  # by `lib.anomaly_maps.cross_fitting.BYTES_AT_ONCE`
    return {"seconds": images * each, "memory": PROCESS + held}


def feature_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of the backbone's features of so many images or maps."""
    seconds, size = size_of(run.study.backbone).seconds, (run.study.feature_size / 96) ** 2
    cost = seconds * images * size * run.study.tiles**2
    return {"seconds": cost, "memory": PROCESS + 2e10 * seconds * size}


def classifier_cost(run: Run, images: int) -> dict[str, float]:
    """Return seconds and bytes of one classifier's fit on the training part of so many images."""
    from lib.features.patch_classifier import DRAWN, MOST  # needs NumPy

    columns = 2 * size_of(run.study.backbone).n_features
    layers = sum(above * below for above, below in pairwise((columns, *run.study.mlp)))
    seconds = FIT * (images * (1 - 1 / run.study.folds) + LEAST) / 400
    patches = 4 * min(DRAWN * images, MOST) * size_of(run.study.backbone).n_channels * run.study.guided
    memory = max(4 * images * columns * 2 + 4 * 4 * layers, 5 * patches)
    return {"seconds": seconds, "memory": PROCESS + memory}
