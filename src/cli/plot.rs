//! Charts as SVG within a page: lines or groups of bars over named places. Colours are classes, so that the page's style
//! decides about them in light and dark; everything that isn't a number is escaped.

use std::fmt::Write as _;

use super::figures::{plain, short};
use super::html::escaped;

const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 330.0;
/// What lies around the plot: left, right, above, below.
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const ABOVE: f64 = 46.0;
const BELOW: f64 = 50.0;

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Lines,
    Bars,
}

/// One chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub kind: Kind,
    pub title: String,
    /// What the axes are, with their units.
    pub x: String,
    pub y: String,
    /// What the series differ in.
    pub legend: String,
    /// The places on the x axis.
    pub places: Vec<String>,
    pub series: Vec<Series>,
}

/// Values of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Series {
    pub name: String,
    /// One for each place; none where nothing was measured.
    pub values: Vec<Option<f64>>,
    /// Within which bounds each value lies; empty where that isn't told.
    pub spans: Vec<Option<(f64, f64)>>,
}

impl Chart {
    /// Whether there is anything to be drawn.
    pub fn is_empty(&self) -> bool {
        self.series.iter().flat_map(|series| &series.values).flatten().next().is_none()
    }

    /// The chart as a figure of a page.
    pub fn svg(&self) -> String {
        let title = escaped(&self.title);
        let mut out = format!(
            "<figure><figcaption>{title}</figcaption>\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n"
        );
        let values = self.series.iter().flat_map(|series| &series.values).flatten().copied();
        let tops = self.series.iter().flat_map(|series| &series.spans).flatten().map(|(_, top)| *top);
        let scale = Scale::over(values.chain(tops));
        self.axes(&scale, &mut out);
        for (n, series) in self.series.iter().enumerate() {
            match self.kind {
                Kind::Lines => self.line(n, series, &scale, &mut out),
                Kind::Bars => self.bars(n, series, &scale, &mut out),
            }
        }
        self.names(&mut out);
        out.push_str("</svg></figure>\n");
        out
    }

