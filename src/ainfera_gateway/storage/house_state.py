"""What holds now for every process on one database: switches by hand, the day's spend, and which data key seals."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from ainfera_gateway.money import parse_usd
from ainfera_gateway.storage.tables import day_spend, house_state

SWITCH = "killswitch"
"""Its value is ``engaged`` or ``released``."""
THRESHOLD = "killswitch_threshold_usd"
"""Its value is decimal text."""


@dataclass(frozen=True, slots=True)
class HouseState:
    """The switches and the spend of one UTC day, in pico-USD; ``threshold`` None: the setting's."""

    stopped_by_hand: bool
    threshold_picousd: int | None
    others_picousd: int


def read_house_state(reader: Engine, day: str, owner: str) -> HouseState:
    """Read in one snapshot; ``others`` are all processes but ``owner``."""
    spent = select(func.coalesce(func.sum(day_spend.c.spent_picousd), 0)).where(
        day_spend.c.day == day, day_spend.c.owner != owner
    )
    with reader.connect() as connection:
        rows = dict(connection.execute(select(house_state.c.name, house_state.c.value)).all())
        others = int(connection.execute(spent).scalar_one())
    threshold = rows.get(THRESHOLD)
    return HouseState(rows.get(SWITCH) == "engaged", None if threshold is None else parse_usd(threshold), others)
