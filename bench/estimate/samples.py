"""Samples of one kind each, made of words and chance. Every maker takes a generator and a size in bytes to reach."""

from __future__ import annotations

import base64
import json
import string
import uuid
from collections.abc import Callable
from random import Random
from typing import Any

from bench.estimate.words import EMOJI, ENGLISH, LATIN, MATHS, OTHERS, RANGES, SCRIPTS

Maker = Callable[[Random, int], str]

_UNSPACED = frozenset({"chinese", "japanese", "thai"})
_STOPS = {"chinese": "。，？", "japanese": "。、？", "hindi": "।", "arabic": ".،؟"}


def filled(size: int, piece: Callable[[], str], joint: str = "") -> str:
    """Pieces joined until they are ``size`` bytes."""
    pieces: list[str] = []
    length = 0
    while length < size:
        one = piece()
        pieces.append(one)
        length += len(one.encode()) + len(joint)
    return joint.join(pieces)


def word(rng: Random) -> str:
    """An English word; one in forty is of letters by chance, as names are."""
    if rng.random() < 0.025:
        return "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(3, 11))).capitalize()
    return rng.choice(ENGLISH)


def sentence(rng: Random) -> str:
    words = [word(rng) for _ in range(rng.randint(4, 22))]
    if rng.random() < 0.1:
        words[rng.randrange(len(words))] = str(rng.randint(1, 99_999))
    if rng.random() < 0.5:
        words[rng.randrange(len(words))] += ","
    said = " ".join(words)
    return said[0].upper() + said[1:] + rng.choice("....?!:;")


def prose(rng: Random, size: int) -> str:
    return filled(size, lambda: sentence(rng) + ("\n\n" if rng.random() < 0.15 else " "))


def latin(rng: Random, size: int) -> str:
    words = LATIN[rng.choice(sorted(LATIN))]
    return filled(
        size, lambda: rng.choice(words) + rng.choice(["", "", "", "", ",", ".", " " + rng.choice(ENGLISH)]), " "
    )


def script(name: str) -> Maker:
    """Text in one script, one word in twelve of letters by chance."""
    words, (low, high) = SCRIPTS[name], RANGES[name]

    def piece(rng: Random) -> str:
        said = rng.choice(words)
        if rng.random() < 0.08:
            said = "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6)))
        return said + (rng.choice(_STOPS.get(name, ".,?")) if rng.random() < 0.12 else "")

    def make(rng: Random, size: int) -> str:
        return filled(size, lambda: piece(rng), "" if name in _UNSPACED else " ")

    return make


