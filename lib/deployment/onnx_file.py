"""A chain as an ONNX file: written whole or not at all, checked, without a trace of the machine that wrote it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch

from lib.artifacts import atomic
from lib.deployment.onnx_model import OUTPUTS, OnnxPipeline
from lib.deployment.onnx_predict import INPUT

OPSET = 20  # of 2023: runtimes of the last years read it


def exported(chain: OnnxPipeline) -> onnx.ModelProto:
    """Return a chain as an ONNX model; the batch is free, the sides are fixed."""
    examples = tuple(torch.zeros(2, side, side, 3, dtype=torch.uint8) for side in chain.inputs)
    free = torch.export.Dim("n", min=1)
    with warnings.catch_warnings(), _quiet("torch.onnx"), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's own making; what it gives is checked when written
        program = torch.onnx.export(
            chain,
            examples,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=(tuple({0: free} for _ in examples),),
            input_names=[f"{INPUT}{side}" for side in chain.inputs],
            output_names=list(OUTPUTS),
            verbose=False,
        )
    assert program is not None  # with dynamo there is one
    model = program.model_proto
    _anonymous(model)
    return model


def write_onnx(model: onnx.ModelProto, path: Path, about: Mapping[str, str]) -> None:
    """Check a model and write it with `about` as its metadata; raises onnx's errors for one that is not sound."""
    onnx.helper.set_model_props(model, dict(sorted(about.items())))
    onnx.checker.check_model(model, full_check=True)
    with atomic(path) as partial:
        onnx.save(model, partial)


def _anonymous(model: onnx.ModelProto) -> None:
    """Drop what the exporter notes of where each node comes from: paths and source lines of this machine."""
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    parts = (model.graph.node, model.graph.value_info, model.graph.input, model.graph.output)
    for items in (*parts, model.graph.initializer):
        for item in items:
            item.doc_string = ""
            del item.metadata_props[:]
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]


class _quiet:
    """Hold a logger to errors for as long as a with statement lasts."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    def __enter__(self) -> None:
        self.before = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.before)
