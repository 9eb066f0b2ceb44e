"""The embedding models that the database knows: each has its number and its table of embeddings; one is active."""

from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from book_search.index.connection import Connection


@dataclass(frozen=True)
class EmbeddingModel:
    """A row of `embedding_model`: what made the embeddings of the table `cover_embedding_<model>`."""

    model: int
    model_id: str
    revision: str
    preprocessing: str
    dim: int
    template: str
    active: bool
    rows_changed: int

    @property
    def table(self) -> sql.Identifier:
        """Its table of embeddings, for a query."""
        return sql.Identifier(self.table_name)

    @property
    def table_name(self) -> str:
        return f"cover_embedding_{self.model}"

    @property
    def next_table(self) -> sql.Identifier:
        """What its table will be, where much of it changes: see `swap`."""
        return sql.Identifier(self.next_name)

    @property
    def next_name(self) -> str:
        return f"{self.table_name}_next"


def register_model(conn: Connection, model_id: str, revision: str, preprocessing: str, dim: int, template: str) -> int:
    """The number of a model; a new one gets its table. It becomes active by `build_index` alone.

    Args:
        model_id: its name on the hub, or its folder. With `revision` and `preprocessing` it identifies the model.
        revision: of the weights.
        preprocessing: the version of our preprocessing.
        dim: how many numbers an embedding has.
        template: how query texts are put; of a known model, the new one replaces the old.

    Raises:
        psycopg.errors.DataException: the model is known with another `dim`.
    """
    row = conn.execute(
        "SELECT register_embedding_model(%s, %s, %s, %s, %s)", [model_id, revision, preprocessing, dim, template]
    ).fetchone()
    assert row is not None
    return int(row[0])


def activate_model(conn: Connection, model: int) -> None:
    """Have searches use this model from now on.

    Raises:
        psycopg.errors.ObjectNotInPrerequisiteState: it has no verified index.
    """
    conn.execute("SELECT activate_embedding_model(%s)", [model])


def active_model(conn: Connection) -> EmbeddingModel | None:
    """The model that searches use, if one is active yet."""
    with conn.cursor(row_factory=class_row(EmbeddingModel)) as cursor:
        return cursor.execute("SELECT * FROM embedding_model WHERE active").fetchone()


def known_model(conn: Connection, model: int) -> EmbeddingModel:
    """The model of this number. Raises LookupError."""
    with conn.cursor(row_factory=class_row(EmbeddingModel)) as cursor:
        found = cursor.execute("SELECT * FROM embedding_model WHERE model = %s", [model]).fetchone()
    if found is None:
        raise LookupError(f"the database knows no embedding model {model}; register_model() gives the number of one")
    return found
