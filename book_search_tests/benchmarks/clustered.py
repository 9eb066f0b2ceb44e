"""Draws vectors that crowd as a picture model's do, queries of two kinds for them, and the true neighbours.

Uniform random vectors prove nothing of an index: all lie equally far from a query, and a graph has nothing to follow.
Knows numpy alone; nothing of databases.

The shape: clusters of uneven size in a latent space whose spectrum decays, turned into all dimensions, with a mean in
common (two CLIP pictures have a mean cosine near 0.5) and a little noise. Texts have another mean and follow the
clusters less: their cosines with pictures are lower and closer together, as CLIP's are (Liang et al. 2022, "Mind the
gap").
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Places = np.ndarray[Any, np.dtype[np.int64]]

CLUSTERS = 2_000
LATENT = 96  # dimensions of the latent space, at most
WITHIN = 0.45  # the spread of a cluster's members beside that of the clusters
COMMON = 1.0  # the length of the pictures' common mean; the rest of a picture has length 1
NOISE = 0.12  # the length of the noise in all dimensions
TEXTS_FOLLOW = 0.45  # how far a text goes towards the picture that it is about
TEXTS_NEAR = 0.35  # how far the texts' common mean goes towards the pictures'


@dataclass(frozen=True)
class Field:
    """Unit vectors to search among, and queries.

    Attributes:
        vectors: float32 [rows, dim].
        images: queries drawn as the rows are, none of them a row: float32 [queries, dim].
        texts: queries as texts are: float32 [queries, dim].
    """

    vectors: Vectors
    images: Vectors
    texts: Vectors


def draw_field(rows: int, dim: int = 512, queries: int = 1_000, seed: int = 0) -> Field:
    """The same field for the same arguments."""
    rng = np.random.default_rng(seed)
    latent = min(LATENT, dim - 2)
    decay = (np.arange(1, latent + 1) ** -0.4).astype(np.float32)
    decay /= np.linalg.norm(decay)
    centres = rng.normal(size=(CLUSTERS, latent)).astype(np.float32) * decay
    shares = np.arange(1, CLUSTERS + 1) ** -0.7
    shares /= shares.sum()
    turned, _ = np.linalg.qr(rng.normal(size=(dim, latent + 2)))
    turned = turned.T.astype(np.float32)  # [latent + 2, dim], orthonormal
    basis, picture_mean, text_mean = turned[:-2], turned[-2], turned[-1]

    def latents(count: int) -> Vectors:
        cluster = rng.choice(CLUSTERS, size=count, p=shares)
        drawn = rng.standard_normal((count, latent), np.float32) * decay
        found: Vectors = centres[cluster] + WITHIN * drawn
        return found / np.float32(np.sqrt(1 + WITHIN**2))

    def finished(inner: Vectors, mean: Vectors) -> Vectors:
        noise = rng.standard_normal((len(inner), dim), np.float32) * np.float32(NOISE / np.sqrt(dim))
        return unit(inner @ basis + COMMON * mean + noise)

    vectors = finished(latents(rows), picture_mean)
    images = finished(latents(queries), picture_mean)
    about = latents(queries)
    other = rng.standard_normal((queries, latent), np.float32) * decay
    texts = finished(TEXTS_FOLLOW * about + (1 - TEXTS_FOLLOW) * other, text_mean + TEXTS_NEAR * picture_mean)
    return Field(vectors, images, texts)


def unit(vectors: Vectors) -> Vectors:
    """The same directions with length 1."""
    lengths: Vectors = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths


def nearest(vectors: Vectors, queries: Vectors, k: int = 10) -> tuple[Places, Vectors]:
    """The true neighbours: places [queries, k], best first, and their cosines [queries, k]."""
    places = np.empty((len(queries), k), np.int64)
    cosines = np.empty((len(queries), k), np.float32)
    for first in range(0, len(queries), 200):
        some = slice(first, first + 200)
        found = queries[some] @ vectors.T
        best = np.argpartition(-found, k - 1, axis=1)[:, :k]
        of_best = np.take_along_axis(found, best, axis=1)
        order = np.argsort(-of_best, axis=1, kind="stable")
        places[some] = np.take_along_axis(best, order, axis=1)
        cosines[some] = np.take_along_axis(of_best, order, axis=1)
    return places, cosines
