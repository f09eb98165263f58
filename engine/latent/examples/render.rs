//! Renders image files as an X-ray is seen by a codec: 256x256 pixels of grey.
//!
//! usage: `render IMAGE OUTPUT.png`. Notes go to standard output. The exit code is 2 if the image is refused.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use pleura_latent::Xray;
use std::error::Error;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [image, output] = args.as_slice() else {
        return Err("usage: render IMAGE OUTPUT.png".into());
    };
    let (xray, notes) = match Xray::from_bytes(&std::fs::read(image)?) {
        Ok(read) => read,
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(2));
        }
    };
    notes.iter().for_each(|note| println!("{note}"));
    std::fs::write(output, xray.to_png()?)?;
    Ok(ExitCode::SUCCESS)
}
