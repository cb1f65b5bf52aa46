"""What the tabs talk to: the recommenders' connections, and one for what arrives piece by piece."""

from __future__ import annotations

from functools import cached_property

from workshop.recommend.connections import Connections
from workshop.triton.aio import AsyncTritonClient


class Services(Connections):
    """Connections of the process, shared by all browsers. Everything but :attr:`streams` blocks."""

    @cached_property
    def streams(self) -> AsyncTritonClient:
        """The client for what arrives piece by piece; belongs to the event loop that asks first."""
        return AsyncTritonClient.from_settings(self.settings)

    async def close(self) -> None:
        """Close the connections to Triton."""
        self.triton.close()
        if "streams" in vars(self):
            await self.streams.close()
