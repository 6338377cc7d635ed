"""SNS, SQS and API Gateway on localhost, by the server of moto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import boto3
from attrs import define, field
from moto.apigatewaymanagementapi import apigatewaymanagementapi_backends
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
#: The variables that boto3 reads, so that it does not use other sources.
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "very-secret",
    "AWS_SESSION_TOKEN": "very-secret-too",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = count(1)


@define
class Amazon:
    """Topics, each with a subscribed queue; queues, by URL; and connections, by id."""

    url: str
    _queues: dict[str, str] = field(factory=dict)

    def topic(self, *, fifo: bool = False) -> str:
        """The ARN of a new topic."""
        name = f"topic-{next(_numbers)}{'.fifo' if fifo else ''}"
        attributes = {"FifoTopic": "true"} if fifo else {}
        with closing(self._client("sns")) as sns, closing(self._client("sqs")) as sqs:
            arn: str = sns.create_topic(Name=name, Attributes=attributes)["TopicArn"]
            queue = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
            known = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=known["QueueArn"])
        self._queues[arn] = queue
        return arn

    def remove(self, arn: str) -> None:
        """Delete a topic."""
        with closing(self._client("sns")) as sns:
            sns.delete_topic(TopicArn=arn)

    def queue(self, *, fifo: bool = False) -> str:
        """The URL of a new queue."""
        name = f"queue-{next(_numbers)}{'.fifo' if fifo else ''}"
        with closing(self._client("sqs")) as sqs:
            url: str = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"} if fifo else {})["QueueUrl"]
        return url

    def remove_queue(self, url: str) -> None:
        """Delete a queue."""
        with closing(self._client("sqs")) as sqs:
            sqs.delete_queue(QueueUrl=url)

    def posted(self, connection: str) -> str:
        """Everything that was posted to a connection, in one text."""
        return str(
            apigatewaymanagementapi_backends[DEFAULT_ACCOUNT_ID][REGION].get_connection(connection).data.decode()
        )

    def envelopes(self, place: str) -> list[dict[str, Any]]:
        """The new SQS messages in a queue, or in the queue of a topic."""
        found: list[dict[str, Any]] = []
        with closing(self._client("sqs")) as sqs:
            queue = self._queues.get(place, place)
            while more := sqs.receive_message(
                QueueUrl=queue,
                MaxNumberOfMessages=10,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
                WaitTimeSeconds=0,
            ).get("Messages"):
                for message in more:
                    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                found += more
        return found

    def messages(self, arn: str) -> list[dict[str, Any]]:
        """The new SNS messages, with ``Subject``, ``Message``, ``TopicArn`` and ``MessageAttributes``."""
        return [json.loads(envelope["Body"]) for envelope in self.envelopes(arn)]

    def _client(self, name: str) -> Any:
        return boto3.session.Session().client(name, region_name=REGION, endpoint_url=self.url)


@contextmanager
def amazon() -> Iterator[Amazon]:
    """Start the services, which need :data:`ENVIRON`."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield Amazon(f"http://{host}:{port}")
    finally:
        server.stop()
