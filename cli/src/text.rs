//! Numbers, names and errors as text for people.

use crate::names::is_invisible;

/// Units of sizes as users write them, the largest first.
pub(crate) const UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
];

/// Largest size that a user may write.
const MAX_SIZE: f64 = (1u64 << 50) as f64;

/// An error and its causes as one sentence.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let next = cause.to_string();
        let next = next.trim_end();
        // Some errors already repeat their source.
        if !text.contains(next) {
            text = text + ": " + next;
        }
    }
    text
}

/// Text with escapes (`\n`, `\u{202e}`) for control characters, marks of direction and other invisible characters, by which
/// names of files and in model files may control the terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if is_invisible(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// A number with its noun: `1 picture`, `2 pictures`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Hexadecimal digits of a digest.
pub(crate) fn hex<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number of bytes in the largest binary unit that fits: `12.3 MiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["KiB", "MiB", "GiB"];
    let mut text = format!("{bytes} bytes");
    let mut value = bytes as f64;
    for unit in UNITS {
        value /= 1024.0;
        if value < 1.0 {
            break;
        }
        text = format!("{value:.1} {unit}");
    }
    text
}

/// A size as a user may have written it: `45MB`.
pub(crate) fn size_text(bytes: u64) -> String {
    let even = UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    even.map_or_else(|| bytes_text(bytes), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A number of bytes with a unit, as a user writes it.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || {
        "it is a number with a unit, as in 6GB or 512MiB: kB, MB, GB, TB (or k, M, G, T) or KiB, MiB, GiB, TiB".to_owned()
    };
    let lower = text.trim().to_ascii_lowercase();
    let units = UNITS.iter().map(|(name, unit)| (name.to_ascii_lowercase(), *unit));
    let short = UNITS.iter().filter_map(|(name, unit)| {
        let letter = name.strip_suffix('B')?.to_ascii_lowercase();
        (!letter.ends_with('i')).then_some((letter, *unit))
    });
    let parts =
        units.chain(short).find_map(|(name, unit)| Some((lower.strip_suffix(&name)?.to_owned(), unit)));
    let (number, unit) = parts.ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    if bytes > MAX_SIZE && bytes.is_finite() {
        return Err("it is 1024TiB at most".to_owned());
    }
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Seconds as milliseconds, with three significant digits.
pub(crate) fn millis(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms.abs() {
        0.0..1.0 => format!("{ms:.4}"),
        1.0..10.0 => format!("{ms:.3}"),
        10.0..100.0 => format!("{ms:.2}"),
        _ => format!("{ms:.1}"),
    }
}

/// The end of a name that is too long; names of files differ at the end.
pub(crate) fn tail(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    std::iter::once('\u{2026}').chain(name.chars().skip(length + 1 - width)).collect()
}

/// A number with about three significant digits.
pub(crate) fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".to_owned(),
        0.001..10000.0 => format!("{x:.4}"),
        _ => format!("{x:.2e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(plain("x\u{202e}gnp.R\u{f6}"), "x\\u{202e}gnp.R\u{f6}");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "X-ray")), ["0 X-rays", "1 X-ray", "2 X-rays"]);
    }

    #[test]
    fn errors_name_their_sources_once() {
        let source = || std::io::Error::other("the disk is gone");
        let error = Err::<(), _>(source()).context("cannot write y.npy").unwrap_err();
        assert_eq!(chain(&error), "cannot write y.npy: the disk is gone");
        let error = Err::<(), _>(source()).context("cannot write y.npy: the disk is gone").unwrap_err();
        assert_eq!(chain(&error), "cannot write y.npy: the disk is gone");
    }

    #[test]
    fn digests_have_two_digits_a_byte() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }

    #[test]
    fn sizes_have_units() {
        let texts = [0, 1023, 1024, 5 << 20, 3 << 30, 1 << 42].map(bytes_text);
        let sizes = [45_000_000, 6 << 30, 3 << 29, 6_000_000_000, 1001].map(size_text);
        assert_eq!(sizes, ["45MB", "6GiB", "1536MiB", "6GB", "1001 bytes"]);
        assert_eq!(texts, ["0 bytes", "1023 bytes", "1.0 KiB", "5.0 MiB", "3.0 GiB", "4096.0 GiB"]);
    }

    #[test]
    fn times_have_three_digits() {
        let texts = [0.0, 0.000_012_3, 0.00123, 0.0123, 0.123, 12.3].map(millis);
        assert_eq!(texts, ["0.0000", "0.0123", "1.230", "12.30", "123.0", "12300.0"]);
    }

    #[test]
    fn small_and_large_numbers_are_short() {
        let texts = [0.0, 1.5, -0.25, 1.234e-5, 6.02e23].map(short);
        assert_eq!(texts, ["0", "1.5000", "-0.2500", "1.23e-5", "6.02e23"]);
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("6GB"), Ok(6_000_000_000));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        for (text, bytes) in [("6gb", 6_000_000_000), ("6g", 6_000_000_000), ("3K", 3000), ("3kib", 3072)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("1024tib"), Ok(1 << 50));
        assert!(size("1025TiB").unwrap_err().contains("at most"));
        for text in ["", "6", "GB", "-1GB", "0GB", "infGB", "nanGB", "6 gigs", "1e400GB", "6ki", "6b", "-1"] {
            assert!(size(text).unwrap_err().contains("KiB, MiB"), "{text}");
        }
    }
}
