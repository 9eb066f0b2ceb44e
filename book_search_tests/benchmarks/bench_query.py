"""Measures how long a question waits: cold, from the shell to the answer, with its shares; and warm, a sentence.

    python -m book_search_tests.benchmarks.bench_query

The model is a ViT-B/32 of random weights (605 MB, kept), the database an embedded server that is up already. Nothing
here asserts on a time.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter

from book_search_tests.benchmarks.query_library import library_of, random_vit_b_32

TEXT = "a white ship under a moon"
COMMAND = Path(sysconfig.get_path("scripts")) / "book-search"
COMMANDS = (["search", TEXT], ["search", TEXT, "--json"], ["embed", TEXT], ["similar", "OL7M"], ["--help"])
ROUNDS, FEW_ROUNDS, WARM_ROUNDS = 5, 3, 30  # few of what takes seconds and is known


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(".book_search/bench/query"), help="where the model is kept")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    model = random_vit_b_32(folder / "vit-b-32")
    settings = {"BOOK_SEARCH_HOME": str(folder / "home"), "BOOK_SEARCH_MODEL": str(model), "HF_HUB_OFFLINE": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BOOK_SEARCH_")}
    with library_of(model, folder / "home"):
        _tell_cold(kept | settings)
        _tell_shares(kept | settings)
    _tell_warm(model)


def _tell_cold(environment: dict[str, str]) -> None:
    print(f"From the shell to the answer, milliseconds, median (least) of {ROUNDS}")
    for words in COMMANDS:
        times = [_run([str(COMMAND), *words], environment)[0] for _ in range(ROUNDS + 1)][1:]
        print(f"  book-search {' '.join(words):42} {median(times):6.0f} ({min(times):.0f})")


def _tell_shares(environment: dict[str, str]) -> None:
    interpreter = median(_run([sys.executable, "-c", "pass"], environment)[0] for _ in range(ROUNDS))
    print(f"\nWhere a cold search's milliseconds go, median of {ROUNDS} (of {FEW_ROUNDS} as it was)")
    print(f"  {interpreter:6.0f}  interpreter, start and end")
    for way in ("ours", "transformers"):
        steps = [sys.executable, "-m", "book_search_tests.benchmarks.query_steps", way, TEXT]
        rounds = [json.loads(_run(steps, environment)[1]) for _ in range(ROUNDS if way == "ours" else FEW_ROUNDS)]
        print(f"  by {'the text tower alone' if way == 'ours' else 'torch and transformers, as it was'}")
        shares = {name: median(each[name] for each in rounds) for name in rounds[0]}
        for name, took in shares.items():
            print(f"  {took:6.0f}  {name}")
        inner = sum(took for name, took in shares.items() if not name.startswith("of which"))
        print(f"  {inner + interpreter:6.0f}  in all")


def _tell_warm(model: Path) -> None:
    import torch

    from book_search.clip.model import load_clip
    from book_search.clip.packed_texts import PackedTexts
    from book_search.clip.templates import TEMPLATES
    from book_search.clip.text_tower import TextTower

    clip = load_clip(str(model), device="cpu")
    assert clip.texts is not None
    assert isinstance(clip.texts.tower, TextTower)
    packed = {
        name: replace(clip.texts, tower=PackedTexts(clip.texts.tower, dtype)).encode_texts
        for name, dtype in (("a warm server, fp32", torch.float32), ("a warm server, bf16", torch.bfloat16))
    }

    def by_transformers(texts: Sequence[str]) -> object:
        with torch.inference_mode():
            encoded = clip.tokenizer(list(texts), padding=True, return_tensors="pt")
            return clip.model.get_text_features(**encoded).pooler_output.numpy()

    ways: dict[str, Callable[[Sequence[str]], object]] = {
        "a command": clip.texts.encode_texts,
        **packed,
        "transformers, fp32": by_transformers,
    }
    cases = {
        "one sentence": [TEXT],
        "a query, 4 templates": [each.format(TEXT) for each in TEMPLATES],
        "64 sentences": [f"{word} {TEXT}" for word in _words(64)],  # what texts begin with alike is computed once
    }
    print(f"\nWarm, milliseconds, median (least) of {WARM_ROUNDS}, {torch.get_num_threads()} threads")
    for name, encode in ways.items():
        told = []
        for case, texts in cases.items():
            encode(texts)
            times = [_timed(encode, texts) for _ in range(WARM_ROUNDS)]
            told.append(f"{case} {median(times):.1f} ({min(times):.1f})")
        print(f"  {name:22} {', '.join(told)}")


def _words(count: int) -> list[str]:
    """Words of three letters, each with a first letter or a second of its own."""
    return [f"{chr(97 + n % 26)}{chr(97 + n // 26)}x" for n in range(count)]


def _timed(encode: Callable[[Sequence[str]], object], texts: Sequence[str]) -> float:
    started = perf_counter()
    encode(texts)
    return (perf_counter() - started) * 1e3


def _run(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    """Milliseconds of a command from start to end, and what it printed."""
    started = perf_counter()
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    took = (perf_counter() - started) * 1e3
    if ran.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {ran.returncode}:\n{ran.stderr[-2000:]}")
    return took, ran.stdout


if __name__ == "__main__":
    main()
