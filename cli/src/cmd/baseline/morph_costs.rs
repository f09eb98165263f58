//! Costs of metamorphosed learning, as JSON and as text.

use crate::table::Table;
use crate::text::bytes_text;
use pleura::baselines::mole::{CLAIMED_COMPUTE, CLAIMED_DATA, LayerShape, Overheads};
use serde_json::{Value, json};

/// Counted and claimed costs of a layer, for programs.
pub(super) fn costs_json(costs: &Overheads, layer: &LayerShape) -> Value {
    let mut value = json!({
        "morph_multiply_adds": costs.morph,
        "plain_multiply_adds": costs.plain,
        "augmented_multiply_adds": costs.augmented,
        "claimed_extra_compute": CLAIMED_COMPUTE,
        "image_bytes": costs.image_bytes,
        "morphed_bytes": costs.morphed_bytes,
        "augmented_bytes": costs.augmented_bytes,
        "extra_data_of_60000_images": costs.extra_data(60_000),
        "claimed_extra_data": CLAIMED_DATA,
    });
    if let Some((map, share)) = value.as_object_mut().zip(costs.extra_compute_of_vgg16(layer)) {
        map.insert("extra_compute_of_vgg16".into(), share.into());
    }
    value
}

/// Counted costs, with the seconds of each row for one image where they were measured.
pub(super) fn costs_table(costs: &Overheads, seconds: Option<[f64; 3]>) -> Table {
    let mut table = Table::new(1, ["", "multiply-adds", "bytes", "seconds"]);
    let rows = [
        ("plain first layer, image in 8 bits", costs.plain, costs.image_bytes),
        ("morphing, morphed image", costs.morph, costs.morphed_bytes),
        ("augmented first layer, sent once", costs.augmented, costs.augmented_bytes),
    ];
    for (k, (name, work, bytes)) in rows.into_iter().enumerate() {
        let seconds = seconds.and_then(|seconds| seconds.get(k).copied());
        let seconds = seconds.map_or_else(|| "-".into(), |s| format!("{s:.6}"));
        table.row([name.into(), format!("{:.3e}", work as f64), bytes_text(bytes), seconds]);
    }
    table
}

/// The paper's figures for VGG-16 on CIFAR-10, with the counted ones.
pub(super) fn claims(costs: &Overheads, layer: &LayerShape) -> String {
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let compute = costs.extra_compute_of_vgg16(layer).map_or_else(
        || format!("{:.1} times the plain first layer's", costs.extra_compute(costs.plain)),
        |share| format!("{} of VGG-16's", percent(share)),
    );
    format!(
        "claimed     {} more computation, {} more data (VGG-16 on 60,000 images of CIFAR-10)\n\
         here        {compute} more; {} of 60,000 morphed images",
        percent(CLAIMED_COMPUTE),
        percent(CLAIMED_DATA),
        percent(costs.extra_data(60_000))
    )
}
