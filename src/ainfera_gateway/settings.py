"""Every knob, frozen. ``AINFERA_*`` is read here and nowhere else.

Rising precedence: built-in, TOML file (``AINFERA_CONFIG``), environment, flags. A setting that is wrong or unknown
raises ``SettingsError`` with its name and the reason.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ainfera_gateway.config_tables import NO_OVERLAY, SECTIONS, Overlay, TableError, read_tables
from ainfera_gateway.money import AmountError, parse_usd

BODY_BYTES_MAX = 10 * 1024 * 1024
"""The largest request body: 10 MiB."""


class SettingsError(ValueError):
    """A setting is wrong or unknown; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The gateway's settings. Money in pico-USD, times in seconds."""

    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = Path(".data")
    database_url: str = ""
    auto_migrate: bool = False
    internal_key: str = field(default="", repr=False)
    data_key: str = field(default="", repr=False)
    public_url: str = ""
    signup: str = ""
    signup_grant_picousd: int = 5 * 10**12
    topup: str = ""
    mcp_url: str = "https://mcp.ainfera.ai"
    did_host: str = "ainfera.ai"
    killswitch_picousd: int = 50 * 10**12
    killswitch_enabled: bool = True
    killswitch_pinned: bool = True
    disconnect_drain_s: float = 2.0
    drain_s: float = 30.0
    keep_outcomes_days: int = 0
    log_level: str = "INFO"
    rate_limit_rpm: int = 60_000
    attempt_timeout_s: float = 120.0
    call_timeout_s: float = 600.0
    local_model: str = ""
    workers: int = 1
    overlay: Overlay = NO_OVERLAY

    @property
    def on_loopback(self) -> bool:
        """Whether the server listens on this machine alone."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def signup_mode(self) -> str:
        """``open``, ``internal`` or ``off``."""
        return self.signup or ("open" if self.on_loopback else "internal")

    @property
    def topup_mode(self) -> str:
        """``self`` (owner keys) or ``operator`` (the internal key)."""
        return self.topup or ("self" if self.on_loopback else "operator")

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'ainfera.db'}"


def _text(raw: str) -> str:
    return raw


def _flag(raw: str) -> bool:
    lowered = raw.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError("use 1 or 0")


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(raw: str) -> float:
        text = f"must be a number between {low:g} and {high:g}"
        try:
            value = float(raw)
        except ValueError:
            raise ValueError(text) from None
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


def _integer(low: int, high: int) -> Callable[[str], int]:
    def read(raw: str) -> int:
        text = f"must be a whole number between {low} and {high}"
        try:
            value = int(raw)
        except ValueError:
            raise ValueError(text) from None
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


def _choice(*allowed: str) -> Callable[[str], str]:
    def read(raw: str) -> str:
        if raw not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return raw

    return read


def _usd(raw: str) -> int:
    value = parse_usd(raw)
    if value < 0:
        raise ValueError("must not be negative")
    return value


def _positive_usd(raw: str) -> int:
    value = parse_usd(raw)
    if value <= 0:
        raise ValueError("must be above 0")
    return value


def _database(raw: str) -> str:
    if not raw.startswith(("sqlite:///", "postgresql://")):
        raise ValueError("must start with sqlite:/// or postgresql://")
    if raw.startswith("postgresql://"):
        try:
            _ = urlsplit(raw).port
        except ValueError:
            raise ValueError("its host or port is malformed; use postgresql://user@host:5432/name") from None
    return raw


def _http_url(raw: str) -> str:
    if raw and not raw.startswith(("http://", "https://")):
        raise ValueError("must be an http:// or https:// URL")
    return raw


def _level(raw: str) -> str:
    return _choice("DEBUG", "INFO", "WARNING", "ERROR")(raw.upper())


READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "AINFERA_HOST": ("host", _text),
    "AINFERA_PORT": ("port", _integer(0, 65535)),
    "AINFERA_DATA_DIR": ("data_dir", Path),
    "AINFERA_DATABASE_URL": ("database_url", _database),
    "AINFERA_AUTO_MIGRATE": ("auto_migrate", _flag),
    "AINFERA_WORKERS": ("workers", _integer(1, 64)),
    "AINFERA_INTERNAL_KEY": ("internal_key", _text),
    "AINFERA_DATA_KEY": ("data_key", _text),
    "AINFERA_PUBLIC_URL": ("public_url", _http_url),
    "AINFERA_SIGNUP": ("signup", _choice("open", "internal", "off")),
    "AINFERA_SIGNUP_GRANT_USD": ("signup_grant_picousd", _usd),
    "AINFERA_TOPUP": ("topup", _choice("self", "operator")),
    "AINFERA_MCP_URL": ("mcp_url", _http_url),
    "AINFERA_DID_HOST": ("did_host", _text),
    "AINFERA_SPEND_KILLSWITCH_USD": ("killswitch_picousd", _positive_usd),
    "AINFERA_SPEND_KILLSWITCH_ENABLED": ("killswitch_enabled", _flag),
    "AINFERA_KILLSWITCH_PINNED": ("killswitch_pinned", _flag),
    "AINFERA_DISCONNECT_DRAIN_S": ("disconnect_drain_s", _number(0, 60)),
    "AINFERA_DRAIN_S": ("drain_s", _number(0, 3600)),
    "AINFERA_KEEP_OUTCOMES_DAYS": ("keep_outcomes_days", _integer(0, 36_500)),
    "AINFERA_LOG_LEVEL": ("log_level", _level),
    "AINFERA_RATE_LIMIT_RPM": ("rate_limit_rpm", _integer(1, 10_000_000)),
    "AINFERA_ATTEMPT_TIMEOUT_S": ("attempt_timeout_s", _number(0.1, 3600)),
    "AINFERA_CALL_TIMEOUT_S": ("call_timeout_s", _number(0.1, 7200)),
    "AINFERA_LOCAL_MODEL": ("local_model", _text),
}
"""Every setting: its name in the environment, its field, and how its text is read."""

_ELSEWHERE = frozenset({"AINFERA_CONFIG", "AINFERA_API_KEY"})
"""``AINFERA_API_KEY`` is the published SDK's own variable and often stands in the same environment."""