    fn axes(&self, scale: &Scale, out: &mut String) {
        let (end, foot) = (WIDTH - RIGHT, HEIGHT - BELOW);
        for tick in scale.ticks() {
            let (y, value) = (scale.y(tick), short(tick));
            add(out, format_args!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\"/>"));
            add(out, format_args!("<text class=\"tick end\" x=\"{}\" y=\"{:.1}\">{value}</text>", LEFT - 8.0, y + 4.0));
        }
        add(out, format_args!("<line class=\"axis\" x1=\"{LEFT}\" y1=\"{foot}\" x2=\"{end}\" y2=\"{foot}\"/>"));
        for (place, name) in self.places.iter().enumerate() {
            let (x, name) = (self.middle(place), escaped(name));
            add(out, format_args!("<text class=\"tick mid\" x=\"{x:.1}\" y=\"{}\">{name}</text>", foot + 18.0));
        }
        let (x, y) = ((LEFT + end) / 2.0, (ABOVE + foot) / 2.0);
        let (x_name, y_name) = (escaped(&self.x), escaped(&self.y));
        add(out, format_args!("<text class=\"label mid\" x=\"{x:.1}\" y=\"{}\">{x_name}</text>", HEIGHT - 8.0));
        let turned = format!("x=\"14\" y=\"{y:.1}\" transform=\"rotate(-90 14 {y:.1})\"");
        add(out, format_args!("<text class=\"label mid\" {turned}>{y_name}</text>"));
    }

    fn line(&self, n: usize, series: &Series, scale: &Scale, out: &mut String) {
        let at = |(place, value): (usize, &Option<f64>)| value.map(|value| (place, value));
        let points: Vec<(usize, f64)> = series.values.iter().enumerate().filter_map(at).collect();
        let path = points.iter().map(|(place, value)| format!("{:.1},{:.1}", self.middle(*place), scale.y(*value)));
        let path: Vec<String> = path.collect();
        add(out, format_args!("<polyline class=\"line {}\" points=\"{}\"/>", colour(n), path.join(" ")));
        for (place, value) in points {
            let (x, y) = (self.middle(place), scale.y(value));
            let span = span(series, place, x, scale);
            add(out, format_args!("<g>{}{span}{}</g>", self.told(series, place, value), mark(n, x, y)));
        }
    }

    fn bars(&self, n: usize, series: &Series, scale: &Scale, out: &mut String) {
        let width = (self.step() * 0.72 / self.series.len().max(1) as f64).min(72.0);
        let left = n as f64 - self.series.len() as f64 / 2.0;
        for (place, value) in series.values.iter().enumerate() {
            let Some(value) = *value else { continue };
            let (x, y) = (self.middle(place) + left * width, scale.y(value));
            let (height, middle) = (HEIGHT - BELOW - y, x + width / 2.0);
            let rect = format!(
                "<rect class=\"{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"2\"/>",
                colour(n),
                x + 1.0,
                width - 2.0
            );
            let (figure, span) = (plain(value), span(series, place, middle, scale));
            // Above the bounds as well.
            let top = series.spans.get(place).copied().flatten().map_or(y, |(_, top)| scale.y(top).min(y));
            let text = format!("<text class=\"value mid\" x=\"{middle:.1}\" y=\"{:.1}\">{figure}</text>", top - 5.0);
            add(out, format_args!("<g>{}{rect}{span}{text}</g>", self.told(series, place, value)));
        }
    }

    /// What a browser shows where the pointer rests.
    fn told(&self, series: &Series, place: usize, value: f64) -> String {
        let at = self.places.get(place).map_or("", String::as_str);
        let mut text = format!("{}, {}: {} {}", series.name, at, plain(value), self.y);
        if let Some((low, high)) = series.spans.get(place).copied().flatten() {
            text.push_str(&format!(" ({} to {})", plain(low), plain(high)));
        }
        format!("<title>{}</title>", escaped(&text))
    }

    /// The legend, above the plot.
    fn names(&self, out: &mut String) {
        if self.series.len() < 2 && self.legend.is_empty() {
            return;
        }
        let mut x = LEFT;
        if !self.legend.is_empty() {
            add(out, format_args!("<text class=\"label\" x=\"{x:.1}\" y=\"20\">{}</text>", escaped(&self.legend)));
            x += wide(&self.legend) + 12.0;
        }
        for (n, series) in self.series.iter().enumerate() {
            let sign = match self.kind {
                Kind::Lines => mark(n, x + 6.0, 16.0),
                Kind::Bars => {
                    format!("<rect class=\"{}\" x=\"{x:.1}\" y=\"10\" width=\"12\" height=\"12\" rx=\"2\"/>", colour(n))
                }
            };
            let name = escaped(&series.name);
            add(out, format_args!("{sign}<text class=\"tick\" x=\"{:.1}\" y=\"20\">{name}</text>", x + 17.0));
            x += 17.0 + wide(&series.name) + 16.0;
        }
    }

    fn step(&self) -> f64 {
        (WIDTH - LEFT - RIGHT) / self.places.len().max(1) as f64
    }

    fn middle(&self, place: usize) -> f64 {
        LEFT + self.step() * (place as f64 + 0.5)
    }
}

/// How wide a text is, about.
fn wide(text: &str) -> f64 {
    text.chars().count() as f64 * 6.6
}

/// A line of its own. Writing to a string can't fail.
fn add(out: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{line}");
}

fn colour(n: usize) -> &'static str {
    ["s0", "s1", "s2", "s3", "s4", "s5"][n % 6]
}

/// The bounds of a value, as a line with two ends.
fn span(series: &Series, place: usize, x: f64, scale: &Scale) -> String {
    let Some((low, high)) = series.spans.get(place).copied().flatten() else { return String::new() };
    let (low, high, left, right) = (scale.y(low), scale.y(high), x - 4.0, x + 4.0);
    format!(
        "<path class=\"span\" d=\"M{x:.1} {low:.1}V{high:.1}M{left:.1} {low:.1}H{right:.1}M{left:.1} {high:.1}H{right:.1}\"/>"
    )
}

