"""The tables of kinds in docs/adapters.md: `python -m loradex.library.kinds_page docs/adapters.md` writes them."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from loradex.library.adapter_extras import EXTRAS
from loradex.library.adapter_forms import FORMS
from loradex.library.adapter_keys import EXACT
from loradex.library.adapter_refused import REFUSED

PART = r"(<!-- {0} -->\n).*?(<!-- end of {0} -->)"


def parts() -> Mapping[str, str]:
    """The generated parts of the page, by name."""
    return {"kinds": _kinds(), "keys": _keys(), "refused kinds": _refused()}


def written(page: str) -> str:
    """The page with its generated parts as they are now."""
    for name, text in parts().items():
        found = re.search(PART.format(name), page, flags=re.DOTALL)
        if found is None:
            raise ValueError(f"the page has no part between <!-- {name} --> and <!-- end of {name} -->")
        page = page[: found.start()] + found[1] + text + found[2] + page[found.end() :]
    return page


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *others = (f"| {' | '.join(line)} |\n" for line in (head, *rows))
    return first + "|---" * len(head) + "|\n" + "".join(others)


def _kinds() -> str:
    rows: list[tuple[str, str, str]] = []
    for form in FORMS.values():
        rows.append((f"`{form.kind}`", _merges(form.merges), form.about))
        rows += [
            (
                f"`{form.kind}` with {extra.called}",
                _merges(("cat",) if extra.cat_only else form.merges),
                extra.about,
            )
            for extra in EXTRAS.values()
            if extra.called and form.kind in extra.forms
        ]
    rows.append(
        ("`LORA` with `alora_invocation_tokens`", "`cat`", "counts from these tokens of a prompt on (aLoRA)")
    )
    return _table(("kind", "is mixed by", "what it is"), rows)


def _merges(merges: tuple[str, ...] | None) -> str:
    return "every merge" if merges is None else ", ".join(f"`{merge}`" for merge in merges)


def _keys() -> str:
    rows = [
        (f"`{key}`", ", ".join(f"`{json.dumps(value)}`" for value in held.values), held.otherwise, held.cure)
        for key, held in sorted(EXACT.items())
    ]
    return _table(("key", "may be", "otherwise", "what to do"), rows)


def _refused() -> str:
    reasons: dict[str, list[str]] = {}
    for kind, reason in REFUSED.items():
        reasons.setdefault(reason, []).append(f"`{kind}`")
    return _table(
        ("`peft_type`", "why it is refused"),
        [(", ".join(sorted(kinds)), why) for why, kinds in reasons.items()],
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
