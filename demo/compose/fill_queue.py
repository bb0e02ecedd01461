"""Makes the queue, and sends it each line of demo/logins.jsonl, unless it was there already."""

import os
from pathlib import Path

import boto3

sqs = boto3.client("sqs", endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"])
name = os.environ["PII_VAULT_QUEUE_URL"].rsplit("/", 1)[-1]
if sqs.list_queues(QueueNamePrefix=name).get("QueueUrls"):
    raise SystemExit(f"{name} is there already; nothing was sent")

url = sqs.create_queue(QueueName=name)["QueueUrl"]
lines = Path("/demo/logins.jsonl").read_text(encoding="utf-8").splitlines()
for start in range(0, len(lines), 10):
    entries = [{"Id": str(number), "MessageBody": line} for number, line in enumerate(lines[start : start + 10])]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
    if answer.get("Failed"):
        raise SystemExit("the queue did not take every message")
print(f"{len(lines)} messages sent to {name}")
