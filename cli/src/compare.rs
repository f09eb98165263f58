//! stub
use crate::error::CliError;
#[derive(clap::Args)]
pub(crate) struct CompareArgs {}
pub(crate) fn compare(_: &CompareArgs) -> Result<(), CliError> { Ok(()) }
