"""Covers to vectors: our asset against transformers, sentence-transformers, open_clip, onnxruntime and OpenVINO.

    python -m book_search_tests.benchmarks.bench_embed --count 1000

Every contender turns the same JPEG pictures into vectors of the same ViT-B/32 of random weights (open_clip into those
of its own), in a process of its own; each has as many rounds, in turns, and its best counts. What imports, loading and
the first batch take is left out of all. The floor is what the model's arithmetic costs at the highest rate of torch's
own matrix products, measured in the same run. Competitors live in an environment of their own, with this torch.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import numpy as np
import torch

from book_search_tests.benchmarks.embed_contenders import ELSEWHERE, HERE
from book_search_tests.benchmarks.embed_field import prepare
from book_search_tests.benchmarks.measuring import measure

MODULE = "book_search_tests.benchmarks.embed_contenders"
COMPETITORS = ("sentence-transformers", "open_clip_torch", "onnxruntime", "onnx", "openvino", "transformers", "pyarrow")
GFLOP = 8.818  # of a picture in ViT-B/32: 50 tokens, 12 layers, every product counted as two operations a number
GFLOP_NEEDED = 8.232  # the same where the last layer is computed for the class token alone
OURS = "ours-bf16"
REFERENCE = "transformers"


@dataclass(frozen=True)
class Result:
    """What a contender came to.

    Attributes:
        rate: pictures a second.
        cpu: milliseconds of processor a picture.
        peak_mb: the most memory of the process.
        cosine: the smallest to transformers' vectors in float32; None where there is nothing to compare.
    """

    rate: float
    cpu: float
    peak_mb: float
    cosine: float | None = None


def table(results: Mapping[str, Result | str], peak: float) -> str:
    """The results in Markdown; the share is of what `peak`, in GFLOP/s of bf16, allows for the whole arithmetic."""
    lines = [
        "| way | pictures/s | of the floor | CPU ms a picture | peak MB | smallest cosine to fp32 |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        if isinstance(result, str):
            lines.append(f"| {name} | left out: {result} | | | | |")
            continue
        share = result.rate * GFLOP / peak
        cosine = "" if result.cosine is None else f"{result.cosine:.6f}"
        lines.append(
            f"| {name} | {result.rate:.1f} | {share:.0%} | {result.cpu:.1f} | {result.peak_mb:,.0f} | {cosine} |"
        )
    return "\n".join(lines)


def verdicts(results: Mapping[str, Result | str]) -> list[str]:
    """How many times the pictures a second of each other way ours makes."""
    ours = results.get(OURS)
    if not isinstance(ours, Result):
        return []
    others = ((name, result) for name, result in results.items() if not name.startswith("ours"))
    return [f"{ours.rate / other.rate:.2f} times {name}" for name, other in others if isinstance(other, Result)]


def run(name: str, python: Path, folder: Path, count: int) -> tuple[dict[str, float], float]:
    """One contender's figures and its peak memory in MB. Raises RuntimeError where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HF_HUB_OFFLINE": "1"}
    done = measure([str(python), "-m", MODULE, name, str(folder), str(count)], environment)
    figures: dict[str, float] = json.loads(done.said)
    return figures, done.peak_mb


def compete(
    names: Sequence[str], pythons: Mapping[str, Path | str], folder: Path, count: int, rounds: int, rest: float
) -> tuple[dict[str, Result | str], dict[str, float]]:
    """All contenders in turns, `rounds` times; gives the best of each, and the floor's best GFLOP/s by precision.

    Args:
        pythons: each contender's interpreter, or why it is left out.
        rest: seconds between two contenders.
    """
    results: dict[str, Result | str] = {}
    peaks: dict[str, float] = {}
    for turn in range(rounds):
        for name in ["floor", *(name for name in names if name != "floor")]:
            python = pythons[name]
            if isinstance(python, str) or isinstance(results.get(name), str):
                results[name] = results.get(name) or str(python)
                continue
            sleep(rest)
            print(f"round {turn + 1} of {rounds}: {name}", file=sys.stderr, flush=True)
            try:
                figures, peak_mb = run(name, python, folder, count)
            except RuntimeError as error:
                results[name] = str(error).strip().splitlines()[-1]
                continue
            if name == "floor":
                peaks = {kind: max(peaks.get(kind, 0), figures[kind]) for kind in ("bf16", "fp32")}
                continue
            pictures = figures["pictures"]
            found = Result(pictures / figures["wall"], figures["cpu"] / pictures * 1e3, peak_mb)
            before = results.get(name)
            results[name] = found if not isinstance(before, Result) or found.rate > before.rate else before
    return {name: results[name] for name in names if name in results}, peaks


