//! `one-link`: mistake rate against detection time on one link.

use heartsay_simulator::one_link::{
    DETECTORS, OBSERVERS, Point, Trace, at_equal_detection, curves, draw_all,
};
use heartsay_simulator::report;

use super::{Outcome, table::number};

#[derive(clap::Args)]
pub(super) struct OneLink {
    /// Seed of the trace
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Length of the trace in days
    #[arg(long, default_value_t = 7.0, value_parser = days)]
    days: f64,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Svg,
}

impl OneLink {
    pub(super) fn go(self) -> anyhow::Result<Outcome> {
        let traces = draw_all(self.seed, self.days);
        let points = curves(&traces);
        let [trace, ..] = &traces;
        match self.output {
            Format::Table => {
                table(trace, &points);
                equal(&traces);
            }
            Format::Csv => {
                say!("detector,setting,detection_s,mistakes_per_s,accuracy");
                for p in &points {
                    say!(
                        "{},{},{:.6},{:.3e},{:.9}",
                        p.detector,
                        p.setting,
                        p.detection,
                        p.mistakes,
                        p.accuracy
                    );
                }
            }
            Format::Svg => put!("{}", report::curve_svg(&points)),
        }
        Ok(Outcome::Well)
    }
}

fn table(trace: &Trace, points: &[Point]) {
    let s = trace.shape;
    say!(
        "a drawn trace: {} heartbeats 100 ms apart, {:.2} % lost in {} bursts, the longest of {}; intervals {:.1} ms ± {:.1} ms\n",
        s.sent,
        s.lost * 100.0,
        s.bursts,
        s.longest,
        s.interval.0 * 1e3,
        s.interval.1 * 1e3
    );
    say!("{:<17}{:>9}{:>14}{:>14}{:>14}", "detector", "setting", "detection, s", "mistakes/s", "accuracy");
    for p in points {
        say!(
            "{:<17}{:>9}{:>14.3}{:>14.2e}{:>14.6}",
            p.detector,
            p.setting,
            p.detection,
            p.mistakes,
            p.accuracy
        );
    }
}

fn equal(traces: &[Trace; OBSERVERS]) {
    say!("\nmistakes/s at exactly the same mean detection time");
    put!("{:<17}", "detection, s");
    for name in DETECTORS {
        put!("{name:>17}");
    }
    say!();
    let times = [0.3, 0.4, 0.5, 0.7, 0.85, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0];
    for (at, row) in times.iter().zip(at_equal_detection(traces, &times)) {
        put!("{:<17}", number(*at));
        for point in row {
            put!("{:>17}", point.map_or_else(|| "-".to_owned(), |p| format!("{:.3e}", p.mistakes)));
        }
        say!();
    }
    say!(
        "\nsettings: phi-*: threshold; chen: margin, s; heartsay: acceptable pause, s (shipped: 2), phi 8. Each alone on the link: no probes, no witnesses.\n\
         whole-beats: beats waited for beyond the next; an experiment, not shipped.\n\
         heartsay-3-of-5: the same detector at five observers, each with a link of its own; three must suspect at once."
    );
}

fn days(text: &str) -> Result<f64, String> {
    let days: f64 = text.parse().map_err(|_| "write a number of days".to_owned())?;
    if (0.01..=60.0).contains(&days) { Ok(days) } else { Err("between 0.01 and 60 days".to_owned()) }
}
