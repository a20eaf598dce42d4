"""One verdict on a machine: does it train correctly? `python -m mnist_mlp.verify`; from a test, `assert_passes`."""

from __future__ import annotations

from typing import Any


def assert_passes(tier: str = "quick", **options: Any) -> dict[str, Any]:
    """Verify this machine and return the content of verify.json; raise `AssertionError` if a stage failed.

    A test for pytest in three lines:

        def test_this_machine_trains_correctly():
            from mnist_mlp import verify
            verify.assert_passes(strategy="gpu")

    `tier` is "quick", "usual" or "full"; `options` are the flags of `python -m mnist_mlp.verify` but quick, full,
    compare and json. Nothing is printed, and nothing written unless `output` or `junit` say where. The frameworks run
    in processes of their own, so the caller's is left as it is. Raise `ValueError` for another tier, `TypeError` for
    an unknown option, `UserError` for a wrong value.
    """
    from mnist_mlp.verify.command import Options, verify

    tiers: dict[str, dict[str, Any]] = {"quick": {"quick": True}, "usual": {}, "full": {"full": True}}
    if tier not in tiers:
        raise ValueError(f"Expected tier to be one of {', '.join(tiers)}. Received {tier!r}.")
    for name in {"quick", "full", "compare", "json"} & options.keys():
        raise TypeError(f"Expected no option {name}: it is of the command line alone. Received {options[name]!r}.")
    report = verify(Options(**tiers[tier], **options))
    if report["verdict"] != "passed":
        failed = [stage for stage in report["stages"] if stage["status"] in ("refuted", "error")]
        raise AssertionError("\n".join(f"{stage['name']}: {stage['reason']}" for stage in failed))
    return report
