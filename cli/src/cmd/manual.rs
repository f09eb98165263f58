//! `pleura completions` and `pleura man`: files for shells and for `man`.

use crate::{files, terminal};
use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use std::fs;
use std::path::PathBuf;

/// Arguments of `pleura completions`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura completions bash > ~/.local/share/bash-completion/completions/pleura
  pleura completions zsh > ~/.zfunc/_pleura
  pleura completions fish > ~/.config/fish/completions/pleura.fish")]
pub(crate) struct CompletionsArgs {
    /// Shell that the script is for.
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `pleura man`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder for the pages; it is created if missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,
}

/// Prints the completion script of a shell.
pub(crate) fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "pleura", &mut script);
    terminal::print_bytes(&script)
}

/// Writes a page for the program and for each command.
pub(crate) fn man(args: &ManArgs, mut command: Command) -> Result<()> {
    files::check_folder(&args.folder)?;
    fs::create_dir_all(&args.folder).with_context(|| files::cannot_write(&args.folder))?;
    command.build();
    let mut written = 0;
    let mut waiting = vec![command];
    while let Some(command) = waiting.pop() {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
        let path = args.folder.join(format!("{name}.1"));
        let mut page = Vec::new();
        Man::new(command.clone()).render(&mut page).with_context(|| files::cannot_write(&path))?;
        files::check_writable(&path, args.force)?;
        files::write(&path, &[&page], args.force, false)?;
        written += 1;
        waiting.extend(
            command
                .get_subcommands()
                .filter(|inner| inner.get_name() != "help" && !inner.is_hide_set())
                .cloned(),
        );
    }
    terminal::print(&format!("{written} pages in {}\n", args.folder.display()))
}
