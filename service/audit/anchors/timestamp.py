"""An anchor that is a time stamp (RFC 3161): an authority signs that it saw the head at that time.

The authority keeps nothing. Its tokens lie in a directory; whoever can write there can delete them and forge none.
"""

import urllib.request
from collections.abc import Iterator
from datetime import UTC
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from loradex.bounded_file import bounded_bytes
from loradex.errors import AnchorError
from loradex.service.audit.anchors.anchor import PATIENCE_SECONDS, Kept, bounded, file_name, installed, named
from loradex.service.audit.head import Head

if TYPE_CHECKING:
    from rfc3161_client import TimeStampResponse, Verifier, VerifierBuilder

EXTRA = "timestamps"
SUFFIX = ".tsr"
MAX_TOKEN_BYTES = 1 << 20
MAX_ROOTS_BYTES = 4 << 20
HEADERS = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}


class TimestampAnchor:
    """Tokens over the 32 bytes of a head's hash, each in a file that `openssl ts` reads too.

    Args:
        authority: Where time stamps are asked for.
        keep: Directory of the tokens.
        roots: PEM file with the certificates that the authority's must lead to.
    """

    def __init__(self, authority: str, keep: str, roots: str) -> None:
        self._authority = authority
        self._directory = Path(keep)
        self._roots = Path(roots)
        self.name = f"time stamps of {authority} in {keep}"

    def keep(self, head: Head) -> None:
        with installed(self.name, EXTRA):
            from rfc3161_client import TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response
            from rfc3161_client.base import HashAlgorithm

        message = bytes.fromhex(head.chain_hash)
        request = TimestampRequestBuilder().data(message).hash_algorithm(HashAlgorithm.SHA256).build()
        try:
            token = self._ask(request.as_bytes())
            response = decode_timestamp_response(token)
            self._check(self._verifier(VerifierBuilder.from_request(request)), response, message)
            place = self._directory / file_name(head, SUFFIX)
            draft = place.with_suffix(".new")
            draft.write_bytes(token)
            draft.replace(place)
        except (OSError, HTTPException, ValueError) as error:
            raise AnchorError(
                f"{self.name}: the head was not stamped: {str(error) or type(error).__name__}"
            ) from error

    def heads(self) -> Iterator[Kept]:
        yield from bounded(self.name, self._stamped())

    def _stamped(self) -> Iterator[Kept]:
        with installed(self.name, EXTRA):
            from rfc3161_client import VerifierBuilder, decode_timestamp_response

        try:
            verifier = self._verifier(VerifierBuilder())
            for path in sorted(self._directory.iterdir()):
                head = named(path.name, SUFFIX)
                if head is None:
                    continue
                with path.open("rb") as file:
                    response = decode_timestamp_response(file.read(MAX_TOKEN_BYTES))
                self._check(verifier, response, bytes.fromhex(head[1]))
                yield Kept(*head, response.tst_info.gen_time.astimezone(UTC))
        except (OSError, ValueError) as error:
            raise AnchorError(f"{self.name}: they cannot be read: {error}") from error

    def _ask(self, query: bytes) -> bytes:
        request = urllib.request.Request(self._authority, query, HEADERS)  # noqa: S310 - http or https, see `named`
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
            said: bytes = answer.read(MAX_TOKEN_BYTES)
        return said

    def _verifier(self, builder: "VerifierBuilder") -> "Verifier":
        with installed(self.name, EXTRA):
            from cryptography import x509

        for root in x509.load_pem_x509_certificates(bounded_bytes(self._roots, MAX_ROOTS_BYTES)):
            builder = builder.add_root_certificate(root)
        return builder.build()

    def _check(self, verifier: "Verifier", response: "TimeStampResponse", message: bytes) -> None:
        from rfc3161_client import VerificationError

        try:
            verifier.verify_message(response, message)
        except VerificationError as error:
            raise ValueError(f"a token is not of this authority, or of another head ({error})") from error
