//! A run as one page: HTML with pictures inside, nothing fetched, the same bytes for the same seed.
//!
//! One file per figure; each takes data and gives SVG, and knows neither scenario nor page.

mod curve;
mod disagreement;
mod heat;
mod lanes;
mod latency;
mod phi;
mod svg;
mod sweep;
mod traffic;

use heartsay_detector::DetectorConfig;
use heartsay_membership::Config;

use crate::checks::Verdict;
use crate::measure::{Measures, Summary};
use crate::recording::Recording;
use crate::run::Report;
use crate::scenario::{Budget, Scenario};
pub use curve::svg as curve_svg;
use latency::Latencies;
use svg::{escape, short};
pub use sweep::Grid;

/// Everything that goes on a page.
pub struct Page<'a> {
    /// The scenario, overrides applied.
    pub scenario: &'a Scenario,
    /// Its text, as written.
    pub text: &'a str,
    /// The settings that its members ran with.
    pub config: &'a Config,
    /// All seeds.
    pub report: &'a Report,
    /// One of them over time.
    pub film: &'a Recording,
    /// Which.
    pub seed: u64,
    /// Sweeps, in order.
    pub grids: &'a [Grid],
    /// What to type to get this page again.
    pub command: &'a str,
    /// What to type to replay a seed, without `--seed`.
    pub replay: &'a str,
    /// Remarks, e.g. that this build runs otherwise than the one that wrote the results.
    pub notes: &'a [String],
}

