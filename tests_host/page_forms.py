"""The forms of a page, with the values that a browser would send."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

Attributes = dict[str, str | None]
BOXES = ("checkbox", "radio")
BUTTONS = ("submit", "image")
SILENT = ("button", "reset", "file")


@dataclass
class Control:
    """A field or a button; `on`: the browser sends it."""

    name: str
    kind: str
    value: str
    on: bool = True


@dataclass
class Form:
    """A form as the page shows it."""

    action: str
    method: str
    controls: list[Control] = field(default_factory=list)

    def filled(self, press: str = "", **changes: str | bool | None) -> dict[str, str]:
        """Return what a browser sends if somebody changes these fields and presses a button.

        True and False check and clear a box. None leaves the whole field out, which no browser
        does.
        """
        sent: dict[str, str] = {}
        for each in self.controls:
            changed = changes.get(each.name, each.value)
            on, value = each.on, each.value
            if changed is None:
                on = False
            elif each.kind == "checkbox":
                on = changed if isinstance(changed, bool) else on
            elif each.kind == "radio":
                on = changed == each.value if each.name in changes else on
            elif each.kind in BUTTONS:
                on = each.name == press and changed == each.value
            elif isinstance(changed, str):
                value = changed
            if on:
                sent[each.name] = value
        for name, value in changes.items():  # a choice that the page does not offer
            if isinstance(value, str):
                sent[name] = value
        assert not press or press in sent, f"the form {self.action} has no button {press}"
        return sent


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._by_id: dict[str, Form] = {}
        self._elsewhere: list[tuple[str, Control]] = []
        self._form: Form | None = None
        self._select: tuple[Attributes, list[tuple[str, bool]]] | None = None
        self._text: list[str] | None = None
        self._attributes: Attributes = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._form = Form(given.get("action") or "", given.get("method") or "get")
            self.forms.append(self._form)
            self._by_id[given.get("id") or ""] = self._form
        elif tag in ("input", "button"):
            kind = given.get("type") or ("text" if tag == "input" else "submit")
            value = given.get("value") or ("on" if kind in BOXES and "value" not in given else "")
            self._add(given, kind, value, kind not in BOXES or "checked" in given)
        elif tag == "select":
            self._select = given, []
        elif tag in ("option", "textarea"):
            self._attributes, self._text = given, []

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        text, given = "".join(self._text or ()), self._attributes
        if tag == "form":
            self._form = None
        elif tag == "textarea":
            self._add(given, tag, text.removeprefix("\n"))
        elif tag == "option" and self._select:
            value = given["value"] or "" if "value" in given else " ".join(text.split())
            self._select[1].append((value, "selected" in given))
        elif tag == "select" and self._select:
            found, options = self._select
            chosen = [value for value, selected in options if selected]
            if options:
                self._add(found, tag, (chosen or [options[0][0]])[-1])
            self._select = None
        if tag in ("option", "textarea"):
            self._text = None

    def _add(self, given: Attributes, kind: str, value: str, on: bool = True) -> None:
        name = given.get("name")
        if not name or "disabled" in given or kind in SILENT:
            return
        control = Control(name, kind, value, on)
        if owner := given.get("form"):
            self._elsewhere.append((owner, control))
        elif self._form:
            self._form.controls.append(control)

    def close(self) -> None:
        super().close()
        for owner, control in self._elsewhere:
            self._by_id[owner].controls.append(control)


def forms(page: str) -> list[Form]:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.forms


def form(page: str, action: str, *names: str) -> Form:
    """Return the page's only form with this action and these fields."""
    there = forms(page)
    alike = [each for each in there if each.action == action]
    assert alike, f"no form {action} among {[each.action for each in there]}"
    found = [each for each in alike if {*names} <= {field.name for field in each.controls}]
    assert len(found) == 1, f"{len(found)} of {len(alike)} forms {action} have the fields {names}"
    return found[0]
