//! What a member of a quiet cluster takes from the heap.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test with the helpers of the benches")]

use std::time::Duration;

#[path = "../benches/support/mod.rs"]
mod support;

use support::allocations::{self, Counting};
use support::transcript::{Kind, Transcript};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn in_the_quiet_memory_is_taken_for_what_leaves_and_for_nothing_else() {
    let transcript = Transcript::record(60, Duration::from_secs(20));
    let mut node = transcript.node();
    let mut seen = [0; 3];
    for line in &transcript.lines {
        let before = allocations::taken();
        let sent = line.live_through(&mut node);
        let taken = allocations::taken() - before;
        let kind = match line.kind {
            Kind::Syn => 0,
            Kind::Ack => 1,
            Kind::Round => 2,
            Kind::Join | Kind::Other | Kind::Timer => continue,
        };
        seen[kind] += 1;
        assert!(taken <= sent as u64, "{:?} at {:?}: {taken} taken, {sent} sent", line.kind, line.at);
    }
    assert!(seen.iter().all(|inputs| *inputs > 5), "{seen:?}");
}
