//! What a member of a quiet cluster takes from the heap.

use std::time::Duration;

use heartsay_testkit::allocations::{self, Counting};
use heartsay_testkit::recording::{Kind, Recording};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn in_a_quiet_cluster_memory_is_taken_only_for_datagrams_that_leave() {
    let recording = Recording::new(60, Duration::from_secs(20));
    let mut node = recording.node();
    let mut seen = [0; 3];
    for line in &recording.lines {
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
