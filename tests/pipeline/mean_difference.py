"""A third map source, in as many lines as it takes: how far an image is from the mean good one."""

from dataclasses import dataclass

import numpy as np

from lib.anomaly_maps.detectors import Detector


@dataclass
class MeanDifference:
    mean: np.ndarray

    def maps(self, inputs):
        return (np.abs(inputs - self.mean).mean(axis=-1) / 255).astype(np.float16)

    def save(self, path, header):
        with path.open("wb") as file:
            np.save(file, self.mean)


DETECTOR = Detector(
    inputs="images",
    fit=lambda task: (MeanDifference(task.inputs[task.good].mean(axis=0)), {"images": len(task.good)}),
    load=lambda path, device: MeanDifference(np.load(path)),
)
