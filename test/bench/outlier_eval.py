#!/usr/bin/env python3
"""The isolation forest on public data, beside published figures. Standard library only.
usage: outlier_eval.py [--heal-bench PROGRAM] [DATA]
DATA: folder with outlier_tabular/ and dbpa_mysql/ (default: the environment variable HEAL_BENCH_DATA).

Tables (PyOD's protocol): 10 random 60/40 splits, standardised by the training rows, fit on these with their
outliers, ROC-AUC of the rest. The measured peer is scikit-learn under the same protocol; the mean should lie
within 2 of its standard deviations.
Windows (DBPA): a window becomes the mean and the standard deviation of each metric over its samples,
standardised by the training windows: half of the server's normal windows. AUROC of the other half against
all abnormal windows, for random halves (neighbouring windows resemble each other: flattering) and for the first
half in time (honest); with the paper's forest and with a margin, as in the product. Goal 0.98 for random halves.
Exit status 1 if a figure misses its bound, 2 for bad input.
"""
import argparse
import csv
import gzip
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

SPLITS = 10
HALVES = 5


def read_table(path):
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as f:
        rows = csv.reader(f)
        return next(rows), list(rows)


def write_table(path, header, rows):
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(header)
        out.writerows(rows)


def roc_auc(labels, scores):
    """P(score of an outlier > score of an inlier), ties count half."""
    order = sorted(range(len(scores)), key=scores.__getitem__)
    outliers = sum(labels)
    ranks = i = 0
    while i < len(order):
        j = i
        while j < len(order) and scores[order[j]] == scores[order[i]]:
            j += 1
        ranks += sum(labels[k] for k in order[i:j]) * (i + j + 1) / 2
        i = j
    return (ranks - outliers * (outliers + 1) / 2) / (outliers * (len(labels) - outliers))


class Bench:
    def __init__(self, program, folder):
        self.program = program
        self.folder = pathlib.Path(folder)

    def auc(self, header, train, test, labels, seed, margin=0.25):
        files = [self.folder / name for name in ("train.csv", "test.csv", "scores")]
        write_table(files[0], header, train)
        write_table(files[1], header, test)
        subprocess.run([self.program, "outlier", "--train", files[0], "--test", files[1], "--out", files[2],
                        "--seed", str(seed), "--margin", str(margin)], check=True)
        scores = [float(line) for line in open(files[2])]
        if len(scores) != len(labels):
            sys.exit(f"{len(scores)} scores for {len(labels)} rows")
        return roc_auc(labels, scores)


def table_aucs(bench, path):
    header, rows = read_table(path)
    label = header.index("label")
    aucs = []
    for split in range(SPLITS):
        random.Random(split).shuffle(shuffled := rows[:])
        cut = round(len(shuffled) * 0.6)
        test = shuffled[cut:]
        aucs.append(bench.auc(header, shuffled[:cut], test, [int(float(row[label])) for row in test], split))
    return aucs


def evaluate_tables(bench, folder):
    peers = json.load(open(folder / "sklearn_iforest_measured.json"))
    print(f"{'table':<12}{'ROC-AUC':>9}{'sd':>8}{'published':>11}{'scikit-learn':>14}{'its sd':>8}{'sd away':>9}")
    held = True
    for name, peer in peers.items():
        aucs = table_aucs(bench, folder / f"{name}.csv.gz")
        mean = statistics.mean(aucs)
        away = (mean - peer["sklearn_split_mean"]) / peer["sklearn_split_sd"]
        held &= away >= -2
        print(f"{name:<12}{mean:9.4f}{statistics.stdev(aucs):8.4f}{peer['published_iforest']:11.4f}"
              f"{peer['sklearn_split_mean']:14.4f}{peer['sklearn_split_sd']:8.4f}{away:+9.2f}"
              f"{'' if away >= -2 else '  NOT HELD'}", flush=True)
    return held


def read_windows(folder):
    """-> feature names, {window: features}, {window: label}, windows in time order"""
    header, rows = read_table(folder / "windows.csv.gz")
    samples = {}
    for row in rows:
        samples.setdefault(row[0], []).append([float(value) for value in row[2:]])
    features = {}
    for window, values in samples.items():
        columns = list(zip(*values))
        features[window] = [statistics.fmean(c) for c in columns] + [statistics.pstdev(c) for c in columns]
    _, labels = read_table(folder / "labels.csv")
    labels.sort(key=lambda row: row[2])
    names = [f"mean {name}" for name in header[2:]] + [f"sd {name}" for name in header[2:]]
    return names, features, {row[0]: row[1] for row in labels}, [row[0] for row in labels]


def window_auc(bench, names, features, labels, train, seed, margin):
    rest = [window for window in labels if window not in set(train)]
    return bench.auc(names, [features[w] for w in train], [features[w] for w in rest],
                     [int(labels[w] != "Normal") for w in rest], seed, margin)


def evaluate_windows(bench, folder):
    names, features, labels, in_time = read_windows(folder)
    normal = [window for window in in_time if labels[window] == "Normal"]
    half = len(normal) // 2
    held = True
    for margin in (0, 0.25, 0.5):
        halves, first = [], []
        for seed in range(HALVES):
            train = random.Random(seed).sample(normal, half)
            halves.append(window_auc(bench, names, features, labels, train, seed, margin))
            first.append(window_auc(bench, names, features, labels, normal[:half], seed, margin))
        good = statistics.mean(halves) >= 0.98
        held &= good
        print(f"{folder.name:<8}margin {margin:<4} random halves {statistics.mean(halves):.4f}"
              f" (sd {statistics.stdev(halves):.4f})   first half in time {statistics.mean(first):.4f}"
              f" (sd {statistics.stdev(first):.4f}){'' if good else '  NOT HELD'}", flush=True)
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    root = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--heal-bench", default=root / "build/bin/heal-bench")
    parser.add_argument("data", nargs="?", default=os.environ.get("HEAL_BENCH_DATA"))
    args = parser.parse_args()
    if args.data is None or not pathlib.Path(args.data).is_dir():
        print("outlier_eval.py: no folder of benchmark data (argument or HEAL_BENCH_DATA)", file=sys.stderr)
        return 2
    data = pathlib.Path(args.data)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args.heal_bench, scratch)
        held = evaluate_tables(bench, data / "outlier_tabular")
        for folder in sorted(path for path in (data / "dbpa_mysql").iterdir() if path.is_dir()):
            held &= evaluate_windows(bench, folder)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
