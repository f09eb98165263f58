//! Texts below the options of a command: paragraphs wrap to the terminal, however the source breaks their lines.

use clap::Command;

/// A command, and all commands below it, with each paragraph of such a text in one line, which clap wraps.
pub(crate) fn with_paragraphs(command: Command) -> Command {
    let text = command.get_after_help().map(|text| paragraphs(&text.to_string()));
    let command = match text {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(with_paragraphs)
}

/// Joins neighbouring lines that are not indented. Indented lines, such as examples, stand alone.
fn paragraphs(text: &str) -> String {
    let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ');
    let mut joined = String::new();
    let mut follows_text = false;
    for line in text.lines() {
        if !joined.is_empty() {
            joined.push(if follows_text && is_text(line) { ' ' } else { '\n' });
        }
        joined.push_str(line);
        follows_text = is_text(line);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_lines() {
        let text = "Examples:\n  pleura a\n  pleura b\n\nOne\ntwo\nthree.\n\nFour.";
        assert_eq!(paragraphs(text), "Examples:\n  pleura a\n  pleura b\n\nOne two three.\n\nFour.");
    }
}
