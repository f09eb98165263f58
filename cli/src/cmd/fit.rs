//! `pleura fit`: how well polynomials stand in for a function.

use crate::model::interval;
use crate::table::Table;
use crate::terminal;
use crate::text::short;
use anyhow::Result;
use clap::Args;
use pleura::nn::{Function, MAX_FIT_DEGREE, fit};
use serde::Serialize;
use std::ops::RangeInclusive;

/// Arguments of `pleura fit`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura fit --function relu
  pleura fit --function gelu --interval -6,6 --degree 4
  pleura fit --function sigmoid --interval -8,8 --degree 3..9 --json")]
pub(crate) struct FitArgs {
    /// relu, relu6, leaky_relu, elu, selu, clip, sigmoid, hardsigmoid, hardswish, tanh, silu, gelu, tanh_gelu, softplus,
    /// abs, exp, erf, softsign or mish.
    #[arg(long, value_name = "NAME")]
    function: Function,

    /// Where the polynomial is close.
    #[arg(long, value_name = "LO,HI", default_value = "-4,4", allow_hyphen_values = true, value_parser = interval)]
    interval: (f64, f64),

    /// A degree, or the first and the last of several.
    #[arg(long, value_name = "D or D..D", default_value = "2..15", value_parser = degrees)]
    degree: RangeInclusive<usize>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Fits {
    function: &'static str,
    interval: [f64; 2],
    fits: Vec<FitRow>,
}

#[derive(Serialize)]
struct FitRow {
    degree: usize,
    /// Levels that the polynomial consumes.
    levels: u32,
    max_error: f64,
    mean_error: f64,
    /// Coefficients of `1, x, x^2, ...`; null where the powers of `x` cancel each other.
    coefficients: Option<Vec<f64>>,
    /// Coefficients of `T_0(t), T_1(t), ...` of `t`, to which the interval is mapped from -1 to 1.
    chebyshev: Vec<f64>,
}

/// Fits one degree after the other.
pub(crate) fn run(args: &FitArgs) -> Result<()> {
    let (from, to) = args.interval;
    let mut fits = Vec::new();
    for degree in args.degree.clone() {
        let fitted = match fit(args.function, degree, from, to) {
            Ok(fitted) => fitted,
            // Fits of lower degrees are still reported.
            Err(error) if !fits.is_empty() => {
                terminal::warn(&format!("stopped before degree {degree}: {error}"));
                break;
            }
            Err(error) => return Err(anyhow::Error::from(error).context("there is no such fit")),
        };
        // A square and the layer that follows are divided at once.
        let levels = if degree == 2 { 1 } else { (degree + 1).next_power_of_two().ilog2() };
        fits.push(FitRow {
            degree,
            levels,
            max_error: fitted.max_error,
            mean_error: fitted.mean_error,
            coefficients: fitted.powers(),
            chebyshev: fitted.chebyshev,
        });
    }
    if args.json {
        return terminal::print_json(
            "fit",
            &Fits { function: args.function.name(), interval: [from, to], fits },
        );
    }
    let mut table = Table::new(0, ["degree", "levels", "largest error", "mean error"]);
    for row in &fits {
        table.row([
            row.degree.to_string(),
            row.levels.to_string(),
            short(row.max_error),
            short(row.mean_error),
        ]);
    }
    let powers: String =
        fits.iter().filter_map(|row| Some(line(row.degree, row.coefficients.as_ref()?))).collect();
    let chebyshev: String = fits.iter().map(|row| line(row.degree, &row.chebyshev)).collect();
    let name = args.function.name();
    terminal::print(&format!(
        "{name} from {from} to {to}\n\n{table}\ndegree  coefficients of 1, x, x^2, ...\n{powers}\n\
         degree  coefficients of T_0(t), T_1(t), ... with t from -1 to 1 on the interval\n{chebyshev}"
    ))
}

/// A degree and its coefficients.
fn line(degree: usize, coefficients: &[f64]) -> String {
    let coefficients: Vec<String> = coefficients.iter().map(|c| format!("{c:.6e}")).collect();
    format!("{degree:>6}  {}\n", coefficients.join("  "))
}

/// `4` or `2..15`, the last one included.
fn degrees(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let ends = first.trim().parse().ok().zip(last.trim().trim_start_matches('=').parse().ok());
    let range = ends.filter(|(first, last)| (1..=*last).contains(first) && *last <= MAX_FIT_DEGREE);
    let range = range.map(|(first, last)| first..=last);
    range.ok_or_else(|| {
        format!("it is a degree from 1 to {MAX_FIT_DEGREE}, or two in order, as in 4 or 2..15")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_one_or_a_range() {
        assert_eq!(degrees("4"), Ok(4..=4));
        assert_eq!(degrees("2..15"), Ok(2..=15));
        assert_eq!(degrees("2..=15"), Ok(2..=15));
        for text in ["", "..", "2..", "5..2", "-1", "x", "0", "0..3", "65", "3..99"] {
            assert!(degrees(text).is_err(), "{text}");
        }
    }
}
