//! The little of SVG that the figures need: a frame with two scales, lines, boxes, words.

use core::fmt::Write as _;

/// A drawing area with axes. Coordinates that go in are those of the data.
pub(super) struct Chart {
    pub(super) x: Scale,
    pub(super) y: Scale,
    width: f64,
    height: f64,
    body: String,
}

/// From data to pixels, linear or logarithmic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    log: bool,
    first: f64,
    last: f64,
}

impl Scale {
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self { low, high, log: false, first: 0.0, last: 1.0 }
    }

    /// Logarithmic, widened to whole decades.
    pub(super) fn log(low: f64, high: f64) -> Self {
        let low = libm::pow(10.0, libm::floor(libm::log10(low.max(1e-12)) + 1e-9));
        let high = libm::pow(10.0, libm::ceil(libm::log10(high.max(1e-12)) - 1e-9));
        Self { low, high: if high > low { high } else { low * 10.0 }, log: true, first: 0.0, last: 1.0 }
    }

    fn between(self, first: f64, last: f64) -> Self {
        Self { first, last, ..self }
    }

    /// Pixel of a value; values outside are moved to the edge.
    pub(super) fn at(&self, value: f64) -> f64 {
        let (v, low, high) = if self.log {
            (libm::log10(value.max(self.low)), libm::log10(self.low), libm::log10(self.high))
        } else {
            (value, self.low, self.high)
        };
        let share = ((v - low) / (high - low)).clamp(0.0, 1.0);
        self.first + share * (self.last - self.first)
    }

    /// Round values to label: steps of 1, 2 or 5; decades.
    fn ticks(&self, about: f64) -> Vec<f64> {
        if self.log {
            let decades = libm::round(libm::log10(self.high / self.low)) as i32;
            let every = (decades / 7).max(0) + 1;
            return (0..=decades)
                .step_by(every as usize)
                .map(|d| self.low * libm::pow(10.0, f64::from(d)))
                .collect();
        }
        let raw = (self.high - self.low) / about;
        let unit = libm::pow(10.0, libm::floor(libm::log10(raw)));
        let step = [1.0, 2.0, 5.0, 10.0].iter().map(|m| m * unit).find(|s| *s >= raw * 0.999).unwrap_or(unit);
        let first = libm::ceil(self.low / step - 1e-9) as i64;
        let last = libm::floor(self.high / step + 1e-9) as i64;
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

impl Chart {
    /// A chart of this height with room for labels, `left` pixels of it for those of the y axis.
    pub(super) fn new(height: f64, left: f64, x: Scale, y: Scale) -> Self {
        let x = x.between(left, WIDTH - RIGHT);
        let y = y.between(height - BOTTOM, TOP);
        Self { x, y, width: WIDTH, height, body: String::new() }
    }

    /// Grid, ticks and the names of both axes.
    pub(super) fn axes(&mut self, x_name: &str, y_name: &str) {
        self.x_axis(x_name);
        let (left, right) = (self.x.first, self.x.last);
        for tick in self.y.ticks(5.0) {
            let y = self.y.at(tick);
            self.raw(&format!("<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/>"));
            self.word(left - 6.0, y + 4.0, "end", "tick", &short(tick));
        }
        self.word(left, TOP - 12.0, "start", "name", y_name);
    }

    pub(super) fn x_axis(&mut self, name: &str) {
        let bottom = self.height - BOTTOM;
        for tick in self.x.ticks(10.0) {
            let x = self.x.at(tick);
            self.raw(&format!("<path class=\"grid\" d=\"M{x:.1} {TOP:.1}V{bottom:.1}\"/>"));
            self.word(x, bottom + 16.0, "middle", "tick", &short(tick));
        }
        self.word(self.x.last, bottom + 34.0, "end", "name", name);
    }

    /// A line through points.
    pub(super) fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let mut d = String::new();
        let mut last = (f64::NAN, f64::NAN);
        for (x, y) in points {
            let at = (tenths(self.x.at(*x)), tenths(self.y.at(*y)));
            if at != last {
                // Writing into a string cannot fail.
                let _ = write!(d, "{}{} {}", if d.is_empty() { "M" } else { "L" }, at.0, at.1);
                last = at;
            }
        }
        self.raw(&format!("<path class=\"line {class}\" d=\"{d}\"/>"));
    }

    /// A staircase: each value holds until the next.
    pub(super) fn steps(&mut self, points: &[(f64, f64)], class: &str) {
        let mut stairs = Vec::with_capacity(points.len() * 2);
        for (x, y) in points {
            if let Some((_, before)) = stairs.last().copied() {
                stairs.push((*x, before));
            }
            stairs.push((*x, *y));
        }
        self.line(&stairs, class);
    }

    /// A dot with a tool tip.
    pub(super) fn dot(&mut self, x: f64, y: f64, class: &str, title: &str) {
        let (x, y) = (self.x.at(x), self.y.at(y));
        let title = escape(title);
        self.raw(&format!(
            "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{title}</title></circle>"
        ));
    }

    /// A band over the whole height between two values of x.
    pub(super) fn band(&mut self, from: f64, to: f64, class: &str) {
        let (a, b) = (self.x.at(from), self.x.at(to));
        let height = self.height - BOTTOM - TOP;
        self.boxed(a, TOP, (b - a).max(0.6), height, class, "");
    }

    /// A level across the whole width, with a word on it.
    pub(super) fn level(&mut self, y: f64, class: &str, words: &str) {
        let (left, right, at) = (self.x.first, self.x.last, self.y.at(y));
        self.raw(&format!("<path class=\"rule {class}\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>"));
        self.word(right - 4.0, at - 5.0, "end", "note", words);
    }

    /// A moment over the whole height, with a word at its top; `row` keeps words apart.
    pub(super) fn moment(&mut self, x: f64, class: &str, row: usize, words: &str) {
        let (bottom, at) = (self.height - BOTTOM, self.x.at(x));
        self.raw(&format!("<path class=\"rule {class}\" d=\"M{at:.1} {TOP:.1}V{bottom:.1}\"/>"));
        let y = TOP + 14.0 + 16.0 * row as f64;
        let (dx, anchor) = if at > self.x.last - 150.0 { (-5.0, "end") } else { (5.0, "start") };
        self.word(at + dx, y, anchor, "note", words);
    }

    /// A box in pixels.
    pub(super) fn boxed(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str, title: &str) {
        let shape = format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"",
            tenths(x),
            tenths(y),
            tenths(width),
            tenths(height)
        );
        if title.is_empty() {
            self.raw(&format!("{shape}/>"));
        } else {
            self.raw(&format!("{shape}><title>{}</title></rect>", escape(title)));
        }
    }

    /// Words in pixels.
    pub(super) fn word(&mut self, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
        let words = escape(words);
        self.raw(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>"
        ));
    }

    /// Names of what is drawn, to the right above the chart: (class, words).
    pub(super) fn legend(&mut self, items: &[(String, String)]) {
        // Text cannot be measured here; 7.2 pixels per letter is what wide fonts take (DejaVu, in Chromium).
        let widths: Vec<f64> =
            items.iter().map(|(_, words)| 34.0 + 7.2 * words.chars().count() as f64).collect();
        let mut x = WIDTH - RIGHT - widths.iter().sum::<f64>();
        for ((class, words), width) in items.iter().zip(widths) {
            self.boxed(x, TOP - 21.0, 14.0, 10.0, &format!("key {class}"), "");
            self.word(x + 19.0, TOP - 12.0, "start", "tick", words);
            x += width;
        }
    }

    /// The finished picture; `title` is read out to readers who do not see it.
    pub(super) fn finish(self, title: &str) -> String {
        let (width, height, title) = (self.width, self.height, escape(title));
        format!(
            "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{title}\">{}</svg>\n",
            self.body
        )
    }

    fn raw(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }
}

