//! Turns on the devices: tokens in turn, and the keys of a token in turn.

use super::store::KeysName;
use std::collections::VecDeque;

/// Keys with work, in the order of their turns; none twice.
#[derive(Default)]
pub(super) struct Rotation(VecDeque<Own>);

/// Keys of one token; there is at least one.
struct Own {
    names: VecDeque<KeysName>,
}

impl Rotation {
    /// Adds keys behind the others of their token, and a new token behind the others.
    pub(super) fn push(&mut self, name: KeysName) {
        match self.0.iter_mut().find(|own| own.is_of(name.owner())) {
            Some(own) if own.names.contains(&name) => (),
            Some(own) => own.names.push_back(name),
            None => self.0.push_back(Own { names: VecDeque::from([name]) }),
        }
    }

    /// The next keys among those that `fits` accepts; other keys of their token wait behind the other tokens.
    pub(super) fn pop_where(&mut self, fits: impl Fn(&KeysName) -> bool) -> Option<KeysName> {
        let at = self.0.iter().position(|own| own.names.iter().any(&fits))?;
        let mut own = self.0.remove(at)?;
        let name = own.names.iter().position(fits).and_then(|at| own.names.remove(at));
        if !own.names.is_empty() {
            self.0.push_back(own);
        }
        name
    }
}

impl Own {
    fn is_of(&self, owner: &str) -> bool {
        self.names.front().is_some_and(|name| name.owner() == owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_take_turns_however_many_keys_they_have() {
        let [a, b, c, d] = [1, 2, 3, 4].map(|i| KeysName::new("ward-1", &[i; 32]));
        let other = KeysName::new("ward-2", &[1; 32]);
        let mut rotation = Rotation::default();
        for name in [&a, &b, &c, &d, &a, &other] {
            rotation.push(name.clone());
        }
        assert_eq!(rotation.pop_where(|_| true), Some(a.clone()));
        assert_eq!(rotation.pop_where(|_| true), Some(other.clone()));
        rotation.push(a.clone());
        rotation.push(other.clone());
        for name in [b, other, c, d, a] {
            assert_eq!(rotation.pop_where(|_| true), Some(name));
        }
        assert_eq!(rotation.pop_where(|_| true), None);
    }

    #[test]
    fn keys_that_do_not_fit_keep_their_places() {
        let [a, b] = [1, 2].map(|i| KeysName::new("ward-1", &[i; 32]));
        let other = KeysName::new("ward-2", &[1; 32]);
        let mut rotation = Rotation::default();
        for name in [&a, &b, &other] {
            rotation.push(name.clone());
        }
        assert_eq!(rotation.pop_where(|name| *name != a), Some(b));
        assert_eq!(rotation.pop_where(|name| *name == a), Some(a));
        assert_eq!(rotation.pop_where(|name| name.owner() == "ward-1"), None);
        assert_eq!(rotation.pop_where(|_| true), Some(other));
    }
}
