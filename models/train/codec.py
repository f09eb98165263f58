"""The VQGAN codec (Esser, Rombach, Ommer 2021, arXiv 2012.09841): 256x256 grey <-> a small latent image.

    python codec.py train --factor 8
    python codec.py export --factor 8
    python codec.py measure --factor 8

`train` resumes from its last checkpoint. The encoder is made for a client: nothing runs above a quarter of the
image's resolution. A quarter of each batch passes through the codebook and the rest does not, so that one decoder serves
the continuous latent (which is encrypted) and the quantized one (which is stored).
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

import data
from lpips import Lpips

MODELS = Path(__file__).resolve().parent.parent
CODES = 1024
# factor: latent channels, then (width, residual blocks) at a quarter, an eighth, a sixteenth of the resolution.
SHAPES = {4: (3, [(64, 2)]), 8: (4, [(64, 1), (128, 2)]), 16: (8, [(64, 1), (128, 1), (128, 2)])}
DECODER_EXTRA = 1
CROP = 128


class Block(nn.Module):
    """x + conv(relu(conv(relu(x)))); it starts as the identity."""

    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x):
        return x + self.second(F.relu(self.first(F.relu(x))))


def encoder(factor):
    channels, levels = SHAPES[factor]
    layers = [nn.PixelUnshuffle(4), nn.Conv2d(16, levels[0][0], 3, padding=1)]
    for k, (width, blocks) in enumerate(levels):
        if k:
            layers.append(nn.Conv2d(levels[k - 1][0], width, 2, stride=2))
        layers += [Block(width) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.Conv2d(levels[-1][0], channels, 3, padding=1))


def decoder(factor):
    channels, levels = SHAPES[factor]
    levels = levels[::-1]
    layers = [nn.Conv2d(channels, levels[0][0], 3, padding=1)]
    for k, (width, blocks) in enumerate(levels):
        if k:
            layers += [nn.Conv2d(levels[k - 1][0], 4 * width, 1), nn.PixelShuffle(2)]
        layers += [Block(width) for _ in range(blocks + DECODER_EXTRA)]
    layers += [nn.Conv2d(levels[-1][0], 64, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 4, 3, padding=1), nn.PixelShuffle(2))


class Codebook(nn.Module):
    """The nearest of 1,024 codes, which follow the latents by moving averages; a code that nobody uses is put
    where a latent is."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("codes", torch.randn(CODES, channels))
        self.register_buffer("uses", torch.ones(CODES))
        self.register_buffer("sums", self.codes.clone())

    def indices(self, z):
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        distance = self.codes.square().sum(1) - 2 * flat @ self.codes.T
        return flat, distance.argmin(1)

    def forward(self, z):
        flat, index = self.indices(z)
        return self.codes[index].view(z.shape[0], *z.shape[2:], -1).permute(0, 3, 1, 2)

    @torch.no_grad()
    def follow(self, z, decay=0.99):
        flat, index = self.indices(z)
        uses = torch.bincount(index, minlength=CODES).float()
        sums = torch.zeros_like(self.sums).index_add_(0, index, flat)
        self.uses.mul_(decay).add_(uses, alpha=1 - decay)
        self.sums.mul_(decay).add_(sums, alpha=1 - decay)
        dead = self.uses < 0.05 * self.uses.mean()
        if dead.any():
            pick = torch.randint(len(flat), (int(dead.sum()),))
            self.sums[dead] = flat[pick]
            self.uses[dead] = 1.0
        self.codes.copy_(self.sums / self.uses[:, None])