/// For text inside HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number as on a tick: at most four significant digits.
pub(super) fn short(value: f64) -> String {
    let a = value.abs();
    match a {
        0.0 => "0".to_owned(),
        a if a >= 1e6 => format!("{}M", trim(value / 1e6)),
        a if a >= 1e4 => format!("{}k", trim(value / 1e3)),
        a if a < 1e-3 => format!("{value:.0e}"),
        _ => trim(value),
    }
}

fn trim(value: f64) -> String {
    let digits = match value.abs() {
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        a if a >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn tenths(pixel: f64) -> f64 {
    libm::round(pixel * 10.0) / 10.0
}

pub(super) const WIDTH: f64 = 960.0;
pub(super) const TOP: f64 = 34.0;
pub(super) const BOTTOM: f64 = 40.0;
pub(super) const RIGHT: f64 = 14.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(Scale::linear(0.0, 1.0).ticks(5.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(Scale::linear(17.0, 63.0).ticks(10.0).first(), Some(&20.0));
        assert_eq!(Scale::log(0.03, 7.0).ticks(5.0).len(), 4);
    }

    #[test]
    fn values_outside_stay_at_the_edge() {
        let scale = Scale::linear(0.0, 10.0).between(100.0, 200.0);
        assert_eq!([-5.0, 0.0, 5.0, 99.0].map(|v| scale.at(v)), [100.0, 100.0, 150.0, 200.0]);
    }

    #[test]
    fn what_users_write_cannot_leave_its_place() {
        let mut chart = Chart::new(100.0, 40.0, Scale::linear(0.0, 1.0), Scale::linear(0.0, 1.0));
        chart.word(0.0, 0.0, "start", "tick", "<script>\"&");
        let svg = chart.finish("a<b");
        assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;&quot;&amp;"));
    }
}