def other_script(rng: Random, size: int) -> str:
    """Letters by chance in a script that few tokenizers were made for."""
    low, high = OTHERS[rng.choice(sorted(OTHERS))]
    return filled(size, lambda: "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(2, 9))), " ")


def name_of(rng: Random, style: str = "") -> str:
    """An identifier in one of the usual spellings."""
    parts = [rng.choice(ENGLISH).lower() for _ in range(rng.randint(1, 4))]
    match style or rng.choice(["snake", "camel", "pascal", "upper", "short"]):
        case "snake":
            return "_".join(parts)
        case "camel":
            return parts[0] + "".join(part.capitalize() for part in parts[1:])
        case "pascal":
            return "".join(part.capitalize() for part in parts)
        case "upper":
            return "_".join(parts).upper()
        case _:
            return rng.choice("abcijknpqstxyz") + rng.choice(["", "1", "2", "_"])


def camel(rng: Random, size: int) -> str:
    return filled(size, lambda: name_of(rng, rng.choice(["camel", "pascal"])), rng.choice([" ", "\n", ".", ", "]))


def python(rng: Random, size: int) -> str:
    def block() -> str:
        lines = [
            f"def {name_of(rng, 'snake')}({name_of(rng)}: {rng.choice(['int', 'str', 'dict[str, Any]', 'Path | None'])}) -> None:"
        ]
        lines.append(f'    """{sentence(rng)}"""')
        for _ in range(rng.randint(1, 9)):
            deep = "    " * rng.randint(1, 5)
            a, b, c = name_of(rng), name_of(rng), name_of(rng)
            lines.append(
                deep
                + rng.choice(
                    [
                        f"{a} = {b}.{c}({rng.randint(0, 4096)})",
                        f"if {a} is not None and {b} >= {rng.random():.3f}:",
                        f"for {a}, {b} in enumerate({c}[1:-1]):",
                        f"return [{a} for {a} in {b} if not {a}.{c}]",
                        f'raise ValueError(f"{sentence(rng)} {{{a}!r}}")',
                        f"self.{a} |= {{{b!r}: {c}, **{a}}}",
                        f"# {sentence(rng)}",
                        f"{a}: Final = 0x{rng.randrange(1 << 32):08X}",
                    ]
                )
            )
        return "\n".join(lines) + "\n\n"

    return filled(size, block)


def braces(rng: Random, size: int) -> str:
    """Code of the family with braces: JavaScript, Go, Rust, Java, C."""
    indent = rng.choice(["  ", "    ", "\t"])

    def block() -> str:
        a, b, c = (name_of(rng) for _ in range(3))
        head = rng.choice(
            [
                f"export const {a} = async ({{ {b}, {c} }}: Props): Promise<{b}[]> => {{",
                f"func (r *{a}) {b}(ctx context.Context, {c} ...string) (*{a}, error) {{",
                f"pub fn {a}<'a, T: Iterator<Item = &'a {b}>>(mut {c}: T) -> Result<(), Box<dyn Error>> {{",
                f"public static final Map<String, {a}> {b}({c}[] args) throws IOException {{",
                f"static inline uint64_t {a}(const struct {b} *restrict p, size_t n) {{",
            ]
        )
        lines = [head]
        for _ in range(rng.randint(1, 8)):
            a, b, c = (name_of(rng) for _ in range(3))
            lines.append(
                indent * rng.randint(1, 4)
                + rng.choice(
                    [
                        f"const {{ {a}, ...{b} }} = await {c}.map((x) => x?.{a} ?? null);",
                        f"if err := {a}.{b}(&{c}); err != nil {{ return nil, err }}",
                        f"let {a}: Vec<u8> = {b}.iter().filter(|&&x| x != 0).copied().collect();",
                        f"for (int i = 0; i < {a}.length; ++i) {b}[i] = {c} << {rng.randint(1, 31)};",
                        f"console.log(`{sentence(rng)} ${{{a}}}`);",
                        f"p->{a}[{rng.randint(0, 255)}] ^= ~(({b} & 0x{rng.randrange(1 << 16):x}u) * {c});",
                        f'return <div className="{b} mt-4 px-2" onClick={{() => {c}()}}>{{{a}}}</div>;',
                        f"// {sentence(rng)}",
                    ]
                )
            )
        return "\n".join([*lines, "}", ""])

    return filled(size, block, "\n")


def sql(rng: Random, size: int) -> str:
    def one() -> str:
        a, b, c = (name_of(rng, "snake") for _ in range(3))
        return rng.choice(
            [
                f"SELECT t.{a}, COUNT(*) AS n FROM {b} t LEFT JOIN {c} USING (id) WHERE t.{c} >= '2026-0{rng.randint(1, 9)}-01' GROUP BY 1;",
                f"INSERT INTO {a} ({b}, {c}) VALUES ({rng.randint(1, 10**9)}, '{word(rng)}'), (NULL, '{word(rng)}');",
                f"find . -name '*.{a}' -print0 | xargs -0 sed -i 's/{b}/{c}/g' && echo \"${{{a}:-{b}}}\" >> ~/.{c} 2>&1",
                f"CREATE UNIQUE INDEX IF NOT EXISTS ix_{a}_{b} ON {a} ({b}, {c} DESC) WHERE {c} IS NOT NULL;",
            ]
        )

    return filled(size, one, "\n")


def value(rng: Random, deep: int = 0) -> Any:
    """A JSON value."""
    match rng.randrange(9 if deep < 4 else 7):
        case 0:
            return rng.randint(-1000, 10 ** rng.randint(1, 12))
        case 1:
            return round(rng.uniform(-1000, 1000), rng.randint(1, 9))
        case 2:
            return rng.choice([True, False, None])
        case 3 | 4:
            return " ".join(word(rng) for _ in range(rng.randint(1, 8)))
        case 5:
            return str(uuid.UUID(int=rng.getrandbits(128)))
        case 6:
            return f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:07Z"
        case 7:
            return [value(rng, deep + 1) for _ in range(rng.randint(0, 5))]
        case _:
            return {name_of(rng): value(rng, deep + 1) for _ in range(rng.randint(1, 6))}


def json_minified(rng: Random, size: int) -> str:
    return "[" + filled(size, lambda: json.dumps(value(rng), separators=(",", ":")), ",") + "]"


def json_pretty(rng: Random, size: int) -> str:
    return filled(size, lambda: json.dumps({name_of(rng): value(rng)}, indent=rng.choice([2, 4])), ",\n")


def json_escaped(rng: Random, size: int) -> str:
    """JSON inside of JSON, as tool results often are: quotes, line ends and letters escaped."""
    return filled(size, lambda: json.dumps(json.dumps({name_of(rng): value(rng), "text": latin(rng, 60) + "\n"})), ",")


def tool_schemas(rng: Random, size: int) -> str:
    def tool() -> str:
        members = {
            name_of(rng, "snake"): {
                "type": rng.choice(["string", "integer", "boolean", "number"]),
                "description": sentence(rng),
                **({"enum": [word(rng) for _ in range(3)]} if rng.random() < 0.2 else {}),
            }
            for _ in range(rng.randint(1, 7))
        }
        schema = {
            "type": "object",
            "properties": members,
            "required": sorted(members)[:2],
            "additionalProperties": False,
        }
        function = {
            "name": name_of(rng, "snake"),
            "description": sentence(rng) + " " + sentence(rng),
            "parameters": schema,
        }
        return json.dumps({"type": "function", "function": function}, separators=rng.choice([None, (",", ":")]))

    return "[" + filled(size, tool, ",") + "]"


def markdown(rng: Random, size: int) -> str:
    def block() -> str:
        return rng.choice(
            [
                f"{'#' * rng.randint(1, 4)} {sentence(rng)[:-1]}\n",
                "\n".join(f"- **{word(rng)}**: {sentence(rng)}" for _ in range(rng.randint(2, 5))) + "\n",
                f"{sentence(rng)} `{name_of(rng)}` {sentence(rng)} [{word(rng)}](https://example.com/{word(rng).lower()})\n",
                f"```{rng.choice(['python', 'sh', 'json', ''])}\n{python(rng, 120)}```\n",
                f"{rng.randint(1, 9)}. {sentence(rng)}\n   > {sentence(rng)}\n",
                f"| {word(rng)} | {word(rng)} |\n|---|--:|\n| {word(rng)} | {rng.randint(0, 9999)} |\n",
            ]
        )

    return filled(size, block, "\n")


def chat(rng: Random, size: int) -> str:
    """What people and agents say to each other, with a stray smiley."""
    return filled(
        size,
        lambda: (
            f"{rng.choice(['User', 'Assistant', 'Tool'])}: {sentence(rng)}{' ' + rng.choice(EMOJI) if rng.random() < 0.08 else ''}"
        ),
        "\n",
    )


def table(rng: Random, size: int) -> str:
    joint = rng.choice([",", "\t", " | ", ";"])
    width = rng.randint(3, 9)

    def cell() -> str:
        return rng.choice([word(rng), str(rng.randint(0, 10**6)), f"{rng.uniform(0, 1e4):.2f}", name_of(rng), ""])

    return filled(size, lambda: joint.join(cell() for _ in range(width)), "\n")


def log(rng: Random, size: int) -> str:
    def line() -> str:
        stamp = f"2026-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}.{rng.randint(0, 999):03}Z"
        address = ".".join(str(rng.randint(0, 255)) for _ in range(4))
        return rng.choice(
            [
                f"{stamp} {rng.choice(['INFO', 'WARN', 'ERROR', 'DEBUG'])} [{name_of(rng, 'snake')}-{rng.randint(1, 64)}] {sentence(rng)} id={rng.getrandbits(64):016x}",
                f'{address} - - [{stamp}] "GET /v1/{name_of(rng, "snake")}?q={word(rng)} HTTP/1.1" {rng.choice([200, 404, 502])} {rng.randint(0, 99999)}',
                f'  File "/srv/{name_of(rng, "snake")}/{name_of(rng, "snake")}.py", line {rng.randint(1, 3000)}, in {name_of(rng, "snake")}',
                f'{name_of(rng, "snake")}{{code="{rng.randint(200, 599)}"}} {rng.uniform(0, 1e6):.6f}',
            ]
        )

    return filled(size, line, "\n")


def urls(rng: Random, size: int) -> str:
    return filled(
        size,
        lambda: (
            f"https://{word(rng).lower()}.example.com/{name_of(rng)}/{rng.getrandbits(40):x}?{name_of(rng, 'snake')}={word(rng)}%20{word(rng)}&v={rng.randint(1, 99)}#{name_of(rng)}"
        ),
        "\n",
    )


def uuids(rng: Random, size: int) -> str:
    return filled(size, lambda: str(uuid.UUID(int=rng.getrandbits(128))), rng.choice(["\n", ", ", '","']))


def base64_text(rng: Random, size: int) -> str:
    return base64.b64encode(rng.randbytes(size * 3 // 4 + 1)).decode()


def hexadecimal(rng: Random, size: int) -> str:
    return rng.choice([str.lower, str.upper])(rng.randbytes(size // 2 + 1).hex())


def digits(rng: Random, size: int) -> str:
    return filled(size, lambda: str(rng.randint(0, 10 ** rng.randint(1, 15))), rng.choice([" ", "\n", ", ", ""]))


def long_words(rng: Random, size: int) -> str:
    return filled(size, lambda: "".join(rng.choice(string.ascii_lowercase) for _ in range(rng.randint(12, 60))), " ")


def repeated(rng: Random, size: int) -> str:
    unit = rng.choice([*"aAxz0=-_#*. \n", "ab", "ha", "=-", "{}", "\t", "é", "好", "😀", "\\", '"'])
    return str(unit * (size // len(unit.encode()) + 1))


def blank(rng: Random, size: int) -> str:
    """Mostly blanks: deep indentation, empty lines, aligned columns."""
    return filled(
        size,
        lambda: (
            rng.choice([" " * rng.randint(1, 40), "\t" * rng.randint(1, 6), "\n" * rng.randint(1, 4), " \n"])
            + rng.choice(["", "x", "}", word(rng), "end", "0"])
        ),
    )


def marks(rng: Random, size: int) -> str:
    """Punctuation by chance, as in regular expressions, ASCII art and minified code."""
    return filled(
        size,
        lambda: (
            "".join(rng.choice(string.punctuation) for _ in range(rng.randint(1, 5)))
            + rng.choice(["", "", name_of(rng, "short"), " "])
        ),
    )


def emoji(rng: Random, size: int) -> str:
    return filled(size, lambda: rng.choice(EMOJI) if rng.random() < 0.6 else word(rng), rng.choice(["", " "]))


def maths(rng: Random, size: int) -> str:
    return filled(size, lambda: rng.choice(MATHS) if rng.random() < 0.8 else word(rng), rng.choice([" ", ""]))


def noise(rng: Random, size: int) -> str:
    """Characters from all over Unicode by chance: the worst that can come."""
    return filled(
        size,
        lambda: chr(
            rng.choice(
                [
                    rng.randint(33, 0x2FF),
                    rng.randint(0x300, 0xD7FF),
                    rng.randint(0xE000, 0xFFFD),
                    rng.randint(0x10000, 0x1FFFF),
                ]
            )
        ),
    )


def mixed(rng: Random, size: int) -> str:
    makers: list[Maker] = [
        prose,
        python,
        json_minified,
        markdown,
        table,
        log,
        latin,
        script("chinese"),
        urls,
        emoji,
        digits,
    ]
    return filled(size, lambda: rng.choice(makers)(rng, max(20, size // 6)), "\n")
