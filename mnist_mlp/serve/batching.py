"""Dynamic batching: images that arrive while the network is busy are predicted together in its next call."""

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
    """Runs `call`, uint8 [n, 28, 28] with n ≤ `largest` → arrays of n rows, in its own thread.

    A call starts as soon as the previous one ends, without waiting for more images, so batches grow with the load.
    Use it on one event loop. `on_batch` is called with the size of each batch.
    """

    def __init__(self, call: Callable[[np.ndarray], Outputs], largest: int, on_batch: Callable[[int], None]):
        self.call, self.largest, self.on_batch = call, largest, on_batch
        self.queue: deque[Piece] = deque()
        self.waiting = 0  # images
        self.busy = False
        self.thread = ThreadPoolExecutor(1, "network")

    async def forward(self, images: np.ndarray) -> Outputs:
        """Return the network's outputs for the images. Raise `Refused` if too many images are waiting."""
        if self.waiting > WAITING * self.largest:
            raise Refused(429, f"too many images are waiting ({self.waiting:,}); try again in a second")
        loop = asyncio.get_running_loop()
        pieces: list[Piece] = [
            (images[start : start + self.largest], loop.create_future())
            for start in range(0, len(images), self.largest)
        ]
        self.queue.extend(pieces)
        self.waiting += len(images)
        if not self.busy:
            self.busy = True
            loop.call_soon(self.start_next)  # after the other requests that this iteration of the loop reads
        outputs = await asyncio.gather(*(future for _, future in pieces))
        return outputs[0] if len(outputs) == 1 else [np.concatenate(parts) for parts in zip(*outputs, strict=True)]

    def start_next(self) -> None:
        """Start the next call if images are waiting."""
        batch: list[Piece] = []
        size = 0
        while self.queue and size + len(self.queue[0][0]) <= self.largest:
            piece = self.queue.popleft()
            self.waiting -= len(piece[0])
            if not piece[1].cancelled():  # its client has gone
                size += len(piece[0])
                batch.append(piece)
        self.busy = bool(batch)
        if batch:
            self.on_batch(size)
            work = asyncio.get_running_loop().run_in_executor(self.thread, self.run, [images for images, _ in batch])
            work.add_done_callback(partial(self.finish, batch))

    def run(self, parts: Sequence[np.ndarray]) -> Outputs:
        """Call the network, in the thread."""
        return self.call(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def finish(self, batch: list[Piece], work: asyncio.Future[Outputs]) -> None:
        """Distribute the outputs of a call to its requests, and start the next one."""
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
        self.start_next()
