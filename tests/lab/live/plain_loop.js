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
    this.source = source;
    this.target = target;
    this.weight = weight;
    this.sum = 0;
    this.count = 0;
    this.dead = false;
  }
}

class Node {
  constructor(functions, bias) {
    this.functions = functions;
    this.bias = bias;
    this.inputs = [];
    this.outputs = [];
    this.z = 0;
    this.value = 0;
    this.error = 0;
    this.slope = 0;
    this.sum = 0;
    this.count = 0;
  }

  forward() {
    this.z = this.bias;
    for (let j = 0; j < this.inputs.length; j++) this.z += this.inputs[j].weight * this.inputs[j].source.value;
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

  forward(point) {
    const { layers, features } = this;
    for (let j = 0; j < features.length; j++) layers[0][j].value = features[j].of(point.x, point.y);
    for (let l = 1; l < layers.length; l++) for (let i = 0; i < layers[l].length; i++) layers[l][i].forward();
    return layers[layers.length - 1][0];
  }

  backward(output, label) {
    const { layers } = this;
    output.error = output.value - label;
    for (let l = layers.length - 1; l > 0; l--) {
      for (let i = 0; i < layers[l].length; i++) {
        const node = layers[l][i];
        node.slope = node.error * node.functions.slope(node.z);
        node.sum += node.slope;
        node.count += 1;
        for (let j = 0; j < node.inputs.length; j++) {
          const link = node.inputs[j];
          if (link.dead) continue;
          link.sum += node.slope * link.source.value;
          link.count += 1;
        }
      }
      if (l === 1) continue;
      for (let i = 0; i < layers[l - 1].length; i++) {
        const node = layers[l - 1][i];
        node.error = 0;
        for (let j = 0; j < node.outputs.length; j++) node.error += node.outputs[j].weight * node.outputs[j].target.slope;
      }
    }
  }

  update() {
    const { layers, learningRate } = this;
    for (let l = 1; l < layers.length; l++) {
      for (let i = 0; i < layers[l].length; i++) {
        const node = layers[l][i];
        node.bias -= (learningRate * node.sum) / node.count;
        node.sum = node.count = 0;
        for (let j = 0; j < node.inputs.length; j++) {
          const link = node.inputs[j];
          link.weight -= (learningRate / link.count) * link.sum;
          link.sum = link.count = 0;
        }
      }
    }
  }

  loss(points) {
    let sum = 0;
    for (let i = 0; i < points.length; i++) sum += 0.5 * (this.forward(points[i]).value - points[i].label) ** 2;
    return sum / points.length;
  }

  trainEpoch() {
    for (let i = 0; i < this.train.length; i++) {
      this.backward(this.forward(this.train[i]), this.train[i].label);
      if ((i + 1) % this.batchSize === 0) this.update();
    }
    return { train: this.loss(this.train), test: this.loss(this.test) };
  }
}
