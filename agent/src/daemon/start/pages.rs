//! Pages of the program and its libraries that only the start, or a question, has touched.
//!
//! Most of an agent's resident memory is program text. The dynamic linker, the command line and the settings run once, the
//! joining seldom, and many an agent is asked seldom too; around each page that they touch the kernel maps fifteen more, and
//! all are counted for as long as the agent lives. So they are unmapped when the start is over, and when nothing has been
//! asked for a while after a question. They stay in the page cache, and what is used again comes back from there, sixteen
//! pages at a time.

use std::ops::Range;
use std::ptr::NonNull;
use std::time::Duration;

use nix::sys::mman::{MmapAdvise, madvise};
use tokio::sync::Notify;

/// Unmaps when the start is over, and then each time when there were questions and there are none any more. `asked`: there
/// is a question.
pub(super) async fn give_back_at_rest(asked: &Notify) {
    tokio::time::sleep(START).await;
    loop {
        give_back();
        asked.notified().await;
        while tokio::time::timeout(QUIET, asked.notified()).await.is_ok() {}
    }
}

/// Unmaps what can be had from a file again. Where /proc does not show it, nothing happens.
pub(crate) fn give_back() {
    let Ok(smaps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    for range in never_written(&smaps) {
        if let Some(start) = NonNull::new(std::ptr::without_provenance_mut(range.start)) {
            #[expect(unsafe_code, reason = "no page in it was ever written: all hold what the file holds")]
            // What the kernel refuses stays mapped, and that does no harm.
            let _ = unsafe { madvise(start, range.len(), MmapAdvise::MADV_DONTNEED) };
        }
    }
}

/// The parts of files that are mapped as private, can only be read or executed, and have no page that differs from the
/// file. The dynamic linker writes to some before it makes them read-only: those pages are `Anonymous` or, once they were
/// swapped out, in `Swap`, and would be lost.
fn never_written(smaps: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // Of the mapping whose lines come by: where it lies, and how many of the two have said zero.
    let (mut range, mut zeros) = (None, 0);
    for line in smaps.lines() {
        if let Some(head) = of_file(line) {
            (range, zeros) = (head, 0);
        } else if let Some((_, size)) =
            line.split_once(':').filter(|(what, _)| matches!(*what, "Anonymous" | "Swap"))
        {
            zeros += usize::from(size.trim() == "0 kB");
            found.extend(range.take_if(|_| zeros == 2));
        }
    }
    found
}

/// Of the first line of a mapping, such as `55d0e000-55d12000 r-xp 0015b000 fe:00 4711 /usr/bin/heartsay`, where it lies;
/// `Some(None)` if it can be written to, is shared, or has no file; `None` for any other line.
fn of_file(line: &str) -> Option<Option<Range<usize>>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let (mode, inode) = (words.next()?, words.nth(2)?);
    Some(Some(range).filter(|_| matches!(mode, "r--p" | "r-xp") && inode != "0"))
}

/// Joining included: of 10,000 that start within a second, the last has a full view after 7 s.
const START: Duration = Duration::from_secs(30);
/// Longer than from one scrape to the next, as most are set up: an agent that is asked all the time keeps its pages.
const QUIET: Duration = Duration::from_secs(45);

#[cfg(test)]
mod tests {
    use super::*;

    const OF_AN_AGENT: &str = "\
55d0e000-55d12000 r--p 00000000 fe:00 4711                       /usr/bin/heartsay
Size:                 16 kB
Anonymous:             0 kB
Swap:                  0 kB
SwapPss:               0 kB
VmFlags: rd mr mw me sd 
55d12000-55d20000 r-xp 00004000 fe:00 4711                       /usr/bin/heartsay (deleted)
Anonymous:             0 kB
Swap:                  0 kB
55d20000-55d28000 r--p 00012000 fe:00 4711                       /usr/bin/heartsay
Anonymous:            32 kB
Swap:                  0 kB
55d28000-55d30000 r--p 00012000 fe:00 4711                       /usr/lib/relocated.so
Anonymous:             0 kB
Swap:                 32 kB
55d30000-55d31000 rw-p 0001a000 fe:00 4711                       /usr/bin/heartsay
Anonymous:             0 kB
Swap:                  0 kB
55e00000-55e10000 r--s 00000000 fe:00 4712                       /var/lib/shared
Anonymous:             0 kB
Swap:                  0 kB
7f000000-7f001000 r--p 00000000 00:00 0 
Anonymous:             0 kB
Swap:                  0 kB
7ffe0000-7ffe2000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
Swap:                  0 kB
";

    #[test]
    fn what_was_written_shared_or_has_no_file_is_kept() {
        assert_eq!(never_written(OF_AN_AGENT), [0x55d0_e000..0x55d1_2000, 0x55d1_2000..0x55d2_0000]);
        assert!(never_written("").is_empty());
        assert!(never_written("Anonymous: 0 kB\nSwap: 0 kB\n").is_empty());
        let says_only_one = OF_AN_AGENT.replace("Swap:  ", "Other: ");
        assert!(never_written(&says_only_one).is_empty());
    }

    #[test]
    fn a_program_goes_on_after_it() {
        let text = || {
            let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
            let here = a_program_goes_on_after_it as *const () as usize;
            let mut heads = smaps
                .lines()
                .skip_while(|line| !of_file(line).flatten().is_some_and(|range| range.contains(&here)));
            let rss = heads.find_map(|line| line.strip_prefix("Rss:")).unwrap();
            rss.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        // Other tests touch pages meanwhile.
        let shrinks = |_| {
            let before = text();
            give_back();
            text() < before
        };
        assert!((0..50).any(shrinks), "still {} kB of text", text());
    }
}
