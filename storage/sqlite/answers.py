"""Finding the newest answer to a question, through the index of answers."""

import sys
from collections.abc import Iterator

from storage import limits
from storage.models import ChatInteraction
from storage.records.questions import Question
from storage.sqlite import queries
from storage.sqlite.statements import Statements

AFTER_ALL_MODELS = chr(sys.maxunicode) * (limits.MODEL_MAX_LENGTH + 1)
"""Greater than the name of any model."""


def newest(statements: Statements, question: Question) -> ChatInteraction | None:
    """Returns the newest answer, which may have expired, or None."""
    if question.model_used is not None:
        return _answer_of(statements, question, question.model_used, of_model=True)
    with statements.snapshot():
        answers = _answers_of_models(statements, question)
        return max(answers, key=lambda answer: answer.position, default=None)


def _answers_of_models(statements: Statements, question: Question) -> Iterator[ChatInteraction]:
    """Yields the newest answer of each model. Each takes one search in the index."""
    model_used = AFTER_ALL_MODELS
    while found := _answer_of(statements, question, model_used, of_model=False):
        yield found
        model_used = found.model_used


def _answer_of(
    statements: Statements, question: Question, model_used: str, *, of_model: bool
) -> ChatInteraction | None:
    sql = queries.select_answer(statements.alias, of_model=of_model)
    parameters = queries.question_parameters(question) | {"model_used": model_used}
    rows = statements.rows(sql, parameters)
    return queries.to_interaction(rows[0]) if rows else None
