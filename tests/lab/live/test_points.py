"""Own points: from CSV files as people have them, and around functions as people type them."""

import math

import pytest
from helpers import node

from mnist_mlp.lab.playground.random_stream import Stream

pytestmark = [node.needs_node, pytest.mark.slow]

READ = """
    const { readCsv } = await page("read_csv.js");
    return value.map(([text, problem]) => {
      const found = readCsv(text, problem);
      return { ...found, points: found.points.map(({ x, y, label }) => [x, y, label]) };
    });
"""
TWO = [[1, 2, 1], [3, 4, -1]]
TAKEN = {  # text, problem: points
    ("1,2,1\n3,4,-1\n", "classification"): TWO,
    ("x,y,label\n1,2,1\n3,4,-1", "classification"): TWO,
    (" X ; Y ; Label \r\n1;2;1\r\n\r\n3;4;0\r\n", "classification"): TWO,
    ("\ufeffx\ty\tlabel\n1\t2\t1\n3\t4\t0\n", "classification"): TWO,
    ("1,2,1\r3,4,0\r", "classification"): TWO,
    ('"x","y","label"\n"1","2","1"\n"3",4," 0 "\n', "classification"): TWO,
    ("1,0;2,0;1\n3,0;4;-1", "classification"): TWO,
    ("split,x,y,label,output\ntrain,1,2,1,0.9\ntest,3,4,-1,-0.2\n", "classification"): TWO,
    ("label,y,x\n1,2,1\n-1,4,3\n", "classification"): TWO,
    ("1e0,+2.,1\n3,4.0,-1.0\n", "classification"): TWO,
    ("1,2,0.5\n3,4,-7\n", "regression"): [[1, 2, 0.5], [3, 4, -7]],
    ("1,2,1\n3,4,0\n", "regression"): [[1, 2, 1], [3, 4, 0]],
}
NOTED = {  # text: points, problem, part of a note
    "1,2,cat\n3,4,ape\n": (TWO, "classification", "“ape” counts as −1, “cat” as 1"),
    "1,2,2\n3,4,1\n": (TWO, "classification", "“1” counts as −1, “2” as 1"),
    "a,b,c\n1,2,1\n3,4,0\n": (TWO, "classification", "“a”, “b”, “c” were taken as x, y and label"),
    "1,2,0.5\n3,4,7\n5,6,1\n": ([[1, 2, 0.5], [3, 4, 7], [5, 6, 1]], "regression", "not two classes"),
    "1,2,1\nnan,1,1\n3,4,0\n1,inf,1\n1,2,nan\n1e999,0,0\n": (
        TWO,
        "classification",
        "4 lines were not taken: line 2 is",
    ),
    "1,2,1\n3,4,0\n1,2\n": (TWO, "classification", "1 line was not taken: line 3 is “1,2”"),
    "1,2,1\n3,4,0\n<img src=x onerror=alert(1)>\n": (TWO, "classification", "“<img src=x onerror=alert(1)>”"),
    "1,2,a\n3,4,b\n5,6,c": ([], "classification", "expected numbers or two classes as labels"),
    "": ([], "classification", "expected points, received none"),
    "x,y,label\n": ([], "classification", "expected points, received none"),
    "<!doctype html>\n<title>x</title>": ([], "classification", "2 lines were not taken"),
    "\x00\x01\x02,\u202e\n": ([], "classification", "line 1 is “���,�”"),
    '"1,2,1\n3,4': ([], "classification", "not taken"),
    "x" * 50_000: ([], "classification", "1 line was not taken"),
}


def test_files_as_people_have_them():
    answers = node.evaluate(READ, list(TAKEN))
    for (text, problem), points, answer in zip(TAKEN, TAKEN.values(), answers, strict=True):
        assert answer == {"points": points, "problem": problem, "notes": []}, text


def test_what_a_file_lacks_is_noted():
    answers = node.evaluate(READ, [(text, "classification") for text in NOTED])
    for (text, (points, problem, note)), answer in zip(NOTED.items(), answers, strict=True):
        assert (answer["points"], answer["problem"]) == (points, problem), text
        assert any(note in each for each in answer["notes"]), (text, answer["notes"])
        assert all(len(each) < 200 and "\n" not in each for each in answer["notes"])


def test_a_million_rows():
    script = """
        const { readCsv } = await page("read_csv.js");
        const of = (line) => {
          const text = line.repeat(1_000_000);
          const began = performance.now();
          const { points, notes } = readCsv(text);
          return { count: points.length, notes, seconds: (performance.now() - began) / 1000 };
        };
        return [of("0.123456789,-1.23456789,1\\n"), of("nan,nan,nan\\n"), of('"1","2","0"\\r\\n')];
    """
    good, bad, quoted = node.evaluate(script)
    assert good["count"] == quoted["count"] == 100_000 and bad["count"] == 0
    assert "the first 100,000 points were taken" in good["notes"][0] and "300,000 lines were read" in bad["notes"][0]
    assert max(each["seconds"] for each in (good, bad, quoted)) < 5  # some 0.2 on an idle machine


