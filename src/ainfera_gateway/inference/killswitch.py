"""The kill switch by spend: what all calls of the UTC day cost together, against a threshold. Also by hand."""

from __future__ import annotations

import threading
from typing import Any

from ainfera_gateway.clock import Clock, iso, utc_day
from ainfera_gateway.errors import GatewayError
from ainfera_gateway.money import format_usd


class KillSwitch:
    """The state of the switch in this process. Money in pico-USD; safe to read from the recorder's thread."""

    def __init__(self, clock: Clock, *, threshold_picousd: int, enabled: bool, pinned: bool) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._day = utc_day(clock.now_us())
        self._own = 0
        self._others = 0
        self._threshold = threshold_picousd
        self._enabled = enabled
        self._pinned = pinned
        self._by_hand = False

    def learn(self, day: str, others_picousd: int, *, by_hand: bool, threshold_picousd: int | None) -> None:
        """What the database knows: the other processes' spend of ``day``, and the newest changes by hand."""
        with self._lock:
            self._roll()
            if day == self._day:
                self._others = others_picousd
            self._by_hand = by_hand
            if threshold_picousd is not None:
                self._threshold = threshold_picousd

    def spent(self, picousd: int) -> None:
        """A call was paid through this process."""
        with self._lock:
            self._roll()
            self._own += picousd

    def set_by_hand(self, engaged: bool) -> None:
        """An operator engages or releases the switch, whatever was spent."""
        with self._lock:
            self._by_hand = engaged

    def set_threshold(self, picousd: int) -> None:
        """A new threshold, at once. Raises ``ValueError`` unless above 0."""
        if picousd <= 0:
            raise ValueError("the threshold must be above 0")
        with self._lock:
            self._threshold = picousd

    @property
    def engaged(self) -> bool:
        """Whether routed calls are refused now."""
        with self._lock:
            self._roll()
            return self._by_hand or self._over

    def refusal(self, *, pinned: bool, by_hand: bool | None = None) -> GatewayError | None:
        """The refusal of a call made now, if any; pinned calls pass when they are exempted.

        ``by_hand`` is what the database says in the very transaction that would admit the call; None: ask memory.
        """
        stopped = self._by_hand if by_hand is None else by_hand
        if not stopped and (not self._spent_out() or (pinned and not self._pinned)):
            return None
        state = self.state()
        return GatewayError(
            503,
            "cost_killswitch_engaged",
            "The spend kill switch is engaged; no call leaves until it is released.",
            detail={key: state[key] for key in ("spent_usd", "threshold_usd", "window_start")},
            top={key: state[key] for key in ("spent_usd", "threshold_usd", "window_start")},
        )

    def state(self) -> dict[str, Any]:
        """The switch as operators see it; amounts as decimal text."""
        with self._lock:
            self._roll()
            return {
                "engaged": self._by_hand or self._over,
                "engaged_by_hand": self._by_hand,
                "enabled": self._enabled,
                "applies_to_pinned": self._pinned,
                "spent_usd": format_usd(self._own + self._others),
                "threshold_usd": format_usd(self._threshold),
                "window_start": f"{self._day}T00:00:00Z",
                "now": iso(self._clock.now_us()),
            }

    def figures(self) -> tuple[bool, int, int]:
        """(engaged, spent, threshold) for the gauges."""
        engaged = self.engaged
        with self._lock:
            return engaged, self._own + self._others, self._threshold

    def _spent_out(self) -> bool:
        with self._lock:
            self._roll()
            return self._over

    @property
    def _over(self) -> bool:
        return self._enabled and self._own + self._others >= self._threshold

    def _roll(self) -> None:
        day = utc_day(self._clock.now_us())
        if day != self._day:
            self._day, self._own, self._others = day, 0, 0
