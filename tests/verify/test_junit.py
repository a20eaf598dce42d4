"""The stages as JUnit XML, read back with another parser and compared with the rules of Jenkins' schema."""

import re
from xml.dom import minidom
from xml.etree import ElementTree

import pytest
from helpers.verification import NAMES, report

from mnist_mlp.verify import junit

# Of Jenkins' schema, junit-10.xsd: attributes (those with ! must be there), and children. GitLab and the actions for
# GitHub read fewer of them.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name!", "tests!", "failures!", "errors!", "skipped", "time", "timestamp", "hostname"},
        {"properties", "testcase"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name!", "value!"}, set()),
    "testcase": ({"name!", "classname", "time"}, {"failure", "error", "skipped", "system-out"}),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"message"}, set()),
    "system-out": (set(), set()),
}


def parsed(text):
    """The root of the file, after all that holds of every such file."""
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<testsuites ')
    root = ElementTree.fromstring(text.encode())
    minidom.parseString(text.encode())
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        needed = {name[:-1] for name in attributes if name.endswith("!")}
        assert needed <= element.attrib.keys() <= {name.rstrip("!") for name in attributes}, element.tag
        assert {child.tag for child in element} <= children, element.tag
        assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))
    (suite,) = root
    cases = suite.findall("testcase")
    for plural, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.get(plural)) == sum(case.find(kind) is not None for case in cases)
        assert plural == "skipped" or root.get(plural) == suite.get(plural)
    assert int(suite.get("tests")) == int(root.get("tests")) == len(cases)
    assert [child.tag for child in suite] == ["properties", *["testcase"] * len(cases)]  # Ant's order
    return suite


def test_a_case_for_each_stage():
    made = report(
        seed=12345,
        determinism={"status": "refuted", "reason": "a second run\n differs", "figure": "3 of 28 tensors"},
        exports={"status": "error", "reason": "ValueError: boom", "figure": "", "details": {"traceback": "Traceback…"}},
    )
    suite = parsed(junit.render(made))
    cases = {case.get("name"): case for case in suite.findall("testcase")}
    assert [*cases] == list(NAMES) and {case.get("classname") for case in cases.values()} == {"mnist_mlp.verify"}
    assert cases["training"].get("time") == "1.250" and suite.get("time") == "75.500"
    assert [*cases["training"]][0].text == "the claim of training: 351 of 360 correct, p = 0.46"
    failure = cases["determinism"].find("failure")
    assert failure.attrib == {"type": "refuted", "message": "a second run differs"}
    assert failure.text == "a second run\n differs" and cases["determinism"].find("system-out") is not None
    assert cases["exports"].find("error").text == "ValueError: boom\n\nTraceback…"
    assert cases["exports"].find("system-out") is None
    assert cases["mnist"].find("skipped").get("message") == "MNIST is not on this machine"
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["12", "1", "1", "2"] and suite.get("timestamp") == "2026-11-30T11:54:39"


def test_machine_and_versions_are_properties():
    suite = parsed(junit.render(report(seed=12345)))
    found = {row.get("name"): row.get("value") for row in suite.find("properties")}
    assert found == {
        "verdict": "passed",
        "tier": "usual",
        "seed": "12345",
        "version": "0.2.0",
        "date": "2026-11-30T11:54:39+0000",
        "option.strategy": "gpu",
        "option.backend": "auto",
        "option.start_timeout": "300",
        "machine.processor": "Example 9000, 16 cores",
        "machine.gpus": "1",
        "python": "3.12.1",
        "version.tensorflow": "2.21.0",
        "version.keras": "3.15.1",
        "devices.tensorflow": "GPU:0, CPU:0",
    }


def test_characters_that_xml_lacks_are_spelled_out():
    every = "".join(map(chr, [*range(0x20), 0x7F, 0x85, 0x2028, 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x1F600]))
    made = report(machine={"status": "refuted", "reason": every, "figure": f"]]> <b> & {every}"})
    made["stages"][1]["name"] = 'a\x00\ud800<&>"'
    made["device"]["\x01"] = "\x02"
    suite = parsed(junit.render(made))
    first, second = suite.findall("testcase")[:2]
    assert first.find("failure").text.startswith("\\x00\\x01") and "\t\n" in first.find("failure").text
    assert first.find("failure").text.endswith("\\ud800\\udfff\\ufffe\\uffff\U0001f600")
    assert "]]> <b> & \\x00" in first.find("system-out").text
    assert second.get("name") == 'a\\x00\\ud800<&>"'


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"stages": [{}, None, {"status": ["passed"], "seconds": "long", "details": []}], "seconds": -3},
        {"date": "yesterday", "device": None, "stages": [{"name": 3, "status": "later", "seconds": float("inf")}]},
        {"date": 20261130, "stages": 7},
    ],
)
def test_a_report_with_little(made):
    suite = parsed(junit.render(made))
    assert suite.get("timestamp") is None
    assert all(case.find("error") is not None for case in suite.findall("testcase"))  # a status that is not known
