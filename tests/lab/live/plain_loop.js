// The Playground's training written plainly, from its specification: nodes and links as objects, sample by sample. The
// other side of the measurement in test_speed.py.

const FUNCTIONS = {
  tanh: { of: (z) => Math.tanh(z), slope: (z) => 1 - Math.tanh(z) ** 2 },
  relu: { of: (z) => Math.max(0, z), slope: (z) => (z <= 0 ? 0 : 1) },
  sigmoid: { of: (z) => 1 / (1 + Math.exp(-z)), slope: (z) => (1 / (1 + Math.exp(-z))) * (1 - 1 / (1 + Math.exp(-z))) },
  linear: { of: (z) => z, slope: () => 1 },
};

class Link {
  constructor(source, target, weight) {
    Object.assign(this, { source, target, weight, sum: 0, count: 0, dead: false });
  }
}

class Node {
  constructor(functions, bias) {
    Object.assign(this, { functions, bias, inputs: [], outputs: [], z: 0, value: 0, error: 0, slope: 0, sum: 0, count: 0 });
  }

  forward() {
    this.z = this.bias;
    for (const link of this.inputs) this.z += link.weight * link.source.value;
    this.value = this.functions.of(this.z);
  }
}

export class PlainLoop {
  // `parameters` as of Trainer: layer by layer, node by node, the bias first.
  constructor({ sizes, activation, parameters, features, train, test, batchSize, learningRate }) {
    Object.assign(this, { features, train, test, batchSize, learningRate });
    let k = 0;
    this.layers = [Array.from({ length: sizes[0] }, () => new Node(FUNCTIONS.linear, 0))];
    for (let l = 1; l < sizes.length; l++) {
      const functions = l === sizes.length - 1 ? FUNCTIONS.tanh : FUNCTIONS[activation];
      this.layers.push(Array.from({ length: sizes[l] }, () => {
        const node = new Node(functions, parameters[k++]);
        for (const source of this.layers[l - 1]) {
          const link = new Link(source, node, parameters[k++]);
          node.inputs.push(link);
          source.outputs.push(link);
        }
        return node;
      }));
    }
  }

  forward({ x, y }) {
    this.features.forEach(({ of }, j) => (this.layers[0][j].value = of(x, y)));
    for (const layer of this.layers.slice(1)) for (const node of layer) node.forward();
    return this.layers[this.layers.length - 1][0];
  }

  backward(output, label) {
    output.error = output.value - label;
    for (let l = this.layers.length - 1; l > 0; l--) {
      for (const node of this.layers[l]) {
        node.slope = node.error * node.functions.slope(node.z);
        node.sum += node.slope;
        node.count += 1;
        for (const link of node.inputs) {
          if (link.dead) continue;
          link.sum += node.slope * link.source.value;
          link.count += 1;
        }
      }
      if (l > 1) {
        for (const node of this.layers[l - 1]) {
          node.error = 0;
          for (const link of node.outputs) node.error += link.weight * link.target.slope;
        }
      }
    }
  }

  update() {
    for (const layer of this.layers.slice(1)) {
      for (const node of layer) {
        node.bias -= (this.learningRate * node.sum) / node.count;
        node.sum = node.count = 0;
        for (const link of node.inputs) {
          link.weight -= (this.learningRate / link.count) * link.sum;
          link.sum = link.count = 0;
        }
      }
    }
  }

  loss(points) {
    let sum = 0;
    for (const point of points) sum += 0.5 * (this.forward(point).value - point.label) ** 2;
    return sum / points.length;
  }

  trainEpoch() {
    this.train.forEach((point, i) => {
      this.backward(this.forward(point), point.label);
      if ((i + 1) % this.batchSize === 0) this.update();
    });
    return { train: this.loss(this.train), test: this.loss(this.test) };
  }
}
