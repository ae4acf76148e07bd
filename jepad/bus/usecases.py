"""What the bus needs of the service, by shape alone.

Owns: the list of use cases behind the doors. Does not know: how they are answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from jepad.policy.goal import Wish
from jepad.policy.jobs import Job, Jobs, Owner
from jepad.policy.question import Question
from jepad.records import Floats, Floats32, Risk

if TYPE_CHECKING:
    from jepad.policy.scenes import Scenes
    from jepad.policy.sight import Sight


class Alert(Protocol):
    """One raised prediction."""

    @property
    def id(self) -> int:
        """Never used twice by one daemon."""

    @property
    def risk(self) -> Risk:
        """What is foreseen."""


class Service(Protocol):
    """One method a use case."""

    version: str
    jobs: Jobs
    sight: Sight  # of cameras

    def state(self) -> str:
        """starting, running or degraded."""

    def mode(self) -> str:
        """observe."""

    def model_id(self) -> str:
        """Digest of the model that speaks."""

    def anomaly_score(self) -> float:
        """How unlike its usual self the machine is."""

    def describe(self) -> str:
        """One JSON object."""

    def status_text(self, colour: bool) -> str:
        """Ready to print."""

    def list_streams(self) -> list[dict[str, object]]:
        """name, shape, dtype, head, state of each."""

    def open_stream(self, name: str) -> int:
        """A read-only descriptor, the caller's."""

    async def reload(self) -> None:
        """Read the settings again."""

    def predict(
        self, domain: str, horizon_us: int, options: dict[str, object]
    ) -> dict[str, object]:
        """The forecast in force."""

    async def predict_action(self, asked: Question) -> dict[str, object]:
        """What would become of a domain if something were done."""

    def plan(self, owner: Owner, wish: Wish) -> Job:
        """Which action would bring the machine nearest to a goal."""

    async def embed(self, array: Floats, series: list[str], dt_s: float) -> Floats32:
        """[1+H, D] of a window [T, C]."""

    def scenes(self) -> Scenes:
        """What may be asked about pictures; NotReady where no model of them is served."""

    def world_state(self) -> dict[str, object]:
        """The machine in a few words."""

    def risks(self) -> list[Risk]:
        """Of the last tick."""

    def forecasts(self) -> list[tuple[str, str, int, float, float, float]]:
        """series, unit, horizon_usec, p10, p50, p90."""

    def subscribe(
        self, on_raised: Callable[[Alert], None], on_cleared: Callable[[Alert], None]
    ) -> None:
        """Hear of predictions raised and cleared."""
