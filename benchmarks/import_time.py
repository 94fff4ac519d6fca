"""What `import lrx` costs beyond `import optax`: `python -m benchmarks.import_time [--json FILE]`."""

import argparse
import statistics
import subprocess
import sys

from ._timing import write


def seconds(statement: str) -> float:
    """Time of one import in a fresh process, the interpreter's own start left out."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print the difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json")
    args = parser.parse_args()
    pairs = [(seconds("import optax"), seconds("import optax, lrx")) for _ in range(args.repeats)]
    optax_s, both_s = (statistics.median(p[i] for p in pairs) for i in (0, 1))
    extra = statistics.median(b - a for a, b in pairs)
    print(f"import optax {optax_s:.3f} s, import optax, lrx {both_s:.3f} s: {extra:+.3f} s")
    write(args.json, {"optax_s": optax_s, "both_s": both_s, "extra_s": extra})


if __name__ == "__main__":
    main()
