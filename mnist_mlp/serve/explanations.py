"""Why an image is taken for its class: maps of the ink that decides, and the nearest training images."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from starlette.requests import ClientDisconnect

from mnist_mlp.models import attribution
from mnist_mlp.models.neighbours import Neighbourhood, TrainingImages
from mnist_mlp.models.portable import Array, Layer
from mnist_mlp.serve.limits import WAITING, Refused

NEAREST = 8  # training images in an answer
PATIENCE = 0.3  # seconds that an answer waits for the training images to be ready
IMAGES = 60_000  # training images in memory, at 784 bytes


@dataclasses.dataclass(frozen=True)
class Explanation:
    """Of one image: which class it has, and why rather than another. The fields are the keys of the answer."""

    predicted: int
    against: int  # the class that it is compared with
    margin: np.float32  # the logit of `predicted` minus that of `against`
    probabilities: Array  # float32 [10]
    temperature: float | None  # that the logits were divided by for the probabilities, if the run is calibrated
    gradient_times_input: Array  # float32 [28, 28], positive where the ink raises the margin
    occlusion: Array  # float32 [28, 28], likewise
    neighbours: dict[str, Any]


class Explainer:
    """Explains images with a network's layers, in NumPy and in threads of its own.

    `training` are images that the network was trained on; without them, `note` says why they are missing. What the
    network computes from them, 0.3 s for 60,000 images of `mlp`, is computed when it is first needed: a server that is
    never asked why needs neither the time nor the memory.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        training: TrainingImages | None,
        note: str = "",
        temperature: float | None = None,
    ):
        self.layers = attribution.until_logits(layers)
        self.training, self.note, self.temperature = training, note, temperature
        self.threads = ThreadPoolExecutor(1, "explanations")
        self.builder = ThreadPoolExecutor(1, "training-images")
        self.building: Future[Neighbourhood] | None = None
        self.waiting = 0  # requests
        self.turn = asyncio.Lock()

    async def explain(
        self, images: Array, probabilities: Array, against: int | None, gone: Callable[[], Awaitable[bool]]
    ) -> list[Explanation]:
        """Explain uint8 [n, 28, 28] with the network's probabilities [n, 10].

        Each is compared with the class `against`, or with the second most likely one if there is none, or if `against`
        is the predicted class. Raise `Refused` if too many requests are waiting, and ClientDisconnect if `gone` returns
        that nobody waits for the answer any more: ten images of `cnn` take a second, so those in the queue may have
        reached their time limit, and to compute them would cost the next ones theirs.
        """
        if self.waiting >= WAITING:
            raise Refused(429, f"too many explanations are waiting ({self.waiting}); try again in a second")
        self.waiting += 1
        try:
            neighbourhood = await self.ready()
            async with self.turn:
                if await gone():
                    raise ClientDisconnect
                work = asyncio.get_running_loop().run_in_executor(
                    self.threads, self.computed, images, probabilities, against, neighbourhood
                )
                return await work
        finally:
            self.waiting -= 1

    async def ready(self) -> Neighbourhood | None:
        """Return the training images as the network sees them; None if there are none, or none yet."""
        if self.training is None:
            return None
        if self.building is None:
            self.building = self.builder.submit(Neighbourhood, self.layers, self.training)
        done, _ = await asyncio.wait([asyncio.wrap_future(self.building)], timeout=PATIENCE)
        return self.building.result() if done else None

    def computed(
        self, images: Array, probabilities: Array, against: int | None, neighbourhood: Neighbourhood | None
    ) -> list[Explanation]:
        """Explain images, in the thread."""
        rows = np.arange(len(images))
        logits = attribution.outputs_of(self.layers, images)
        predicted = probabilities.argmax(1)
        others = runners_up(logits, predicted)
        if against is not None:
            others[predicted != against] = against
        weights = np.zeros((len(images), 10), np.float32)
        weights[rows, predicted], weights[rows, others] = 1, -1
        gradients = attribution.gradient_times_input(self.layers, images, weights)
        occlusions = attribution.occlusion(self.layers, images, weights)
        margins = (weights * logits).sum(1)
        neighbours = self.neighbours(images, neighbourhood)
        return [
            Explanation(
                int(predicted[row]),
                int(others[row]),
                margins[row],
                np.ascontiguousarray(probabilities[row]),
                self.temperature,
                gradients[row],
                occlusions[row],
                neighbours[row],
            )
            for row in rows
        ]

    def neighbours(self, images: Array, neighbourhood: Neighbourhood | None) -> list[dict[str, Any]]:
        """Return for each image its nearest training images, or why there are none."""
        if neighbourhood is None:
            pending = self.training is not None
            note = "The network is still reading the training images; ask again." if pending else self.note
            none = {"layer": "", "compared": 0, "trained_on": 0, "median_distance": None, "images": []}
            return [none | {"pending": pending, "note": note}] * len(images)
        known = neighbourhood.known
        found = neighbourhood.nearest(images, NEAREST)
        return [
            {
                "layer": neighbourhood.name,
                "compared": len(known),
                "trained_on": known.total,
                "median_distance": median,
                "images": [
                    {
                        "index": int(known.indices[index]),
                        "label": int(known.labels[index]),
                        "distance": distance,
                        "image": known.images[index],
                    }
                    for index, distance in zip(indices, distances, strict=True)
                ],
                "pending": False,
                "note": "",
            }
            for indices, distances, median in zip(found.indices, found.distances, found.medians, strict=True)
        ]


def runners_up(logits: Array, predicted: Array) -> Array:
    """Return the class with the highest logit but the predicted one, for each image."""
    others = logits.copy()
    others[np.arange(len(logits)), predicted] = -np.inf
    return others.argmax(1)