def load(environ: Mapping[str, str] | None = None, flags: Mapping[str, str | None] | None = None) -> Settings:
    """Settings from TOML, environment and flags (``flags`` maps field names to text, ``None`` for not given).

    Raises ``SettingsError``.
    """
    environment = os.environ if environ is None else environ
    flat, overlay = _from_toml(environment.get("AINFERA_CONFIG"))
    values: dict[str, Any] = {"overlay": overlay}
    for name, raw in flat.items():
        values.update(_read(name, raw))
    for name, raw in environment.items():
        if name.startswith("AINFERA_") and name not in _ELSEWHERE:
            values.update(_read(name, raw))
    for name, flag in (flags or {}).items():
        if flag is not None:
            values.update(_read(f"AINFERA_{name.upper()}", flag))
    settings = Settings(**values)
    if settings.workers > 1 and not settings.database.startswith("postgresql://"):
        raise SettingsError(
            f"AINFERA_WORKERS: SQLite serves one process, not {settings.workers}; leave it at 1, "
            "or set AINFERA_DATABASE_URL to a postgresql:// address"
        )
    if settings.workers > 1 and settings.local_model:
        raise SettingsError(
            "AINFERA_WORKERS: a local model belongs to one process; leave it at 1, or run the model's server by itself"
        )
    return settings


def _read(name: str, raw: str) -> dict[str, Any]:
    known = READERS.get(name)
    if known is None:
        raise SettingsError(f"{name}: unknown setting{_nearest(name)}")
    attribute, reader = known
    try:
        return {attribute: reader(raw)}
    except (ValueError, AmountError) as exc:
        raise SettingsError(f"{name}: {exc}") from exc


def _nearest(name: str) -> str:
    # Without the prefix that all names share: it would make all of them look alike.
    bare = [known.removeprefix("AINFERA_") for known in READERS]
    near = difflib.get_close_matches(name.upper().removeprefix("AINFERA_"), bare, n=1)
    return f"; did you mean AINFERA_{near[0]}?" if near else ""


def _from_toml(path: str | None) -> tuple[dict[str, str], Overlay]:
    """The flat settings by their names in the environment, as text; and the tables."""
    if not path:
        return {}, NO_OVERLAY
    try:
        with Path(path).open("rb") as file:
            document = tomllib.load(file, parse_float=Decimal)  # prices stay as they were written
    except FileNotFoundError as exc:
        raise SettingsError(f"AINFERA_CONFIG: there is no file at {path}") from exc
    except OSError as exc:
        raise SettingsError(f"AINFERA_CONFIG: {path} cannot be read as a file: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"AINFERA_CONFIG: {path} is not UTF-8 text") from exc
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(f"AINFERA_CONFIG: {path} is no TOML: {exc}") from exc
    try:
        overlay = read_tables(document)
    except TableError as exc:
        raise SettingsError(f"AINFERA_CONFIG: {exc}") from exc
    flat: dict[str, str] = {}
    for key, value in document.items():
        if key in SECTIONS:
            continue
        if isinstance(value, dict | list):
            raise SettingsError(f"AINFERA_CONFIG: {key}: unknown section")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        flat[f"AINFERA_{key.upper().removeprefix('AINFERA_')}"] = text
    return flat, overlay
