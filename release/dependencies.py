"""Lists the dependencies of the binary: an SBOM (CycloneDX 1.5) and the texts of their licences, from `cargo metadata`."""

import argparse
import json
import pathlib
import subprocess

TARGET = "x86_64-unknown-linux-gnu"


def packages():
    """Packages that the binary links on TARGET, sorted."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    by_id = {package["id"]: package for package in metadata["packages"]}
    waiting = [package["id"] for package in metadata["packages"] if package["name"] == "pleura-cli"]
    seen = set()
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return sorted((by_id[package] for package in seen), key=lambda p: (p["name"], p["version"]))


def sbom(found, version):
    """CycloneDX document of the packages."""
    components = [
        {
            "type": "library",
            "name": package["name"],
            "version": package["version"],
            "purl": f"pkg:cargo/{package['name']}@{package['version']}",
            "licenses": [{"expression": package["license"].replace("/", " OR ")}],
        }
        for package in found
        if package["source"]
    ]
    root = {"type": "application", "name": "pleura", "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root},
        "components": components,
    }


def licences(found):
    """Each package's expression, and the licence texts that its source has; equal texts once."""
    texts = {}
    lines = []
    for package in found:
        if not package["source"]:
            continue
        label = f"{package['name']} {package['version']}"
        lines.append(f"{label}: {package['license']}")
        folder = pathlib.Path(package["manifest_path"]).parent
        for file in sorted(folder.iterdir()):
            if file.is_file() and file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE")):
                texts.setdefault(file.read_text(errors="replace").strip(), []).append(label)
    parts = ["\n".join(lines)]
    parts += ["=" * 80 + "\n" + ", ".join(labels) + "\n\n" + text for text, labels in texts.items()]
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("--sbom", required=True, type=pathlib.Path)
    parser.add_argument("--licences", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    found = packages()
    arguments.sbom.write_text(json.dumps(sbom(found, arguments.version), indent=1) + "\n")
    arguments.licences.write_text(licences(found))


if __name__ == "__main__":
    main()
