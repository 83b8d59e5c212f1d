"""How much the filter may remove, by which rules, of which tags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from ram_model.vocabulary import KINDS
from ram_ray.config import require

Rule = Literal["improbable", "region_contradiction", "cluster_outlier", "caption_mismatch"]
RULES: tuple[Rule, ...] = get_args(Rule)
Policy = Literal["judge", "keep"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """How much may be removed, by which rules, of which tags."""

    rules: tuple[Rule, ...] = RULES
    """Evidence to use; one alone is that rule as an arm of its own."""
    min_precision: float = 0.5
    """Least share of wrong tags among the removed, 0..1, promised with its 95 % bound."""
    max_over_removal: float = 0.07
    """Greatest share of right tags that are removed, 0..1, promised with its 95 % bound."""
    policy: Mapping[str, Policy] = field(default_factory=lambda: dict.fromkeys(KINDS, "judge"))
    """Per kind, for tags that nothing localises: `judge` by the other evidence, or `keep`."""
    penalty: float = 1.0
    """L2 penalty of the regression, on standardised evidence."""

    def __post_init__(self) -> None:
        require(bool(self.rules), "rules", self.rules, "at least one rule")
        unknown = sorted(set(self.rules) - set(RULES))
        require(not unknown, "rules", unknown, f"of {', '.join(RULES)}")
        for name in ("min_precision", "max_over_removal"):
            value = getattr(self, name)
            require(0 < value < 1, name, value, "between 0 and 1")
        for kind, policy in self.policy.items():
            require(kind in KINDS, "policy", kind, f"of the kinds {', '.join(KINDS)}")
            require(policy in POLICIES, f"policy.{kind}", policy, " or ".join(POLICIES))
        require(self.penalty > 0, "penalty", self.penalty, "above 0")
