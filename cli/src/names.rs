//! Names of files as text: without characters that play with a terminal or a spreadsheet, and readable back.

use std::path::Path;

/// A path, and the name of a latent in the file, as a cell of a CSV file: see [`cell`]. An unescaped `#` stands before the latent.
pub(crate) fn path_cell(path: &Path, latent: Option<&str>) -> String {
    let mut out = escaped(path.as_os_str().as_encoded_bytes());
    if let Some(latent) = latent {
        out.push('#');
        out += &escaped(latent.as_bytes());
    }
    out
}

/// Text as a cell of a CSV file, percent-encoded as in URLs where that is needed, and nowhere else: `%`, `#`, what is not Unicode,
/// control characters, marks of direction and other invisible characters, and `=`, `+`, `-` or `@` at the beginning, by
/// which a spreadsheet knows a formula. Any decoder of URLs gives the text back.
pub(crate) fn cell(text: &str) -> String {
    escaped(text.as_bytes())
}

/// Whether a character has no picture of its own: control characters, and those that change or hide what stands around them
/// (marks of direction, joiners, separators, tags; Unicode's categories Cc, Cf, Zl and Zp).
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

fn escaped(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let formula = out.is_empty() && matches!(c, '=' | '+' | '-' | '@');
            if formula || matches!(c, '%' | '#') || is_invisible(c) {
                percent(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
        }
        percent(&mut out, chunk.invalid());
    }
    out
}

fn percent(out: &mut String, bytes: &[u8]) {
    out.extend(bytes.iter().map(|byte| format!("%{byte:02X}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that a cell stands for, as any decoder of URLs has it.
    fn decoded(cell: &str) -> Vec<u8> {
        let mut parts = cell.split('%');
        let mut out = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            out.push(u8::from_str_radix(&part[..2], 16).unwrap());
            out.extend(&part.as_bytes()[2..]);
        }
        out
    }

    #[test]
    fn cells_can_be_read_back() {
        for (text, expected) in [
            ("ward/a b,\"c\".png", "ward/a b,\"c\".png"),
            ("C:\\ward\\a.png", "C:\\ward\\a.png"),
            ("=1+1", "%3D1+1"),
            ("-x", "%2Dx"),
            ("a=b", "a=b"),
            ("50%#1", "50%25%231"),
            ("a\nb\r\t", "a%0Ab%0D%09"),
            ("x\u{202e}gnp.a", "x%E2%80%AEgnp.a"),
            ("R\u{f6}ntgen", "R\u{f6}ntgen"),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected);
            assert_eq!(decoded(expected), text.as_bytes());
        }
        assert_eq!(path_cell(Path::new("a#b"), Some("=c#")), "a%23b#%3Dc%23");
    }

    #[test]
    #[cfg(unix)]
    fn bytes_that_are_not_unicode_are_kept() {
        use std::os::unix::ffi::OsStrExt;
        let bytes = b"a\xff\xc3.png";
        let made = path_cell(Path::new(std::ffi::OsStr::from_bytes(bytes)), None);
        assert_eq!(made, "a%FF%C3.png");
        assert_eq!(decoded(&made), bytes);
    }
}
