#!/usr/bin/env python3
"""Compares the rendering of pydicom's test files with pydicom's own and prints a table: alike, noted, refused, different, not here.

needs: pip install pydicom==3.0.2 pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg pillow numpy
       cargo build --release -p pleura-latent --example render
usage: run.py PATH/TO/render [--verbose]

pydicom's rendering: the first frame through modality and VOI look-up tables, inverted for MONOCHROME1, colours to luminance, brought
to 256x256 by Pillow's cubic filter. Two renderings are alike if they differ by less than 2 of 255 on average. Where the file leaves a
choice, such as a missing window, a note says what was taken, and the renderings may differ.

The files are those of the package and of pydicom's download folder (`pydicom.data.fetch_data_files()` fills it). Nothing is downloaded; files
that are in neither place are counted as "not here". README.md says why files are refused.
"""
import os, subprocess, sys, tempfile, warnings
from pathlib import Path
import numpy as np, pydicom
from PIL import Image
from pydicom.data.data_manager import DATA_ROOT
from pydicom.data.download import get_data_dir, get_url_map
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

RENDER, VERBOSE = sys.argv[1], "--verbose" in sys.argv
warnings.filterwarnings("ignore")


def test_files():
    """Paths of the files that are present, and the number of those that pydicom would download."""
    here = {path.name: path for folder in (Path(DATA_ROOT) / "test_files", get_data_dir()) for path in folder.rglob("*.dcm")}
    missing = [name for name in get_url_map() if name.endswith(".dcm") and name not in here]
    return sorted(map(str, here.values())), len(missing)


def reference(path):
    """pydicom's rendering, or None where it has none."""
    data = pydicom.dcmread(path, force=True)
    if "PixelData" not in data or "Rows" not in data:
        return None
    frames = int(data.get("NumberOfFrames", 1) or 1)
    pixels = pixel_array(data, index=0) if frames > 1 else pixel_array(data)
    photometric = data.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        pixels = pydicom.pixels.apply_color_lut(pixels, data)
    if pixels.ndim == 3:
        full = 2.0 ** (8 * pixels.dtype.itemsize) - 1
        grey = pixels[..., :3] @ np.array([0.299, 0.587, 0.114]) / full * 255
    else:
        values = apply_voi_lut(apply_modality_lut(pixels, data), data).astype(np.float64)
        low, high = values.min(), values.max()
        if "WindowWidth" in data or "VOILUTSequence" in data:
            stored = 2.0 ** data.BitsStored
            low, high = (0, stored - 1) if values.min() >= 0 else (-stored / 2, stored / 2 - 1)
            if "RescaleSlope" in data or "ModalityLUTSequence" in data:
                low, high = values.min(), values.max()
        grey = (values - low) / max(high - low, 1e-9) * 255
        if photometric == "MONOCHROME1":
            grey = 255 - grey
    image = Image.fromarray(grey.astype(np.float32), mode="F")
    return np.clip(np.asarray(image.resize((256, 256), Image.BICUBIC)), 0, 255)


def main():
    paths, missing = test_files()
    table, lines = {"not here": missing}, []
    for path in paths:
        name = os.path.basename(path)
        with tempfile.TemporaryDirectory() as folder:
            output = os.path.join(folder, "out.png")
            run = subprocess.run([RENDER, path, output], capture_output=True, text=True, timeout=120)
            if run.returncode == 2:
                verdict, detail = "refused", run.stderr.strip()
            elif run.returncode:
                verdict, detail = "failed", run.stderr.strip()[-200:]
            else:
                found = np.asarray(Image.open(output)).astype(np.float64)
                try:
                    expected = reference(path)
                except Exception as error:
                    expected, detail = None, f"pydicom: {error}"
                if expected is None:
                    verdict, detail = "no reference", run.stdout.strip()
                else:
                    difference = float(np.abs(found - expected).mean())
                    noted = bool(run.stdout.strip())
                    verdict = "alike" if difference < 2 else "noted" if noted else "different"
                    detail = f"{difference:.2f} of 255; {run.stdout.strip()!r}"
        table[verdict] = table.get(verdict, 0) + 1
        lines.append((verdict, name, detail))
    for verdict, name, detail in lines:
        if VERBOSE or verdict in ("different", "failed"):
            print(f"{verdict:12} {name}: {detail}")
    print(", ".join(f"{count} {verdict}" for verdict, count in sorted(table.items())))
    return 1 if table.get("different") or table.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
