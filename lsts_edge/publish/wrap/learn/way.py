"""The learnt way of running a detector: what was learnt, as a bundle to measure, and what it is held to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from lsts_edge.bundle import Bundle
from lsts_edge.bundle.draft import DraftBundle
from lsts_edge.bundle.manifest import PropagationInfo
from lsts_edge.progress import Progress, silent
from lsts_edge.publish.wrap.cache import Cache
from lsts_edge.publish.wrap.clips import CutClip
from lsts_edge.publish.wrap.learn.draft import learnt_draft
from lsts_edge.publish.wrap.learn.graphs import LearntGraphs, learnt_graphs
from lsts_edge.publish.wrap.learn.learn import Learnt, learn
from lsts_edge.publish.wrap.learn.options import LearnOptions
from lsts_edge.publish.wrap.learn.reference import LearntReference
from lsts_edge.publish.wrap.subject import Size, Subject
from lsts_edge.runtime.engines.interface import Backend
from lsts_edge.runtime.engines.options import EngineOptions
from lsts_edge.verify.compare import ParityReport, check_parity, comparable_forms, parity_interval, verify_bundle
from lsts_edge.verify.golden import GoldenRecorder

__all__ = ["LearntWay", "learnt_way"]


@dataclass(frozen=True)
class LearntWay:
    """Something that was learnt around a detector.

    Attributes:
        subject: the detector.
        learnt: the network in torch.
        made: its graphs.
        draft: a bundle that runs it alone.
        digest: of its graphs.
    """

    subject: Subject
    learnt: Learnt
    made: LearntGraphs
    draft: DraftBundle
    digest: str

    def bundle(
        self, smaller: Mapping[Size, bytes], *, name: str, licence: str, propagation: PropagationInfo
    ) -> DraftBundle:
        """A bundle with other ways beside it; see ``learnt_draft``."""
        return learnt_draft(self.subject, self.made, smaller, name=name, licence=licence, propagation=propagation)

    def check(
        self,
        bundle: Bundle,
        images: Sequence[npt.NDArray[Any]],
        engines: Sequence[EngineOptions],
        backend: Backend,
        recorder: GoldenRecorder | None = None,
    ) -> list[ParityReport]:
        """Compare a bundle with the file and with torch, frame by frame, on every engine.

        Args:
            bundle: of this way.
            images: at its size.
            engines: that run it.
            backend: runs the file.
            recorder: told of every frame once.

        Raises:
            CheckFailed: if they disagree.
        """
        interval = parity_interval(bundle.manifest, len(images))
        forms = comparable_forms(bundle.manifest.lsts_forms)
        reports = []
        for index, engine in enumerate(engines):
            told = recorder if index == 0 else None
            reference = LearntReference(self.subject, self.learnt, images, backend, max(2, interval), told)
            reports.append(verify_bundle(bundle, reference, engine, forms=forms))
            check_parity(reports[-1])
        return reports


def learnt_way(
    subject: Subject,
    clips: Sequence[CutClip],
    cache: Cache,
    backend: Backend,
    options: LearnOptions,
    *,
    progress: Progress = silent,
) -> LearntWay:
    """Learn, and write the graphs; see ``learn``."""
    learnt = learn(subject, clips, cache, backend, options, progress=progress)
    progress("writing what was learnt as graphs")
    made = learnt_graphs(learnt, options.form)
    total = hashlib.sha256()
    for name in sorted(made.files):
        total.update(name.encode() + b"\0" + made.files[name])
    return LearntWay(subject, learnt, made, learnt_draft(subject, made, {}), total.hexdigest())
