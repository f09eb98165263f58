//! Native module `pleura._pleura` of the Python package: the engine's pipelines for Python.
//!
//! It converts arguments, releases the interpreter's lock, and turns errors and panics into exceptions (`work`,
//! `failure`). Names, documentation and what needs no engine are Python, in `python/pleura`.

mod arrays;
mod checks;
mod device;
mod failure;
mod pipeline;
mod plan;
mod sides;
mod work;
mod xray;

use pyo3::prelude::*;

/// The engine of the package `pleura`.
#[pymodule]
fn _pleura(module: &Bound<'_, PyModule>) -> PyResult<()> {
    work::note_process();
    module.add("VERSION", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(device::devices, module)?)?;
    module.add_function(wrap_pyfunction!(plan::compile, module)?)?;
    module.add_function(wrap_pyfunction!(plan::ranges, module)?)?;
    module.add_function(wrap_pyfunction!(plan::restore, module)?)?;
    module.add_function(wrap_pyfunction!(xray::samples, module)?)?;
    module.add_function(wrap_pyfunction!(xray::models, module)?)?;
    module.add_function(wrap_pyfunction!(work::panic_for_tests, module)?)?;
    module.add_class::<plan::Plan>()?;
    module.add_class::<pipeline::Pipeline>()?;
    module.add_class::<sides::Client>()?;
    module.add_class::<sides::Server>()?;
    module.add_class::<sides::Session>()?;
    module.add_class::<xray::XrayClassifier>()?;
    module.add_class::<xray::XrayPreparation>()
}
