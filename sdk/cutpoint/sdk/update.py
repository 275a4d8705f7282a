"""Newer versions of a client's bundle: fetched beside the old one, tried, and taken back if they do not work.

A client goes over between two requests: those that are under way end on the old version. The old one is kept until the
new one has given a few answers. If one of these fails for a reason that lies in the bundle, the old one is in use
again, answers that request, too, and the new one is not tried a second time.
"""

from __future__ import annotations

import asyncio
import logging

from cutpoint.sdk.device import Input
from cutpoint.sdk.download import Downloads
from cutpoint.sdk.edge import References
from cutpoint.sdk.energy import Radio
from cutpoint.sdk.errors import (
    BadPayload,
    BundleError,
    CodecError,
    CutpointError,
    GraphError,
    InputError,
    InternalError,
    LinkError,
    Refused,
    RuntimeUnavailable,
    TooLarge,
    UnknownPoint,
)
from cutpoint.sdk.installation import Installation, Options
from cutpoint.sdk.result import InferenceResult

__all__ = ["Updates"]

log = logging.getLogger("cutpoint.update")

#: Answers after which a new version is trusted and the old one is let go.
_PROBATION = 3
#: Errors of a request whose reason may lie in the bundle, on the device or on the server.
_FAULTS = (BundleError, CodecError, GraphError, InternalError, BadPayload, TooLarge, UnknownPoint)
#: Errors of getting ready that say that a bundle will never work here.
_UNUSABLE = (BundleError, CodecError, GraphError, InputError, RuntimeUnavailable)


class Updates:
    """The version in use, the one before it while that may be needed again, and the ones that did not work.

    Args:
        first: the version to begin with.
        downloads: where newer ones come from; None where there is no server.
        options: of the client.

    Attributes:
        in_use: answers requests.
        rejected: why a version did not work, by its hash.
    """

    def __init__(self, first: Installation, downloads: Downloads | None, options: Options) -> None:
        self.in_use = first
        self.rejected: dict[str, CutpointError] = {}
        self._downloads = downloads
        self._options = options
        self._before: Installation | None = None
        self._answers = 0
        self._finishing: set[asyncio.Task[None]] = set()

    async def infer(
        self, data: Input, point: str | None, references: References | None, radio: Radio | None, started: float
    ) -> InferenceResult:
        """Answers a request with the version in use, or the one before if that fails; as `Installation.infer`."""
        installation = self.in_use
        try:
            result = await installation.infer(data, point, references, radio, started)
        except _FAULTS as error:
            if not self._take_back(installation, error):
                raise
            return await self.in_use.infer(data, point, references, radio, started)
        if isinstance(result.fallback, _FAULTS):
            self._take_back(installation, result.fallback)
        elif installation is self.in_use and self._before is not None:
            self._answers += 1
            if self._answers >= _PROBATION:
                self._let_go(self._before)
                self._before = None
        return result

    async def follow(self) -> None:
        """Goes over to newer versions as the server gets them, for ever."""
        attempt = 0
        while True:
            before = self.in_use
            assert before.link is not None, "only a client with a server follows it"
            await before.link.outdated.wait()
            try:
                await self._update()
            except (LinkError, Refused) as error:
                log.info("the newer bundle cannot be had now: %s", error)
            except Exception:  # whatever it is, there may be a next one
                log.exception("the bundle was not updated")
            attempt = 0 if self.in_use is not before else attempt + 1
            if attempt:
                await asyncio.sleep(self._options.times.backoff.delay(attempt, self._options.rng))

    async def close(self) -> None:
        """Closes all versions."""
        for task in self._finishing:
            task.cancel()
        await asyncio.gather(*self._finishing, return_exceptions=True)
        for installation in (self._before, self.in_use):
            if installation is not None:
                await installation.close()

    async def _update(self) -> None:
        """Fetches the server's version, gets ready for it, and goes over."""
        assert self._downloads is not None
        bundle = self.in_use.bundle
        offer = await self._downloads.offer(bundle.manifest.name, known=bundle.hash)
        if offer is None or offer.hash in self.rejected:
            return
        try:
            installation = await Installation.open(await self._downloads.fetch(offer), self._options)
        except _UNUSABLE as error:
            self._reject(offer.hash, error)
            return
        refusal = installation.link.refusal if installation.link is not None else None
        if refusal is not None:
            await installation.close()
            raise refusal
        if self._before is not None:
            self._let_go(self._before)
        installation.device.state = self.in_use.device.state
        self._before, self.in_use, self._answers = self.in_use, installation, 0
        log.info("bundle %s is in use, in place of %s", offer.hash[:12], bundle.hash[:12])

    def _take_back(self, installation: Installation, error: CutpointError) -> bool:
        """Goes back to the version before, if `installation` is on probation; whether another version is in use now."""
        if installation is self.in_use and self._before is not None:
            self._reject(installation.bundle.hash, error)
            self.in_use, self._before = self._before, None
            if installation.link is not None:
                installation.link.outdated.set()  # who waits for its successor looks at the version in use now
            self._let_go(installation)
        return installation is not self.in_use

    def _reject(self, bundle_hash: str, error: CutpointError) -> None:
        self.rejected[bundle_hash] = error
        log.error("bundle %s does not work here and is not tried again: %s", bundle_hash[:12], error)

    def _let_go(self, installation: Installation) -> None:
        task = asyncio.create_task(installation.finish(), name="cutpoint-finish")
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)
