//! Vulkan devices without robust buffer access, which wgpu always asks for.

/// A Vulkan device without robust buffer access; `None` if the adapter is none of Vulkan's.
#[cfg(any(windows, target_os = "linux"))]
pub(crate) fn without_robustness(
    adapter: &wgpu::Adapter,
    descriptor: &wgpu::DeviceDescriptor<'_>,
) -> Option<Result<(wgpu::Device, wgpu::Queue), String>> {
    use ash::vk;
    use wgpu::hal::api::Vulkan;

    // SAFETY: the adapter outlives the guard, and nothing of it is destroyed.
    let hal = unsafe { adapter.as_hal::<Vulkan>() }?;
    let features = descriptor.required_features;
    let extensions = hal.required_device_extensions(features);
    let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
    let mut enabled = hal.physical_device_features(&extensions, features);
    let core = vk::PhysicalDeviceFeatures { robust_buffer_access: vk::FALSE, ..enabled.get_core() };
    let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
    let info = vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names);
    let mut info = enabled.add_to_device_create(info);
    info.p_enabled_features = &core;
    let mut next = info.p_next.cast_mut().cast::<vk::BaseOutStructure<'_>>();
    // SAFETY: the chain consists of structures of `enabled`, which begin as all of Vulkan's do, say their type and are written by
    // nobody else.
    while let Some(structure) = unsafe { next.as_mut() } {
        if structure.s_type == vk::StructureType::PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT {
            // SAFETY: the type says what it is.
            let robustness = unsafe { &mut *next.cast::<vk::PhysicalDeviceRobustness2FeaturesEXT<'_>>() };
            robustness.robust_buffer_access2 = vk::FALSE;
        }
        next = structure.p_next;
    }
    let instance = hal.shared_instance().raw_instance();
    // SAFETY: the structures are alive, and ask for what wgpu would ask for, or less.
    let raw = unsafe { instance.create_device(hal.raw_physical_device(), &info, None) };
    let raw = match raw {
        Ok(raw) => raw,
        Err(error) => return Some(Err(error.to_string())),
    };
    let limits = &descriptor.required_limits;
    // SAFETY: the device was made with these extensions, features and queues, and belongs to nobody else.
    let opened = unsafe {
        hal.device_from_raw(raw, None, &extensions, features, limits, &descriptor.memory_hints, 0, 0)
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(error) => return Some(Err(error.to_string())),
    };
    // SAFETY: the device is the adapter's. The kernels stay inside their buffers, see `pipelines.rs`.
    let device = unsafe { adapter.create_device_from_hal::<Vulkan>(opened, descriptor) };
    Some(device.map_err(|error| error.to_string()))
}

/// A Vulkan device without robust buffer access: there are none on this system.
#[cfg(not(any(windows, target_os = "linux")))]
pub(crate) fn without_robustness(
    _: &wgpu::Adapter,
    _: &wgpu::DeviceDescriptor<'_>,
) -> Option<Result<(wgpu::Device, wgpu::Queue), String>> {
    None
}
