"""How the demo looks: calm, 80 columns, the same facts with and without a terminal."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ainfera_gateway.cli.banner import shown_usd
from ainfera_gateway.cli.demo_server import RunningServer
from ainfera_gateway.cli.options import own_command
from ainfera_gateway.money import parse_usd

if TYPE_CHECKING:
    import ainfera

    from ainfera_gateway.cli.demo_calls import Call, Decision, Proof, Walk

_INDENT = 2
_WIDTH_MAX = 100


class Show:
    """Prints each step under its name. Nothing printed is markup: answers of a model are text like any other."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._width = min(console.width, _WIDTH_MAX) - _INDENT
        self._column = 0
        self._step = "start"

    def title(self) -> None:
        self.console.print("\n[bold]Ainfera gateway[/bold]: one agent, three calls, all paid and proved.")
        self._line("Every call stays on this machine. The model has 135 million parameters:", indent=0, dim=True)
        self._line("its answers are real, not wise.", indent=0, dim=True)

    def step(self, name: str) -> None:
        self._step = name
        self.console.print(f"\n[bold cyan]{name}[/bold cyan]")

    def model(self, slug: str, path: Path, *, found: bool) -> None:
        self._line(f"{slug}, {'already here' if found else 'downloaded'}, its SHA-256 verified")
        self._line(str(path), dim=True)

    def gateway(self, server: RunningServer, log: Path) -> None:
        self._line(
            f"listening on {server.url} after {server.ready_s:.1f} s, on SQLite, with {', '.join(server.models)}"
        )
        self._line(f"log in {log}", dim=True)

    def signup(self, walk: Walk) -> None:
        made = walk.signup
        self._line(f"{made.canonical_uri}")
        self._line(f"{made.did_web}", dim=True)
        self._line(
            f"key {walk.shown_key}  caps $0.10 a call, $1.00 a day  balance ${walk.agent.wallet.balance_usd:.2f}"
        )

    def question(self, how: str, question: str) -> None:
        self._line(how, dim=True)
        self._line(f"> {question}")

    def answer(self, call: Call) -> None:
        self._block(Text(" ".join(call.text.split()), style="green"))
        self._figures(call)

    def token(self, piece: str) -> None:
        """One piece of a stream, now; lines are broken at the width, as a person types."""
        for part in piece.replace("\n", " ").splitlines() or [""]:
            if self._column == 0:
                part = part.lstrip()  # noqa: PLW2901
            if self._column and self._column + len(part) > self._width and part.startswith(" "):
                self.console.print()
                self._column, part = 0, part.lstrip()  # noqa: PLW2901
            if part:
                lead = " " * _INDENT if self._column == 0 else ""
                self.console.print(Text(lead + part, style="green"), end="", soft_wrap=True)
                self._column += len(part)
        self.console.file.flush()

    def streamed(self, call: Call) -> None:
        self.console.print()
        self._column = 0
        self._figures(call)

    def decision(self, decision: Decision) -> None:
        self._line(f"decided by {decision.rule}, out of {len(decision.candidates)} models:", dim=True)
        table = self._table()
        for model, reason in decision.candidates:
            taken = reason == "eligible"
            table.add_row(Text(model, style="" if taken else "dim"), Text(reason, style="green" if taken else "dim"))
        self._block(table)

    def receipts(self, calls: list[Call], receipts: list[dict[str, Any]]) -> None:
        table = self._table()
        for call, receipt in zip(calls, receipts, strict=True):
            seq = f"event {receipt['seq']}"
            table.add_row(call.kind, Text(_usd(call.cost_usd), style="green"), seq, Text(call.receipt_id, style="dim"))
        self._block(table)

    def ledger(self, entries: list[ainfera.LedgerEntry], balance: Decimal) -> None:
        table = self._table()
        for entry in reversed(entries):
            table.add_row(entry.kind, _usd(entry.amount_usd), _usd(entry.balance_after_usd), Text(entry.memo or ""))
        for column in table.columns[1:3]:
            column.justify = "right"
        self._block(table)
        self._line(f"balance {_usd(balance)}: the lines add up to it exactly")

    def proof(self, proof: Proof) -> None:
        self._good(f"ainfera SDK verified all {proof.events} events, each hash computed anew on this side")
        self._good(f"ainfera-verify accepted all {proof.events} events and their signatures")
        self._good("the gateway's own verification agrees")
        self._good(f"a copy with one forged cost was refused by both, at event {proof.forged_seq}")
        self._line(f"tip {proof.tip_hash}", dim=True)

    def export(self, path: Path) -> None:
        self._good("the Annex IV export verifies offline, without any server:")
        self._line(f"{own_command()} audit verify {path}", dim=True)

    def end(self, data_dir: Path) -> None:
        self.console.print("\n[bold green]All steps succeeded.[/bold green] The gateway was stopped.")
        self._line("go on with: make serve", indent=0)
        self._line(f"or: {own_command()} serve --local-model smollm2 --data-dir {data_dir}", indent=0, dim=True)

    def note(self, text: str) -> None:
        self._line(text, indent=0, dim=True)

    def failure(self, text: str) -> None:
        if self._column:
            self.console.print()
        self.console.print(Text(f"\nThe demo stopped at the step “{self._step}”.", style="bold red"))
        self._line(text, indent=0)

    def _figures(self, call: Call) -> None:
        tokens = f"{call.input_tokens} + {call.output_tokens} tokens"
        self._line(f"{call.model}  {tokens}  {_usd(call.cost_usd)}  {call.total_ms} ms", dim=True)
        if call.first_token_ms is not None:
            self._line(f"first token after {call.first_token_ms} ms", dim=True)

    def _good(self, text: str) -> None:
        self._block(Text.assemble(("ok ", "bold green"), text))

    def _line(self, text: str, *, dim: bool = False, indent: int = _INDENT) -> None:
        # Paths and ids stay whole, so that they can be copied: the terminal wraps them, not we.
        self.console.print(Text(" " * indent + text, style="dim" if dim else ""), soft_wrap=True)

    def _block(self, content: Text | Table) -> None:
        self.console.print(Padding(content, (0, 0, 0, _INDENT), expand=False), width=self._width + _INDENT)

    def _table(self) -> Table:
        return Table.grid(padding=(0, 2))


def _usd(amount: Decimal) -> str:
    return shown_usd(parse_usd(amount))
