"""Trains the tiny CLIP of the sample: the real architecture, small, on drawn covers and captions of them.

    python -m book_search.sample.train --out DIR [--seed 0] [--steps 3000] [--pictures 30000]

Some 25 minutes on one core. It can be stopped and started again: the pictures and a checkpoint lie in DIR/.training
(delete it after a change to the drawings).

Plain contrastive training learns the colours and stops, since ten colours of the ground times nine of the thing
nearly name a cover. Five things make it learn shapes: throw-away heads that must name each attribute, alone at first;
filters and places that are heard from the start; captions that name a thing alone; a target in which every true pair
counts as one (many covers show a moon); and batches that share a few pairs of colours.
"""

import argparse
import logging
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate, log_softmax, normalize
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.utils.logging import disable_progress_bar

from book_search.sample.captions import caption, random_claim
from book_search.sample.tokenizer import build_tokenizer
from book_search.sample.training_data import VALUES, augmented, drawn, same_colours, true_pairs

logger = logging.getLogger(__name__)

Part = nn.Module | torch.optim.Optimizer

IMAGE_SIZE, PATCH, TEXT_LENGTH, PROJECTION = 64, 16, 48, 128
VISION_WIDTH, TEXT_WIDTH = 192, 128
BATCH = 256
WARMUP, SHAPES_ONLY = 150, 500  # steps: of a growing learning rate, of naming alone
LEARNING_RATE = 1e-3
KEPT_EVERY = 250  # steps
FILLED = 0.2  # share of captions wrapped in words without meaning


def build_model(tokenizer: CLIPTokenizer, seed: int) -> CLIPModel:
    """A CLIP of some 2.5 million parameters, with weights drawn from `seed`."""
    torch.manual_seed(seed)
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=TEXT_LENGTH, projection_dim=PROJECTION, **ids,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=VISION_WIDTH, intermediate_size=4 * VISION_WIDTH, num_hidden_layers=4, num_attention_heads=6,
        image_size=IMAGE_SIZE, patch_size=PATCH, projection_dim=PROJECTION,
    )  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION))
    # Twice as fast in training on a CPU: the backward pass of torch's fused attention takes half of the time.
    model.set_attn_implementation("eager")
    # CLIP's own start (0.02) leaves the place of a patch unheard beside what is on it, and shapes are never learned.
    embeddings = model.vision_model.embeddings
    nn.init.normal_(embeddings.position_embedding.weight, std=0.5)
    smooth = interpolate(torch.randn(VISION_WIDTH, 3, 4, 4), size=(PATCH, PATCH), mode="bilinear")
    edges = smooth[VISION_WIDTH // 4 :]  # most filters see where colours change, the others see colours
    edges -= edges.mean(dim=(2, 3), keepdim=True)
    embeddings.patch_embedding.weight.data.copy_(0.06 * smooth)
    return model


def pair_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """CLIP's symmetric loss where a text may be true of many pictures: the target is spread over all of them."""
    by_text = -(log_softmax(logits, dim=1) * true).sum(1) / true.sum(1)
    by_picture = -(log_softmax(logits, dim=0) * true).sum(0) / true.sum(0)
    return (by_text.mean() + by_picture.mean()) / 2


def train(out: Path, steps: int, pictures: int, seed: int) -> None:
    """Train, or carry on, and write model, tokenizer and image processor to `out`."""
    torch.set_num_threads(1)  # on shared cores faster than two, and the sums come out the same each time
    work = out / ".training"
    work.mkdir(parents=True, exist_ok=True)
    specs, attributes, pixels = drawn(work, pictures, seed, IMAGE_SIZE)
    tokenizer = build_tokenizer(TEXT_LENGTH, seed)
    model = build_model(tokenizer, seed)
    heads = nn.ModuleList(nn.Linear(VISION_WIDTH, len(values)) for values in VALUES.values())
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.02, betas=(0.9, 0.98))
    state: dict[str, Part] = {"model": model, "heads": heads, "optimizer": optimizer}
    first = _resume(work / "checkpoint.pt", state)
    started, seconds = time.monotonic(), time.process_time()
    for step in range(first, steps):
        rng = random.Random(f"{seed}/{step}")
        chosen = same_colours(attributes, BATCH, rng) if step % 2 else np.array(rng.sample(range(pictures), BATCH))
        answers = torch.from_numpy(attributes[chosen])
        images = torch.from_numpy(augmented(pixels[chosen], np.random.default_rng([seed, step])))
        with torch.autocast("cpu", torch.bfloat16):
            seen = model.vision_model(images).pooler_output
            named = [head(seen).float() for head in heads]
        naming = torch.stack([cross_entropy(guess, answers[:, place]) for place, guess in enumerate(named)]).mean()
        if step < SHAPES_ONLY:
            contrastive, loss = torch.zeros(()), naming
        else:
            claims = [random_claim(specs[index], rng) for index in chosen]
            logits = _logits(model, seen, tokenizer, [caption(claim, rng, fillers=FILLED) for claim in claims])
            contrastive = pair_loss(logits, torch.from_numpy(true_pairs(claims, attributes[chosen])).float())
            loss = contrastive + (1.0 - 0.8 * step / steps) * naming
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, steps)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % 50 == 0 or step == steps - 1:
            right = [(guess.argmax(1) == answers[:, place]).float().mean().item() for place, guess in enumerate(named)]
            shares = " ".join(f"{name} {share:.2f}" for name, share in zip(VALUES, right, strict=True))
            done = (step - first + 1) * BATCH
            rates = f"{done / (time.monotonic() - started):.0f}/s, {done / (time.process_time() - seconds):.0f}/cpu s"
            logger.info("step %d of %d: loss %.3f, named %s, %s", step, steps, contrastive.item(), shares, rates)
        if (step + 1) % KEPT_EVERY == 0:
            _keep(work / "checkpoint.pt", state, step + 1)
            save(model, tokenizer, out)
    save(model, tokenizer, out)


def save(model: CLIPModel, tokenizer: CLIPTokenizer, out: Path) -> None:
    """Write what `from_pretrained` reads: weights as float16 safetensors, both configurations, the tokenizer."""
    half = CLIPModel(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(out)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(out)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    processor.save_pretrained(out)


def _logits(model: CLIPModel, seen: torch.Tensor, tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Scaled cosines [captions, pictures]."""
    texts = tokenizer(captions, padding=True, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt")
    with torch.autocast("cpu", torch.bfloat16):
        image_vectors = model.visual_projection(seen)
        text_vectors = model.text_projection(model.text_model(**texts).pooler_output)
    return model.logit_scale.exp() * normalize(text_vectors.float()) @ normalize(image_vectors.float()).T


def _learning_rate(step: int, steps: int) -> float:
    """Up over `WARMUP` steps, then down a cosine to nothing."""
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    return LEARNING_RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP))) / 2)


def _keep(path: Path, state: dict[str, Part], step: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save({name: part.state_dict() for name, part in state.items()} | {"step": step}, partial)
    partial.replace(path)


def _resume(path: Path, state: dict[str, Part]) -> int:
    if not path.exists():
        return 0
    kept = torch.load(path, weights_only=True)
    for name, part in state.items():
        part.load_state_dict(kept[name])
    logger.info("carrying on at step %d", kept["step"])
    return int(kept["step"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the tiny CLIP of the sample on drawn covers.")
    parser.add_argument("--out", type=Path, required=True, help="the folder that from_pretrained will read")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pictures", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    disable_progress_bar()  # type: ignore[no-untyped-call]  # one for each checkpoint
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(given.out, given.steps, given.pictures, given.seed)
