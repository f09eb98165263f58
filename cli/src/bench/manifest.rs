//! Lists of measurements, which are equal on all devices and in all versions.

use clap::ValueEnum;
use pleura::ckks::{ParamsLiteral, RingKind, Security};

/// A list of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Operations at 2^13 and 2^14, two networks: a minute on a processor.
    Quick,
    /// Operations from 2^13 to 2^16, three networks: takes minutes, and 8 GiB of memory.
    Full,
    /// As little as there can be, for tests.
    #[value(hide = true)]
    Smoke,
}

/// Parameters at a degree, of 128 bits of security. From 2^14 on with as many limbs as the table of floors for GPUs is
/// made for: 11 + 4, 24 + 8, 24 + 8.
const LITERALS: [ParamsLiteral; 4] = [
    ParamsLiteral::N13,
    ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n: 14,
        levels: 9,
        scale_bits: 28,
        base_bits: 56,
        digit_limbs: 4,
        security: Security::Bits128,
    },
    ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n: 15,
        levels: 22,
        scale_bits: 26,
        base_bits: 52,
        digit_limbs: 8,
        security: Security::Bits128,
    },
    ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n: 16,
        levels: 22,
        scale_bits: 29,
        base_bits: 58,
        digit_limbs: 8,
        security: Security::Bits128,
    },
];

impl Suite {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Full => "full",
            Self::Smoke => "smoke",
        }
    }

    /// Parameter sets for operations.
    pub(crate) fn literals(self) -> &'static [ParamsLiteral] {
        let count = match self {
            Self::Quick => 2,
            Self::Full => 4,
            Self::Smoke => 1,
        };
        LITERALS.get(..count).unwrap_or_default()
    }

    /// How many ciphertexts operations work on at once.
    pub(crate) fn batches(self) -> &'static [usize] {
        match self {
            Self::Quick => &[1, 8],
            Self::Full => &[1, 16],
            Self::Smoke => &[1, 2],
        }
    }

    /// Networks, by the names they are shipped under.
    pub(crate) fn networks(self) -> &'static [&'static str] {
        match self {
            Self::Quick => &["pneumonia", "pneumonia-hefnet"],
            Self::Full => &["pneumonia", "pneumonia-hefnet", "pneumonia-hefnet-se"],
            Self::Smoke => &["pneumoniamnist"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura::ckks::Params;
    use pleura::xray::shipped;

    #[test]
    fn the_manifest_can_be_run() {
        let limbs = [(5, 2), (11, 4), (24, 8), (24, 8)];
        for (literal, (q, p)) in Suite::Full.literals().iter().zip(limbs) {
            let params = Params::new(*literal).unwrap();
            let gadget = params.gadget(params.max_level());
            assert_eq!((gadget.limbs.q, gadget.limbs.p), (q, p), "2^{}", literal.log_n);
        }
        let networks = [Suite::Quick, Suite::Full, Suite::Smoke].map(Suite::networks);
        assert!(networks.concat().iter().all(|name| shipped::model(name).is_ok()));
    }
}
