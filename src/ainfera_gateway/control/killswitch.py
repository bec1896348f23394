"""The kill switch by hand: each change is a row of ``settings_changes``, then this process's switch moves.

A chain belongs to an agent and the switch to none, so the change has no audit event; the row, which nobody can
change, is its record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select

from ainfera_gateway.control.commit import commit
from ainfera_gateway.control.context import Control
from ainfera_gateway.ids import new_id
from ainfera_gateway.money import format_usd, parse_usd
from ainfera_gateway.storage.page import Keys, Page
from ainfera_gateway.storage.tables import settings_changes

SWITCH = "killswitch"
"""Its value is ``engaged`` or ``released``."""
THRESHOLD = "killswitch_threshold_usd"
"""Its value is decimal text."""
CHANGED_BY = "operator"


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


def change_killswitch(control: Control, *, engaged: bool | None, threshold_picousd: int | None) -> dict[str, Any]:
    """Record the change, then move the switch; answers with its state."""
    commit(control, ChangeKillSwitch(engaged, threshold_picousd))
    control.set_killswitch(engaged, threshold_picousd)
    return control.killswitch_state()


def recorded_killswitch(reader: Engine) -> tuple[bool, int | None]:
    """(engaged by hand, threshold in pico-USD or ``None`` for the setting's), as the newest rows say; for a start."""
    switch, threshold = _newest(reader, SWITCH), _newest(reader, THRESHOLD)
    return switch == "engaged", None if threshold is None else parse_usd(threshold)


def _newest(reader: Engine, name: str) -> str | None:
    statement = select(settings_changes.c.value).where(settings_changes.c.name == name)
    with reader.connect() as connection:
        newest = statement.order_by(settings_changes.c.id.desc()).limit(1)
        return connection.execute(newest).scalar_one_or_none()
