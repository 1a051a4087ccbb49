"""Canaries: leaks, forgeries, deletions and insertions, and what notices each of them.

Everything is planted in a small project of its own, one canary at a time, and put back. `value`
counts the canaries that nothing caught, or that were caught and called something else. The table on
standard error says of each which detector noticed it and what it called it; the exit code is 1
unless all of them were called by their names.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from autonama_dagster.cli.shared.render import print_records
from autonama_dagster.cli.shared.screen import screen
from bench.canary_lab import Lab, opened
from bench.canary_plants import CANARIES, Canary
from bench.report import report


@dataclass(frozen=True)
class Outcome:
    """What noticed a canary: by detector, what it said."""

    canary: Canary
    found: dict[str, set[str]]

    @property
    def missed(self) -> list[str]:
        """Detectors that did not say what they must."""
        return [
            f"{detector}: {name}"
            for detector, name in self.canary.caught_by.items()
            if not any(name in said for said in self.found.get(detector, ()))
        ]

    @property
    def sentence(self) -> str:
        """How it went, for progress."""
        if not self.missed:
            return f"{self.canary.name}: caught"
        said = "; ".join(f"{d}: {', '.join(sorted(s)) or 'nothing'}" for d, s in self.found.items())
        return f"{self.canary.name}: MISSED by {', '.join(self.missed)} (said: {said})"


def tried(lab: Lab, canary: Canary) -> Outcome:
    """Plant a canary, ask every detector, put everything back."""
    try:
        with canary.leak():
            canary.plant(lab)
            return Outcome(canary, lab.ask(canary.asks))
    finally:
        lab.restore()


def false_alarms(lab: Lab) -> dict[str, set[str]]:
    """What the detectors say of a project in which nothing is planted."""
    return {detector: said for detector, said in lab.ask().items() if said}


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the matrix."""
    records = [
        {
            "group": of.canary.group,
            "planted": of.canary.name,
            "caught by": ", ".join(d for d, said in of.found.items() if said) or "nothing",
            "called": "; ".join(dict.fromkeys(of.canary.caught_by.values())),
            "": "missed " + ", ".join(of.missed) if of.missed else "",
        }
        for of in outcomes
    ]
    print_records(screen(stderr=True), records, "Canaries")


def main() -> int:
    """Plant them all and print the line of the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    groups = sorted({canary.group for canary in CANARIES})
    parser.add_argument("--groups", nargs="+", choices=groups, default=groups)
    given = parser.parse_args()
    chosen = [canary for canary in CANARIES if canary.group in given.groups]
    begun = monotonic()
    outcomes = []
    with opened() as lab:
        alarms = false_alarms(lab)
        for canary in chosen:
            outcomes.append(tried(lab, canary))
            print(outcomes[-1].sentence, file=sys.stderr, flush=True)
    show(outcomes)
    failed = [of.canary.name for of in outcomes if of.missed]
    met = not failed and not alarms
    report(
        "canaries",
        len(failed),
        "canaries not called by their name",
        target=0,
        met=met,
        planted=len(outcomes),
        missed=failed,
        false_alarms={detector: sorted(said) for detector, said in alarms.items()},
        seconds=round(monotonic() - begun),
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
