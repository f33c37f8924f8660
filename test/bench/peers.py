#!/usr/bin/env python3
"""What pandas and scikit-learn take for what the detectors do, on the same sizes.

Prints a line per task: name, nanoseconds. pandas computes a whole column at once,
the cheapest way it has; scikit-learn is asked for a batch and for one row, as a
stream would. usage: peers.py (needs the Debian packages python3-pandas and
python3-sklearn; exits with 77 when they are not there)
"""
import statistics
import sys
import time

try:
    import numpy
    import pandas
    from sklearn.ensemble import IsolationForest
except ImportError as missing:
    print(missing, file=sys.stderr)
    sys.exit(77)

WINDOW, SERIES, FEATURES, ROWS = 1000, 50, 20, 256


def nanoseconds(work, units, repeats=5):
    """Median time of one unit of work."""
    times = []
    for _ in range(repeats):
        start = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - start) / units)
    return statistics.median(times)


def main():
    random = numpy.random.default_rng(1)
    column = pandas.Series(random.normal(size=200_000))

    def zscore():
        rolling = column.rolling(WINDOW)
        return (column - rolling.mean()) / rolling.std()

    print("zscore", nanoseconds(zscore, len(column)))

    frame = pandas.DataFrame(random.normal(size=(2_000, SERIES)))

    def quartiles():
        rolling = frame.rolling(WINDOW)
        return rolling.quantile(0.75) - rolling.quantile(0.25)

    print("iqr", nanoseconds(quartiles, frame.size, 3))

    sample = random.normal(size=(ROWS, FEATURES)).astype(numpy.float32)
    points = random.normal(size=(4096, FEATURES)).astype(numpy.float32)
    forest = IsolationForest(n_estimators=100, max_samples=ROWS, random_state=1)
    print("fit", nanoseconds(lambda: forest.fit(sample), 1))
    print("score_batch", nanoseconds(lambda: forest.score_samples(points), len(points)))
    print("score_single", nanoseconds(lambda: forest.score_samples(points[:1]), 1))


if __name__ == "__main__":
    main()
