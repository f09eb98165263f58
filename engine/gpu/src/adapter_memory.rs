//! Memory of a GPU, as its driver reports it.

/// Memory of a GPU in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Memory of its own, or the share of the host's that is meant for it.
    pub total: u64,
    /// Bytes that this process can still have, where the driver says so.
    pub free: Option<u64>,
}

/// Memory of an adapter; `None` where its interface does not say.
#[cfg(any(windows, target_os = "linux"))]
pub(crate) fn device_memory(adapter: &wgpu::Adapter) -> Option<DeviceMemory> {
    use ash::vk;
    // SAFETY: the adapter outlives the guard, and nothing of it is destroyed.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let instance = adapter.shared_instance();
    if instance.instance_api_version() < vk::API_VERSION_1_1 {
        return None;
    }
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let mut properties = vk::PhysicalDeviceMemoryProperties2::default().push_next(&mut budget);
    // SAFETY: the function is part of Vulkan 1.1, and both structures are initialized. Drivers without the budget leave it zero.
    unsafe {
        instance
            .raw_instance()
            .get_physical_device_memory_properties2(adapter.raw_physical_device(), &mut properties);
    }
    let heaps = properties.memory_properties;
    let own = heaps.memory_heaps.iter().take(heaps.memory_heap_count as usize).enumerate();
    let own = own.filter(|(_, heap)| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
    let (largest, heap) = own.max_by_key(|(_, heap)| heap.size)?;
    let limit = budget.heap_budget.get(largest).copied().filter(|bytes| *bytes > 0);
    let used = budget.heap_usage.get(largest).copied()?;
    Some(DeviceMemory { total: heap.size, free: limit.map(|limit| limit.saturating_sub(used)) })
}

/// Memory of an adapter; `None` where its interface does not say.
#[cfg(not(any(windows, target_os = "linux")))]
pub(crate) fn device_memory(_: &wgpu::Adapter) -> Option<DeviceMemory> {
    None
}
