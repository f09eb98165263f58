"""Static profile of the GPU kernels: instructions, registers, shared memory and occupancy on NVIDIA cards, without a card.

    pip install -r benches/static/requirements.txt
    python benches/static/profile.py [--only NAME,..] [--blocks 10,12,13] [--json FILE]

The kernels' Metal text, which naga writes (`shaders/examples/translate.rs`), is rewritten as CUDA C++ and compiled by `nvcc` and `ptxas`
from PyPI. These are the same kernels, but not the compiler of the Vulkan driver, and without its checks of bounds. Loops are not unrolled
where their length is known at run time only, and a marker instruction, which is not counted, names each in the machine code. Thus the
instructions of a thread are `base + sum of (instructions of a loop * iterations)`; `TRIPS` has the iterations that the table is for.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ARCHITECTURES = ["sm_90", "sm_120"]

# Of a multiprocessor: 32-bit registers, threads, workgroups, bytes of shared memory (with 1 KiB that each workgroup costs).
LIMITS = {
    "sm_90": {"registers": 65536, "threads": 2048, "groups": 32, "shared": 228 * 1024},
    "sm_120": {"registers": 65536, "threads": 1536, "groups": 24, "shared": 100 * 1024},
}

# Iterations of a kernel's loops, by the names of the functions they are in: one term of three digits, 64 terms of a sum, four primes
# converted from. Sums take two terms in an iteration.
TERMS = 64
SOURCES = 4
LAZY_PRODUCTS = 14
TRIPS = {
    "gadget_product": {"main.0": 1, "main.1": 3},
    "gadget_product_pair": {"main.0": 1, "main.1": 3},
    "baby_step_sums": {"main.0": TERMS / 2, "main.1": 0},
    "baby_step_sums_pair": {"main.0": TERMS / LAZY_PRODUCTS, "main.1": TERMS},
    "baby_step_sums_four": {"main.0": TERMS / LAZY_PRODUCTS, "main.1": TERMS},
    "mul_accumulate": {"main.0": TERMS / 2, "main.1": 0},
    "matrix_product": {"main.0": TERMS / 2, "main.1": 0},
    # Two rounds, since some words are skipped: ten double rounds of ChaCha20 each, and the sum over 2^6 threads.
    "uniform": {"unmarked": 2, "main.1": 2 * 6, "chacha20.0": 2 * 10},
    # Four threads share four primes converted from and eight converted to.
    "convert_head": {"main.0": 1, "main.1": SOURCES, "main.2": 2, "converted8.0": 2 * SOURCES},
}
# Words of a thread, where a loop has several at a time or a thread has those of two rows.
WORDS = {"convert_head": 2 * 16, "gadget_product_pair": 2 * 4, "baby_step_sums_pair": 2 * 4, "baby_step_sums_four": 4 * 4}

# Kernels whose loops go over terms reduce their sums once in LAZY_PRODUCTS of them, unless an inner loop has these. Some take two terms in
# an iteration.
COLD = 15
NESTED = {"baby_step_sums_pair", "baby_step_sums_four"}
TWO_AT_A_TIME = {"baby_step_sums", "mul_accumulate", "matrix_product"}

PRELUDE = """
typedef unsigned int uint;
namespace metal {
typedef ::uint uint;
struct __align__(8) uint2 { uint x, y; uint2() = default; __device__ uint2(uint a, uint b) : x(a), y(b) {}
    __device__ uint& operator[](uint i) { return i == 0 ? x : y; } };
struct uint3 { uint x, y, z; };
struct __align__(16) uint4 { uint x, y, z, w; uint4() = default;
    __device__ uint4(uint a, uint b, uint c, uint d) : x(a), y(b), z(c), w(d) {}
    __device__ uint4(uint a) : x(a), y(a), z(a), w(a) {} };
__device__ __forceinline__ uint min(uint a, uint b) { return a < b ? a : b; }
__device__ __forceinline__ uint max(uint a, uint b) { return a > b ? a : b; }
__device__ __forceinline__ uint4 operator+(uint4 a, uint4 b) { return uint4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
__device__ __forceinline__ uint4 operator-(uint4 a, uint4 b) { return uint4(a.x - b.x, a.y - b.y, a.z - b.z, a.w - b.w); }
__device__ __forceinline__ uint4 min(uint4 a, uint4 b) {
    return uint4(min(a.x, b.x), min(a.y, b.y), min(a.z, b.z), min(a.w, b.w)); }
__device__ __forceinline__ uint4 operator*(uint4 a, uint4 b) { return uint4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w); }
__device__ __forceinline__ uint4 operator^(uint4 a, uint4 b) { return uint4(a.x ^ b.x, a.y ^ b.y, a.z ^ b.z, a.w ^ b.w); }
__device__ __forceinline__ uint4 operator|(uint4 a, uint4 b) { return uint4(a.x | b.x, a.y | b.y, a.z | b.z, a.w | b.w); }
__device__ __forceinline__ uint4 operator<<(uint4 a, uint4 b) { return uint4(a.x << b.x, a.y << b.y, a.z << b.z, a.w << b.w); }
__device__ __forceinline__ uint4 operator>>(uint4 a, uint4 b) { return uint4(a.x >> b.x, a.y >> b.y, a.z >> b.z, a.w >> b.w); }
struct bool4 { bool x, y, z, w; };
__device__ __forceinline__ bool4 operator>=(uint4 a, uint4 b) { return {a.x >= b.x, a.y >= b.y, a.z >= b.z, a.w >= b.w}; }
__device__ __forceinline__ uint4 select(uint4 a, uint4 b, bool4 c) {
    return uint4(c.x ? b.x : a.x, c.y ? b.y : a.y, c.z ? b.z : a.z, c.w ? b.w : a.w); }
__device__ __forceinline__ uint4 yzwx(uint4 a) { return uint4(a.y, a.z, a.w, a.x); }
__device__ __forceinline__ uint4 zwxy(uint4 a) { return uint4(a.z, a.w, a.x, a.y); }
__device__ __forceinline__ uint4 wxyz(uint4 a) { return uint4(a.w, a.x, a.y, a.z); }
__device__ __forceinline__ uint reverse_bits(uint a) { return __brev(a); }
template <class T> __device__ __forceinline__ T select(T a, T b, bool c) { return c ? b : a; }
}
"""


def cuda(metal, name, threads):
    """CUDA C++ of a kernel's Metal text, and the names of its loops by the numbers of their markers."""
    text = metal[metal.index("struct _mslBufferSizes"):]
    # Arrays without a length.
    text = re.sub(r"^typedef ([\w:]+) (type_\d+)\[1\];", r"typedef \1 \2[1 << 26];", text, flags=re.M)
    # A cyclotomic ring, which folds nothing.
    text = re.sub(r"\w+\.fold\.x == 0u", "true", text)
    # Diagonals each of whose words counts for four neighbours or more.
    text = text.replace("if (log_run == 1u) {", "__trap();\n    if (log_run == 1u) {")
    text = re.sub(r"(\w+)\.(yzwx|zwxy|wxyz)\b", r"metal::\2(\1)", text)
    text = text.replace("ulong", "unsigned long long").replace("0uL", "0uLL").replace("1uL", "1uLL")
    text = re.sub(r"metal::threadgroup_barrier\([^)]*\)", "__syncthreads()", text)
    at = text.index("[[max_total_threads_per_threadgroup")
    plain = re.sub(r"\b(device|thread|threadgroup) (?=\w)", "", text[:at])
    text = re.sub(r"\bconstant (?=\w)", "const ", plain) + text[at:]
    text = re.sub(
        r"^((?!struct|typedef|const|using)[A-Za-z_][\w:]*) (\w+)\(", r"__device__ __forceinline__ \1 \2(", text, flags=re.M
    )
    start = text.index("[[max_total_threads_per_threadgroup")
    head, entry = text[:start], text[start:]
    arguments, body = entry[entry.index("(\n") + 2:].split("\n) {\n", 1)
    parameters, locals_ = [], []
    for argument in (a.strip() for a in re.split(r"\n,", arguments)):
        argument = argument.split(" [[")[0].strip()
        what, variable = argument.rsplit(" ", 1)
        builtin = re.search(r"\[\[(\w+)\]\]", entry[entry.index(argument):])
        if what.startswith("device"):
            const = "const " if "const" in what else ""
            ty = what.split()[1].rstrip("&")
            parameters.append(f"{const}{ty}* __restrict__ {variable}_pointer")
            locals_.append(f"{const}{ty}& {variable} = *{variable}_pointer;")
        elif what.startswith("constant"):
            parameters.append(f"const {what.split()[1].rstrip('&')} {variable}")
        elif what.startswith("threadgroup"):
            locals_.append(f"__shared__ {what.split()[1].rstrip('&')} {variable};")
        else:
            value = {
                "thread_position_in_grid": "{blockIdx.x * blockDim.x + threadIdx.x, blockIdx.y, blockIdx.z}",
                "threadgroup_position_in_grid": "{blockIdx.x, blockIdx.y, blockIdx.z}",
                "thread_index_in_threadgroup": "threadIdx.x",
                "thread_position_in_threadgroup": "{threadIdx.x, threadIdx.y, threadIdx.z}",
            }[builtin.group(1)]
            locals_.append(f"{what} {variable} = {value};")
    entry = (
        f'extern "C" __global__ void __launch_bounds__({threads}) kernel_({", ".join(parameters)}) {{\n'
        + "\n".join("    " + line for line in locals_) + "\n" + body
    )
    names = {}
    if has_terms(name):
        head, entry = (mark(part, names) for part in (head, entry))
        if name not in NESTED:
            head = re.sub(r"(total4?_reduce\([^{]*\{\n)", rf'\1    asm volatile("pmevent {COLD};");' + "\n", head)
    return PRELUDE + head + entry, names


