//! `pleura models`: what is shipped.

use crate::classifier;
use crate::table::Table;
use crate::terminal;
use crate::text::bytes_text;
use anyhow::Result;
use clap::Args;
use pleura::xray::shipped::{self, CODEC_CARD, CODECS, MODELS};
use serde_json::{Value, json};

/// Arguments of `pleura models`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura models
  pleura models pneumonia
  pleura models f8")]
pub(crate) struct ModelsArgs {
    /// Print the card of this network or codec: training, evaluation, limits.
    #[arg(value_name = "NAME")]
    name: Option<String>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Lists them, or prints a card.
pub(crate) fn models(args: &ModelsArgs) -> Result<()> {
    if let Some(name) = &args.name {
        let is_codec = CODECS.iter().any(|(codec, _)| codec == name);
        let card = if is_codec { CODEC_CARD } else { shipped::model(name)?.card };
        return if args.json {
            terminal::print_json("models", &json!({ "name": name, "card": card }))
        } else {
            terminal::print(card)
        };
    }
    let loaded = MODELS.iter().map(|model| Ok((model, classifier::load(model.name)?)));
    let loaded = loaded.collect::<Result<Vec<_>>>()?;
    let codecs = CODECS.iter().map(|(name, bytes)| Ok((shipped::codec(name)?, bytes.len())));
    let codecs = codecs.collect::<Result<Vec<_>>>()?;
    if args.json {
        let networks = loaded.iter().map(|(model, classifier)| {
            json!({
                "name": model.name,
                "about": model.about,
                "classes": classifier.classes(),
                "pixel_scaling": classifier.preprocessing().scaling().map(|scaling| scaling.to_string()),
                "codec": classifier.preprocessing().codec().map(|codec| codec.name().to_owned()),
                "input_shape": classifier.network().input_shape(),
                "bytes": model.onnx.len(),
            })
        });
        let codecs = codecs.iter().map(|(codec, bytes)| {
            json!({
                "name": codec.name(), "latent_shape": codec.latent_shape(), "id": format!("{:016x}", codec.id()), "bytes": bytes,
            })
        });
        let (networks, codecs): (Value, Value) = (networks.collect(), codecs.collect());
        return terminal::print_json("models", &json!({ "networks": networks, "codecs": codecs }));
    }
    let mut networks = Table::new(4, ["network", "classes", "sees", "what it is", "size"]);
    for (model, classifier) in &loaded {
        let sees = classifier
            .preprocessing()
            .codec()
            .map_or_else(|| "pixels".to_owned(), |codec| format!("{} latents", codec.name()));
        let classes = classifier.classes().join(", ");
        let size = bytes_text(model.onnx.len() as u64);
        networks.row([model.name.into(), classes, sees, model.about.into(), size]);
    }
    let mut table = Table::new(2, ["codec", "latent", "size"]);
    for (codec, bytes) in &codecs {
        let [channels, height, width] = codec.latent_shape();
        table.row([codec.name().into(), format!("{channels}x{height}x{width}"), bytes_text(*bytes as u64)]);
    }
    terminal::print(&format!("{networks}\n{table}\n`pleura models NAME` prints a card.\n"))
}
