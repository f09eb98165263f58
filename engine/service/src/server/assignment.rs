//! Which device takes which keys.

use super::rotation::Rotation;
use super::store::KeysName;
use std::collections::HashSet;

/// Keys with work, and what the devices hold and do.
pub(super) struct Assignment {
    /// Keys with work.
    rotation: Rotation,
    devices: Vec<DeviceState>,
}

#[derive(Default)]
struct DeviceState {
    /// Keys on the device.
    holds: HashSet<KeysName>,
    computing: bool,
    /// Keys that were deleted, and whose memory the device has to free.
    closed: Vec<KeysName>,
}

#[expect(clippy::indexing_slicing, reason = "callers number the devices that this was made for")]
impl Assignment {
    pub(super) fn new(devices: usize) -> Self {
        let devices = (0..devices).map(|_| DeviceState::default()).collect();
        Self { rotation: Rotation::default(), devices }
    }

    /// Adds keys with work.
    pub(super) fn push(&mut self, name: KeysName) {
        self.rotation.push(name);
    }

    /// The next keys of a device, which computes from now on. Keys are taken in turn by the devices that hold them, or
    /// by any if none does. A device that would be idle takes keys whose devices all compute.
    pub(super) fn next(&mut self, device: usize) -> Option<KeysName> {
        let Self { rotation, devices } = self;
        let this = &devices[device];
        let own = rotation.pop_where(|name| {
            this.holds.contains(name) || !devices.iter().any(|other| other.holds.contains(name))
        });
        let name = own.or_else(|| {
            rotation.pop_where(|name| {
                devices.iter().filter(|other| other.holds.contains(name)).all(|other| other.computing)
            })
        })?;
        let this = &mut devices[device];
        this.computing = true;
        this.holds.insert(name.clone());
        Some(name)
    }

    /// Ends a device's turn; `holds` are the keys on the device now.
    pub(super) fn end<'n>(&mut self, device: usize, holds: impl Iterator<Item = &'n KeysName>) {
        let state = &mut self.devices[device];
        state.computing = false;
        state.holds = holds.cloned().collect();
    }

    /// Marks keys as deleted.
    pub(super) fn close(&mut self, name: &KeysName) {
        self.devices.iter_mut().for_each(|state| state.closed.push(name.clone()));
    }

    /// Keys whose memory a device has to free.
    pub(super) fn take_closed(&mut self, device: usize) -> Vec<KeysName> {
        let state = &mut self.devices[device];
        let closed = std::mem::take(&mut state.closed);
        for name in &closed {
            state.holds.remove(name);
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [KeysName; 3] {
        [1, 2, 3].map(|i| KeysName::new(&format!("ward-{i}"), &[i; 32]))
    }

    #[test]
    fn keys_stay_on_their_device_while_it_is_free() {
        let [a, b, _] = names();
        let mut assignment = Assignment::new(2);
        assignment.push(a.clone());
        assert_eq!(assignment.next(0), Some(a.clone()));
        assignment.push(b.clone());
        assert_eq!(assignment.next(1), Some(b.clone()));
        assignment.end(0, [&a].into_iter());
        assignment.end(1, [&b].into_iter());
        assignment.push(a.clone());
        assert_eq!(assignment.next(1), None, "the free device 0 holds the keys");
        assert_eq!(assignment.next(0), Some(a.clone()));
        // Their device computes now.
        assignment.push(a.clone());
        assert_eq!(assignment.next(1), Some(a.clone()));
        assignment.end(1, [&b, &a].into_iter());
        assignment.push(a.clone());
        assert_eq!(assignment.next(1), Some(a), "device 1 holds them too");
    }

    #[test]
    fn devices_prefer_keys_that_they_hold_but_tokens_keep_their_turns() {
        let [a, b, c] = names();
        let mut assignment = Assignment::new(2);
        assignment.push(a.clone());
        assert_eq!(assignment.next(0), Some(a.clone()));
        // Keys that no device holds are not behind those of a device for ever.
        for name in [&b, &a, &c] {
            assignment.push(name.clone());
        }
        assignment.end(0, [&a].into_iter());
        assert_eq!(assignment.next(0), Some(b));
        assert_eq!(assignment.next(1), Some(c));
        assert_eq!(assignment.next(1), Some(a), "device 0 computes");
    }

    #[test]
    fn every_device_frees_deleted_keys() {
        let [a, ..] = names();
        let mut assignment = Assignment::new(2);
        assignment.push(a.clone());
        assert_eq!(assignment.next(0), Some(a.clone()));
        assignment.end(0, [&a].into_iter());
        assignment.close(&a);
        assert_eq!([0, 1].map(|device| assignment.take_closed(device).len()), [1, 1]);
        assert_eq!([0, 1].map(|device| assignment.take_closed(device).len()), [0, 0]);
        assignment.push(a.clone());
        assert_eq!(assignment.next(1), Some(a), "device 0 holds them no more");
    }
}