def has_terms(name):
    return name in TRIPS or "converted" in name


def mark(text, names):
    """Keeps loops as they are, and names them."""
    function = "?"
    counts = {}
    lines = []
    for line in text.split("\n"):
        called = re.match(r"__device__ __forceinline__ \S+ (\w+)\($|extern \"C\" __global__ .* (kernel_)\(", line)
        if called:
            function = "main" if called.group(2) else called.group(1)
        if line.strip() == "while(true) {":
            number = len(names)
            names[number] = f"{function}.{counts.get(function, 0)}"
            counts[function] = counts.get(function, 0) + 1
            lines += ["#pragma unroll 1", line]
            pending = number
        elif re.match(r"\s*loop_init\w* = false;$", line):
            lines += [line]
            # The body comes after the test of the condition.
            lines += [f"/*mark {pending}*/"]
        else:
            lines += [line]
    text = "\n".join(lines)
    # The marker belongs where the loop goes on.
    return re.sub(
        r"/\*mark (\d+)\*/(.*?break;\n\s*\}\n)", r'\2asm volatile("pmevent \1;");' + "\n", text, flags=re.S
    )


def tool(name):
    import nvidia

    for root in nvidia.__path__:
        for path in pathlib.Path(root).rglob(name):
            if path.is_file() and os.access(path, os.X_OK):
                return path
    sys.exit(f"{name} is missing: pip install -r benches/static/requirements.txt")


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{(done.stdout + done.stderr)[:2000]}")
    return done.stdout + done.stderr


