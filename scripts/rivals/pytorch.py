"""The network in eager PyTorch: fused Adam, the data in memory, batches as slices of a permutation, no DataLoader."""

from stopwatch import Stopwatch

watch = Stopwatch()

import sys  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

watch.end("import")

file, epochs, batch_size, pixels = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
device = torch.device({"cpu": "cpu", "gpu": "cuda"}[sys.argv[5]])
scale = 255.0 if pixels == "unit" else 1.0
with np.load(file) as data:
    x_train = torch.from_numpy(data["x_train"]).reshape(-1, 784).float() / scale
    y_train = torch.from_numpy(data["y_train"]).long()
    x_test = torch.from_numpy(data["x_test"]).reshape(-1, 784).float() / scale
    y_test = torch.from_numpy(data["y_test"]).long()
x_train, y_train, x_test, y_test = (each.to(device) for each in (x_train, y_train, x_test, y_test))
watch.end("load")

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
optimizer = torch.optim.Adam(model.parameters(), fused=True)
loss_of = nn.CrossEntropyLoss()
watch.end("compile")

for _ in range(epochs):
    watch.epoch_begins()
    order = torch.randperm(len(x_train), device=device)
    for chosen in order.split(batch_size):
        optimizer.zero_grad()
        loss = loss_of(model(x_train[chosen]), y_train[chosen])
        loss.backward()
        optimizer.step()
    loss.item()  # waits for the device
    watch.epoch_ends()
watch.end("train")

with torch.no_grad():
    right = (model(x_test).argmax(1) == y_test).sum().item()
watch.end("evaluate")
name = "CPU" if device.type == "cpu" else f"GPU: {torch.cuda.get_device_name()}"
watch.tell(-(-len(x_train) // batch_size), right / len(x_test), name)
