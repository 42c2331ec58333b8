"""Do an inspection's promises hold? A study on one part of a data set judges the other part; promised against came.

    python -m tests.benchmarks.inspection_held_out --standin deco_cap --preset smoke
    python -m tests.benchmarks.inspection_held_out --data DIR --dataset magnetic_tile --weights FILE --set folds=5

Where groups are known, the parts share none. A row per held-out part and required recall: promised recall and false
rejects with 95 % intervals, and the held-out part's own, counted at the threshold, with Clopper-Pearson intervals (too
narrow where objects repeat); `agree` tells whether their difference is no more than both intervals allow (Newcombe's
95 % interval of a difference holds zero). Then what the three verdicts do to good and defective products, and how many
pictures were out of distribution.
"""

import argparse
import shutil
import tempfile
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from lib.classification.operating_threshold import clopper_pearson
from lib.datasets.catalog import build_index
from lib.inspection.decisions import OOD, PASS, REJECT, REVIEW
from lib.inspection.new_images import features_of_new, read_folder, tabulate
from lib.inspection.production_model import fitted_production_model, threshold_of
from lib.pipeline.run import open_run
from lib.synthetic.products import PRODUCTS, write_product


def held_out(known: pd.DataFrame, parts: int, seed: int) -> list[np.ndarray]:
    """The rows of each part, stratified by class, no group in two parts."""
    labels, groups = known["label"].to_numpy(dtype=str), known["group"]
    kind = StratifiedGroupKFold if known.attrs["grouped"] else StratifiedKFold
    splitter = kind(parts, shuffle=True, random_state=seed)
    units = groups.to_numpy(dtype=str) if known.attrs["grouped"] else None
    return [rows for _, rows in splitter.split(labels, labels, units)]


def lay_out(known: pd.DataFrame, rows: np.ndarray, folder: Path) -> tuple[Path, Path, pd.Series]:
    """Copy the labelled part, with masks and groups, and the held-out one under names that say nothing.

    Returns both folders and the held-out pictures' classes by name.
    """
    labelled, new = folder / "labelled", folder / "new"
    new.mkdir(parents=True)
    out = known.iloc[rows]
    rest = known.drop(index=known.index[rows])
    for name in [*rest["path"], *rest["mask"].dropna()]:
        (labelled / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(known.attrs["root"]) / name, labelled / name)
    if known.attrs["grouped"]:
        rest[["id", "group"]].to_csv(labelled / "groups.csv", index=False)
    names = []
    for number, path in enumerate(out["path"]):
        names.append(f"{number:05d}{PurePosixPath(path).suffix}")
        shutil.copyfile(Path(known.attrs["root"]) / path, new / names[-1])
    return labelled, new, pd.Series(out["label"].to_numpy(dtype=str), index=names)