/// Series differ in more than their colours.
fn mark(n: usize, x: f64, y: f64) -> String {
    let class = colour(n);
    match n % 4 {
        0 => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\"/>"),
        1 => {
            let (x, y) = (x - 4.2, y - 4.2);
            format!("<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"8.4\" height=\"8.4\"/>")
        }
        2 => {
            let (up, down) = (y - 5.5, y + 4.2);
            let (left, right) = (x - 5.2, x + 5.2);
            format!("<path class=\"{class}\" d=\"M{x:.1} {up:.1}L{right:.1} {down:.1}L{left:.1} {down:.1}Z\"/>")
        }
        _ => {
            let (up, down, left, right) = (y - 5.8, y + 5.8, x - 5.8, x + 5.8);
            format!(
                "<path class=\"{class}\" d=\"M{x:.1} {up:.1}L{right:.1} {y:.1}L{x:.1} {down:.1}L{left:.1} {y:.1}Z\"/>"
            )
        }
    }
}

/// The y axis: from 0 to a round number.
struct Scale {
    step: f64,
    most: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let most = if most > 0.0 { most } else { 1.0 };
        let power = 10_f64.powf((most / 4.0).log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| most / step <= 5.0);
        let step = step.unwrap_or(most);
        Self { step, most: (most * 1.02 / step).ceil() * step }
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (step, most) = (self.step, self.most);
        (0..=20).map(move |n| f64::from(n) * step).take_while(move |tick| *tick <= most * 1.001)
    }

    fn y(&self, value: f64) -> f64 {
        let height = HEIGHT - ABOVE - BELOW;
        HEIGHT - BELOW - height * (value / self.most).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(kind: Kind) -> Chart {
        let series = |name: &str, values: &[Option<f64>]| {
            let (name, values) = (name.to_owned(), values.to_vec());
            Series { name, values, ..Series::default() }
        };
        Chart {
            kind,
            title: "Speed <b>".into(),
            x: "requests".into(),
            y: "tokens/s".into(),
            legend: "prompt:".into(),
            places: ["1", "2"].map(str::to_owned).to_vec(),
            series: vec![series("128", &[Some(60.0), Some(98.0)]), series("1024", &[Some(50.0), None])],
        }
    }

    #[test]
    fn axes_end_at_round_numbers() {
        let ticks = |most: f64| Scale::over([most].into_iter()).ticks().map(short).collect::<Vec<_>>().join(" ");
        assert_eq!(ticks(98.0), "0 20 40 60 80 100");
        assert_eq!(ticks(0.9), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(ticks(1234.0), "0 250 500 750 1000 1250 1500");
        assert_eq!(ticks(0.0), "0 0.2 0.4 0.6 0.8 1 1.2");
    }

    #[test]
    fn a_line_has_a_mark_for_each_value_and_none_where_nothing_was_measured() {
        let svg = chart(Kind::Lines).svg();
        assert_eq!(svg.matches("<title>").count(), 3, "{svg}");
        assert!(svg.contains("<title>128, 2: 98.0 tokens/s</title>"), "{svg}");
        assert!(svg.contains("Speed &lt;b&gt;") && !svg.contains("<b>"), "{svg}");
        assert!(svg.contains("prompt:") && svg.contains(">requests<") && svg.contains(">tokens/s<"), "{svg}");
    }

    #[test]
    fn bounds_are_drawn_and_told_and_have_room() {
        let mut chart = chart(Kind::Bars);
        chart.series[0].spans = vec![Some((40.0, 70.0)), Some((90.0, 140.0))];
        let svg = chart.svg();
        assert_eq!(svg.matches("class=\"span\"").count(), 2, "{svg}");
        assert!(svg.contains("<title>128, 2: 98.0 tokens/s (90.0 to 140)</title>"), "{svg}");
        assert!(svg.contains(">150</text>") && !svg.contains("y=\"-"), "{svg}");
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        let svg = chart(Kind::Bars).svg();
        // 98 of 100, of a plot that is 234 high.
        assert!(svg.contains(&format!("height=\"{:.1}\"", 234.0 * 0.98)), "{svg}");
        assert!(svg.contains(">98.0</text>"), "{svg}");
    }
}
