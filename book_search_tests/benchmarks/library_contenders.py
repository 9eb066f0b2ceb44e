"""Vector libraries and small databases that run inside a Python process, as the search benchmark asks them.

    python -m book_search_tests.benchmarks.library_contenders NAME FOLDER

Each is imported by the process that measures it, from an environment of its own; graphs are built with M = 16 and
ef_construction = 64, pgvector's defaults, where a library has these.
"""

import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from book_search_tests.benchmarks.search_contest import Contender, K, Search, run_and_print

LINKS, WIDTH = 16, 64
WIDTHS = (10, 20, 40, 80, 120, 160, 200, 280, 400, 800)


class Hnswlib:
    """hnswlib: the graph alone, in memory, float32."""

    settings = WIDTHS
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        hnswlib = import_module("hnswlib")
        self.index = hnswlib.Index("cosine", vectors.shape[1])
        self.index.init_index(len(vectors), ef_construction=WIDTH, M=LINKS)
        self.index.add_items(np.asarray(vectors))

    def client(self, setting: int) -> Search:
        self.index.set_ef(setting)
        return lambda query: self.index.knn_query(query, K, num_threads=1)[0][0]


class FaissHnsw:
    """faiss, HNSWFlat, float32, inner product."""

    settings = WIDTHS
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        faiss = import_module("faiss")
        self.index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
        self.index.hnsw.efConstruction = WIDTH
        self.index.add(np.asarray(vectors))
        faiss.omp_set_num_threads(1)

    def client(self, setting: int) -> Search:
        self.index.hnsw.efSearch = setting
        return lambda query: self.index.search(query[None], K)[1][0]


class FaissFlat:
    """faiss, every vector compared, kept in float16 and computed in float32."""

    settings = (0,)
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        faiss = import_module("faiss")
        self.index = faiss.IndexScalarQuantizer(
            vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        self.index.add(np.asarray(vectors))
        faiss.omp_set_num_threads(1)

    def client(self, setting: int) -> Search:
        return lambda query: self.index.search(query[None], K)[1][0]


class Usearch:
    """usearch, float16."""

    settings = WIDTHS
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        self.index = import_module("usearch.index").Index(
            ndim=vectors.shape[1], metric="cos", dtype="f16", connectivity=LINKS, expansion_add=WIDTH
        )
        self.index.add(np.arange(len(vectors)), np.asarray(vectors))

    def client(self, setting: int) -> Search:
        self.index.expansion_search = setting
        return lambda query: self.index.search(query, K, threads=1).keys


class LanceDb:
    """LanceDB with IVF_HNSW_SQ, its index for recall and speed; one partition, and refined by the true vectors."""

    settings = (20, 40, 80, 120, 160, 200, 280, 400)
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        lancedb, pa = import_module("lancedb"), import_module("pyarrow")
        values = pa.FixedSizeListArray.from_arrays(np.asarray(vectors).reshape(-1), vectors.shape[1])
        rows = pa.table({"id": pa.array(range(len(vectors)), pa.int64()), "vector": values})
        self.table = lancedb.connect(tempfile.mkdtemp()).create_table("covers", rows)
        self.table.create_index(
            metric="cosine",
            index_type="IVF_HNSW_SQ",
            num_partitions=1,
            m=LINKS,
            ef_construction=WIDTH,
            vector_column_name="vector",
        )

    def client(self, setting: int) -> Search:
        def search(query: np.ndarray) -> Sequence[int]:
            asked: Any = self.table.search(query).distance_type("cosine").ef(setting).refine_factor(2)
            found: list[int] = asked.select(["id"]).limit(K).to_arrow()["id"].to_pylist()
            return found

        return search


class MilvusLite:
    """Milvus Lite with HNSW: a server in the process, spoken to over loopback by pymilvus."""

    settings = (20, 40, 80, 200)
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        self.milvus = import_module("pymilvus").MilvusClient(tempfile.mkdtemp() + "/covers.db")
        index = self.milvus.prepare_index_params()
        index.add_index("vector", index_type="HNSW", metric_type="COSINE", params={"M": LINKS, "efConstruction": WIDTH})
        self.milvus.create_collection("covers", dimension=vectors.shape[1], auto_id=False, index_params=index)
        for first in range(0, len(vectors), 1000):
            block = np.asarray(vectors[first : first + 1000])
            rows = [{"id": first + place, "vector": vector} for place, vector in enumerate(block)]
            self.milvus.insert("covers", rows)
        self.milvus.load_collection("covers")

    def client(self, setting: int) -> Search:
        def search(query: np.ndarray) -> Sequence[int]:
            found = self.milvus.search("covers", [query], limit=K, search_params={"params": {"ef": setting}})
            return [hit["id"] for hit in found[0]]

        return search


class QdrantLocal:
    """qdrant-client's local mode, which compares every vector in numpy."""

    settings = (0,)
    processes = False

    def build(self, vectors: np.ndarray) -> None:
        qdrant_client, models = import_module("qdrant_client"), import_module("qdrant_client.models")
        self.qdrant = qdrant_client.QdrantClient(":memory:")
        size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
        self.qdrant.create_collection("covers", vectors_config=size)
        for first in range(0, len(vectors), 10_000):
            block = np.asarray(vectors[first : first + 10_000])
            ids = list(range(first, first + len(block)))
            self.qdrant.upsert("covers", models.Batch(ids=ids, vectors=block.tolist()))

    def client(self, setting: int) -> Search:
        def search(query: np.ndarray) -> Sequence[int]:
            found = self.qdrant.query_points("covers", query=query, limit=K).points
            return [int(point.id) for point in found]

        return search


LIBRARIES: dict[str, type] = {
    "hnswlib": Hnswlib,
    "faiss-hnsw": FaissHnsw,
    "usearch": Usearch,
    "lancedb": LanceDb,
    "milvus-lite": MilvusLite,
    "faiss-flat": FaissFlat,
    "qdrant-local": QdrantLocal,
}


if __name__ == "__main__":
    contender: Contender = LIBRARIES[sys.argv[1]]()
    run_and_print(contender, Path(sys.argv[2]))
