"""The two nearest of many unit vectors, through the flat index of the public `faiss-cpu` package.

Runs in an environment of its own, for faiss is never a dependency of edged; it therefore imports nothing of this project.
`tools.bench.matching` starts it, writes one batch size a line to it and reads one line of JSON for each.

    python tools/peer_faiss.py TEMPLATES.npy EMBEDDINGS.npy --threads 1
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import faiss
import numpy as np


def main() -> int:
    """Answers until its input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("templates", help="(T, D) float32")
    parser.add_argument("embeddings", help="(N, D) float32")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    faiss.omp_set_num_threads(arguments.threads)
    templates, embeddings = np.load(arguments.templates), np.load(arguments.embeddings)
    index = faiss.IndexFlatIP(templates.shape[1])
    index.add(templates)
    del templates
    print(json.dumps({"version": faiss.__version__}), flush=True)
    for line in sys.stdin:
        batch = embeddings[: int(line)]
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        scores, rows = index.search(batch, 2)
        wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
        print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "rows": rows.tolist(), "scores": scores.tolist()}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
