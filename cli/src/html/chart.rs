//! Charts as SVG, in colours that the page's style replaces: one drawing serves light, dark and print.

use crate::text::plain;
use plotters::coord::combinators::IntoLogRange;
use plotters::coord::ranged1d::{AsRangedCoord, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Number of colours of series.
pub(crate) const COLOURS: usize = 6;
/// Text and axes.
const INK: RGBColor = RGBColor(2, 0, 1);
/// Lines of the grid.
const GRID: RGBColor = RGBColor(2, 0, 2);
/// Width of a drawing.
const WIDTH: u32 = 500;
/// Size of the text.
const TEXT: u32 = 13;
/// Characters of a label beyond which it is cut.
const LABEL: usize = 32;

type Error = Box<dyn std::error::Error>;

/// An axis of values.
pub(crate) struct Axis<'a> {
    text: Box<dyn Fn(f64) -> String + 'a>,
    log: bool,
}

/// A series of points.
pub(crate) struct Series {
    /// Points from left to right.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether they are joined.
    pub(crate) line: bool,
    /// Whether they are drawn.
    pub(crate) dots: bool,
}

impl<'a> Axis<'a> {
    /// An axis from zero, or from the least value below it.
    pub(crate) fn linear(text: impl Fn(f64) -> String + 'a) -> Self {
        Self { text: Box::new(text), log: false }
    }

    /// An axis of positive values by their logarithms.
    pub(crate) fn log(text: impl Fn(f64) -> String + 'a) -> Self {
        Self { text: Box::new(text), log: true }
    }
}

/// Bars to the right, one of each series for each label, the first on top; nothing without a positive value. The values of a series
/// have the order of the labels.
pub(crate) fn bars(labels: &[String], series: &[Vec<Option<f64>>], axis: &Axis<'_>) -> Option<String> {
    let values = series.iter().flatten().flatten().copied().filter(|value| value.is_finite() && *value > 0.0);
    let most = values.clone().fold(0.0, f64::max);
    let least = values.fold(f64::INFINITY, f64::min);
    if most <= 0.0 || labels.is_empty() {
        return None;
    }
    let mut svg = String::new();
    let drawn = if axis.log {
        let range = (least / 2.0, most * (most / least).max(4.0).powf(0.35));
        draw_bars(&mut svg, labels, series, range, (range.0..range.1).log_scale(), &axis.text)
    } else {
        let range = (0.0, most * 1.3);
        draw_bars(&mut svg, labels, series, range, range.0..range.1, &axis.text)
    };
    drawn.ok().map(|()| svg)
}

fn draw_bars<X>(
    svg: &mut String,
    labels: &[String],
    series: &[Vec<Option<f64>>],
    (least, _): (f64, f64),
    range: X,
    text: &dyn Fn(f64) -> String,
) -> Result<(), Error>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let labels: Vec<String> = labels.iter().map(|label| cut(label)).collect();
    let longest = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0) as u32;
    let count = labels.len() as f64;
    let rows = (labels.len() * series.len()) as u32;
    let height = 45 + labels.len() as u32 * 10 + rows * 15;
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(4)
        .margin_right(12)
        .x_label_area_size(24)
        .y_label_area_size(longest * 7 + 14)
        .build_cartesian_2d(range, Rows(&labels))?;
    let style = ("sans-serif", TEXT).into_font().color(&INK);
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(5)
        .x_label_formatter(&|x| brief(*x))
        .y_labels(labels.len())
        .label_style(style.clone())
        .draw()?;
    let each = 0.8 / series.len() as f64;
    for (number, values) in series.iter().enumerate() {
        for (i, value) in values.iter().enumerate() {
            let Some(value) = value.filter(|value| value.is_finite() && *value > 0.0) else { continue };
            let top = count - i as f64 - 0.1 - each * number as f64;
            let bar = Rectangle::new([(least, top), (value, top - each)], colour(number).filled());
            let end = style.pos(Pos::new(HPos::Left, VPos::Center));
            chart.draw_series([bar])?;
            chart.draw_series([
                EmptyElement::at((value, top - each / 2.0)) + Text::new(text(value), (4, 0), end)
            ])?;
        }
    }
    drop(chart);
    root.present()?;
    Ok(())
}

/// Rows of equal height with labels, the first on top.
struct Rows<'a>(&'a [String]);

impl Ranged for Rows<'_> {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + (f64::from(to - from) * value / self.0.len() as f64).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        (0..self.0.len()).map(|row| row as f64 + 0.5).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        0.0..self.0.len() as f64
    }
}

impl ValueFormatter<f64> for Rows<'_> {
    fn format_ext(&self, value: &f64) -> String {
        let from_top = self.0.len().checked_sub(1 + value.floor() as usize);
        from_top.and_then(|row| self.0.get(row)).map_or_else(String::new, String::clone)
    }
}

