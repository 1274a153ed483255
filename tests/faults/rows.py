"""On which database a row of the matrix runs, whether in the short subset, and whether alone."""

from __future__ import annotations

import pytest

#: Measures a recovery time that is promised: the whole matrix runs it with nothing beside it.
alone = pytest.mark.faults_alone
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
#: Both databases in the whole matrix, one of them in the short subset.
first_sqlite = pytest.mark.parametrize(
    "database_url",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.faults_full)],
    indirect=True,
)
first_postgresql = pytest.mark.parametrize(
    "database_url",
    [pytest.param("sqlite", marks=pytest.mark.faults_full), "postgresql"],
    indirect=True,
)
