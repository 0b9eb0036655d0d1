"""A bundle's graphs on one engine: the form is chosen, and each graph loaded when it is first asked for, once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.manifest import Manifest
from lsts_edge.errors import OpLibraryError, OptionError
from lsts_edge.runtime.engines.interface import Session
from lsts_edge.runtime.engines.open import open_backend
from lsts_edge.runtime.engines.options import EngineOptions

__all__ = ["Graphs", "with_other_forms"]


class Graphs:
    """The sessions of a bundle, from its verified bytes.

    Attributes:
        manifest: of the bundle.
        backend: the engine in use.
        lsts_form: the LSTS form in use; None where the model has no LSTS.
        joined: whether the joined graphs are to run.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions | None = None) -> None:
        """Open the engine; no graph is loaded yet.

        Args:
            bundle: an open bundle.
            options: the engine, and which graphs it runs; None takes ONNX Runtime on the CPU.
        Raises:
            OptionError: if the form or the joined graphs are not in the bundle.
            ProviderError: if the engine or provider is missing.
            OpLibraryError: if the form is ``custom`` and the op library is missing or does not fit.
        """
        options = options or EngineOptions()
        self.manifest = bundle.manifest
        if options.lsts_form == "auto":
            from lsts_edge.runtime.form_choice import choose_form  # nobody else waits for what it imports

            options = replace(options, lsts_form=choose_form(bundle, options).form)
        self.lsts_form = _choose_form(bundle.manifest, options.lsts_form)
        self.joined = bool(bundle.manifest.joined) if options.joined is None else options.joined
        if self.joined and not bundle.manifest.joined:
            raise OptionError("joined graphs", got="none in the bundle", expected="some", fix="Export with --joined.")
        try:
            self.backend = open_backend(options, custom_op=self.lsts_form == "custom")
        except OpLibraryError as error:
            raise with_other_forms(error, bundle.manifest.lsts_forms) from error
        self._bundle = bundle
        self._sessions: dict[str, Session] = {}

    def session(self, graph: str) -> Session:
        """The graph's session, loaded at the first call.

        Raises:
            ProviderError: if the engine refuses the graph.
            OpLibraryError: if it refuses the op library.
            DigestMismatch: if its file changed since the bundle was opened.
        """
        if graph not in self._sessions:
            model = self._bundle.model_for(self.backend.name, graph, self.lsts_form or "default")
            try:
                self._sessions[graph] = self.backend.load(model, graph)
            except OpLibraryError as error:
                raise with_other_forms(error, self.manifest.lsts_forms) from error
        return self._sessions[graph]


def with_other_forms(error: OpLibraryError, forms: Iterable[str]) -> OpLibraryError:
    """The same error, whose fix names the forms of the bundle that need no op library, or says that it has none."""
    others = [form for form in forms if form != "custom"]
    advice = "Or export the bundle with --lsts-form taps: this one holds the form custom only."
    if others:
        advice = f"Or use --lsts-form {' or '.join(others)}: this bundle holds {'them' if others[1:] else 'it'} too."
    return type(error)(error.problem, got=error.got, expected=error.expected, fix=f"{error.fix} {advice}")


def _choose_form(manifest: Manifest, asked: str | None) -> str | None:
    if manifest.lsts is None:
        if asked is None:
            return None
        raise OptionError("LSTS form", got=repr(asked), expected="none: a per-frame model", fix="Leave it out.")
    form = asked or manifest.lsts.default_form
    if form not in manifest.lsts.forms:
        expected = ", ".join(manifest.lsts.forms)
        raise OptionError("LSTS form", got=repr(form), expected=expected, fix="Choose one, or export the bundle again.")
    return form