/// Points and lines on axes that may be logarithmic; nothing without a finite point. The vertical axis is linear where its values span
/// less than a factor of ten: between powers of ten it would have no tick.
pub(crate) fn lines(series: &[Series], log: [bool; 2], names: [&str; 2]) -> Option<String> {
    let points = || {
        let all = series.iter().flat_map(|series| &series.points);
        all.filter(|(a, b)| a.is_finite() && b.is_finite() && (!log[0] || *a > 0.0) && (!log[1] || *b > 0.0))
    };
    points().next()?;
    let x_range = range(points().map(|point| point.0), log[0]);
    let heights = points().map(|point| point.1);
    let is_tall = heights.clone().fold(0.0, f64::max) >= 10.0 * heights.clone().fold(f64::INFINITY, f64::min);
    let log = [log[0], log[1] && is_tall];
    let y_range = range(heights, log[1]);
    let mut svg = String::new();
    let xs = x_range.0..x_range.1;
    let ys = y_range.0..y_range.1;
    let drawn = match (log[0], log[1]) {
        (true, true) => draw_lines(&mut svg, series, xs.log_scale().base(2.0), ys.log_scale(), names),
        (true, false) => draw_lines(&mut svg, series, xs.log_scale().base(2.0), ys, names),
        (false, true) => draw_lines(&mut svg, series, xs, ys.log_scale(), names),
        (false, false) => draw_lines(&mut svg, series, xs, ys, names),
    };
    drawn.ok().map(|()| svg)
}

fn draw_lines<X, Y>(
    svg: &mut String,
    series: &[Series],
    x: X,
    y: Y,
    [x_name, y_name]: [&str; 2],
) -> Result<(), Error>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let root = SVGBackend::with_string(svg, (WIDTH, 320)).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .x_labels(6)
        .y_labels(6)
        .x_desc(plain(x_name))
        .y_desc(plain(y_name))
        .x_label_formatter(&|x| brief(*x))
        .y_label_formatter(&|y| brief(*y))
        .label_style(("sans-serif", TEXT).into_font().color(&INK))
        .axis_desc_style(("sans-serif", TEXT).into_font().color(&INK))
        .draw()?;
    for (number, Series { points, line, dots }) in series.iter().enumerate() {
        let style = colour(number).stroke_width(2);
        if *line {
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        }
        if *dots {
            chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour(number).filled())))?;
        }
    }
    drop(chart);
    root.present()?;
    Ok(())
}

/// A range with all values and some room.
fn range(values: impl Iterator<Item = f64> + Clone, log: bool) -> (f64, f64) {
    let least = values.clone().fold(f64::INFINITY, f64::min);
    let most = values.fold(f64::NEG_INFINITY, f64::max);
    if log {
        return (least / 1.3, most * 1.3);
    }
    let room = 0.05 * (most - least).max(f64::MIN_POSITIVE).max(1e-9 * most.abs());
    (least.min(0.0) - if least < 0.0 { room } else { 0.0 }, most + room)
}

/// The colour that stands for a series.
fn colour(series: usize) -> RGBColor {
    RGBColor(1, 0, (series % COLOURS) as u8 + 1)
}

/// A number in few characters, as ticks have them.
pub(crate) fn brief(value: f64) -> String {
    let text = match value.abs() {
        0.0 => return "0".to_owned(),
        1e6.. => return format!("{value:.1e}"),
        100.0.. => format!("{value:.0}"),
        1.0.. => format!("{value:.2}"),
        0.001.. => format!("{value:.4}"),
        _ => return format!("{value:.0e}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn cut(label: &str) -> String {
    let label = plain(label);
    match label.char_indices().nth(LABEL) {
        Some(_) => label.chars().take(LABEL - 1).chain(['\u{2026}']).collect(),
        None => label,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_have_every_value_and_no_colour_of_their_own() {
        let labels = ["ntt".to_owned(), "a name that is longer than a label may be".to_owned()];
        let values = [vec![Some(1.5), Some(300.0)], vec![Some(2.5), None]];
        for axis in [Axis::linear(|x| format!("{x:.1}")), Axis::log(|x| format!("{x:.1}"))] {
            let svg = bars(&labels, &values, &axis).unwrap();
            assert!(["1.5", "300.0", "2.5", "ntt"].iter().all(|text| svg.contains(text)), "{svg}");
            let own = svg.split('"').filter(|part| part.starts_with('#') && !part.starts_with("#0"));
            assert_eq!(
                own.filter(|colour| colour.len() == 7).collect::<Vec<_>>(),
                Vec::<&str>::new(),
                "{svg}"
            );
        }
        let line = Series { points: vec![(1.0, 10.0), (8.0, 40.0)], line: true, dots: true };
        assert!(lines(&[line], [true, false], ["batch", "items/s"]).is_some());
        let close = Series { points: vec![(1.0, 206.0), (8.0, 214.0)], line: true, dots: true };
        let svg = lines(&[close], [true, true], ["batch", "items/s"]).unwrap();
        assert!(["50", "100", "150", "200"].iter().all(|tick| svg.contains(&format!("\n{tick}\n"))), "{svg}");
        let texts = [0.0, 0.25, 1.0, 1.5, 120.4, 2.5e7, 1e-5].map(brief);
        assert_eq!(texts, ["0", "0.25", "1", "1.5", "120", "2.5e7", "1e-5"]);
    }

    #[test]
    fn nothing_is_no_chart() {
        let axis = Axis::log(|x| x.to_string());
        assert_eq!(bars(&[], &[], &axis), None);
        assert_eq!(
            bars(&["x".to_owned()], &[vec![Some(f64::NAN)], vec![None], vec![Some(0.0)]], &axis),
            None
        );
        let empty = Series { points: vec![(0.0, 1.0)], line: true, dots: true };
        assert_eq!(lines(&[empty], [true, true], ["x", "y"]), None);
    }
}
