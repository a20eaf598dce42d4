"""Batches: the images that came while the network was at work go through it together, in the next call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from mnist_mlp.serve.limits import WAITING, Refused

Outputs = list[np.ndarray]
Piece = tuple[np.ndarray, "asyncio.Future[Outputs]"]


class Batches:
    """Gives images to `call`, uint8 [n, 28, 28] with n ≤ `largest` → arrays of n rows, in a thread of its own.

    Nothing waits for others to come: a call begins as soon as the last one has ended, so that batches grow with the
    load. To be used on one event loop.
    """

    def __init__(self, call: Callable[[np.ndarray], Outputs], largest: int, made: Callable[[int], None]):
        self.call, self.largest = call, largest
        self.made = made  # told how many images each batch had
        self.queue: deque[Piece] = deque()
        self.waiting = 0  # images
        self.at_work = False
        self.thread = ThreadPoolExecutor(1, "network")

    async def look(self, images: np.ndarray) -> Outputs:
        """What the network gives for the images. Raises `Refused` where too many wait already."""
        if self.waiting > WAITING * self.largest:
            raise Refused(429, f"too many images are waiting ({self.waiting:,}); try again in a second")
        loop = asyncio.get_running_loop()
        pieces: list[Piece] = [
            (images[start : start + self.largest], loop.create_future())
            for start in range(0, len(images), self.largest)
        ]
        self.queue.extend(pieces)
        self.waiting += len(images)
        if not self.at_work:
            self.at_work = True
            loop.call_soon(self.begin)  # after the requests that are being read in this turn of the loop
        found = await asyncio.gather(*(future for _, future in pieces))
        return found[0] if len(found) == 1 else [np.concatenate(parts) for parts in zip(*found, strict=True)]

    def begin(self) -> None:
        """Starts the next call, if anything waits."""
        batch: list[Piece] = []
        size = 0
        while self.queue and size + len(self.queue[0][0]) <= self.largest:
            piece = self.queue.popleft()
            self.waiting -= len(piece[0])
            if not piece[1].cancelled():  # nobody waits for it any more
                size += len(piece[0])
                batch.append(piece)
        self.at_work = bool(batch)
        if batch:
            self.made(size)
            work = asyncio.get_running_loop().run_in_executor(self.thread, self.run, [images for images, _ in batch])
            work.add_done_callback(partial(self.end, batch))

    def run(self, parts: Sequence[np.ndarray]) -> Outputs:
        return self.call(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def end(self, batch: list[Piece], work: asyncio.Future[Outputs]) -> None:
        """Hands out what a call gave, and starts the next one."""
        start = 0
        for images, future in batch:
            rows = slice(start, start := start + len(images))
            if future.cancelled():
                continue
            if work.cancelled():
                future.cancel()
            elif error := work.exception():
                future.set_exception(error)
            else:
                future.set_result([output[rows] for output in work.result()])
        self.begin()
