"""The engines that `bench_embed` runs the picture half on, beside ours: open_clip, onnxruntime and OpenVINO.

Each gets its pictures decoded in threads beside it; the last two by our own quick way, so that engines are compared.
"""

import importlib.util
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from book_search_tests.benchmarks.embed_timing import Figures, beside, keep, pictures_of, prepared_batches, timed_result

SMALL_BATCH = 16  # of those who work on two batches side by side


def allow_torchvision_without_operators() -> None:
    """Let torchvision be imported where its compiled operators do not fit a CPU's torch: its transforms need none.

    PyPI's torchvision is built for CUDA; without this it, and all that imports it, ends at an operator of detection.
    """
    import torch

    if importlib.util.find_spec("torchvision") and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)  # an operator lives as long as the library that defined it


_kept: list[Any] = []


def open_clip(precision: str) -> Callable[[Path, int], Figures]:
    """open_clip's own ViT-B/32, of random weights of its own, its own transform in threads."""

    def run(folder: Path, count: int) -> Figures:
        import open_clip as library
        import torch
        from PIL import Image

        model, _, transform = library.create_model_and_transforms("ViT-B-32-quickgelu", precision=precision)
        model.eval()
        dtype = next(model.parameters()).dtype

        def prepare(picture: bytes) -> Any:
            return transform(Image.open(io.BytesIO(picture)))

        @torch.inference_mode()
        def forward(prepared: list[Any]) -> np.ndarray:
            found = model.encode_image(torch.stack(prepared).to(dtype))
            return np.asarray(torch.nn.functional.normalize(found.float(), dim=-1))

        return beside(folder, count, None, prepare, forward)

    return run


def onnxruntime(precision: str) -> Callable[[Path, int], Figures]:
    """onnxruntime on the exported picture half; decoding as ours, in threads beside it."""

    def run(folder: Path, count: int) -> Figures:
        import onnxruntime as library

        exported = folder / "exported" / f"{precision}.onnx"
        _export(folder, exported.parent)
        session = library.InferenceSession(exported, providers=["CPUExecutionProvider"])
        prepare, _ = _prepared(folder)
        return beside(
            folder,
            count,
            f"onnxruntime-{precision}",
            prepare,
            lambda prepared: session.run(None, {"pixels": np.stack(prepared)})[0],
        )

    return run


def openvino(precision: str) -> Callable[[Path, int], Figures]:
    """OpenVINO on the same, in its throughput mode: batches of 16 side by side; decoding as ours, in threads."""

    def run(folder: Path, count: int) -> Figures:
        import openvino as library
        import torch

        prepare, half = _prepared(folder)
        example = torch.zeros(1, 3, 224, 224)
        model = library.convert_model(half, example_input=example, input=[-1, 3, 224, 224])
        hints = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, precision),
            "PERFORMANCE_HINT": "THROUGHPUT",
        }
        compiled = library.compile_model(model, "CPU", hints)
        lanes = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        requests = [compiled.create_infer_request() for _ in range(lanes)]

        def embed(pictures: list[bytes], threads: ThreadPoolExecutor) -> np.ndarray:
            rows: list[np.ndarray] = []
            running: list[Any] = []
            for position, batch in enumerate(prepared_batches(pictures, prepare, SMALL_BATCH, threads)):
                if len(running) == lanes:
                    running[0].wait()
                    rows.append(running.pop(0).get_output_tensor().data.copy())
                request = requests[position % lanes]
                request.start_async({0: np.stack(batch)})
                running.append(request)
            for request in running:
                request.wait()
                rows.append(request.get_output_tensor().data.copy())
            return np.concatenate(rows)

        pictures = pictures_of(folder, count)
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            embed(pictures[: SMALL_BATCH * lanes], threads)
            took, vectors = timed_result(lambda: embed(pictures, threads))
        keep(folder, f"openvino-{precision}", vectors)
        return took

    return run


def _prepared(folder: Path) -> tuple[Callable[[bytes], np.ndarray], Any]:
    """A picture to normalised float32 [3, 224, 224] by our quick way, and the model's picture half as a module."""
    import torch

    from book_search.clip.preprocessing import open_image
    from book_search.clip.quick_pixels import QuickPixels

    model, processor = load_transformers(folder)
    quick = QuickPixels.like(processor)
    assert quick
    table = (np.arange(256, dtype=np.float32)[:, None] / 255 - quick.mean.numpy()) / quick.std.numpy()

    def prepare(picture: bytes) -> np.ndarray:
        pixels = quick(open_image(picture)).transpose(2, 0, 1)
        return np.stack([table[channel, index] for index, channel in enumerate(pixels)])

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            found = self.model.get_image_features(pixel_values=pixels).pooler_output
            return torch.nn.functional.normalize(found, dim=-1)

    half: Any = Half()
    return prepare, half.eval()


def _export(folder: Path, into: Path) -> None:
    """The picture half as ONNX, in float32 and with weights and activations of 8 bit (dynamic quantisation)."""
    if (into / "int8.onnx").exists():
        return
    import torch
    from onnxruntime.quantization import quantize_dynamic

    into.mkdir(exist_ok=True)
    _, half = _prepared(folder)
    axes = {"pixels": {0: "batch"}, "vectors": {0: "batch"}}
    with torch.inference_mode():
        torch.onnx.export(
            half, (torch.zeros(2, 3, 224, 224),), into / "fp32.onnx", dynamo=False, input_names=["pixels"],
            output_names=["vectors"], dynamic_axes=axes,
        )  # fmt: skip
    quantize_dynamic(into / "fp32.onnx", into / "int8.onnx", op_types_to_quantize=["MatMul"])


def load_transformers(folder: Path) -> tuple[Any, Any]:
    import torch
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model = CLIPModel.from_pretrained(folder / "model", dtype=torch.float32).eval()
    return model, CLIPImageProcessorPil.from_pretrained(folder / "model")
