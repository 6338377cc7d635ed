"""The command ``sentiment``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from harken import AverageReading, EmbeddingsEvaluation, Feedback, Rating, SentimentEvaluation, SentimentSurvey
from harken.domain.texts import amount
from harken.services.embeddings import MAX_COMMENTS
from harken_adapters.formats.readings import sentiment_evaluation_record, survey_record
from harken_adapters.hosts.cli.empty_results import say_if_nothing
from harken_adapters.hosts.cli.evaluation import evaluation_table, reading_note
from harken_adapters.hosts.cli.feedback import Limit
from harken_adapters.hosts.cli.options import Filters, Json, WrongUsage, cli_context, with_filters
from harken_adapters.hosts.cli.output import (
    feedback_entry,
    print_json,
    rating_text,
    run_through,
    say,
    table,
)


@with_filters
def sentiment(
    context: typer.Context,
    *,
    filters: Filters,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Compare the readings of all rated comments with their ratings.")
    ] = False,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """Show how comments read, and which contradict their rating.

    A reading is the likelihood that a comment is a thumbs-up, learned from the ratings of other comments.
    """
    if evaluate:
        _evaluate(context, filters, as_json=as_json)
        return
    with cli_context(context).open_existing() as hk:
        query = filters.query(hk)
        if not as_json and say_if_nothing(hk, query):
            return
        survey = hk.sentiment.survey(query, limit=limit)
    if as_json:
        print_json(survey_record(survey, Feedback.to_dict))
    else:
        _show_survey(survey)


def _evaluate(context: typer.Context, filters: Filters, *, as_json: bool) -> None:
    with cli_context(context).open_existing() as hk:
        if filters.query(hk) != hk.query():
            raise WrongUsage("--evaluate compares all rated comments; leave out the filters")
        run_through(
            ((f"{done:,} embeddings of comments", done) for done in hk.sentiment.wait_for_embeddings(hk.application)),
            lambda: min(MAX_COMMENTS, hk.summary().comments),
        )
        evaluation = hk.sentiment.evaluate(hk.application)
    if as_json:
        print_json(sentiment_evaluation_record(evaluation))
    else:
        _show_evaluation(evaluation)


def _show_survey(survey: SentimentSurvey) -> None:
    if not survey.average.comments:
        say("There are no comments")
        return
    averages: list[tuple[Text | str, AverageReading]] = [(rating_text(one), survey.by_rating[one]) for one in Rating]
    rows = [
        (name, average.comments, f"{average.likelihood:.0%}")
        for name, average in [*averages, ("all", survey.average)]
        if average.likelihood is not None
    ]
    table(("rating", "comments", "thumbs-up likely"), rows)
    if not survey.contradicting:
        say("No comment contradicts its rating")
        return
    more = survey.contradicting - len(survey.contradictions)
    shown = f"; the newest {len(survey.contradictions):,}:" if more else ":"
    found = amount(survey.contradicting, "comment contradicts its rating", "comments contradict their rating")
    say(f"{found}{shown}")
    for feedback, reading in survey.contradictions:
        feedback_entry(feedback, note=reading_note(reading))


def _show_evaluation(evaluation: SentimentEvaluation) -> None:
    if evaluation.learned is None:
        missing = [word for word, number in (("up", evaluation.up), ("down", evaluation.down)) if not number]
        say(f"Nothing to compare with: no comment is rated {' or '.join(missing)}")
        return
    say(f"{evaluation.up:,} thumbs-up and {evaluation.down:,} thumbs-down comments, each read without itself.")
    other = "the sentiment analyser" if evaluation.analyser else "chance"
    used = {
        "words": f"Words count: they predict ratings better than {other}.",
        "analyser": f"Words do not count yet: they do not clearly predict better than {other}.",
    }
    say(f"{used[evaluation.by]}\n")
    columns = {"learned": evaluation.learned}
    evaluation_table(columns | {"analyser": evaluation.analyser} if evaluation.analyser else columns)
    if evaluation.embeddings:
        _show_embeddings(evaluation.embeddings, evaluation.by)


def _show_embeddings(evaluation: EmbeddingsEvaluation, by: str) -> None:
    if evaluation.otherwise is None or evaluation.embeddings is None:
        return
    say(f"The newest {evaluation.embeddings.comments:,} of these comments, also by embeddings.")
    used = "Embeddings count: they clearly" if evaluation.are_used else "Embeddings do not count: they do not clearly"
    say(f"{used} predict ratings better.\n")
    evaluation_table({by: evaluation.otherwise, "embeddings": evaluation.embeddings})
