"""Static profile of the GPU kernels on an AMD card, without a card: what Mesa's compiler says of each.

    pip install vulkan==1.3.275.1
    RADV_FORCE_FAMILY=navi21 python benches/static/radv.py [--only NAME,..] [--blocks 10,12,13] [--json FILE]

The kernels' SPIR-V (`shaders/examples/translate.rs`) is given to RADV, Mesa's Vulkan driver, on a device that compiles and never runs, and the
driver is asked for its statistics of each pipeline (VK_KHR_pipeline_executable_properties). Instructions are those of the machine code, each
once, however often a loop goes round; cycles are the compiler's estimate. Figures are those of one version of Mesa.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

FAMILY = "navi21"
HEADINGS = ["kernel", "threads", "instructions, 64-bit / 32-bit", "VGPRs", "spilled", "LDS bytes", "waves a SIMD", "latency, cycles"]


class Device:
    """A device of RADV that compiles."""

    def __init__(self, vk):
        self.vk = vk
        application = vk.VkApplicationInfo(apiVersion=vk.VK_MAKE_VERSION(1, 2, 0))
        self.instance = vk.vkCreateInstance(vk.VkInstanceCreateInfo(pApplicationInfo=application), None)
        found = [d for d in vk.vkEnumeratePhysicalDevices(self.instance) if "RADV" in vk.vkGetPhysicalDeviceProperties(d).deviceName]
        if not found:
            sys.exit(f"RADV has no device: install mesa-vulkan-drivers, and set RADV_FORCE_FAMILY={FAMILY}")
        properties = vk.vkGetPhysicalDeviceProperties(found[0])
        self.name = properties.deviceName
        executable = vk.VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR(pipelineExecutableInfo=True)
        self.device = vk.vkCreateDevice(
            found[0],
            vk.VkDeviceCreateInfo(
                pNext=executable,
                pQueueCreateInfos=[vk.VkDeviceQueueCreateInfo(queueFamilyIndex=0, queueCount=1, pQueuePriorities=[1.0])],
                ppEnabledExtensionNames=["VK_KHR_pipeline_executable_properties"],
                pEnabledFeatures=vk.VkPhysicalDeviceFeatures(shaderInt64=True),
            ),
            None,
        )
        self.properties = vk.vkGetDeviceProcAddr(self.device, "vkGetPipelineExecutablePropertiesKHR")
        self.statistics = vk.vkGetDeviceProcAddr(self.device, "vkGetPipelineExecutableStatisticsKHR")

    def compile(self, code, bindings):
        """Statistics of a kernel, by name."""
        vk = self.vk
        storage = vk.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
        types = [vk.VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER_DYNAMIC] + [storage] * (bindings - 1)
        bound = [
            vk.VkDescriptorSetLayoutBinding(
                binding=i, descriptorType=kind, descriptorCount=1, stageFlags=vk.VK_SHADER_STAGE_COMPUTE_BIT
            )
            for i, kind in enumerate(types)
        ]
        layout = vk.vkCreateDescriptorSetLayout(self.device, vk.VkDescriptorSetLayoutCreateInfo(pBindings=bound), None)
        layout = vk.vkCreatePipelineLayout(self.device, vk.VkPipelineLayoutCreateInfo(pSetLayouts=[layout]), None)
        module = vk.vkCreateShaderModule(self.device, vk.VkShaderModuleCreateInfo(codeSize=len(code), pCode=code), None)
        stage = vk.VkPipelineShaderStageCreateInfo(stage=vk.VK_SHADER_STAGE_COMPUTE_BIT, module=module, pName="main")
        flags = vk.VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR
        info = vk.VkComputePipelineCreateInfo(flags=flags, stage=stage, layout=layout)
        pipeline = vk.vkCreateComputePipelines(self.device, None, 1, [info], None)[0]
        found = self.statistics(self.device, vk.VkPipelineExecutableInfoKHR(pipeline=pipeline, executableIndex=0))
        return {self.text(s.name): s.value.u64 for s in found}

    def text(self, name):
        return name if isinstance(name, str) else self.vk.ffi.string(name).decode()


def main():
    parser = argparse.ArgumentParser(description="Static profile of the GPU kernels by RADV.")
    parser.add_argument("--only", help="names of kernels, with commas")
    parser.add_argument("--blocks", default="4,10,12,13", help="logarithms of block sizes, with commas")
    parser.add_argument("--json", help="write all statistics to a file")
    arguments = parser.parse_args()
    os.environ.setdefault("RADV_FORCE_FAMILY", FAMILY)
    import vulkan

    device = Device(vulkan)
    root = pathlib.Path(__file__).resolve().parents[2]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        translate = ["cargo", "run", "-q", "--release", "-p", "pleura-shaders", "--example", "translate", "--", folder]
        subprocess.run(translate, cwd=root, check=True)
        folder = pathlib.Path(folder)
        kernels = json.loads((folder / "kernels.json").read_text())
        only = arguments.only and set(arguments.only.split(","))
        for name, kernel in kernels.items():
            base, _, block = name.partition(".")
            if (block and block not in arguments.blocks.split(",")) or (only and base not in only):
                continue
            forms = [(folder / f"{name}.{form}.spv").read_bytes() for form in ["int64", "int32"]]
            rows[name] = {"threads": kernel["threads"], "forms": [device.compile(code, kernel["bindings"]) for code in forms]}
    print(device.name)
    table(rows)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"device": device.name, "kernels": rows}, indent=1) + "\n")


def table(rows):
    print("| " + " | ".join(HEADINGS) + " |")
    print("|---" + "|---:" * (len(HEADINGS) - 1) + "|")
    order = lambda name: (name.split(".")[0], int((name.split(".") + ["0"])[1]))
    for name in sorted(rows, key=order):
        base, _, block = name.partition(".")
        wide, narrow = rows[name]["forms"]
        pair = lambda statistic: f"{wide[statistic]} / {narrow[statistic]}"
        spilled = [form["Spilled VGPRs"] + form["Spilled SGPRs"] for form in [wide, narrow]]
        cells = [
            f"`{base}`" + (f" 2^{block}" if block else ""), rows[name]["threads"], pair("Instructions"), pair("VGPRs"),
            f"{spilled[0]} / {spilled[1]}", wide["LDS size"], pair("Subgroups per SIMD"), pair("Latency"),
        ]
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
