"""What an epoch costs, beside the Playground's own loop written plainly, and what all maps of a frame cost."""

from pathlib import Path

import pytest
from helpers import node

pytestmark = [node.needs_node, pytest.mark.full]  # a measurement; that epochs are right the usual tests show

PLAIN = Path(__file__).with_name("plain_loop.js").as_uri()
REPETITIONS, EPOCHS, MAPS = 7, 60, 20

# CPU time, not the clock: others work on the machine. Both sides alternate.
SCRIPT = """
    const { Trainer } = await page("network.js");
    const { parse } = await page("state.js");
    const { PlainLoop } = await import(value.plain);
    const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
    const milliseconds = (times, task) => {
      const before = process.cpuUsage();
      for (let i = 0; i < times; i++) task();
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000 / times;
    };
    const results = {};
    for (const activation of ["tanh", "relu", "sigmoid"]) {
      const url = `dataset=spiral&networkShape=8,8,8,8,8,8&batchSize=10&seed=1&activation=${activation}`;
      const trainer = new Trainer(parse(url).state);
      const { sizes, features, train, test } = trainer;
      const same = { sizes, activation, features, train, test, parameters: trainer.parameters() };
      const plain = new PlainLoop({ ...same, batchSize: 10, learningRate: 0.03 });
      const [ours, theirs] = [[], []];
      for (let repetition = -1; repetition < value.repetitions; repetition++) {  // one more, to warm up
        const one = milliseconds(value.epochs, () => trainer.trainEpoch());
        const other = milliseconds(value.epochs, () => plain.trainEpoch());
        if (repetition >= 0) ours.push(one), theirs.push(other);
      }
      const apart = Math.abs(trainer.losses().train - plain.loss(train));
      for (let i = 0; i < 5; i++) trainer.maps(100);
      const maps = milliseconds(value.maps, () => trainer.maps(100));
      results[activation] = { ours: median(ours), plain: median(theirs), maps, apart };
    }
    return results;
"""


def test_an_epoch_costs_no_more_than_the_plain_loop():
    value = {"plain": PLAIN, "repetitions": REPETITIONS, "epochs": EPOCHS, "maps": MAPS}
    results = node.evaluate(SCRIPT, value, timeout=600)
    for activation, found in results.items():
        shown = " ".join(f"{name} {number:.3g}" for name, number in found.items())
        print(f"6 x 8 {activation}, 500 points, batch 10, ms of CPU time: {shown}")
    for found in results.values():
        assert found["ours"] <= found["plain"]
        assert found["maps"] < 16  # a frame at 60 a second
    assert results["relu"]["apart"] == 0  # the same training, as far as no engine's own functions take part