def instructions(sass, products):
    """Instructions of a thread: outside loops, and of each marked loop; a loop without a marker counts as `unmarked`.

    An iteration with a reduction has `products` products."""
    code, labels = [], {}
    for line in sass.split("\n"):
        label = re.match(r"\s*(\.L_x_\d+):", line)
        if label:
            labels[label.group(1)] = len(code)
        found = re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(.*?);", line)
        if found and not found.group(1).startswith("NOP"):
            code.append(found.group(1))
    # Padding after the end jumps to itself.
    jumps = []
    for at, text in enumerate(code):
        target = re.search(r"\bBRA.*?`\((\.L_x_\d+)\)", text)
        if target and labels[target.group(1)] <= at and not (labels[target.group(1)] == at):
            jumps.append((labels[target.group(1)], at))
    loops = {}
    for first, last in jumps:
        loops[first] = max(last, loops.get(first, last))
    loops = sorted(loops.items())
    starts = set(labels.values()) | {at + 1 for at, text in enumerate(code) if re.search(r"\b(BRA|EXIT)\b", text)}
    marker = lambda text: int(re.search(r"PMTRIG (\w+)", text).group(1), 0) if "PMTRIG" in text else None
    weights, begin = {}, 0
    blocks = sorted(starts | {0, len(code)})
    for begin, end in zip(blocks, blocks[1:]):
        cold = any(marker(code[at]) == 1 << COLD for at in range(begin, end))
        weights.update({at: products / LAZY_PRODUCTS if cold else 1 for at in range(begin, end)})
    counts = {}
    for at, text in enumerate(code):
        if "PMTRIG" in text or (text.startswith("BRA") and labels.get(text[5:-1].strip("`() ")) == at):
            continue
        around = [loop for loop in loops if loop[0] <= at <= loop[1]]
        inner = max(around, default=None)
        counts[inner] = counts.get(inner, 0) + weights[at]
    result = {"base": counts.pop(None, 0), "loops": {}}
    for loop, count in counts.items():
        inside = [l for l in loops if loop[0] <= l[0] and l[1] <= loop[1] and l != loop]
        own = [
            marker(code[at]) for at in range(loop[0], loop[1] + 1)
            if marker(code[at]) is not None and not any(l[0] <= at <= l[1] for l in inside)
        ]
        numbers = {m.bit_length() - 1 for m in own} - {COLD}
        name = min(numbers) if numbers else None
        result["loops"][name] = result["loops"].get(name, 0) + count
    return result


