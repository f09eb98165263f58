//! Connections by the addresses that they come from: none gets all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Bits of an address of version 6 that a network has; the others are its computers' choice.
const NETWORK: u32 = 64;

/// Open connections of each address.
pub(super) struct Addresses {
    /// Most connections of an address.
    most: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection of an address, until this is dropped.
pub(super) struct FromAddress {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Addresses {
    /// No connections yet; each address gets half of `connections`.
    pub(super) fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self { most: connections.div_ceil(2), open: Mutex::default() })
    }

    /// Counts a connection; `None` if the address has as many as it gets.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<FromAddress> {
        let network = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(network).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(FromAddress { addresses: self.clone(), network })
    }
}

impl Drop for FromAddress {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

/// The address of version 4, or the network of one of version 6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) & (u128::MAX << (Ipv6Addr::BITS - NETWORK));
            Ipv6Addr::from(bits).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_half_of_the_connections() {
        let addresses = Addresses::new(4);
        let enter = |address: &str| addresses.enter(address.parse().unwrap());
        for [one, another] in [["10.0.0.1", "10.0.0.2"], ["2001:db8::1", "2001:db8:0:1::1"]] {
            let first = enter(one).unwrap();
            let second = enter(one).unwrap();
            assert!(enter(one).is_none());
            assert!(enter(another).is_some());
            drop(first);
            assert!(enter(one).is_some());
            drop(second);
        }
        let _places = ["2001:db8::1", "2001:db8::2"].map(|address| enter(address).unwrap());
        assert!(enter("2001:db8::3").is_none(), "a network of version 6 counts as one address");
        let _mapped = ["::ffff:10.0.0.1", "10.0.0.1"].map(|address| enter(address).unwrap());
        assert!(enter("::ffff:10.0.0.1").is_none() && enter("10.0.0.1").is_none());
        assert_eq!(addresses.open.lock().unwrap().len(), 2);
    }
}
