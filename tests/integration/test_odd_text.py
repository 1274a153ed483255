"""Text that a database may refuse: the position ends in one row all the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from core.errors import Code
from core.types import Classification, Classified, Failure, Prediction
from db import chunks
from tests.support.record import ANN, Record

if TYPE_CHECKING:
    from db.session import Database

ODD = ("\0", "a\0b", "\x1b[31m", "\ufffe", "\U0001f600", "é\0", "'; DROP TABLE jobs; --")


@pytest.mark.parametrize("odd", ODD)
def test_text_that_a_database_may_refuse_ends_in_one_row(database: Database, odd: str) -> None:
    record = Record(database)
    job = record.job([f"file:///{odd}", "file:///good"])
    # JSON can spell what UTF-8 cannot.
    further = {"odd": odd, "half": "\ud800"}
    record.change("UPDATE chunks SET extra = :extra", extra=json.dumps([further, None]))
    [sent] = record.take(job)
    labels = Classified((Prediction(0, f"label {odd}", 0.5),), 1, 1, "00")
    outcomes = Classification([labels, Failure(Code.INTERNAL, f"{odd}\ud800")])
    claimed = record.held(sent)
    assert database.write(chunks.complete, claimed, sent.terms, ANN, sent.uris, outcomes) == []
    one, two = record.rows(job)
    assert (one.status, two.status, two.uri) == ("ok", "failed", "file:///good")
    shown = odd.replace("\0", "\ufffd")
    assert (one.uri, one.label) == (f"file:///{shown}", f"label {shown}")
    assert two.error.isprintable()
    kept = json.loads(one.extra) if isinstance(one.extra, str) else one.extra
    assert kept == further
    assert record.progress(job).ok == 1
