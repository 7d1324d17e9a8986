//! What a round costs a member of 1,000: `cargo bench -p heartsay-membership`.
//!
//! A cluster runs in memory first, which takes its time; then one of its members lives through
//! what it was handed, again and again, and the clock runs for one kind of input at a time.

#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros and helpers of benches")]
#![allow(clippy::disallowed_methods, reason = "a bench is about the time that it really takes")]

use std::time::{Duration, Instant as Clock};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heartsay_detector::{Detector, DetectorConfig};
use heartsay_membership::{Instant, Node};
use heartsay_testkit::recording::{Kind, Recording};

fn inputs(c: &mut Criterion) {
    let recording = Recording::new(MEMBERS, Duration::from_secs(15));
    let mut group = c.benchmark_group("1,000 members");
    group.throughput(Throughput::Elements(MEMBERS as u64)).sample_size(20);
    for (name, kinds) in [
        ("ack in (merge)", [Kind::Ack].as_slice()),
        ("syn in, ack out (merge, encode)", &[Kind::Syn]),
        ("round (overdue, encode, syn out)", &[Kind::Round]),
        ("a whole round", &[Kind::Round, Kind::Syn, Kind::Ack, Kind::Other, Kind::Timer]),
    ] {
        // A whole round is counted by its beginning.
        let counted = *kinds.first().unwrap();
        let mut life = Life::new(&recording);
        group.bench_function(name, |b| b.iter_custom(|times| life.time(kinds, counted, times)));
    }
    let mut node = recording.node();
    for line in &recording.lines {
        line.live_through(&mut node);
    }
    let now = recording.lines.last().unwrap().at;
    group.bench_function("view for programs", |b| b.iter(|| node.view(now)));
    group.bench_function("summaries", |b| b.iter(|| node.summaries().map(|g| g.heartbeat).sum::<u64>()));
}

fn silence(c: &mut Criterion) {
    let config = DetectorConfig::default();
    let at = |ms: u64| Instant::EPOCH + Duration::from_millis(ms);
    let mut detectors = vec![Detector::new(at(0), &config); MEMBERS];
    for beat in 1..60_u64 {
        for (detector, lag) in detectors.iter_mut().zip((0..).step_by(7)) {
            detector.heartbeat(at(beat * 1_000 + (lag * beat) % 400), 1, &config);
        }
    }
    let mut group = c.benchmark_group("silence of 1,000");
    group.throughput(Throughput::Elements(MEMBERS as u64));
    for (name, now) in [("beating", at(60_500)), ("all silent", at(64_000))] {
        group.bench_function(format!("overdue, {name}"), |b| {
            b.iter(|| detectors.iter().filter(|d| d.is_overdue(now, &config)).count());
        });
        group.bench_function(format!("phi, {name}"), |b| {
            b.iter(|| detectors.iter().map(|d| d.phi(now, &config)).sum::<f64>());
        });
    }
}

/// A member that lives through its recording, and begins again at the end.
struct Life<'a> {
    recording: &'a Recording,
    node: Node,
    next: usize,
}

impl<'a> Life<'a> {
    fn new(recording: &'a Recording) -> Self {
        Self { recording, node: recording.node(), next: 0 }
    }

    /// The time that inputs of these kinds take, until `times` of kind `counted` have come.
    fn time(&mut self, kinds: &[Kind], counted: Kind, times: u64) -> Duration {
        let (mut seen, mut total) = (0, Duration::ZERO);
        while seen < times {
            let Some(line) = self.recording.lines.get(self.next) else {
                *self = Self::new(self.recording);
                continue;
            };
            self.next += 1;
            let began = Clock::now();
            line.live_through(&mut self.node);
            if kinds.contains(&line.kind) {
                total += began.elapsed();
            }
            seen += u64::from(line.kind == counted);
        }
        total
    }
}

const MEMBERS: usize = 1_000;

criterion_group!(benches, silence, inputs);
criterion_main!(benches);
