"""Finding the newest answer to a question, through the index of answers."""

import sys
from collections.abc import Iterator

from storage import limits
from storage.large import stand_ins
from storage.models import ChatInteraction
from storage.records.questions import Question
from storage.sqlite import queries
from storage.sqlite.statements import Statements

AFTER_ALL_MODELS = chr(sys.maxunicode) * (limits.MODEL_MAX_LENGTH + 1)
"""Greater than the name of any model."""


def newest(statements: Statements, question: Question) -> ChatInteraction | None:
    """Returns the newest answer, which may have expired and may have stand-ins, or None."""
    found = _newest(statements, question, question.message)
    if stand_ins.in_object(question.message, "") is None:
        return found
    # Rows of earlier versions have a large message itself.
    also = _newest(statements, question, stand_ins.stand_in(question.message))
    both = [answer for answer in (found, also) if answer is not None]
    return max(both, key=lambda answer: answer.position, default=None)


def _newest(
    statements: Statements, question: Question, message: str | bytes
) -> ChatInteraction | None:
    if question.model_used is not None:
        return _answer_of(statements, question, message, question.model_used, of_model=True)
    with statements.snapshot():
        answers = _answers_of_models(statements, question, message)
        return max(answers, key=lambda answer: answer.position, default=None)


def _answers_of_models(
    statements: Statements, question: Question, message: str | bytes
) -> Iterator[ChatInteraction]:
    """Yields the newest answer of each model. Each takes one search in the index."""
    model_used = AFTER_ALL_MODELS
    while found := _answer_of(statements, question, message, model_used, of_model=False):
        yield found
        model_used = found.model_used


def _answer_of(
    statements: Statements,
    question: Question,
    message: str | bytes,
    model_used: str,
    *,
    of_model: bool,
) -> ChatInteraction | None:
    in_object = isinstance(message, bytes)
    sql = queries.select_answer(statements.alias, of_model=of_model, in_object=in_object)
    parameters = queries.question_parameters(question, stand_ins.encoded(message)) | {
        "model_used": model_used
    }
    found = statements.rows(sql, parameters)
    return queries.to_interaction(found[0]) if found else None
