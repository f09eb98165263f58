"""Table and plot of what `throughput` measured: `python benches/throughput.py throughput.csv benches/throughput.svg`.

The table goes to standard output, in markdown: for each network and batch size the fastest layout. The plot has a panel for each network, and a line for each
layout and ring.
"""

import csv
import math
import sys
from collections import defaultdict

COLORS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777", "#994455"]
WIDTH, HEIGHT, MARGIN = 460, 330, 50


def rows(path):
    with open(path, newline="") as file:
        measured = [
            {k: v if k in ("network", "device", "ring", "layout") else float(v) for k, v in row.items()}
            for row in csv.DictReader(file)
        ]
    for row in measured:
        # Encryption and decryption included.
        row["speed"] = row["end_to_end_per_s"]
    return measured


def table(measured):
    print("| network, batch | fastest layout | ring | images/s | KB in | KB out | bits |")
    print("|---|---|---|---:|---:|---:|---:|")
    groups = defaultdict(list)
    for row in measured:
        groups[row["device"], row["network"], row["batch"]].append(row)
    for (_, network, batch), found in groups.items():
        best = max(found, key=lambda row: row["speed"])
        print(
            f"| {network}, {batch:.0f} | {best['layout']} | {best['ring']} "
            f"| {best['speed']:,.1f} | {best['bytes_in'] / 1e3:,.1f} | {best['bytes_out'] / 1e3:,.1f} | {best['bits']:.1f} |"
        )


def panel(name, measured, left, top):
    """The SVG of one network."""
    batches = [row["batch"] for row in measured]
    speeds = [row["speed"] for row in measured]
    low = math.floor(math.log10(min(speeds)))
    high = max(math.ceil(math.log10(max(speeds))), low + 1)
    last = max(1, math.ceil(math.log2(max(batches))))

    def x(batch):
        return left + MARGIN + (WIDTH - 2 * MARGIN) * math.log2(batch) / last

    def y(speed):
        return top + HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (math.log10(speed) - low) / (high - low)

    out = [f'<text x="{left + WIDTH / 2}" y="{top + 20}" text-anchor="middle" font-weight="bold">{name}</text>']
    for power in range(low, high + 1):
        at = y(10**power)
        out.append(f'<line x1="{x(1)}" y1="{at}" x2="{x(2**last)}" y2="{at}" stroke="#ddd"/>')
        out.append(f'<text x="{x(1) - 6}" y="{at + 4}" text-anchor="end">{10.0**power:g}</text>')
    for power in range(0, last + 1, 2):
        out.append(f'<text x="{x(2**power)}" y="{top + HEIGHT - MARGIN + 16}" text-anchor="middle">{2**power}</text>')
    out.append(f'<text x="{left + WIDTH / 2}" y="{top + HEIGHT - 14}" text-anchor="middle">batch; images per second</text>')
    lines = defaultdict(list)
    for row in measured:
        lines[row["layout"], row["ring"]].append((row["batch"], row["speed"]))
    layouts = list(dict.fromkeys(layout for layout, _ in lines))
    for (layout, ring), points in lines.items():
        color = COLORS[layouts.index(layout) % len(COLORS)]
        dash = "" if ring == "cyclotomic" else ' stroke-dasharray="6 3"'
        path = " ".join(f"{x(batch):.1f},{y(speed):.1f}" for batch, speed in sorted(points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        if len(points) == 1:
            out.append(f'<circle cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="3" fill="{color}"/>')
    for number, layout in enumerate(layouts):
        at = top + 38 + 14 * number
        color = COLORS[number % len(COLORS)]
        out.append(f'<line x1="{left + 60}" y1="{at - 4}" x2="{left + 80}" y2="{at - 4}" stroke="{color}" stroke-width="2"/>')
        out.append(f'<text x="{left + 86}" y="{at}">{layout}</text>')
    return out


def plot(measured, path):
    networks = list(dict.fromkeys(row["network"] for row in measured))
    high = math.ceil(len(networks) / 2)
    body = []
    for number, name in enumerate(networks):
        of_network = [row for row in measured if row["network"] == name]
        body += panel(name, of_network, number % 2 * WIDTH, number // 2 * HEIGHT)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{2 * WIDTH}" height="{high * HEIGHT + 24}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
    )
    note = f'<text x="{WIDTH}" y="{high * HEIGHT + 12}" text-anchor="middle">solid: cyclotomic ring, dashed: conjugate-invariant ring</text>'
    with open(path, "w") as file:
        file.write("\n".join([head, *body, note, "</svg>", ""]))


if __name__ == "__main__":
    found = rows(sys.argv[1])
    table(found)
    plot(found, sys.argv[2])
