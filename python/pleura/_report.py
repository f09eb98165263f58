"""A plan's report as a table in HTML, for notebooks."""

from __future__ import annotations

import html
from typing import Any


def size(count: float) -> str:
    """A number of bytes in the largest unit of which there is at least one."""
    units = ["B", "KiB", "MiB", "GiB"]
    for unit in units[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {units[-1]}"


def to_html(report: dict[str, Any]) -> str:
    """The report as two tables: parameters and sizes, and the layers."""
    p = report["parameters"]
    facts = [
        ("ring", f"{p['ring']}, n = 2<sup>{p['log_n']}</sup>, {p['slots']} slots"),
        ("modulus", f"{p['log2_qp']:.0f} of {p['max_log2_qp']:.0f} bits for {p['security']}-bit security"),
        ("levels", f"{p['levels']}, scale 2<sup>{p['scale_bits']}</sup>"),
        ("item", f"{size(report['input_bytes'])} up, {size(report['output_bytes'])} down"),
        ("keys", f"{size(report['key_wire_bytes'])} sent once, {report['rotation_keys']} rotations"),
        ("precision", f"{report['predicted_bits']:.1f} bits of the results, predicted"),
        ("peak memory", f"{size(report['predicted_peak_bytes'])}, predicted"),
        ("inference", f"{report['predicted_seconds']:.3g} s, predicted on a {report['planned_for'].upper()}"),
    ]
    rows = "".join(f"<tr><th style='text-align:left'>{name}</th><td>{text}</td></tr>" for name, text in facts)
    heads = ["layer", "kind", "layout", "level", "rotations", "diagonals", "weights", "bits", "ms"]
    head = "".join(f"<th>{name}</th>" for name in heads)
    layers = []
    for layer in report["layers"]:
        cells = [
            html.escape(layer["name"]),
            html.escape(layer["kind"]),
            html.escape(layer["layout"]),
            layer["level"],
            layer["rotations"],
            layer["diagonals"],
            size(layer["bytes"]),
            f"{layer['predicted_bits']:.1f}",
            f"{1000 * layer['predicted_seconds']:.1f}",
        ]
        layers.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    title = html.escape(report["network"])
    return (
        f"<div><strong>Encrypted plan of {title}</strong><table>{rows}</table>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(layers)}</tbody></table></div>"
    )
