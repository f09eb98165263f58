//! The largest secure modulus of each degree.

/// Security against the best known classical attacks, for uniform ternary secrets and errors of deviation 3.19 or
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Security {
    /// 128 bits.
    Bits128,
    /// 192 bits.
    Bits192,
    /// 256 bits.
    Bits256,
    /// No security: any modulus at any degree, for tests alone.
    InsecureForTests,
}

/// Largest `log2(QP)` from degree `2^10` on, for 128, 192 and 256 bits: Bossuat et al., "Security guidelines for
/// implementing homomorphic encryption" (eprint 2024/463), Table 5.2. The older table of the Homomorphic
/// Encryption Standard (2018) is 1 to 13 bits too generous.
const MAX_LOG2_QP: [[u32; 3]; 8] = [
    [26, 0, 0],
    [53, 36, 27],
    [106, 73, 56],
    [214, 147, 114],
    [430, 297, 230],
    [868, 597, 462],
    [1747, 1199, 929],
    [3523, 2411, 1866],
];

impl Security {
    /// Largest `log2` of the whole modulus, special primes included, that a key at degree `2^log_n` may have;
    /// 0 where the table has no entry.
    pub fn max_log2_qp(self, log_n: u32) -> f64 {
        let column = match self {
            Self::Bits128 => 0,
            Self::Bits192 => 1,
            Self::Bits256 => 2,
            Self::InsecureForTests => return f64::INFINITY,
        };
        let row = log_n.checked_sub(10).and_then(|i| MAX_LOG2_QP.get(i as usize));
        row.and_then(|row| row.get(column)).map_or(0.0, |&bits| f64::from(bits))
    }

    /// Bits of security; 0 for none.
    pub fn bits(self) -> u32 {
        match self {
            Self::Bits128 => 128,
            Self::Bits192 => 192,
            Self::Bits256 => 256,
            Self::InsecureForTests => 0,
        }
    }

    /// The security level of this number of bits; 0 is [`Security::InsecureForTests`].
    pub fn from_bits(bits: u32) -> Option<Self> {
        [Self::Bits128, Self::Bits192, Self::Bits256, Self::InsecureForTests]
            .into_iter()
            .find(|s| s.bits() == bits)
    }
}