VALUES = {  # expression: values at 2 and −0.5
    "x": (2, -0.5),
    "y = sin(2x) + x^2/4": (math.sin(4) + 1, math.sin(-1) + 0.0625),
    "-x^2": (-4, -0.25),
    "2^3^2": (512, 512),
    "2^-1": (0.5, 0.5),
    "8/4/2": (1, 1),
    "1 - 2 - 3": (-4, -4),
    "2e": (2 * math.e,) * 2,
    "2e3x": (4000, -1000),
    ".5pi x": (math.pi, -math.pi / 4),
    "3sin(x)(x+1)": (9 * math.sin(2), 1.5 * math.sin(-0.5)),
    "sin x cos x": (math.sin(2) * math.cos(2), math.sin(-0.5) * math.cos(-0.5)),
    "abs(x)^3 - 1": (7, -0.875),
    "exp(log(abs x))": (2, 0.5),
    "−x²·2 + π": (math.pi - 8, math.pi - 0.5),
    "TAN(X) ** 2": (math.tan(2) ** 2, math.tan(-0.5) ** 2),
    "sqrt(x)": (math.sqrt(2), None),
    "1/(x-2)": (None, -0.4),
}
REFUSED = {
    "": "received nothing",
    "|x|": "received “|”",
    "(((": "expected more",
    "(x": "closing parenthesis",
    "x)": "“)” is not expected",
    "1 2": "“2” is not expected",
    "x 2": "“2” is not expected",
    "x +": "expected more",
    "* x": "“*” is not expected",
    "alert(1)": "“alert” is unknown; there are x, pi, e",
    "constructor": "“constructor” is unknown",
    "x.constructor": "received “.”",
    "x=>1": "received “=”",
    "`x`": "received “`”",
    "import('x')": "received “'”",
    "(" * 60 + "x" + ")" * 60: "at most 30 levels",
    "sin " * 40 + "x": "at most 30 levels",
    "2^" * 40 + "x": "at most 30 levels",
    "x+" * 1_000_000 + "x": "at most 200 characters",
}


def test_functions_as_people_type_them():
    script = """
        const { parseExpression } = await page("expression.js");
        return value.map((text) => {
          const { value, error } = parseExpression(text);
          return { error, values: value && [value(2), value(-0.5)] };
        });
    """
    answers = node.evaluate(script, [*VALUES, *REFUSED])
    for (text, expected), answer in zip(VALUES.items(), answers, strict=False):
        assert answer == {"error": None, "values": [pytest.approx(value) for value in expected]}, text
    for (text, error), answer in zip(REFUSED.items(), answers[len(VALUES) :], strict=True):
        assert answer["values"] is None and error in answer["error"], text
        assert len(answer["error"]) < 120


def test_points_above_and_below_a_function():
    script = """
        const { pointsAroundFunction } = await page("around_function.js");
        return value.map((given) => pointsAroundFunction(...given));
    """
    calls = [
        ("x^2/3 - 2", 300, "a"),
        ("log(x)", 200, "b"),
        ("sqrt(-1 - x^2)", 50, "c"),
        ("9", 20, "d"),
        ("0", 400, "e", 50),
    ]
    calls += [("import", 5, "f"), ("x", 1e9, "g"), ("x", -3, "h"), ("x", None, "i")]
    parabola, logarithm, nowhere, above, noisy, refused, many, *none = node.evaluate(script, calls)
    assert len(parabola["points"]) == 300 and parabola["notes"] == []
    for point in parabola["points"]:
        assert point["label"] == (1 if point["y"] > point["x"] ** 2 / 3 - 2 else -1)
    stream = Stream("a")
    assert (parabola["points"][0]["x"], parabola["points"][0]["y"]) == (stream.uniform(-6, 6), stream.uniform(-6, 6))
    assert len(logarithm["points"]) == 200 and all(point["x"] > 0 for point in logarithm["points"])
    assert logarithm["notes"] == ["where the function is not defined, there are no points"]
    assert nowhere["points"] == [] and "undefined almost everywhere" in nowhere["notes"][0]
    assert above["notes"] == ["all points lie below the function"]
    wrong = [point for point in noisy["points"] if (point["y"] > 0) != (point["label"] > 0)]
    assert 20 < len(wrong) < 120 and all(abs(point["y"]) < 3 for point in wrong)
    assert refused == {"points": [], "notes": [refused["notes"][0]]} and "“import” is unknown" in refused["notes"][0]
    assert len(many["points"]) == 100_000 and "up to 100,000" in many["notes"][0]
    assert all(each["points"] == [] and each["notes"] for each in none)
