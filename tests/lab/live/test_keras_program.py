"""The Keras programs that the page writes: what they print against what the page computes."""

import re

import pytest
from helpers import fork_server, node

pytestmark = [node.needs_node, pytest.mark.slow]

EPOCHS = 12
LINE = re.compile(r"epoch +(\d+)   train (\S+)   test (\S+)")

# What the page is asked for, and what it does before the program is written (JavaScript with `trainer`).
CONFIGURATIONS = {
    "circle": ("seed=1", ""),
    "one neuron": ("dataset=gauss&noise=15&networkShape=&seed=2", ""),
    "33 percent": ("percTrainData=33&networkShape=3&seed=8", ""),
    "relu, leftovers": ("dataset=xor&noise=25&activation=relu&batchSize=7&learningRate=0.1&seed=3", ""),
    "all features": (
        "dataset=spiral&networkShape=8,8&xSquared=true&ySquared=true&xTimesY=true&sinX=true&sinY=true&seed=4",
        "",
    ),
    "regression": ("problem=regression&noise=20&learningRate=0.01&seed=5", ""),
    "regression, L2": (
        "problem=regression&regDataset=reg-gauss&activation=relu&batchSize=30&regularization=L2"
        "&regularizationRate=0.03&learningRate=0.01&seed=6",
        "",
    ),
    "L1": ("dataset=xor&regularization=L1&regularizationRate=0.1&seed=7", ""),
    "L1, leftovers": (  # weights die, and others cross 0 by their gradients
        "dataset=xor&activation=relu&regularization=L1&regularizationRate=0.03&learningRate=0.1&batchSize=7&seed=1",
        "",
    ),
    "L2, leftovers": ("activation=sigmoid&regularization=L2&regularizationRate=0.1&batchSize=9&seed=9", ""),
    "L2, negative": ("regularization=L2&regularizationRate=-0.1&seed=18", ""),
    "zero": ("activation=sigmoid&initZero=true&learningRate=1&seed=10", ""),
    "batch too large": ("batchSize=400&seed=11", ""),
    "batch of 2.5": ("batchSize=2.5&networkShape=2&percTrainData=10&seed=12", ""),
    "no inputs": ("x=false&y=false&networkShape=2&seed=13", ""),
    "all for training": ("percTrainData=100&seed=14", ""),
    "by hand": (
        "dataset=gauss&networkShape=3&regularization=L1&regularizationRate=0.3&batchSize=7&seed=15",
        "trainer.trainUntil(20); trainer.change({ batchSize: 6, learningRate: 0.1 }); "
        "trainer.step(3); trainer.setWeight(1, 0, 1, -1.5); trainer.setBias(2, 0, 0.25);",
    ),
    "other points": ("dataset=spiral&seed=16&percTrainData=40", "trainer.trainUntil(3); trainer.regenerate();"),
}
# One for each way to train and each backend. A change of the program shows in these; all others before a release.
USUAL = (("L1, leftovers", "jax"), ("regression, L2", "tensorflow"))

SCRIPT = """
    const { Trainer } = await page("network.js");
    const { parse } = await page("state.js");
    const { kerasProgram } = await page("keras_program.js");
    const trainer = new Trainer(parse(value.url).state);
    new Function("trainer", value.before)(trainer);
    const from = trainer.epoch;
    const program = kerasProgram(trainer, value.epochs);
    const losses = [];
    const note = () => losses.push([trainer.epoch, trainer.losses().train, trainer.losses().test]);
    note();
    for (let i = 0; i < value.epochs; i++) { trainer.trainEpoch(); note(); }
    return { program, losses, accuracy: trainer.accuracy(), dead: trainer.deadWeights(), from };
"""


def configurations():
    for name in CONFIGURATIONS:
        for backend in ("tensorflow", "jax"):
            yield pytest.param(name, backend, marks=() if (name, backend) in USUAL else pytest.mark.full)


@pytest.mark.parametrize("name, backend", configurations())
def test_a_program_prints_the_losses_of_the_page(name, backend, tmp_path):
    url, before = CONFIGURATIONS[name]
    page = node.evaluate(SCRIPT, {"url": url, "before": before, "epochs": EPOCHS})
    done = fork_server.run_code(page["program"], backend=backend, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [LINE.match(line) for line in done.stdout.splitlines() if line.startswith("epoch")]
    assert [int(line[1]) for line in lines] == [epoch for epoch, *_ in page["losses"]]
    assert len(lines) == EPOCHS + 1
    for line, (_, *losses) in zip(lines, page["losses"], strict=True):
        for printed, loss in zip((line[2], line[3]), losses, strict=True):
            if loss is None:
                assert printed == "nan"
            else:
                assert float(printed) == pytest.approx(loss, abs=1e-5, rel=0)
    if page["accuracy"]:
        accuracy = re.search(r"accuracy +train (\S+) +test (\S+)", done.stdout).groups()
        for printed, share in zip(accuracy, page["accuracy"].values(), strict=True):
            assert printed == "nan" if share is None else float(printed) == pytest.approx(share, abs=0.011)
    if name.startswith("L1"):
        assert page["dead"] > 0