def with_cosines(results: Mapping[str, Result | str], folder: Path) -> dict[str, Result | str]:
    """The results, with each contender's smallest cosine to the reference's vectors where it kept its own."""
    if not isinstance(results.get(REFERENCE), Result):
        return dict(results)
    expected = np.load(folder / "vectors" / f"{REFERENCE}.npy")
    compared: dict[str, Result | str] = {}
    for name, result in results.items():
        kept = folder / "vectors" / f"{name}.npy"
        if isinstance(result, Result) and kept.exists():
            vectors = np.load(kept)
            cosines = (vectors * expected[: len(vectors)]).sum(axis=1) / np.linalg.norm(vectors, axis=1)
            result = Result(result.rate, result.cpu, result.peak_mb, float(cosines.min()))
        compared[name] = result
    return compared


def install_competitors(venv: Path) -> str | None:
    """An environment with the competitors, of this torch; gives why there is none, if so."""
    marker = venv / "installed"
    if marker.exists():
        return None
    print(f"installing {', '.join(COMPETITORS)} into {venv} ...", file=sys.stderr, flush=True)
    torch_itself = f"torch=={torch.__version__.partition('+')[0]}"
    install = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", torch_itself]
    for command in ([sys.executable, "-m", "venv", "--clear", str(venv)], install, [*install, *COMPETITORS]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            return f"could not be installed: {''.join(last)}"
    marker.touch()
    return None


def main() -> None:
    """Make what is not there yet, then compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000, help="of covers")
    parser.add_argument("--memory", type=int, nargs="*", default=[], help="counts at which the asset's memory is read")
    parser.add_argument("--folder", type=Path, default=Path(".book_search/bench"), help="where things are kept")
    parser.add_argument("--pictures", type=Path, help="a folder of JPEG files that come before the drawn ones")
    parser.add_argument("--rounds", type=int, default=2, help="the best counts")
    parser.add_argument("--rest", type=float, default=1, help="seconds between two contenders")
    parser.add_argument("--only", default="", help="contenders with one of these words in their names, with commas")
    asked = parser.parse_args()
    folder, venv = asked.folder.resolve() / "embed", asked.folder.resolve() / "embed-venv"
    names = [name for name in (*HERE, *ELSEWHERE) if any(word in name for word in asked.only.split(","))]
    missing = install_competitors(venv) if any(name in ELSEWHERE for name in names) else None
    pythons: dict[str, Path | str] = dict.fromkeys(HERE, Path(sys.executable))
    pythons |= dict.fromkeys(ELSEWHERE, missing or venv / "bin" / "python")
    prepare(folder, [asked.count, *asked.memory], asked.pictures)
    results, peaks = compete(names, pythons, folder, asked.count, asked.rounds, asked.rest)
    print(
        f"{asked.count:,} covers, {os.cpu_count()} cores, torch {torch.__version__}, best of {asked.rounds}. "
        f"Highest rate of matrix products: bf16 {peaks['bf16']:,.0f} GFLOP/s, fp32 {peaks['fp32']:,.0f}; "
        f"at {GFLOP} GFLOP a picture (of which {GFLOP_NEEDED} are needed) bf16 allows "
        f"{peaks['bf16'] / GFLOP:.1f} pictures a second.\n"
    )
    print(table(with_cosines(results, folder), peaks["bf16"]))
    print("", *verdicts(results), sep="\n")
    for count in asked.memory:
        figures, peak_mb = run(OURS, Path(sys.executable), folder, count)
        print(f"{count:,} covers: at most {peak_mb:,.0f} MB, {count / figures['wall']:.1f} pictures a second")


if __name__ == "__main__":
    main()
