//! How busy this host is, told to the others in steps (`load = true`).
//!
//! A router of work wants to know which host has room, not the third digit of it. So steps are told, a value near the edge
//! of one stays where it is, and it is looked at once a minute: a host at rest tells nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heartsay_membership::Command;
use nix::sys::statvfs::statvfs;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use crate::chance;
use crate::daemon::driver::Request;
use crate::types::Load;

/// What a member says of its load; `None` also where that makes no sense.
pub(crate) fn read(value: &[u8]) -> Option<Load> {
    let mut words = std::str::from_utf8(value).ok()?.split(' ');
    let mut percent = |most| words.next()?.parse().ok().filter(|percent| *percent <= most);
    let load = Load {
        cpu_percent: percent(MOST)?,
        memory_free_percent: percent(100)?,
        disk_free_percent: percent(100)?,
    };
    words.next().is_none().then_some(load)
}

fn write(load: &Load) -> Vec<u8> {
    format!("{} {} {}", load.cpu_percent, load.memory_free_percent, load.disk_free_percent).into_bytes()
}

/// Tells the load of this host, and how full the file system of `dir` is, for as long as the agent runs.
pub(crate) async fn keep(requests: mpsc::Sender<Request>, dir: PathBuf) {
    let mut told: Option<Load> = None;
    loop {
        // A disk that hangs holds up nothing but this.
        let looked = dir.clone();
        let Ok(found) = tokio::task::spawn_blocking(move || measure(&looked)).await else { return };
        let found = match found {
            Ok(found) => found,
            Err(problem) => return warn!("the load of this host is not told: {problem}"),
        };
        let next = in_steps(told.as_ref(), &found);
        if told.as_ref() != Some(&next) {
            let (reply, answer) = oneshot::channel();
            let value = (KEY.to_owned(), Some(write(&next)));
            let asked = requests.send(Request::Command(Command::Set(vec![value]), reply)).await;
            // It is refused while the agent leaves.
            if asked.is_err() || !matches!(answer.await, Ok(Ok(()))) {
                return;
            }
            told = Some(next);
        }
        tokio::time::sleep(chance::jittered(PAUSE, 0.1)).await;
    }
}

fn in_steps(told: Option<&Load>, found: &Load) -> Load {
    Load {
        cpu_percent: step(CPU, told.map(|told| told.cpu_percent), found.cpu_percent),
        memory_free_percent: step(
            SHARE,
            told.map(|told| told.memory_free_percent),
            found.memory_free_percent,
        ),
        disk_free_percent: step(SHARE, told.map(|told| told.disk_free_percent), found.disk_free_percent),
    }
}

/// The step next to `found`, or the one that was told as long as no other one lies between.
fn step(steps: &[u32], told: Option<u32>, found: u32) -> u32 {
    let is_between =
        |told: u32, step: u32| step != told && (told.min(found)..=told.max(found)).contains(&step);
    match told {
        Some(told) if !steps.iter().any(|step| is_between(told, *step)) => told,
        _ => steps.iter().copied().min_by_key(|step| step.abs_diff(found)).unwrap_or(found),
    }
}

fn measure(dir: &Path) -> Result<Load, String> {
    let text = |path: &str| fs::read_to_string(path).map_err(|e| format!("cannot read {path}: {e}"));
    let (running, memory) = (text("/proc/loadavg")?, text("/proc/meminfo")?);
    let kib = |key: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(key));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.ok_or_else(|| format!("no {key} in /proc/meminfo"))
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let disk =
        statvfs(dir).map_err(|e| format!("cannot examine the file system of {}: {e}", dir.display()))?;
    let used = disk.blocks().saturating_sub(disk.blocks_free());
    Ok(Load {
        cpu_percent: hundredths(&running).ok_or("no number in /proc/loadavg")?
            / u32::try_from(cores).unwrap_or(1),
        memory_free_percent: percent(kib("MemAvailable:")?, kib("MemTotal:")?),
        // Of what is there for others than root.
        disk_free_percent: percent(disk.blocks_available(), used.saturating_add(disk.blocks_available())),
    })
}

/// The first number of the text, which the kernel writes with two decimals.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, parts) = text.split(' ').next()?.split_once('.')?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(parts.parse().ok()?)
}

fn percent(part: u64, whole: u64) -> u32 {
    let share = u128::from(part) * 100 / u128::from(whole.max(1));
    u32::try_from(share.min(100)).unwrap_or(100)
}

/// Its key in the state of a member.
pub(crate) const KEY: &str = "load";
/// Steps of the processes that run or wait, in percent of the cores; more is told as the last.
const CPU: &[u32] = &[0, 25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1600, 3200, MOST];
const MOST: u32 = 6400;
/// Steps of what is free, in percent.
const SHARE: &[u32] = &[0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100];
/// Between two looks: the kernel averages over as much.
const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn load(cpu_percent: u32, memory_free_percent: u32, disk_free_percent: u32) -> Load {
        Load { cpu_percent, memory_free_percent, disk_free_percent }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        assert_eq!(read(&write(&load(75, 40, 100))), Some(load(75, 40, 100)));
        for forged in ["", "1 2", "1 2 3 4", "1 2 101", "6401 2 3", "-1 2 3", "1 2 x", "1  2 3", "\u{ff} 2 3"]
        {
            assert_eq!(read(forged.as_bytes()), None, "{forged:?}");
        }
        assert_eq!(read(&[0xff, b' ', b'1']), None);
    }

    #[test]
    fn a_value_near_the_edge_of_a_step_is_told_once() {
        assert_eq!(step(CPU, None, 60), 50);
        assert_eq!([51, 62, 63, 74, 26].map(|found| step(CPU, Some(50), found)), [50; 5]);
        assert_eq!([75, 80, 25, 0, 99_999].map(|found| step(CPU, Some(50), found)), [75, 75, 25, 0, MOST]);
        assert_eq!([3, 7].map(|found| step(SHARE, Some(5), found)), [5, 5], "a disk that fills up");
        assert_eq!([0, 10, 14].map(|found| step(SHARE, Some(5), found)), [0, 10, 10]);
    }

    #[test]
    fn this_host_has_a_load() {
        let found = measure(Path::new("/")).unwrap();
        assert!((1..=100).contains(&found.memory_free_percent), "{found:?}");
        assert_eq!(hundredths("12.07 0.01 0.05 1/299 4431\n"), Some(1207));
        assert_eq!(hundredths("none"), None);
        assert!(measure(Path::new("/not/there")).unwrap_err().contains("/not/there"));
    }
}
