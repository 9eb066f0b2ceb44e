"""How notable a score is: what the collection as a whole scores for a query.

CLIP's cosines have no zero of their own: texts reach 0.15 to 0.35 with any picture, pictures 0.5 to 1 with each
other, and each query has its own level. So a score is told by its distance from the level of covers drawn at random.
Knows vectors and statistics; of the database only the table of a model's embeddings.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from psycopg import sql

from book_search.index.connection import Connection
from book_search.index.models import EmbeddingModel

SAMPLE = 1000  # covers; the standard error of a quartile's distance is then some 3%
SMALL = 5_000  # rows up to which a sample is drawn row by row, not page by page
FEWEST = 20  # covers without which nothing is said about chance
CHANCE = 0.05  # how often the best cover for a query that fits nothing may look notable
NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
LEAST_SPREAD = 1e-4  # of cosines; halfvec itself is no finer


@dataclass(frozen=True)
class Background:
    """The level and the spread of a query's cosines over the collection.

    strength = (cosine - level) / spread, with the median of the sample's cosines for the level and 1.4826 times
    their median absolute deviation for the spread: both stay put when up to half of the sample fits the query.

    Attributes:
        level, spread: as above.
        covers: the collection's size.
        sampled: how many of them were looked at.
    """

    level: float
    spread: float
    covers: int
    sampled: int

    def strength(self, cosine: float) -> float:
        """How many spreads a cosine lies above the level."""
        return (cosine - self.level) / self.spread

    @property
    def bar(self) -> float | None:
        """The strength that the best of all covers passes in one query of twenty, if cosines were only noise.

        For noise of a normal distribution the best of n passes z with probability 1 - Phi(z) ** n; the bar is
        Phi^-1((1 - 0.05) ** (1 / n)): 3.7 for 500 covers, 4.8 for 70,000. None for too small a collection.
        """
        if self.sampled < FEWEST:
            return None
        return NormalDist().inv_cdf((1 - CHANCE) ** (1 / self.covers))


def background(cosines: np.ndarray, covers: int) -> Background:
    """The background of a query, from its cosines with a sample [n] of a collection of so many covers."""
    if not len(cosines):
        return Background(0.0, 1.0, covers, 0)
    level = float(np.median(cosines))
    return Background(level, spread(cosines), covers, len(cosines))


def spread(cosines: np.ndarray) -> float:
    """1.4826 times the median absolute deviation: the standard deviation, without minding outliers."""
    return max(NORMAL * float(np.median(np.abs(cosines - np.median(cosines)))), LEAST_SPREAD)


def background_sample(conn: Connection, model: EmbeddingModel) -> tuple[np.ndarray, int]:
    """`sample_vectors`, read once for each build of the model's index and kept: reading takes longer than a search.

    A build is told by its number and its time, which no other database has too. Threads may share what is kept.
    """
    build = conn.execute(
        "SELECT build, built_at FROM index_build WHERE model = %s ORDER BY build DESC LIMIT 1", [model.model]
    ).fetchone()
    if build is None:
        return sample_vectors(conn, model)
    of = (model.model_id, model.revision, model.preprocessing, *build)
    kept = _kept.get(of)
    if kept is None:
        kept = sample_vectors(conn, model)
        kept[0].setflags(write=False)
        _kept.clear()  # a process searches one collection, and what was before its last build is of no use
        _kept[of] = kept
    return kept


_kept: dict[tuple[object, ...], tuple[np.ndarray, int]] = {}


def sample_vectors(conn: Connection, model: EmbeddingModel) -> tuple[np.ndarray, int]:
    """Vectors of covers drawn at random, float32 [up to 1,000, dim], and the number of all.

    The draw is the same each time, so that a query's strengths are too. A large table is sampled by pages: cover
    ids that lie side by side are no likelier to look alike.
    """
    covers = _rows(conn, model)
    values: dict[str, float] = {"n": SAMPLE}
    if covers <= SMALL:
        which = sql.SQL("ORDER BY hashint8(cover_id), cover_id LIMIT %(n)s")
    else:
        which = sql.SQL("TABLESAMPLE SYSTEM (%(share)s) REPEATABLE (0) LIMIT %(n)s")
        values["share"] = 100 * 1.2 * SAMPLE / covers
    cursor = conn.cursor(binary=True)
    statement = sql.SQL("SELECT embedding FROM {} {}").format(model.table, which)
    rows = cursor.execute(statement, values).fetchall()
    if not rows:
        return np.empty((0, model.dim), np.float32), covers
    return np.stack([row[0].to_numpy() for row in rows]).astype(np.float32), covers


def _rows(conn: Connection, model: EmbeddingModel) -> int:
    """How many embeddings there are: the planner's estimate for a large table, counted for a small one."""
    row = conn.execute(
        "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)", [model.table_name]
    ).fetchone()
    if row is not None and row[0] > SMALL:
        return int(row[0])
    counted = conn.execute(sql.SQL("SELECT count(*) FROM {}").format(model.table)).fetchone()
    return int(counted[0]) if counted else 0
