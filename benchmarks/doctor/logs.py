"""What `lrx.diagnose` says of real logs: `python -m benchmarks.doctor.logs FOLDER`, which is searched for CSV files.

The logs come from elsewhere; those in `benchmarks/README.md` are of runs at rates that their authors published.
"""

import argparse
from collections import Counter
from pathlib import Path

import lrx
from lrx.diagnosis._verdict_words import LATE


def main() -> None:
    """Print how often each label was given, to logs from the first step on and to those that begin later."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doctor.logs", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-v", "--verbose", action="store_true", help="print a line for each log as well")
    args = parser.parse_args()
    found = {"the start is there": Counter(), "it is missing": Counter()}
    for file in sorted(args.folder.rglob("*.csv")):
        try:
            log = lrx.read_log(file)
        except ValueError as e:
            print(e)
            continue
        verdict = lrx.diagnose(log)
        late = verdict.evidence["missing"] > LATE
        found["it is missing" if late else "the start is there"][verdict.label] += 1
        if args.verbose:
            print(f"{file.relative_to(args.folder)}: {log.steps[0]:,} to {log.steps[-1]:,}, {verdict.label}")
    for start, labels in found.items():
        print(f"{start}: {dict(labels.most_common())}")


if __name__ == "__main__":
    main()
