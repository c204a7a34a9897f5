"""The trained encoders of the modern recipe as a source of features, for everything that reads a run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sge_la.encoder_stage import EncoderJob, load_job
from sge_la.features import FeatureSource
from sge_la.modern.inputs import Inputs, InputView


@dataclass(frozen=True)
class ModernSource(FeatureSource):
    """Encoders with the inputs that they were trained on.

    Attributes:
        made: from skeletons to inputs.
    """

    made: Inputs | None = None

    @property
    def joints(self) -> int:
        """J of the skeletons, without the bones beside them."""
        return self.made.joints

    def inputs(self, skeletons: np.ndarray) -> np.ndarray:
        return self.made.of(skeletons)

    def inputs_of_tensor(self, skeletons):
        return self.made.of_tensor(skeletons)

    def skeletons(self, inputs: np.ndarray) -> np.ndarray:
        return self.made.skeletons(inputs)

    def view(self, skeletons: np.ndarray, seed: int, *, test: bool) -> InputView:
        return InputView(self.made, skeletons)


def load_source(job: EncoderJob) -> ModernSource:
    """The trained encoders of a run.

    Raises:
        UserError: a file is missing or damaged, or they do not fit each other.
    """
    made = Inputs.load(job.folders['x'])
    config = replace(job.config, joints=made.width)
    return ModernSource(config, load_job(replace(job, config=config)), made=made)
