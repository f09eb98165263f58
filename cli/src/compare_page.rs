//! The comparison as one page that needs nothing else.

use crate::baseline::images::png;
use crate::statistics::{accuracy_text, auc_text};
use crate::text::bytes_text;
use crate::way::{PAIRED, Protection, TRAINED, Way};
use anyhow::Result;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:1180px;margin:2rem auto;padding:0 1rem;color:#1c2126;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{padding:.45rem .6rem;text-align:left;vertical-align:top;border-bottom:1px solid #d8dde2}\
td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}img{width:128px;height:128px;image-rendering:pixelated;display:block}\
.bad{color:#a3261b;font-weight:600}.good{color:#1b6b3a;font-weight:600}small{color:#59636d}";

/// The page.
pub(crate) fn page(
    ways: &[Way],
    original: &[u8],
    count: usize,
    labelled: usize,
    side: usize,
) -> Result<String> {
    let mut rows = String::new();
    for way in ways {
        let picture = match &way.picture {
            Some(pixels) => image(pixels, &format!("picture recovered from {}", way.name))?,
            None => "<small>none</small>".to_owned(),
        };
        let class = if way.protection == Protection::Encrypted { "good" } else { "bad" };
        let verdict = way.protection.text();
        rows += &format!(
            "<tr><td><b>{}</b><br><small>{}</small></td><td class=n>{}</td><td class=n>{}</td><td class=n>{:.4}</td><td \
             class=n>{}</td><td class=n>{:.2}</td><td class=n>{}</td><td class=n>{}</td><td>{picture}<small>{}</small></td><td><span \
             class={class}>{verdict}</span><br><small>{}</small></td></tr>\n",
            plain(way.name),
            plain(&way.about),
            accuracy_text(&way.quality),
            auc_text(&way.quality),
            way.client_seconds,
            way.server_seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.4}")),
            way.setup_seconds,
            bytes_text(way.bytes),
            bytes_text(way.setup_bytes),
            plain(&way.attack_result),
            plain(way.assumption),
        );
    }
    Ok(format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n<title>Ways to classify \
         X-rays</title>\n<style>{STYLE}</style>\n<h1>Methods to classify the same X-rays</h1>\n<p>{count} X-rays, {labelled} of them with \
         known labels. Seconds and bytes are for one X-ray, on the machine that made this page; setup is separate. Intervals are of 95 %. {PAIRED} {TRAINED} Paillier as published \
         encrypts {side}x{side} pixels.</p>\n<figure>{}<figcaption><small>The first X-ray, as it is.</small></figcaption></figure>\n\
         <table>\n<tr><th><th>accuracy<th>AUC<th>client s<th>server s<th>setup s<th>bytes<th>setup bytes<th>attack recovers<th>protection</tr>\n\
         {rows}</table>\n<p><small>Not a medical device. Made by <code>pleura compare</code>.</small></p>\n</html>\n",
        image(original, "the first X-ray")?
    ))
}

fn image(pixels: &[u8], alt: &str) -> Result<String> {
    Ok(format!("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", plain(alt), base64(&png(pixels)?)))
}

/// Without what means something in HTML.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain([&0; 2]).take(3).fold(0u32, |word, &byte| word << 8 | u32::from(byte));
        for digit in 0..4 {
            let value = (word >> (18 - 6 * digit) & 63) as usize;
            let character =
                if digit > chunk.len() { b'=' } else { DIGITS.get(value).copied().unwrap_or(b'=') };
            text.push(char::from(character));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
    }

    #[test]
    fn names_cannot_become_tags() {
        assert_eq!(plain("<b>\"&"), "&lt;b&gt;&quot;&amp;");
    }
}
