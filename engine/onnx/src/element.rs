//! Types of elements: which numbers they hold, and what becomes of others.

use crate::problem::Problem;

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Float,
    Uint8,
    Int8,
    Uint16,
    Int16,
    Int32,
    Int64,
    Bool,
    Half,
    Double,
    Uint32,
    Uint64,
    Brain,
}

impl Element {
    /// The type of a number that ONNX gives it.
    pub(crate) fn new(number: i64) -> Result<Self, Problem> {
        Ok(match number {
            1 => Self::Float,
            2 => Self::Uint8,
            3 => Self::Int8,
            4 => Self::Uint16,
            5 => Self::Int16,
            6 => Self::Int32,
            7 => Self::Int64,
            9 => Self::Bool,
            10 => Self::Half,
            11 => Self::Double,
            12 => Self::Uint32,
            13 => Self::Uint64,
            16 => Self::Brain,
            other => return Err(Problem::DataType { found: other }),
        })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Float => "float32",
            Self::Uint8 => "uint8",
            Self::Int8 => "int8",
            Self::Uint16 => "uint16",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Half => "float16",
            Self::Double => "float64",
            Self::Uint32 => "uint32",
            Self::Uint64 => "uint64",
            Self::Brain => "bfloat16",
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::Float | Self::Half | Self::Double | Self::Brain)
    }

    /// The nearest number of a floating-point type; infinity beyond the greatest.
    pub(crate) fn round(self, x: f64) -> f64 {
        match self {
            Self::Float => f64::from(x as f32),
            Self::Half => narrow(x, 10, -14, 65504.0),
            Self::Brain => narrow(x, 7, -126, f64::from(f32::from_bits(0x7f7f_0000))),
            _ => x,
        }
    }

    /// An integer modulo the numbers of an integer type.
    pub(crate) fn wrap(self, x: i128) -> Result<i64, Problem> {
        Ok(match self {
            Self::Uint8 => (x as u8).into(),
            Self::Int8 => (x as i8).into(),
            Self::Uint16 => (x as u16).into(),
            Self::Int16 => (x as i16).into(),
            Self::Int32 => (x as i32).into(),
            Self::Uint32 => (x as u32).into(),
            Self::Bool => (x != 0).into(),
            Self::Int64 => x as i64,
            // Constants are kept as int64.
            _ => i64::try_from(x as u64).map_err(|_| self.overflow(x))?,
        })
    }

    /// The whole part of a number in an integer type, as processors convert it: those of up to 16 bits take the last
    /// of 32 bits, uint32 those of 64.
    pub(crate) fn truncate(self, x: f64) -> Result<i64, Problem> {
        if self == Self::Bool {
            return Ok((x != 0.0).into());
        }
        let limit: f64 = if matches!(self, Self::Int64 | Self::Uint32 | Self::Uint64) { 63.0 } else { 31.0 };
        let whole = x.trunc();
        if !(whole >= -limit.exp2() && whole < limit.exp2()) {
            return Err(self.overflow(x));
        }
        self.wrap(whole as i128)
    }

    /// An integer, if the type holds it.
    pub(crate) fn exact(self, x: i128) -> Result<i64, Problem> {
        let wrapped = self.wrap(x)?;
        if i128::from(wrapped) == x { Ok(wrapped) } else { Err(self.overflow(x)) }
    }

    fn overflow(self, value: impl ToString) -> Problem {
        Problem::Overflow { value: value.to_string(), element: self.name() }
    }
}

/// Rounds to a number of bits behind the leading one, ties to even.
fn narrow(x: f64, bits: i32, least_exponent: i32, greatest: f64) -> f64 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let exponent = (x.abs().log2().floor() as i32).max(least_exponent);
    let quantum = f64::from(exponent - bits).exp2();
    let rounded = (x / quantum).round_ties_even() * quantum;
    if rounded.abs() > greatest { f64::INFINITY.copysign(x) } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_wrap_as_processors_do() {
        assert_eq!(Element::Uint8.truncate(300.5), Ok(44));
        assert_eq!(Element::Uint8.truncate(-1.5), Ok(255));
        assert_eq!(Element::Int8.truncate(-300.7), Ok(-44));
        assert_eq!(Element::Uint16.truncate(70000.0), Ok(4464));
        assert_eq!(Element::Uint32.truncate(-1.5), Ok(4_294_967_295));
        assert_eq!(Element::Int64.truncate(5e9), Ok(5_000_000_000));
        assert_eq!(Element::Bool.truncate(0.25), Ok(1));
        for (element, x) in [
            (Element::Uint8, 3e9),
            (Element::Int32, -3e9),
            (Element::Int64, 1e20),
            (Element::Int64, f64::NAN),
        ] {
            assert!(element.truncate(x).is_err(), "{element:?} of {x}");
        }
    }

    #[test]
    fn numbers_round_to_their_type() {
        assert_eq!(Element::Half.round(2049.0), 2048.0);
        assert_eq!(Element::Half.round(2051.0), 2052.0);
        assert_eq!(Element::Half.round(70000.0), f64::INFINITY);
        assert_eq!(Element::Half.round(3e-8), (-25f64).exp2() * 2.0 * 0.5 * 2.0);
        assert_eq!(Element::Brain.round(257.0), 256.0);
        assert_eq!(Element::Float.round(0.1), f64::from(0.1f32));
    }
}
