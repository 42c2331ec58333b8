"""One data set in one study: its name, settings, folders and seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lib.artifacts import StaleError, Store, read_only
from lib.config import Study, cuda_available
from lib.execution.parallel import max_parallel, run_tasks
from lib.synthetic.products import PRODUCTS

PROJECT = Path(__file__).resolve().parents[2]
NAMED = (*PRODUCTS, "magnetic_tile")  # data sets known by name


@dataclass(frozen=True)
class Run:
    """One data set in one study; plain values only, so that it travels to a worker."""

    dataset: str
    study: Study
    study_dir: str
    data_dir: str = ""
    scheduler: str = ""

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
        return "cuda" if cuda_available() else "cpu"

    def seed(self, *purpose: object) -> int:
        """Return a seed from (study seed, data set, purpose)."""
        return self.study.seed_for(self.name, *purpose)


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
    """Return `data_dir/dataset` for a named set that has its own folder there, else `data_dir`."""
    inner = data_dir / dataset
    return inner if dataset in NAMED and inner.is_dir() else data_dir


def each_part(
    run: Run,
    step: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    label: str,
    cost: Mapping[str, float] | None = None,
    gpu: bool = True,
) -> list[Any]:
    """Return what `step` returns for each of the arguments, here or on the cluster; the last one names the part.

    `cost`: about what a call takes, `seconds` and bytes of `memory`. Calls run side by side where that pays, in turn
    where they take the `gpu` and there is one.
    """
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


def make_each(
    run: Run,
    step: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    label: str,
    cost: Mapping[str, float] | None = None,
    gpu: bool = True,
) -> list[Any]:
    """Return the same for a step that makes artefacts; where all are proven, without processes and their libraries."""
    try:
        with read_only():
            return [step(*call) for call in calls]
    except StaleError:
        return each_part(run, step, calls, label, cost, gpu)
