//! Refusals of `serve` and `--server` in a program without the feature `service`.

use clap::Args;
use std::ffi::OsString;

const ABSENT: &str =
    "this program was built without the service: build it with `--features service`, or install a release";

/// `pleura serve` with any arguments.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct NoServe {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _arguments: Vec<OsString>,
}

/// Arguments that name a server.
#[derive(Args)]
pub(crate) struct NoServerArgs {
    #[arg(long = "server", value_name = "URL", hide = true, value_parser = absent)]
    _server: Option<OsString>,

    #[arg(long = "ca", value_name = "FILE", hide = true, value_parser = absent)]
    _ca: Option<OsString>,

    #[arg(long = "token-file", value_name = "FILE", hide = true, value_parser = absent)]
    _token_file: Option<OsString>,
}

/// Fails, as `pleura serve` does.
pub(crate) fn serve() -> anyhow::Result<()> {
    anyhow::bail!(ABSENT)
}

fn absent(_: &str) -> Result<OsString, &'static str> {
    Err(ABSENT)
}
