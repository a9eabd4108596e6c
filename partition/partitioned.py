"""A network that can be cut anywhere useful: what the device and the edge run.

Every method may run in any thread; each runs torch without gradients and on `threads` threads. Nothing here
knows of deadlines, topics or policies.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bus.errors import ConfigurationError, LocalProtocolError, RemoteProtocolError
from bus.tensors import Payload
from partition import backends, exits
from partition.arms import NO_CODEC, Arm, choose_codecs, list_arms
from partition.backends.base import Backend
from partition.backends.segments import Segments
from partition.backends.threads import choose_threads
from partition.bottleneck import BottleneckCodec, bound
from partition.bundle import decode, encode
from partition.codecs import CODECS
from partition.codecs.base import Codec
from partition.contexts import Row, front_row, make
from partition.graphs.example import of_shape
from partition.graphs.graph import Graph
from partition.loads import load_of, payload_bits, preprocessing_work
from partition.networks.identity import model_hash
from partition.networks.zoo import Exit, Network
from partition.offered import answering, cuts_of, offered
from partition.preprocessing import normalise
from partition.results import Answer, ExitRun, HeadResult, Kept, Logits, TailResult, answer_of, finite

Frame = npt.NDArray[np.uint8]
# A frame as it was sent, or the tensors that cross.
Decoded = npt.NDArray[Any] | tuple[Tensor, ...]
# What torch was last told in this thread, by whichever model.
_bound = threading.local()


@dataclass(frozen=True, slots=True)
class _Passed:
    """How far a head came: the place, what crosses there, the exit asked last; final if that one answers."""

    place: int
    crossing: tuple[Tensor, ...]
    last: tuple[int, Answer] | None = None
    sure: bool = False
    final: bool = False


class PartitionedModel:
    """Heads and tails of one network for every arm; all of them share the network's weights.

    Attributes:
        name: what a person called the network.
        hash: 16 hexadecimal digits over weights and graph.
        weights_label: "seeded:<seed>" or "file:<digits>".
        cuts: in order; 0 is the input, the last is the whole network on the device.
        arms: in the order of the rows of `contexts`; the last sends nothing.
        contexts: float64 (K, d), read-only; link bits are means over the built-in frames.
        schema: what the columns mean.
        input_size: (height, width) of a frame.
        codecs: of the arms, by name; bottlenecks among them.
        exit_count: how many exits `run_exits` offers, the network's own end included.
        device: the torch device it runs on.
    """

    def __init__(
        self,
        network: Network,
        codecs: tuple[Codec, ...],
        bottlenecks: tuple[BottleneckCodec, ...],
        threads: Sequence[int],
        device: torch.device,
        tried: Sequence[Backend] = (),
    ) -> None:
        self.name = network.name
        self.weights_label = network.weights_label
        self.input_size = network.input_shape[2:]
        self.device = device
        self._threads = min(threads)
        self._thread_counts = tuple(threads)
        self._thread_words = ""
        with self._torch():
            self._graph = Graph(network.module.cpu(), of_shape(network.input_shape))
            self._segments = Segments(self._graph.piece, tried)
            frontiers = self._graph.frontiers
            self._answer = answering(self._graph)
            self.hash = model_hash(network, self._graph)
            self._places = offered(self._graph, self._answer)
            self.cuts = cuts_of([frontiers[place] for place in self._places])
            trained = bound(bottlenecks, self.cuts, self.hash)
            self.codecs: Mapping[str, Codec] = {
                codec.name: codec for codec in (*codecs, *chain(*trained.values()))
            }
            self.arms = list_arms(len(self.cuts), codecs, trained)
            self._trained = _trained_exits(network, self.hash)
            self._stages = exits.stages(self._graph, network.exits or (), self._answer)
            self.exit_count = len(self._stages)
            bits = payload_bits(self._graph, self._places, self.arms, self.codecs, self.input_size)
        elements = self.cuts[0].elements
        self._preprocessing = preprocessing_work(elements)
        self._total = self._graph.work + self._preprocessing
        works = [frontiers[place].work for place in self._places]
        loads = [
            load_of(arm, self.cuts[arm.cut], self.codecs, works[arm.cut], elements, bits[arm.index])
            for arm in self.arms
        ]
        self.schema, self.contexts = make(loads, self._total, elements, [arm.label for arm in self.arms])
        network.module.to(device)

    @property
    def device_only(self) -> Arm:
        """The arm that sends nothing."""
        return self.arms[-1]

    def arm(self, label: str) -> Arm:
        """Return an arm by its label.

        Raises:
            ConfigurationError: if there is none.
        """
        for arm in self.arms:
            if arm.label == label:
                return arm
        labels = ", ".join(arm.label for arm in self.arms)
        raise ConfigurationError(f"{self.name} has no arm {label!r}: choose from {labels}")

    @property
    def places(self) -> tuple[int, ...]:
        """Index of each cut among all places of the graph, as `partition.graphs.survey` counts them."""
        return self._places

    def piece(self, start: int, stop: int) -> nn.Module:
        """Return the network from cut `start` to cut `stop`; it takes and gives tensors on `device`."""
        return self._graph.piece(self._places[start], self._places[stop])

    def run_head(
        self, frame: Frame, arm: Arm, *, early: bool = False, until: int | None = None
    ) -> HeadResult:
        """Run the device side of one frame: preprocess, head, encode.

        Args:
            frame: uint8 (height, width, 3) of `input_size`, RGB; leave it alone until the payload is sent.
            arm: one of `arms`.
            early: let a trained exit on the way answer, if it is sure; then nothing is encoded.
            until: number of the exit that answers at the latest, sure or not; only for the device-only arm.

        Raises:
            LocalProtocolError: frame of another shape or dtype, or an activation that is not finite.
        """
        self._check(frame)
        started = time.perf_counter()
        kept: Kept | Frame = frame
        if arm.codec == NO_CODEC or not self.codecs[arm.codec].encodes_frames:
            with self._torch():
                passed = self._pass_exits(frame, arm, until) if early else _Passed(0, self._input(frame))
                if passed.final or arm.codec == NO_CODEC:
                    return self._answered(passed, started)
                gave = self._segments.run(passed.place, self._places[arm.cut], *passed.crossing)
            kept = Kept(arm.cut, gave[: len(self.cuts[arm.cut].tensors)], passed.last)
        ran = time.perf_counter()
        head_ms = (ran - started) * 1e3
        codec = self.codecs[arm.codec]
        encoded = encode(codec, kept.crossing) if isinstance(kept, Kept) else codec.encode(frame)
        encode_ms = (time.perf_counter() - ran) * 1e3
        return HeadResult(encoded.payload, encoded.dtype, encoded.shape, head_ms, encode_ms, kept, None)

    def finish(self, kept: Kept | Frame) -> Answer:
        """Run the tail from what `run_head` kept: the local fallback, without loss."""
        started = time.perf_counter()
        with self._torch():
            logits = self._finish(*self._resumed(kept))
        return answer_of(logits, (time.perf_counter() - started) * 1e3)

    def finish_at(self, kept: Kept | Frame, exit_index: int) -> Answer:
        """Answer at an exit, sure or not, from what `run_head` kept; at once where it was asked on the way.

        Raises:
            LocalProtocolError: no such exit, or it lies before what was kept.
        """
        started = time.perf_counter()
        if isinstance(kept, Kept) and kept.passed is not None and kept.passed[0] == exit_index:
            return kept.passed[1]
        with self._torch():
            place, crossing = self._resumed(kept)
            if not 0 <= exit_index < self.exit_count - 1 or self._stages[exit_index].stop < place:
                raise LocalProtocolError(f"{self.name} cannot answer at exit {exit_index} from here")
            stage = self._stages[exit_index]
            found = _ask(stage, self._segments.run(place, stage.stop, *crossing)[0])
        return answer_of(found.logits, (time.perf_counter() - started) * 1e3)

    def run_tail(
        self, cut: int, codec: str, dtype: str, shape: tuple[int, ...], payload: Payload
    ) -> TailResult:
        """Run the edge side of one frame: decode, preprocess if it is the frame itself, tail.

        Raises:
            RemoteProtocolError: `foreign` for a cut and codec that are no arm of this model, `tensor` for
                bytes that are not what the cut needs, `not_finite` if they lead to NaN or infinity.
        """
        started = time.perf_counter()
        found = self.decode(cut, codec, dtype, shape, payload)
        decoded = time.perf_counter()
        logits = finite(self.run_decoded(cut, [found])[0])
        ended = time.perf_counter()
        return TailResult(logits, (decoded - started) * 1e3, (ended - decoded) * 1e3)

    def run_decoded(self, cut: int, frames: Sequence[Decoded], meet: int | None = None) -> Logits:
        """Run the tail on what `decode` gave for one frame, or for several at once; see `partition.batches`.

        Args:
            cut: of all of them.
            frames: at least one.
            meet: the cut from which on several run together, each alone before; `cut` itself when None.

        Returns:
            float32 (frames, classes).

        Raises:
            RemoteProtocolError: `tensor`, as `run_tail`; for several, of any of them.
        """
        with self._torch():
            each = [(normalise(found),) if isinstance(found, np.ndarray) else found for found in frames]
            each = [tuple(tensor.to(self.device) for tensor in crossing) for crossing in each]
            if len(each) > 1:
                if meet is not None and meet > cut:
                    each = [self._up_to(meet, cut, crossing) for crossing in each]
                    cut = meet
                each = [tuple(map(torch.cat, zip(*each, strict=True)))]
            logits = self._tail_of_received(cut, each[0])
        return logits.reshape(len(frames), -1)

    def run_exits(self, frame: Frame, exit_index: int) -> ExitRun:
        """Answer one frame on the device at an exit: a row for the warm start.

        Args:
            frame: as for `run_head`.
            exit_index: 0 to `exit_count` - 1; the last is the network's own end.

        Raises:
            LocalProtocolError: frame of another shape or dtype, exit that is not there.
        """
        self._check(frame)
        if not 0 <= exit_index < self.exit_count:
            raise LocalProtocolError(f"{self.name} has exits 0 to {self.exit_count - 1}, not {exit_index}")
        started = time.perf_counter()
        with self._torch():
            x = normalise(frame).to(self.device)
            logits: Logits = (
                exits.run(self._stages[: exit_index + 1], self._segments, x).flatten().float().cpu().numpy()
            )
        latency_ms = (time.perf_counter() - started) * 1e3
        return ExitRun(exit_index, self.exit_context(exit_index), latency_ms, answer_of(logits))

    def exit_context(self, exit_index: int) -> Row:
        """Return the context of a run to an exit, float64 (d,): zero outside the device's own columns."""
        work = self._stages[exit_index].work + self._preprocessing
        return self.schema.row(front_row(work, self._total))

    @property
    def backend_words(self) -> str:
        """What `choose_backends` came to, in half a sentence; empty if nothing was to be chosen."""
        return "; ".join(filter(None, (self._segments.words, self._thread_words)))

    def choose_backends(self, *, heads: bool = True) -> None:
        """Measure the backends that `build` was asked for and keep, piece by piece, the fastest.

        With what was kept, the numbers of threads are measured on the whole network, if `build` was given
        several. Takes some seconds; call it before frames come, an edge worker for the tails only. Results
        then equal those of eager up to rounding (`partition.backends.base.ROUNDING`).

        Args:
            heads: whether heads and the ways between exits are wanted as well as tails.
        """
        end = self._places[-1]
        pairs = [(place, end) for place in self._places]
        if heads:
            pairs += [(0, place) for place in self._places]
            pairs += [(stage.start, stage.stop) for stage in self._stages]
        draw = np.random.default_rng(0)
        frames = draw.integers(0, 256, size=(2, *self.input_size, 3), dtype=np.uint8)
        with self._torch():
            inputs = [self._input(frame) for frame in frames]
            self._segments.choose(pairs, end, inputs)
            if len(self._thread_counts) > 1:
                found = choose_threads(lambda: self._segments.run(0, end, *inputs[0]), self._thread_counts)
                torch.set_num_threads(self._threads)
                self._threads, self._thread_words = found.threads, found.words

    def warm_up(self, *, tails: bool = True) -> None:
        """Run every arm once, so that the first frames cost what later ones do; an edge needs the tails.

        Raises:
            ConfigurationError: the answer to a black frame is not finite, or an arm gives none.
        """
        frame = np.zeros((*self.input_size, 3), dtype=np.uint8)
        whole = self.run_head(frame, self.device_only).logits
        if not np.isfinite(whole).all():  # type: ignore[arg-type] # that arm always has logits
            raise ConfigurationError(
                f"{self.name} answers a black frame with numbers that are not finite, which no edge worker "
                "sends: mend its weights, or write a large negative number where it writes minus infinity"
            )
        for arm in self.arms:
            try:
                result = self.run_head(frame, arm)
                if tails and result.payload is not None:
                    self.run_tail(arm.cut, arm.codec, result.dtype, result.shape, result.payload)
            except (LocalProtocolError, RemoteProtocolError) as error:
                raise ConfigurationError(
                    f"arm {arm.label} of {self.name} gives no answer to a black frame ({error}): leave "
                    f"codec {arm.codec} out"
                ) from error

    @property
    def answer_elements(self) -> int:
        """How many numbers the answer has."""
        return dict(self._graph.returned)[self._answer].elements

    def answer_index(self, start: int) -> int:
        """Return which of the tensors that the piece from cut `start` to the end gives is the answer."""
        return self._graph.made(self._places[start], self._places[-1]).index(self._answer)

    @property
    def trained_exits(self) -> tuple[tuple[int, bool, float], ...]:
        """The exits of a file, which may answer: the first cut at or behind one, if ever sure, how often."""
        return tuple(
            (bisect_left(self._places, stage.stop), stage.threshold <= 1.0, each.answered)
            for each, stage in zip(self._trained, self._stages, strict=False)
        )

    def _pass_exits(self, frame: Frame, arm: Arm, until: int | None) -> _Passed:
        """Run to the first exit that answers, or past all that an arm meets; NaN is never sure."""
        passed = _Passed(0, self._input(frame))
        for index in self._early(arm, until):
            stage = self._stages[index]
            crossing = self._segments.run(passed.place, stage.stop, *passed.crossing)
            answer = _ask(stage, crossing[0])
            sure = answer.confidence >= stage.threshold
            passed = _Passed(stage.stop, crossing, (index, answer), sure=sure, final=sure or index == until)
            if passed.final:
                break
        return passed

    def _answered(self, passed: _Passed, started: float) -> HeadResult:
        """Return the answer of the exit that gave one, else of the network's own end."""
        if passed.final:
            assert passed.last is not None
            index, answer = passed.last
            head_ms = (time.perf_counter() - started) * 1e3
            # Nothing waits for anybody, so nothing is kept to finish from.
            shape = answer.logits.shape
            return HeadResult(
                None, "float32", shape, head_ms, 0.0, None, answer, index, forced=not passed.sure
            )
        logits = self._finish(passed.place, passed.crossing)
        head_ms = (time.perf_counter() - started) * 1e3
        return HeadResult(None, "float32", logits.shape, head_ms, 0.0, None, answer_of(logits))

    def _input(self, frame: Frame) -> tuple[Tensor, ...]:
        return (normalise(frame).to(self.device),)

    def _early(self, arm: Arm, until: int | None) -> list[int]:
        """Return the exits that may answer on the way to an arm's cut, or to the exit that will."""
        last = self._places[arm.cut]
        able = [i for i, stage in enumerate(self._stages) if stage.threshold <= 1.0 and stage.stop <= last]
        return able if until is None else [*(i for i in able if i < until), until]

    def _resumed(self, kept: Kept | Frame) -> tuple[int, tuple[Tensor, ...]]:
        """Return the place that a head came to, and what crosses there; a frame is the input itself."""
        if isinstance(kept, Kept):
            return self._places[kept.cut], kept.crossing
        return 0, self._input(kept)

    def _up_to(self, stop: int, cut: int, crossing: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Run from one cut to a later one."""
        gave = self._segments.run(self._places[cut], self._places[stop], *crossing)
        return gave[: len(self.cuts[stop].tensors)]

    def _tail_of_received(self, cut: int, crossing: tuple[Tensor, ...]) -> Logits:
        """Run a tail on what a peer sent: its indices may point anywhere, and torch says so in many ways."""
        if all(tensor.is_floating_point() for tensor in crossing):
            return self._finish(self._places[cut], crossing)
        try:
            return self._finish(self._places[cut], crossing)
        except (IndexError, RuntimeError) as error:
            sentence = str(error).splitlines()[0][:160]
            raise RemoteProtocolError("tensor", f"the tail cannot work on what crossed: {sentence}") from None

    def _finish(self, place: int, crossing: tuple[Tensor, ...]) -> Logits:
        """Run from a frontier of the graph to the end, and return the answer."""
        last = self._places[-1]
        outputs = self._segments.run(place, last, *crossing)
        made = self._graph.made(place, last)
        logits: Logits = outputs[made.index(self._answer)].flatten().float().cpu().numpy()
        return logits

    def _check(self, frame: Frame) -> None:
        if frame.shape != (*self.input_size, 3) or frame.dtype != np.uint8:
            raise LocalProtocolError(
                f"a frame is uint8 {(*self.input_size, 3)}, not {frame.dtype} {frame.shape}"
            )

    def decode(self, cut: int, codec: str, dtype: str, shape: tuple[int, ...], payload: Payload) -> Decoded:
        """Return the frame, or what crosses.

        Raises:
            RemoteProtocolError: as `run_tail`, but for what the tail makes of it.
        """
        if not any(arm.cut == cut and arm.codec == codec and codec != NO_CODEC for arm in self.arms):
            raise RemoteProtocolError("foreign", f"{self.name} has no cut {cut} with codec {codec[:32]!r}")
        decoder = self.codecs[codec]
        expected = (*self.input_size, 3) if decoder.encodes_frames else self.cuts[cut].shape
        if shape != expected:
            raise RemoteProtocolError("tensor", f"shape {shape[:8]} where {expected} crosses")
        if decoder.encodes_frames:
            return decoder.decode(payload, dtype, shape)
        return decode(decoder, payload, dtype, self.cuts[cut].tensors)

    @contextmanager
    def _torch(self) -> Iterator[None]:
        """Run torch here: without gradients, and with this model's number of threads."""
        # OpenMP keeps the number of threads per calling thread, so saying it once at the start is not enough;
        # and another model may have said another one in this thread.
        if getattr(_bound, "threads", None) != self._threads:
            torch.set_num_threads(self._threads)
            _bound.threads = self._threads
        with torch.inference_mode():
            yield


def build(
    network: Network,
    *,
    codecs: Sequence[str] | None = None,
    bottlenecks: Sequence[BottleneckCodec] = (),
    threads: int | Sequence[int] = 1,
    device: str = "cpu",
    backend: str = "eager",
) -> PartitionedModel:
    """Return the network ready to be cut.

    Args:
        network: of `partition.networks.zoo.load_model`; it is moved to `device`, its weights are not copied.
        codecs: names, as `partition.codecs.resolve` takes; None is `CODECS`. Devices and edge must be
            given the same, or their schemas differ.
        bottlenecks: of `partition.bottleneck.load`, each an arm at its own cut; the same for both sides too.
            Those trained for another network are left out.
        threads: torch's threads, for each thread that calls; of several numbers `choose_backends` keeps the
            best, and the least holds until then. A GPU takes the least.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
        backend: what `choose_backends` may choose from: "eager", "auto", or names in
            `partition.backends.NAMES`, comma separated.

    Raises:
        ConfigurationError: network that cannot be cut, unknown codec, threads < 1, no such device, no such
            backend or one that cannot run here.
    """
    counts = (threads,) if isinstance(threads, int) else tuple(threads)
    if min(counts) < 1:
        raise ConfigurationError(f"threads must be at least 1, not {min(counts)}")
    chosen = choose_codecs(CODECS, codecs)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in {"cpu", "cuda"} or (device == "cuda" and not torch.cuda.is_available()):
        raise ConfigurationError(f"torch has no device {device!r} here: choose cpu or auto")
    if device == "cuda":
        counts = (min(counts),)
    tried = backends.make(backend, threads=min(counts), device=device)
    return PartitionedModel(network, chosen, tuple(bottlenecks), counts, torch.device(device), tried)


def _ask(stage: exits.Stage, x: Tensor) -> Answer:
    """Return an exit's answer, sure or not."""
    assert stage.head is not None
    return answer_of(stage.head(x).cpu().numpy()[0])


def _trained_exits(network: Network, model: str) -> Sequence[Exit]:
    """Return the exits that may answer: those of a file, if it was made for this model."""
    if network.exits_of is None:
        return ()
    if network.exits_of != model:
        raise ConfigurationError(
            f"the exits were trained for model {network.exits_of}, and this is {model}: give the weights "
            "they were trained with, or train others"
        )
    return network.exits or ()