def compare(options: argparse.Namespace, known: pd.DataFrame, rows: np.ndarray, folder: Path) -> list[dict]:
    """Run the study on what is not held out, judge what is; a row per required recall."""
    labelled, new, truth = lay_out(known, rows, folder)
    settings = dict(pair.split("=", 1) for pair in options.set) | {
        "weights": options.weights,
        "leak_check": "none",
        "good": known.attrs["good"],
    }
    settings |= {"textures": str(options.textures)} if options.textures else {}
    # a data set's own name may bring a layout and groups of its own
    name = options.dataset if options.data else "held-out"
    run = open_run(name, options.preset, str(labelled), str(folder / "study"), settings)
    model = fitted_production_model(run, options.features)
    pictures = read_folder(new)
    measured = features_of_new(run, new, pictures.names, model.blocks)
    bad = truth[list(pictures.names)].to_numpy() != known.attrs["good"]
    found = []
    for recall in options.recall:
        threshold = threshold_of(run, model, recall / 100)
        table = tabulate(model, threshold, pictures, measured)
        over, verdict = table["score"].to_numpy() >= threshold.value, table["verdict"].to_numpy()
        caught, rejected = int(over[bad].sum()), int(over[~bad].sum())
        row = {
            "features": model.features,
            "required": f"{recall:g} %" + ("" if threshold.promised else " (not promised)"),
            "threshold": f"{threshold.value:.3g} ({threshold.low:.3g}–{threshold.high:.3g})",
        }
        for what, k, n, told in (
            ("recall", caught, int(bad.sum()), "recall"),
            ("false rejects", rejected, int((~bad).sum()), "false_rejects"),
        ):
            promised = tuple(getattr(threshold, f"{told}{end}") for end in ("", "_low", "_high"))
            came = (k / n, *clopper_pearson(k, n))
            row[f"{what}: promised"] = shown(*promised)
            row[f"{what}: came"] = f"{shown(*came)} = {k}/{n}"
            row[f"{what}: agree"] = "yes" if agree(promised, came) else "NO"
        for kind, among in (("defective", bad), ("good", ~bad)):
            shares = [f"{(verdict[among] == name).mean():.1%}" for name in (PASS, REVIEW, REJECT)]
            row[f"{kind}: pass/review/reject"] = " / ".join(shares)
        row["out of distribution"] = f"{int((table['reason'] == OOD).sum())} of {len(table)}"
        found.append(row)
    return found


def agree(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Whether two shares (value, low, high) differ by no more than chance: the ends that face each other count."""
    lower, upper = sorted((a, b))
    return upper[0] - lower[0] <= np.hypot(lower[2] - lower[0], upper[0] - upper[1])


def shown(value: float, low: float, high: float) -> str:
    """A share with its interval."""
    return f"{value:.1%} ({low:.1%}–{high:.1%})"


def main() -> None:
    """Print the table."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument("--standin", choices=PRODUCTS)
    source.add_argument("--data", type=Path)
    p.add_argument("--scale", type=float, default=1.0, help="of the stand-in's counts")
    p.add_argument("--side", type=int, default=128, help="of the stand-in's pictures, in pixels")
    p.add_argument("--dataset", default="", help="name of the data set in --data")
    p.add_argument("--groups", type=Path)
    p.add_argument("--group-regex", default="")
    p.add_argument("--preset", default="quick")
    p.add_argument("--set", action="append", default=[])
    p.add_argument("--weights", default="auto")
    p.add_argument("--textures", type=Path)
    p.add_argument("--features", default="")
    p.add_argument("--recall", type=float, nargs="+", default=[90.0, 95.0, 99.0])
    p.add_argument("--parts", type=int, default=4, help="one of so many is held out")
    p.add_argument("--rounds", type=int, default=1, help="so many of the parts in turn")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--keep", type=Path, help="folder for the studies, to go on from; else a temporary one")
    options = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = options.keep.resolve() if options.keep else Path(temporary)
        root = options.data.resolve() if options.data else home / "drawn"
        if options.standin:
            write_product(options.standin, root, scale=options.scale, side=options.side)
        if options.data and not options.dataset:
            options.dataset = root.name
        groups = options.groups.resolve() if options.groups else None
        known = build_index(
            root, dataset=options.dataset, groups=groups, group_regex=options.group_regex, skip_bad=True
        )
        known.attrs["root"] = str(root)
        print(
            f"{root.name}{' (drawn stand-in)' if options.standin else ''}: {len(known)} images, "
            f"{known['label'].value_counts().to_dict()}, "
            + (f"{known['group'].nunique()} groups" if known.attrs["grouped"] else "no groups known")
            + f"; preset {options.preset}, {options.set}, weights {Path(options.weights).name}"
        )
        every = []
        for number, rows in enumerate(held_out(known, options.parts, options.seed)[: options.rounds]):
            folder = home / f"part-{number}"
            for stale in ("labelled", "new"):
                shutil.rmtree(folder / stale, ignore_errors=True)
            every += [{"part": number} | row for row in compare(options, known, rows, folder)]
        for row in every:
            print("\n" + "\n".join(f"{key:>30}  {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