def occupancy(arch, threads, registers, shared):
    """Warps of a multiprocessor, of those that it has room for."""
    limit = LIMITS[arch]
    warps = -(-threads // 32)
    by_registers = limit["registers"] // (warps * (-(-registers * 32 // 256) * 256))
    by_shared = limit["shared"] // (shared + 1024)
    groups = min(by_registers, by_shared, limit["groups"], limit["threads"] // (32 * warps))
    return groups * warps, limit["threads"] // 32


def trips(name, loop):
    kernel, _, log_words = name.partition(".")
    loop = loop.replace("_.", ".")
    if loop == "unmarked" and log_words:
        # Passes of four stages after the first, which has at least one.
        return (int(log_words) - 1) // 4
    if loop in TRIPS.get(kernel, {}):
        return TRIPS[kernel][loop]
    if loop.startswith("converted8"):
        return SOURCES
    sys.exit(f"{name}: a loop {loop} of unknown length")


def profile(job):
    folder, name, form, kernel, tools = job
    text, names = cuda((folder / f"{name}.{form}.metal").read_text(), name.split(".")[0], kernel["threads"])
    base = folder / f"{name}.{form}"
    source = base.with_name(base.name + ".cu")
    source.write_text(text)
    ptx = base.with_name(base.name + ".ptx")
    run(tools["nvcc"], "-ptx", "-arch=compute_90", "-O3", "-w", source, "-o", ptx)
    rows = []
    for arch in ARCHITECTURES:
        cubin = base.with_name(f"{base.name}.{arch}.cubin")
        said = run(tools["ptxas"], "-v", f"-arch={arch}", ptx, "-o", cubin)
        registers = int(re.search(r"Used (\d+) registers", said).group(1))
        shared = int((re.search(r"(\d+) bytes smem", said) or [0, 0])[1])
        spilled = int(re.search(r"(\d+) bytes spill stores", said).group(1))
        counted = instructions(run(tools["nvdisasm"], "-c", cubin), 2 if name in TWO_AT_A_TIME else 1)
        loops = {names.get(number, "unmarked"): count for number, count in counted["loops"].items()}
        total = counted["base"]
        for loop, count in sorted(loops.items()):
            total += count * trips(name, loop)
        warps, most = occupancy(arch, kernel["threads"], registers, shared)
        rows.append({
            "kernel": name, "form": form, "arch": arch, "threads": kernel["threads"], "registers": registers,
            "shared": shared, "spilled": spilled, "base": round(counted["base"], 1),
            "loops": {loop: round(count, 1) for loop, count in loops.items()},
            "per_word": round(total / WORDS.get(name, kernel["words"]), 1), "warps": warps, "of_warps": most,
        })
    return rows


def table(rows):
    print("| kernel | threads | instructions a word, 64-bit | 32-bit | registers | spilled bytes | shared bytes | warps of 64 (sm_90) | of 48 (sm_120) |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    by = {(r["kernel"], r["form"], r["arch"]): r for r in rows}
    order = lambda name: (name.split(".")[0], int((name.split(".") + ["0"])[1]))
    for name in sorted({r["kernel"] for r in rows}, key=order):
        get = lambda form, arch, key: by[(name, form, arch)][key]
        pair = lambda key, arch="sm_90": f"{get('int64', arch, key)} / {get('int32', arch, key)}"
        shown = name.replace(".", " 2^")
        print(f"| `{shown.split(' ')[0]}`{shown[len(shown.split(' ')[0]):]} | {get('int64', 'sm_90', 'threads')} "
              f"| {get('int64', 'sm_90', 'per_word'):.0f} / {get('int64', 'sm_120', 'per_word'):.0f} "
              f"| {get('int32', 'sm_90', 'per_word'):.0f} / {get('int32', 'sm_120', 'per_word'):.0f} "
              f"| {pair('registers')} | {pair('spilled')} | {get('int64', 'sm_90', 'shared')} "
              f"| {pair('warps')} | {pair('warps', 'sm_120')} |")


def main():
    parser = argparse.ArgumentParser(description="Static profile of the GPU kernels.")
    parser.add_argument("--only", help="names of kernels, with commas")
    parser.add_argument("--blocks", default="4,7,10,12,13", help="logarithms of block sizes, with commas")
    parser.add_argument("--translated", help="a folder that `translate` wrote before, of other kernels say")
    parser.add_argument("--json", help="write all figures to a file")
    arguments = parser.parse_args()
    tools = {name: tool(name) for name in ["nvcc", "ptxas", "nvdisasm"]}
    root = pathlib.Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if arguments.translated:
            shutil.copytree(arguments.translated, folder, dirs_exist_ok=True)
        else:
            translate = ["cargo", "run", "-q", "-p", "pleura-shaders", "--example", "translate", "--", folder]
            subprocess.run(translate, cwd=root, check=True)
        kernels = json.loads((folder / "kernels.json").read_text())
        blocks = set(arguments.blocks.split(","))
        only = arguments.only and set(arguments.only.split(","))
        jobs = [
            (folder, name, form, kernel, tools)
            for name, kernel in kernels.items()
            for form in ["int64", "int32"]
            if ("." not in name or name.split(".")[1] in blocks) and (not only or name.split(".")[0] in only)
        ]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            rows = [row for rows in pool.map(profile, jobs) for row in rows]
    table(rows)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