impl Page<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut out = String::new();
        let title = escape(&self.report.scenario);
        let about = escape(&self.report.about);
        out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
        out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
        out.push_str(&format!(
            "<title>{title} · heartsay-sim</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
        ));
        out.push_str(&format!("<h1>{title}</h1>\n<p>{about}</p>\n"));
        self.head(&mut out);
        self.happened(&mut out);
        self.verdicts(&mut out);
        self.figures(&mut out);
        self.sweeps(&mut out);
        let text = escape(self.text);
        out.push_str(&format!("<h2>Scenario as written</h2>\n<pre>{text}</pre>\n</body>\n</html>\n"));
        out
    }

    fn head(&self, out: &mut String) {
        let r = self.report;
        let seeds: Vec<u64> = r.runs.iter().map(|run| run.seed).collect();
        let seeds = match seeds.as_slice() {
            [one] => one.to_string(),
            [first, .., last] => format!("{first} to {last}"),
            [] => "none".to_owned(),
        };
        let trace = r.runs.iter().find(|run| run.seed == self.seed).map_or("", |run| &run.trace);
        let mut facts = vec![
            ("members", r.nodes.to_string()),
            ("virtual time", format!("{} s for each seed", short(r.seconds))),
            ("seeds", format!("{seeds}; pictures over time: {}", self.seed)),
            ("trace of that seed", trace.to_owned()),
            ("changed", if r.set.is_empty() { "nothing".to_owned() } else { r.set.join(", ") }),
            ("program", format!("heartsay-sim {}", env!("CARGO_PKG_VERSION"))),
            ("generator", r.generator.to_owned()),
        ];
        facts.extend(settings(self.config));
        out.push_str("<div class=\"facts\">\n");
        for (key, value) in facts {
            out.push_str(&format!("<div><span class=\"soft\">{key}:</span> {}</div>\n", escape(&value)));
        }
        out.push_str(&format!("</div>\n<p>Again: <code>{}</code></p>\n", escape(self.command)));
        for note in self.notes {
            out.push_str(&format!("<p class=\"broken\">{}</p>\n", escape(note)));
        }
    }

    fn verdicts(&self, out: &mut String) {
        out.push_str("<h2>Verdicts</h2>\n");
        let word = |verdict| match verdict {
            Verdict::Kept => "<span class=\"kept\">✓ kept</span>",
            Verdict::Unsure => "<span class=\"soft\">? unsure: more seeds would tell</span>",
            Verdict::Broken => "<span class=\"broken\">✗ broken</span>",
        };
        let checks = if self.report.sound() { Verdict::Kept } else { Verdict::Broken };
        out.push_str(&format!("<p>Checks: {}</p>\n", word(checks)));
        for run in self.report.runs.iter().filter(|run| run.violations.count > 0) {
            let lines: Vec<String> = run
                .violations
                .first
                .iter()
                .map(|v| format!("{:.6} s  {}: {}", v.at_us as f64 / 1e6, v.rule, v.what))
                .collect();
            out.push_str(&format!(
                "<p>Seed {}: {} violations; replay with <code>{} --seed {} --log</code></p>\n<pre>{}</pre>\n",
                run.seed,
                run.violations.count,
                escape(self.replay),
                run.seed,
                escape(&lines.join("\n"))
            ));
        }
        if !self.report.budget.is_empty() {
            out.push_str("<table><tr><th>limit</th><th class=\"n\">measured</th><th class=\"n\">allowed</th><th></th></tr>\n");
            for line in &self.report.budget {
                let measured = line.measured.map_or_else(|| "never".to_owned(), short);
                out.push_str(&format!(
                    "<tr><td>{}</td><td class=\"n\">{measured}</td><td class=\"n\">{}</td><td>{}</td></tr>\n",
                    line.key,
                    short(line.limit),
                    word(line.verdict)
                ));
            }
            out.push_str("</table>\n");
        }
        out.push_str(&numbers(&self.report.summary));
    }

    fn happened(&self, out: &mut String) {
        let Some(run) = self.report.runs.iter().find(|run| run.seed == self.seed) else { return };
        if run.happened.is_empty() {
            return;
        }
        let items: String = run.happened.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
        out.push_str(&format!("<h2>What happened (seed {})</h2>\n<ul>{items}</ul>\n", run.seed));
    }

    fn figures(&self, out: &mut String) {
        let seconds = self.report.seconds;
        let film = self.film;
        figure(
            out,
            &format!("Members over time (seed {})", self.seed),
            &lanes::figure(film, seconds),
            &lanes::caption(film),
        );
        let threshold = match &self.config.detector {
            DetectorConfig::Phi(phi) => Some(phi.threshold),
            DetectorConfig::Fixed(_) => None,
        };
        if let Some((observer, subject)) = film.pair
            && let Some(picture) = phi::figure(film, seconds, threshold)
        {
            let title = format!("Phi of n{subject} as n{observer} computes it (seed {})", self.seed);
            figure(out, &title, &picture, &phi::caption(film));
        }
        let measures: Vec<&Measures> = self.report.runs.iter().map(|run| &run.measures).collect();
        let latencies = Latencies::of(&measures);
        let limits: &Budget = &self.scenario.budget;
        let limit = |span: Option<crate::scenario::Span>| span.map(|span| span.0.as_secs_f64());
        if let Some(picture) = latencies.figure(limit(limits.suspect_p99), limit(limits.down_p99)) {
            figure(out, "Detection latency (all seeds)", &picture, &latencies.caption());
        }
        if let Some(picture) = latencies.dissemination() {
            figure(out, "Dissemination (all seeds)", &picture, "");
        }
        if let Some(run) = self.report.runs.iter().find(|run| run.seed == self.seed) {
            let picture = disagreement::figure(&run.measures, film, self.report.nodes, seconds);
            let caption =
                "A wrong entry: a live member that is missing or called down, or a dead one that is present.";
            figure(out, &format!("Disagreement over time (seed {})", self.seed), &picture, caption);
            let picture = traffic::bytes(&run.measures, seconds);
            figure(
                out,
                &format!("Bytes over time (seed {})", self.seed),
                &picture,
                "With 28 bytes of headers.",
            );
            let picture = traffic::tables(&run.measures, seconds);
            let caption = "A ghost: a member that does not run and is still in the view of another. Tables also hold the dead \
                           until they are forgotten.";
            figure(out, &format!("Tables over time (seed {})", self.seed), &picture, caption);
        }
    }

    fn sweeps(&self, out: &mut String) {
        for grid in self.grids {
            let keys: Vec<&str> = grid.axes.iter().map(|(key, _)| key.as_str()).collect();
            out.push_str(&format!("<h2>Sweep over {}</h2>\n", escape(&keys.join(" and "))));
            for measure in sweep::MEASURES.iter().filter(|m| grid.shows(m)) {
                out.push_str(&format!("<figure>{}</figure>\n", grid.figure(measure)));
                if let Some(map) = heat::figure(grid, measure) {
                    out.push_str(&format!("<figure>{map}</figure>\n"));
                }
            }
            let silent: Vec<&str> =
                sweep::MEASURES.iter().filter(|m| grid.is_silent(m)).map(|m| m.name).collect();
            if !silent.is_empty() {
                out.push_str(&format!("<p class=\"soft\">Zero everywhere: {}.</p>\n", silent.join(", ")));
            }
        }
    }
}

