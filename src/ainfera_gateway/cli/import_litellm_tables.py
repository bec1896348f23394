"""Deployments of LiteLLM as tables of ours: providers, models and names. Prices are carried, never made up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ainfera_gateway.catalog.model import Catalog, Model
from ainfera_gateway.catalog.price import usd_per_million
from ainfera_gateway.cli.import_litellm_deployment import Deployment
from ainfera_gateway.cli.import_litellm_places import Providers
from ainfera_gateway.cli.import_report import Report, one_line, quoted, table
from ainfera_gateway.config_tables import named
from ainfera_gateway.routing.aliases import ALIASES, ROUTER_SLUG, Resolved, pinned_name

_ALIAS_CHARS_MAX: Final = 128
_ROUTER_NAMES: Final = frozenset({ROUTER_SLUG, *ALIASES})
_NO_PRICE: Final = "no price is said and the catalog has none: fill in the table that stands there as a comment"
_FILL_IN: Final = "Not in force: say what a million tokens cost, then take the comment signs away."


class Tables:
    """Collects tables and names, entry by entry in the order of the file, and writes them."""

    def __init__(self, catalog: Catalog, providers: Providers, report: Report) -> None:
        self._catalog = catalog
        self._report = report
        self._providers = providers
        self._models: dict[str, tuple[Mapping[str, Any], str]] = {}
        self._unpriced: dict[str, str] = {}
        self._targets: dict[str, tuple[str, str]] = {}

    @property
    def counts(self) -> tuple[int, int, int]:
        """Tables of providers, of models, and names."""
        return len(self._providers.tables), len(self._models), len(self._aliases())

    def add(self, deployment: Deployment) -> None:
        """One entry; the first of a name that has a counterpart is taken."""
        path, name = deployment.path, deployment.name
        if name in self._targets:
            first = self._targets[name][1]
            self._report.leave(path, f"a name has one model here, and {first} is the first of this name")
            return
        if name.removeprefix("openai/") in _ROUTER_NAMES or len(name) > _ALIAS_CHARS_MAX:
            self._report.leave(path, "its model_name cannot be an alias")
            return
        target = self._target(deployment)
        if target is not None:
            self._targets[name] = (target, path)

    def add_alias(self, name: str, group: object, path: str) -> None:
        """A further name for the name of a deployment, or for a model of the catalog."""
        if isinstance(group, dict):
            self._report.leave_members(path, [key for key in group if key != "model"], {}, "names are not hidden here")
            group = group.get("model")
        sound = isinstance(group, str) and name == name.strip() and name.isprintable() and bool(name)
        if not sound or len(name) > _ALIAS_CHARS_MAX or name.removeprefix("openai/") in _ROUTER_NAMES:
            self._report.leave(path, "cannot be an alias")
        elif name in self._targets:
            self._report.leave(path, f"{self._targets[name][1]} has this name")
        elif group in self._targets:
            self._targets[name] = (self._targets[str(group)][0], path)
        elif (found := self._known(str(group))) is not None:
            self._targets[name] = (found[1], path)
        else:
            self._report.leave(path, "leads to nothing that was carried")

    def text(self) -> list[str]:
        """The parts of the TOML file, in order."""
        parts = list(self._providers.tables.values())
        parts += [text for _, text in self._models.values()]
        parts += list(self._unpriced.values())
        aliases = self._aliases()
        if aliases:
            lines = [f"{quoted(name)} = {quoted(target)}  # {path}" for name, (target, path) in aliases.items()]
            parts.append("\n".join(["[aliases]", *lines]))
        return parts

    def _aliases(self) -> dict[str, tuple[str, str]]:
        """The names that do not mean their model already. A target that is a name itself is said with its provider."""
        made = {
            name: (target, path)
            for name, (target, path) in self._targets.items()
            if name != target and not self._means(name, target)
        }
        for name, (target, path) in made.items():
            if target in made:
                found = pinned_name(target, self._catalog.models, self._catalog.names)
                provider = "" if found is None else self._catalog.models[found.slug].provider
                made[name] = (f"{provider}/{target}", path)
        return made

    def _means(self, name: str, target: str) -> bool:
        models, names = self._catalog.models, self._catalog.names
        found = pinned_name(name, models, names)
        return name not in self._models and found is not None and found == pinned_name(target, models, names)

    def _known(self, name: str) -> tuple[Resolved, str] | None:
        found = pinned_name(name, self._catalog.models, self._catalog.names)
        return None if found is None else (found, found.slug if found.upstream is None else name)

    def _target(self, deployment: Deployment) -> str | None:
        """What the name leads to; None, with the reason in the report, where no price is known."""
        place = deployment.place
        provider = self._providers.slug(place, deployment.path)
        if deployment.literal_key:
            reason = f"literal key left out: set {self._providers.key_variable(place)}"
            self._report.leave(f"{deployment.path}.litellm_params.api_key", reason)
        known = self._in_catalog(place.family, deployment.upstream)
        if place.is_plain and known is not None and not deployment.prices and provider == place.family:
            for member in deployment.members:
                self._report.leave(f"{deployment.path}.model_info", f"{member} is the catalog's")
            return known[1]
        slug = f"{provider}/{deployment.upstream}"
        like = self._like(deployment)
        members: dict[str, Any] = {"provider": provider, "upstream_model": deployment.upstream}
        if like is not None and like.brand != provider:
            members["brand"] = like.brand
        members |= self._limits(deployment, like) | dict(deployment.prices)
        priced = bool(deployment.prices)
        comments = [f"{deployment.path} ({deployment.name})"]
        if not priced and like is not None and like.provider == place.family:
            priced = self._catalog_prices(members, like, deployment, comments)
        if slug in self._models:
            if self._models[slug][0] != members:
                self._report.leave(deployment.path, f"{self._models[slug][1].splitlines()[0][2:]} says it otherwise")
                return None
            return slug
        if not priced:
            self._leave_unpriced(slug, members, like, deployment)
            return None
        self._models[slug] = (members, table(named("models", slug), members, comments))
        return slug

    def _leave_unpriced(self, slug: str, members: dict[str, Any], like: Model | None, deployment: Deployment) -> None:
        self._report.leave(deployment.path, _NO_PRICE)
        comments = [f"{deployment.path} ({deployment.name}): {_FILL_IN}"]
        members |= {"input_usd_per_mtok": "", "output_usd_per_mtok": ""}
        if like is not None:
            own = (usd_per_million(like.prices.input_picousd), usd_per_million(like.prices.output_picousd))
            comments.append(f"At {like.provider} {like.slug} costs {own[0]} and {own[1]}.")
        text = table(named("models", slug), members, comments, commented=True)
        self._unpriced[slug] = f"{text}\n# and under [aliases]: {quoted(one_line(deployment.name))} = {quoted(slug)}"

    def _in_catalog(self, family: str, upstream: str) -> tuple[Resolved, str] | None:
        """The catalog's own model of a provider, and the name that leads to it."""
        if not family:
            return None
        for name in (f"{family}/{upstream}", upstream):
            found = self._known(name)
            if found is not None and self._catalog.models[found[0].slug].provider == family:
                bare = self._known(upstream)
                return found if bare is None or bare[0] != found[0] else bare
        return None

    def _like(self, deployment: Deployment) -> Model | None:
        """The catalog's model that this one is: at the same provider where there is one, else by its maker's name."""
        for name in (deployment.base_model, deployment.upstream):
            if name is None:
                continue
            bare = name.rpartition("/")[2]
            for found in (self._in_catalog(deployment.place.family, bare), self._known(name), self._known(bare)):
                if found is not None:
                    return self._catalog.models[found[0].slug]
        return None

    @staticmethod
    def _limits(deployment: Deployment, like: Model | None) -> dict[str, Any]:
        """What was said; of a provider's own model at another address also what the catalog knows."""
        said = dict(deployment.members)
        if like is None or like.provider != deployment.place.family:
            return said
        known: dict[str, Any] = {"context_window": like.context_window, "max_output_tokens": like.max_output_tokens}
        if like.capabilities_known:
            known["capabilities"] = sorted(like.capabilities)
        return known | said

    def _catalog_prices(
        self, members: dict[str, Any], like: Model, deployment: Deployment, comments: list[str]
    ) -> bool:
        lines = like.prices.lines()
        carried = {"input": "input", "output": "output", "cached_input": "cached_input", "cache_write": "cache_write"}
        if not like.prices.complete:
            return False
        members |= {
            f"{ours}_usd_per_mtok": usd_per_million(lines[line]) for line, ours in carried.items() if line in lines
        }
        comments.append(f"no price was said: that of {like.slug} in the catalog")
        for line in sorted(set(lines) - set(carried)):
            self._report.leave(deployment.path, f"the catalog's price line {line} of {like.slug} has no member here")
        return True
