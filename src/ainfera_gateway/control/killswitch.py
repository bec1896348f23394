"""The kill switch by hand: each change is a row of ``settings_changes``, then this process's switch moves.

A chain belongs to an agent and the switch to none, so the change has no audit event; the row, which nobody can
change, is its record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.ids import new_id
from ainfera_gateway.money import format_usd
from ainfera_gateway.storage.house_state import SWITCH, THRESHOLD
from ainfera_gateway.storage.page import Keys, Page

CHANGED_BY = "operator"

# The newest commit decides, whatever the clocks of several nodes say.
_HOLDS_NOW = (
    "INSERT INTO house_state (name, value, changed_us) VALUES (:name, :value, :changed_us)"
    " ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed_us = excluded.changed_us"
)


@dataclass(frozen=True, slots=True)
class ChangeKillSwitch:
    """The unit that records a change; ``None`` was left as it is."""

    engaged: bool | None
    threshold_picousd: int | None

    def keys(self) -> Keys:
        return Keys()

    def apply(self, page: Page) -> None:
        values: dict[str, str] = {}
        if self.engaged is not None:
            values[SWITCH] = "engaged" if self.engaged else "released"
        if self.threshold_picousd is not None:
            values[THRESHOLD] = format_usd(self.threshold_picousd)
        for name, value in values.items():
            row = {"id": new_id(), "name": name, "value": value, "changed_by": CHANGED_BY, "created_us": page.now_us}
            page.insert("settings_changes", row)
            page.execute(_HOLDS_NOW, {"name": name, "value": value, "changed_us": page.now_us})


def change_killswitch(control: Control, *, engaged: bool | None, threshold_picousd: int | None) -> dict[str, Any]:
    """Record the change, then move the switch; answers with its state."""
    commit(control, ChangeKillSwitch(engaged, threshold_picousd))
    control.set_killswitch(engaged, threshold_picousd)
    return control.killswitch_state()
