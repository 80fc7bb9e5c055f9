"""An anchor in a bucket with object lock: nobody can change or delete what is kept there before its time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from loradex.errors import AnchorError
from loradex.service.audit.anchors.anchor import PATIENCE_SECONDS, Kept, bounded, file_name, installed, named
from loradex.service.audit.head import Head

SUFFIX = ".head"


class S3Anchor:
    """One object a head, under COMPLIANCE retention. Credentials are found as every program of AWS finds them."""

    DAYS: ClassVar[int] = 3650

    def __init__(self, bucket: str, prefix: str, days: int, endpoint: str | None, region: str | None) -> None:
        if days < 1:
            raise ValueError(days)
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._days = days
        self._endpoint = endpoint
        self._region = region
        self.name = f"s3://{bucket}/{prefix}"

    def keep(self, head: Head) -> None:
        until = datetime.now(UTC) + timedelta(days=self._days)
        self._asked(
            "written",
            lambda client: client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + file_name(head, SUFFIX),
                Body=f"{head.chain_hash}\n".encode(),
                ContentType="text/plain",
                ChecksumAlgorithm="SHA256",  # locked objects need one
                ObjectLockMode="COMPLIANCE",
                ObjectLockRetainUntilDate=until,
            ),
        )

    def heads(self) -> Iterator[Kept]:
        yield from bounded(self.name, self._asked("read", lambda client: [*self._versions(client)]))

    def _versions(self, client: Any) -> Iterator[Kept]:
        """All versions, since a delete marker hides an object from a plain listing and deletes nothing."""
        pages = client.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        for page in pages:
            for version in page.get("Versions", ()):
                head = named(version["Key"], SUFFIX)
                if head is not None:
                    yield Kept(*head, version["LastModified"].astimezone(UTC))

    def _asked(self, what: str, ask: Any) -> Any:
        with installed(self.name, "s3"):
            import boto3
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError, ClientError

        patience = Config(
            connect_timeout=PATIENCE_SECONDS, read_timeout=PATIENCE_SECONDS, retries={"total_max_attempts": 2}
        )
        try:
            client = boto3.client(
                "s3", endpoint_url=self._endpoint, region_name=self._region, config=patience
            )
            return ask(client)
        except (BotoCoreError, ClientError, ValueError) as error:
            raise AnchorError(f"{self.name} cannot be {what}: {' '.join(str(error).split())}") from error
