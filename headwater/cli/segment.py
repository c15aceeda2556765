"""`headwater segment`: what is kept of the users of Segment's clients."""

import time
from typing import Annotated

import typer

from headwater.cli.control import ProjectOption, project_of
from headwater.cli.local import DataDir, explained, stack_settings

FLUSH_SECONDS = 30.0

segment = typer.Typer(help="The users of Segment's clients.", no_args_is_help=True)


@segment.command()
def forget(
    user: Annotated[str, typer.Argument(help="The userId, or the anonymousId of somebody who was never identified.")],
    project_id: ProjectOption = None,
    data_dir: DataDir = None,
) -> None:
    """Forget what identify said of a user in device mode: later events of the user have no traits.

    In order with what the user sends, and for good unless the user is identified again. What was sent as history and waits is forgotten when its
    turn has come. Events that were stored stay: `DELETE
    events/COLLECTION` with a filter on `user.userId` deletes those.
    """
    with explained():
        from confluent_kafka import Producer

        from headwater.kafka import durable_producer_config
        from headwater.segment_users import forgetting, user_key
        from headwater.topics import backfill_topic, raw_topic

    project_id = project_of(project_id, data_dir)
    settings = stack_settings(data_dir)
    refusals: list[object] = []
    producer = Producer(durable_producer_config(settings))
    records = {
        raw_topic(settings): forgetting(project_id, user),
        backfill_topic(settings): forgetting(project_id, user, before=time.time_ns() // 1_000_000),
    }
    for topic, record in records.items():
        producer.produce(
            topic,
            record,
            user_key(project_id, user),
            on_delivery=lambda error, _: refusals.append(error) if error is not None else None,
        )
    if producer.flush(FLUSH_SECONDS) or refusals:
        typer.echo(f"Kafka at {settings.kafka} did not take it: {refusals[0] if refusals else 'no answer'}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{user} is forgotten in project {project_id} as soon as the processors have read so far.")
