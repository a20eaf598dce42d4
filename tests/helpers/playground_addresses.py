"""Addresses of the Playground as hardly anybody would type them."""

VALUES = {
    "activation": ["relu", "tanh", "sigmoid", "linear", "Tanh", "", "toString"],
    "regularization": ["none", "L1", "L2", "L1", "l2"],
    "batchSize": ["1", "7", "10", "30", "33", "2.5", "400", "2000", "-3", "0", "0x0A", "1e1", "", "%32%30"],
    "learningRate": ["0.03", "0.3", "3", "1e-5", ".1", "0", "-0.01", " 0.1", "10"],
    "regularizationRate": ["0", "0.001", "0.03", "0.3", "1", "10", ""],
    "noise": ["0", "15", "25", "50", "90", "80", "-5", "7.5", "1e9", ""],
    "percTrainData": ["50", "10", "90", "33", "0", "100", "66.6", "95"],
    "dataset": ["circle", "xor", "gauss", "spiral", "reg-plane", ""],
    "regDataset": ["reg-plane", "reg-gauss", "plane"],
    "networkShape": ["", "4,2", "1", "8,8,8", "3,3,3,3,3,3,3", "4%2C2", " 3 , 2", "17", "0x3"],
    "problem": ["classification", "classification", "regression", "", "Regression"],
    "initZero": ["true", "false", "", "0"],
    "seed": ["0.55534", "hello", "", " ", "grün", "日本", "%E6%97%A5", "𝄞", "a%2Cb", "a b", "x" * 300, "0"],
    "tutorial": ["dlc", ""],
    "nonsense": ["1", ""],
    "": ["1"],
}
FEATURES = ("x", "y", "xTimesY", "xSquared", "ySquared", "sinX", "sinY", "cosX", "cosY")
VALUES |= {name: ["true", "false", "", "1", "TRUE"] for name in FEATURES}
VALUES |= {f"{name}_hide": ["true", "false", "1"] for name in (*FEATURES, "playButton", "numHiddenLayers")}
WRONG = ["batchSize=ten", "learningRate=NaN", "percTrainData=101", "networkShape=4,,2", "networkShape=1.5"]
WRONG += ["networkShape", "networkShape=99999", "batchSize=%20", "learningRate=Infinity", "networkShape=-1"]
BEFORE = ("", "#", "#", "https://playground.tensorflow.org/#", "http://playground.tensorflow.org/?a=1&batchSize=3#")
BEFORE += ("playground.tensorflow.org/#", "  #", "http://127.0.0.1:8000/index.html?hl=en#")


def address(draw):
    """An address with a seed, some keys twice, and values that nobody would type."""
    parts = [f"{name}={draw.choice(VALUES[name])}" for name in VALUES if draw.random() < 0.35]
    parts += [f"{name}={draw.choice(VALUES[name])}" for name in draw.sample(list(VALUES), 2)]
    draw.shuffle(parts)
    if not any(part.startswith("seed=") and part[5:].strip() for part in parts[-1:]):
        parts.append(f"seed={draw.choice([seed for seed in VALUES['seed'] if seed.strip()])}")
    if draw.random() < 0.15:
        parts.insert(draw.randrange(len(parts)), draw.choice(WRONG))
    return draw.choice(BEFORE) + draw.choice(["&", "&", "&amp;", "&&"]).join(parts)