fn figure(out: &mut String, title: &str, picture: &str, caption: &str) {
    let (title, caption) = (escape(title), escape(caption));
    out.push_str(&format!(
        "<h2>{title}</h2>\n<figure>\n{picture}<figcaption>{caption}</figcaption>\n</figure>\n"
    ));
}

fn settings(config: &Config) -> Vec<(&'static str, String)> {
    let detector = match &config.detector {
        DetectorConfig::Phi(phi) => {
            let floor = phi.min_deviation.as_millis();
            format!("phi ({:?} tail), threshold {}, deviation at least {floor} ms", phi.tail, phi.threshold)
                .to_lowercase()
        }
        DetectorConfig::Fixed(fixed) => format!("fixed, {} heartbeats missed", fixed.missed),
    };
    vec![
        ("interval", format!("{} s", config.interval.as_secs_f64())),
        ("acceptable pause", format!("{} s", config.acceptable_pause.as_secs_f64())),
        ("detector", detector),
        (
            "helpers, witnesses, fanout",
            format!("{}, {}, {}", config.helpers, config.witnesses, config.fanout),
        ),
        ("burst rate", format!("{} datagrams/s", config.burst_rate)),
    ]
}

/// The table of measures, as on the terminal.
fn numbers(s: &Summary) -> String {
    let mut out = "<table><tr><th></th>".to_owned();
    for head in ["min", "mean", "median", "p99", "max", "count", "missing"] {
        out.push_str(&format!("<th class=\"n\">{head}</th>"));
    }
    out.push_str("</tr>\n");
    for (label, spread) in s.rows() {
        let figures = [spread.min, spread.mean, spread.median, spread.p99, spread.max].map(short);
        let counts = [spread.count, spread.missing].map(|n| n.to_string());
        out.push_str(&format!("<tr><td>{label}</td>"));
        for cell in figures.iter().chain(&counts) {
            out.push_str(&format!("<td class=\"n\">{cell}</td>"));
        }
        out.push_str("</tr>\n");
    }
    out.push_str(&format!(
        "</table>\n<p>False positives {} (by healthy observers {}), healthy members evicted {}, needless evictions {}; \
         view divergence {} member-seconds; busiest minute {} bytes/s and member, peak of one member {}.</p>\n",
        s.false_positives,
        s.false_positives_by_healthy,
        s.healthy_evicted,
        s.needless_evictions,
        short(s.divergence),
        short(s.bytes_minute),
        short(s.bytes_peak)
    ));
    if s.suspicions > 0 {
        out.push_str(&format!(
            "<p>Suspicions {}, of healthy members {} ({} per member and hour; precision {}); each observer was told of {} such an hour.</p>\n",
            s.suspicions,
            s.healthy_suspected,
            short(s.healthy_suspected_per_hour),
            short(1.0 - s.suspicions_false_share),
            short(s.false_suspicions_per_hour)
        ));
    }
    if s.shows_quorum() {
        out.push_str(&format!(
            "<p>Losses of quorum by healthy members {} in {} member-hours ({} per 1,000); {} member-seconds without ({} %).</p>\n",
            s.quorum_losses,
            short(s.quorum_healthy / 3600.0),
            short(s.quorum_losses_per_1000h),
            short(s.quorum_without),
            short(s.quorum_without_share * 100.0)
        ));
    }
    out
}

const STYLE: &str = include_str!("page.css");
