"""One cold question, step by step, in a process of its own: prints the milliseconds of each as a JSON object.

    python -m book_search_tests.benchmarks.query_steps ours|transformers "a white ship under a moon"

Imports come first and one by one, so that each is counted where it belongs; the command itself does the same in the
order in which it needs them.
"""

import io
import json
import os
import sys
from importlib import import_module
from time import perf_counter


def main() -> None:
    """Ask, and print the times."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does it
    way, text = sys.argv[1:]
    took: dict[str, float] = {}
    last = perf_counter()

    def step(name: str) -> None:
        nonlocal last
        now = perf_counter()
        took[name] = took.get(name, 0) + (now - last) * 1e3
        last = now

    import_module("click")
    step("import click")
    settings = import_module("book_search.settings").load_settings()
    step("import pydantic, read the settings")
    import_module("book_search.cli.main")
    import_module("book_search.cli.search")
    step("import the command")
    import_module("numpy")
    step("import numpy")
    import_module("psycopg")
    import_module("pgvector.psycopg")
    step("import psycopg, pgvector")
    if way == "transformers":
        import_module("torch")
        step("import torch")
        import_module("transformers.models.clip.modeling_clip")
        step("import transformers")
    engine, query = import_module("book_search.search.engine"), import_module("book_search.search.query")
    texts = import_module("book_search.clip.texts")
    connection = import_module("book_search.index.connection")
    step("import the rest")
    with connection.database(settings.dsn, settings.work_folder) as dsn:
        step("embedded server: is it there")
        with connection.connect(dsn) as conn:
            step("connect")
            description = import_module("book_search.clip.model").describe_model(settings.model)
            step("model: who is it")
            if way == "transformers":
                from dataclasses import replace

                reader = replace(
                    import_module("book_search.clip.model").load_clip(settings.model, device="cpu"), texts=None
                )
            else:
                reader = texts.load_texts(settings.model)
                folder = import_module("pathlib").Path(settings.model)
                opened = texts.open_clip_texts(folder, description)
                step("weights: map; tokenizer")
                reader = texts.LazyTexts(description, lambda: opened)
            step("model: load")
            import_module("book_search.clip.templates").text_vectors(reader, [text])
            import_module("book_search.search.fit")._generic_vector(reader)
            step("forward, seven sentences")
            # Again with the texts, whose second time is taken off: what remains is the database's.
            started = perf_counter()
            import_module("book_search.clip.templates").text_vectors(reader, [text])
            again = perf_counter() - started
            results = engine.search(conn, lambda: reader, query.Query(texts=[text]), 10)
            step("database")
            took["database"] -= 2e3 * again
            background = perf_counter()
            model = import_module("book_search.index.models").active_model(conn)
            import_module("book_search.search.background").sample_vectors(conn, model)
            took["of which the background sample, warm"] = (perf_counter() - background) * 1e3
            last = perf_counter()
    step("let go")
    stages = import_module("book_search.cli.stages")
    step("import rich")
    stages.Console(file=io.StringIO(), width=120).print(results.as_table())
    step("table")
    print(json.dumps(took))


if __name__ == "__main__":
    main()