class Codec(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor
        self.encoder, self.decoder, self.codebook = encoder(factor), decoder(factor), Codebook(SHAPES[factor][0])


def discriminator():
    """Judges patches of 34 pixels (Isola et al. 2017, arXiv 1611.07004), with spectral norms for stability."""
    norm = nn.utils.parametrizations.spectral_norm
    widths, layers = [1, 32, 64, 128], []
    for a, b in zip(widths, widths[1:]):
        layers += [norm(nn.Conv2d(a, b, 4, stride=2, padding=1)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, norm(nn.Conv2d(widths[-1], 1, 3, padding=1)))


def train(args):
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    everything = data.load("train")
    apart = data.held_out(everything.group)
    pixels, chosen_on = everything.pixels[~apart], to_tensor(everything.pixels[apart][::8])

    codec = Codec(args.factor).to(device, memory_format=torch.channels_last)
    judge = discriminator().to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(codec).requires_grad_(False)
    perceptual = Lpips().to(device, memory_format=torch.channels_last)
    weights = [*codec.encoder.parameters(), *codec.decoder.parameters()]
    adam = torch.optim.Adam(weights, lr=args.rate, betas=(0.9, 0.99))
    judge_adam = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.9))
    parts = {"codec": codec, "judge": judge, "average": average, "adam": adam, "judge_adam": judge_adam}

    folder = data.work_folder(f"f{args.factor}")
    start = resume(folder / "last.pt", parts)
    rng = np.random.default_rng([args.seed, start])
    adversarial_from = int(0.7 * args.steps)
    saved = time.monotonic()
    for step in (bar := tqdm(range(start, args.steps), initial=start, total=args.steps)):
        set_rate(adam, args.rate, step, args.steps)
        x = crops(pixels, args.batch, rng).to(device, memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            z = codec.encoder(x)
        z = z.float()
        codec.codebook.follow(z.detach())
        part = args.batch // 4
        codes = codec.codebook(z[:part])
        given = torch.cat([z[:part] + (codes - z[:part]).detach(), z[part:]])
        with torch.autocast(device, torch.bfloat16):
            y = codec.decoder(given)
        y = y.float()
        error = y - x
        exact = error.abs().mean() + args.square * error.square().mean()
        commitment = (z[:part] - codes.detach()).square().mean()
        at_y, at_x = np.unravel_index(rng.integers((CROP - 64) ** 2), (CROP - 64,) * 2)
        pick = slice(part - args.judged // 2, part + args.judged // 2)
        with torch.autocast(device, torch.bfloat16):
            seen = perceptual(*(t[pick, :, at_y : at_y + 64, at_x : at_x + 64] for t in (y, x))).mean()
        loss = exact + args.perceptual * seen + args.commitment * commitment
        if step >= adversarial_from:
            fooled = -judge(y).mean()
            if step % 16 == 0 or step == max(start, adversarial_from):
                last = codec.decoder[-2].weight
                balance = (norm_of(exact, last) / (norm_of(fooled, last) + 1e-6)).clamp(max=1e3)
            loss = loss + args.adversarial * balance * fooled
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        adam.step()
        if step >= adversarial_from - args.steps // 20:
            hinge = F.relu(1 - judge(x)).mean() + F.relu(1 + judge(y.detach())).mean()
            judge_adam.zero_grad()
            hinge.backward()
            judge_adam.step()
        follow(average, codec, min(0.999, (step + 1) / (step + 10)))

        if step % 50 == 0:
            bar.set_postfix_str(f"l1 {error.abs().mean():.4f} lpips {seen:.3f} commit {commitment:.3f}")
        if step % 500 == 499 or step == args.steps - 1:
            note = {"step": step + 1, **quality(average, chosen_on.to(device))}
            tqdm.write(json.dumps(note))
            with open(folder / "log.jsonl", "a") as log:
                log.write(json.dumps(note) + "\n")
        if time.monotonic() - saved > 120 or step == args.steps - 1:
            save(folder / "last.pt", parts, step + 1)
            saved = time.monotonic()


def crops(pixels, count, rng):
    out = np.empty((count, 1, CROP, CROP), np.uint8)
    for k in range(count):
        y, x = rng.integers(0, 256 - CROP + 1, 2)
        view = pixels[rng.integers(len(pixels)), y : y + CROP, x : x + CROP]
        out[k, 0] = view[:, ::-1] if rng.random() < 0.5 else view
    return torch.from_numpy(out).float() / 127.5 - 1


def to_tensor(pixels):
    return torch.from_numpy(np.array(pixels))[:, None].float() / 127.5 - 1


def set_rate(adam, rate, step, steps):
    warm = min(1.0, (step + 1) / 200)
    for group in adam.param_groups:
        group["lr"] = rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def norm_of(loss, weight):
    return torch.autograd.grad(loss, weight, retain_graph=True)[0].norm()


@torch.no_grad()
def follow(average, network, decay):
    """Weights by moving averages; buffers keep averages of their own and are copied."""
    for a, b in zip(average.parameters(), network.parameters()):
        a.lerp_(b, 1 - decay)
    for a, b in zip(average.buffers(), network.buffers()):
        a.copy_(b)


@torch.no_grad()
def quality(codec, images):
    """PSNR in dB, each image's own averaged, as clients see it: 8-bit pixels."""
    out = {"continuous_psnr": [], "quantized_psnr": []}
    for x in images.split(16):
        z = codec.encoder(x)
        for name, latent in (("continuous_psnr", z), ("quantized_psnr", codec.codebook(z))):
            error = as_pixels(codec.decoder(latent)) - as_pixels(x)
            mse = error.square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
            out[name] += (10 * torch.log10(255**2 / mse)).tolist()
    return {k: round(float(np.mean(v)), 3) for k, v in out.items()}


def as_pixels(x):
    return ((x.float() + 1) * 127.5).round().clamp(0, 255)


def resume(path, parts):
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return state["step"]


def save(path, parts, step):
    part_file = path.with_suffix(".part")
    torch.save({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, part_file)
    part_file.replace(path)


@torch.no_grad()
def export(args):
    """Writes `models/codec/fN.safetensors`: weights in half precision, latents scaled to unit variance, the codebook,
    and what a typical chest X-ray's latent looks like."""
    codec, pixels = trained(args.factor), data.load("train")
    apart = data.held_out(pixels.group)
    # One factor for all channels: the nearest code stays the nearest.
    deviation = latents(codec, pixels.pixels[~apart][::8]).std()
    codec.encoder[-1].weight /= deviation
    codec.encoder[-1].bias /= deviation
    codec.decoder[0].weight *= deviation
    codec.codebook.codes /= deviation
    for tensor in codec.parameters():
        tensor.copy_(tensor.half().float())

    features = typical_features(latents(codec, pixels.pixels[~apart]))
    mean, covariance = features.mean(0), features.T.cov()
    spread, axes = torch.linalg.eigh(covariance + 0.02 * covariance.diagonal().mean() * torch.eye(len(covariance)))
    whitening = spread.rsqrt()[:, None] * axes.T
    score = lambda x: ((typical_features(x) - mean) @ whitening.T).square().mean(1).sqrt()
    limit = score(latents(codec, pixels.pixels[apart])).quantile(0.99)

    tensors = {k: v.half() for k, v in codec.state_dict().items() if not k.startswith("codebook")}
    tensors |= {"codebook": codec.codebook.codes, "typical.mean": mean, "typical.whitening": whitening}
    channels, levels = SHAPES[args.factor]
    metadata = {
        "format": "pleura codec 1",
        "name": f"f{args.factor}",
        "factor": args.factor,
        "channels": channels,
        "levels": levels,
        "decoder_extra": DECODER_EXTRA,
        "typical_limit": round(float(limit), 4),
    }
    metadata = {k: v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}
    out = MODELS / "codec" / f"f{args.factor}.safetensors"
    out.parent.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, out, metadata)
    out.chmod(0o644)
    if args.factor == 8:
        known_answers()
    print(out, f"{out.stat().st_size / 1e6:.2f} MB")


@torch.no_grad()
def known_answers():
    """Known answers of codec f8 for a picture that is defined by a formula, for the tests of the program."""
    codec, file = shipped(8), MODELS / "codec" / "f8.safetensors"
    y, x = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    picture = ((x * x + 3 * y * y + x * y) // 97 + 40 * ((x // 32 + y // 32) % 2)) % 256
    z = codec.encoder(picture[None, None].float() / 127.5 - 1)
    with safe_open(file, "pt") as opened:
        limit = float(opened.metadata()["typical_limit"])
        white = (typical_features(z) - opened.get_tensor("typical.mean")) @ opened.get_tensor("typical.whitening").T
    answers = {
        "latent": z[0],
        "decoded": codec.decoder(z)[0, 0],
        "codes": codec.codebook.indices(z)[1].int(),
        "ood_score": white.square().mean(1).sqrt() / limit,
    }
    out = MODELS / "codec" / "known_f8.safetensors"
    save_file({k: v.contiguous() for k, v in answers.items()}, out)
    out.chmod(0o644)


@torch.no_grad()
def measure(args):
    """The codec on `cxr256_val`: PSNR, SSIM and LPIPS of both paths, and how much of the codebook is in use."""
    codec, pixels, perceptual = shipped(args.factor), data.load("val").pixels, Lpips()
    uses, figures = torch.zeros(CODES), {}
    for x in tqdm(to_tensor(pixels).split(16), desc=f"f{args.factor}"):
        z = codec.encoder(x)
        uses += torch.bincount(codec.codebook.indices(z)[1], minlength=CODES)
        for name, latent in (("continuous", z), ("quantized", codec.codebook(z))):
            y = as_pixels(codec.decoder(latent)) / 127.5 - 1
            mse = (127.5 * (x - y)).square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
            found = figures.setdefault(name, {"psnr": [], "ssim": [], "lpips": []})
            found["psnr"] += (10 * torch.log10(255**2 / mse)).tolist()
            found["ssim"] += ssim(x, y).tolist()
            # As costly as everything else together: one image in sixteen is enough.
            found["lpips"] += perceptual(y[:1], x[:1]).tolist()
    share = uses[uses > 0] / uses.sum()
    report = {
        "factor": args.factor,
        **{name: {k: round(float(np.mean(v)), 4) for k, v in found.items()} for name, found in figures.items()},
        "perplexity": round(float((-share * share.log()).sum().exp()), 1),
        "codes_used": int((uses > 0).sum()),
    }
    (data.work_folder(f"f{args.factor}") / "measured.json").write_text(json.dumps(report))
    print(json.dumps(report))


def ssim(x, y):
    """Wang et al. 2004, for each image: an 11x11 Gaussian of deviation 1.5, where it fits."""
    t = torch.arange(-5.0, 6.0)
    line = torch.exp(-t.square() / 4.5)
    window = (line[:, None] * line)[None, None] / line.sum() ** 2
    blur = lambda image: F.conv2d(image, window)
    x, y = (x + 1) / 2, (y + 1) / 2
    mx, my = blur(x), blur(y)
    vx, vy, covariance = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    a, b = 0.01**2, 0.03**2
    similar = (2 * mx * my + a) * (2 * covariance + b) / ((mx * mx + my * my + a) * (vx + vy + b))
    return similar.mean(dim=(1, 2, 3))


def trained(factor):
    """The average of the weights, as the last checkpoint has it."""
    codec = Codec(factor)
    codec.load_state_dict(torch.load(data.work_folder(f"f{factor}") / "last.pt", map_location="cpu", weights_only=True)["average"])
    return codec.eval()


def shipped(factor):
    """The codec in `models/codec`."""
    codec = Codec(factor)
    tensors = load_file(MODELS / "codec" / f"f{factor}.safetensors")
    codec.codebook.codes.copy_(tensors.pop("codebook"))
    weights = {k: v.float() for k, v in tensors.items() if not k.startswith("typical")}
    missing, unexpected = codec.load_state_dict(weights, strict=False)
    assert not unexpected and all(name.startswith("codebook.") for name in missing), (missing, unexpected)
    return codec.eval()


@torch.no_grad()
def latents(codec, pixels):
    split = to_tensor(pixels).split(32)
    return torch.cat([codec.encoder(x) for x in tqdm(split, desc="latents", leave=False)])


def typical_features(z):
    """Mean, and logarithm of the deviation, of every channel in each field of a 4x4 grid."""
    mean = F.adaptive_avg_pool2d(z, 4)
    deviation = (F.adaptive_avg_pool2d(z * z, 4) - mean * mean).clamp(min=0).sqrt()
    return torch.cat([mean, (deviation + 0.02).log()], 1).flatten(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["train", "export", "measure"])
    parser.add_argument("--factor", type=int, choices=SHAPES, default=8)
    parser.add_argument("--steps", type=int, default=11000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--judged", type=int, default=4, help="images of a batch that LPIPS looks at")
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--square", type=float, default=10.0, help="weight of the squared error beside the absolute one")
    parser.add_argument("--perceptual", type=float, default=0.03)
    parser.add_argument("--adversarial", type=float, default=0.03)
    parser.add_argument("--commitment", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    {"train": train, "export": export, "measure": measure}[args.command](args)


if __name__ == "__main__":
    main()
