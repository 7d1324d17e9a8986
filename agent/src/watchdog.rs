//! A watchdog device of Linux: resets this machine unless it is petted in time.
//!
//! A dead man's switch. The kernel arms the device when it is opened. From then on each write pets it, and without one for
//! its time-out the machine is reset, whatever runs on it or stands still. A close disarms it only after the letter `V`
//! ("magic close"), so a process that is killed leaves it armed. A write rather than `WDIOC_KEEPALIVE`: each driver takes a
//! write for a pet, the ioctl only those that announce it, and a file in a device's place takes it too.
//!
//! Weak spot: the device counts on the host's side of the world. A virtual device of a paused virtual machine stands still
//! with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;

/// Where the pets go.
#[derive(Debug)]
enum Kind {
    /// To a device, which is armed.
    Device(File),
    /// To a file or a pipe, for tests: a line of what a device would have been told.
    StandIn(File),
    /// Nowhere.
    LogOnly,
}

/// What to open, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The device.
    pub(crate) path: PathBuf,
    /// Whole seconds, 1 or more.
    pub(crate) timeout: Duration,
    /// A file or a pipe is taken in the device's place.
    pub(crate) stand_in: bool,
    /// Nothing is opened.
    pub(crate) log_only: bool,
}

/// An open device. Dropped without [`release`](Self::release) it stays armed, and the machine is reset.
#[derive(Debug)]
pub(crate) struct Watchdog {
    kind: Kind,
    path: PathBuf,
    timeout: Duration,
    /// It cannot be disarmed any more.
    nowayout: bool,
}

impl Watchdog {
    /// Opens the device, which arms it, and sets its time-out.
    ///
    /// # Errors
    /// There is none, it is in use, or it does not do what a promise can rest on. It is disarmed then, where it can be.
    pub(crate) fn open(plan: &Plan) -> Result<Self, WatchdogError> {
        let fail = |why| WatchdogError { path: plan.path.clone(), why, armed: false };
        let found = std::fs::metadata(&plan.path).map_err(|e| fail(Why::of(e)))?;
        let file_type = found.file_type();
        let is_device = file_type.is_char_device();
        if !is_device && !(plan.stand_in && (file_type.is_file() || file_type.is_fifo())) {
            return Err(fail(Why::NoDevice { might_stand_in: file_type.is_file() || file_type.is_fifo() }));
        }
        let nowayout = is_device && has_no_way_out(found.rdev());
        let mut opened =
            Self { kind: Kind::LogOnly, path: plan.path.clone(), timeout: plan.timeout, nowayout };
        if plan.log_only {
            return Ok(opened);
        }
        // A pipe without a reader is an error, and not a wait. The end of a file, so that nothing is overwritten.
        let mut options = OpenOptions::new();
        options.write(true).append(!is_device).custom_flags(libc::O_NONBLOCK);
        let file = options.open(&plan.path).map_err(|e| fail(Why::of(e)))?;
        if !is_device {
            opened.kind = Kind::StandIn(file);
            return Ok(opened);
        }
        let set = settle(&file, plan.timeout, nowayout);
        opened.kind = Kind::Device(file);
        match set {
            Ok(timeout) => Ok(Self { timeout, ..opened }),
            // What is no watchdog at all was not armed either.
            Err(why @ Why::NoWatchdog) => Err(fail(why)),
            Err(why) => {
                let disarmed = opened.release().is_ok() && !nowayout;
                Err(WatchdogError { path: plan.path.clone(), why, armed: !disarmed })
            }
        }
    }

    /// After this long without a pet the machine is reset.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Once opened it cannot be disarmed, also by an orderly end.
    pub(crate) fn nowayout(&self) -> bool {
        self.nowayout
    }

    /// Nothing is written anywhere.
    pub(crate) fn is_log_only(&self) -> bool {
        matches!(self.kind, Kind::LogOnly)
    }

    /// A file or a pipe is in its place.
    pub(crate) fn is_stand_in(&self) -> bool {
        matches!(self.kind, Kind::StandIn(_))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Grants this machine another time-out.
    ///
    /// # Errors
    /// The device does not take it.
    pub(crate) fn pet(&mut self) -> io::Result<()> {
        match &mut self.kind {
            // Any byte but the one that disarms.
            Kind::Device(file) | Kind::StandIn(file) => file.write_all(b"."),
            Kind::LogOnly => Ok(()),
        }
    }

    /// A second hold on the device: it is closed only when both are. `None` where there is no device.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub(crate) fn hold(&self) -> io::Result<Option<OwnedFd>> {
        match &self.kind {
            Kind::Device(file) | Kind::StandIn(file) => file.as_fd().try_clone_to_owned().map(Some),
            Kind::LogOnly => Ok(None),
        }
    }

    /// When the device itself says that it resets the machine, where it says so.
    pub(crate) fn left(&self) -> Option<Duration> {
        match &self.kind {
            Kind::Device(file) => kernel::left(file).ok().map(seconds),
            Kind::StandIn(_) | Kind::LogOnly => None,
        }
    }

    /// Disarms it. A device that has no way out stays armed.
    ///
    /// # Errors
    /// The device does not take it; it is armed.
    pub(crate) fn release(self) -> io::Result<()> {
        match self.kind {
            Kind::Device(mut file) | Kind::StandIn(mut file) => file.write_all(b"V"),
            Kind::LogOnly => Ok(()),
        }
    }
}

/// Sets the time-out of an open device, and looks whether a promise can rest on it. The time-out that it has.
fn settle(device: &File, wish: Duration, nowayout: bool) -> Result<Duration, Why> {
    let support = match kernel::support(device) {
        Ok(support) => support,
        Err(Errno::ENOTTY | Errno::EINVAL) => return Err(Why::NoWatchdog),
        Err(error) => return Err(Why::Other(error.into())),
    };
    if support.options & kernel::ALARM_ONLY != 0 {
        return Err(Why::AlarmOnly);
    }
    if support.options & kernel::MAGIC_CLOSE == 0 && !nowayout {
        return Err(Why::NoMagicClose);
    }
    let wish_seconds = libc::c_int::try_from(wish.as_secs()).unwrap_or(libc::c_int::MAX);
    let set = kernel::set_timeout(device, wish_seconds);
    // What it says after the call counts: drivers round, and some have one time-out only.
    let has =
        kernel::timeout(device).map_err(|error| Why::Timeout { wish, error: Some(error), has: None })?;
    if has < 1 || has > wish_seconds {
        return Err(Why::Timeout { wish, error: set.err(), has: Some(seconds(has)) });
    }
    let mut pet = device;
    pet.write_all(b".").map_err(Why::Other)?;
    if let Ok(left) = kernel::left(device)
        && left > has
    {
        return Err(Why::Timeout { wish, error: None, has: Some(seconds(left)) });
    }
    Ok(seconds(has))
}

fn seconds(count: libc::c_int) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// Whether the kernel says that the device with this number cannot be disarmed. A kernel that does not say: no.
fn has_no_way_out(number: u64) -> bool {
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    // The first one has a second name of another kind.
    let dir = if (major, minor) == MISC {
        "/sys/class/watchdog/watchdog0".to_owned()
    } else {
        format!("/sys/dev/char/{major}:{minor}")
    };
    std::fs::read_to_string(format!("{dir}/nowayout")).is_ok_and(|text| text.trim() == "1")
}

/// Why a device is of no use.
#[derive(Debug, thiserror::Error)]
#[error("no watchdog at {}: {why}{}", path.display(), if *armed { ARMED } else { "" })]
pub(crate) struct WatchdogError {
    path: PathBuf,
    why: Why,
    armed: bool,
}

#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(
        "there is no such device; load its driver (`modprobe softdog`, or that of the hardware) and see `ls /dev/watchdog*`"
    )]
    Absent,
    #[error("permission denied; it takes root, or a rule of udev that gives the device to a group")]
    Denied,
    #[error(
        "it is busy: another program has it open (systemd with RuntimeWatchdogSec, watchdogd, sbd, a second `heartsay exec`, \
         or what is left of one that was killed); give each its own device"
    )]
    Busy,
    #[error("it is a pipe that no process reads, or a device whose driver has gone")]
    NoReader,
    #[error("it is no device{}", if *might_stand_in { "; for a test, --stand-in takes a file or a pipe" } else { "" })]
    NoDevice { might_stand_in: bool },
    #[error("it is a device of another kind")]
    NoWatchdog,
    #[error("it only raises an alarm, and does not reset the machine")]
    AlarmOnly,
    #[error(
        "a mere close disarms it (its driver has no magic close), so it would not outlive this process; load the driver with \
         nowayout=1"
    )]
    NoMagicClose,
    #[error("{}", timeout_text(*wish, *error, *has))]
    Timeout { wish: Duration, error: Option<Errno>, has: Option<Duration> },
    #[error("{0}")]
    Other(io::Error),
}

impl Why {
    fn of(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENODEV) => Self::Absent,
            Some(Errno::EACCES | Errno::EPERM) => Self::Denied,
            Some(Errno::EBUSY) => Self::Busy,
            Some(Errno::ENXIO) => Self::NoReader,
            _ => Self::Other(error),
        }
    }
}

fn timeout_text(wish: Duration, error: Option<Errno>, has: Option<Duration>) -> String {
    let refused = error.map(|error| format!(" ({})", error.desc())).unwrap_or_default();
    let has = match has {
        Some(has) => format!(
            "it keeps {has:?}. Give --watchdog-timeout {has:?} on all hosts, which puts takeover off, or use another device"
        ),
        None => "it does not say which one it has".to_owned(),
    };
    format!("it does not take a time-out of {wish:?}{refused}: {has}")
}

/// The calls of the kernel's `linux/watchdog.h`.
mod kernel {
    #![expect(
        unsafe_code,
        reason = "no library knows these calls; each gets a place of the size that its number says"
    )]

    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    use super::libc;

    /// `struct watchdog_info`.
    #[repr(C)]
    #[derive(Default)]
    pub(super) struct Support {
        pub(super) options: u32,
        firmware: u32,
        identity: [u8; 32],
    }

    nix::ioctl_read!(get_support, b'W', 0, Support);
    nix::ioctl_readwrite!(settimeout, b'W', 6, libc::c_int);
    nix::ioctl_read!(gettimeout, b'W', 7, libc::c_int);
    nix::ioctl_read!(gettimeleft, b'W', 10, libc::c_int);

    pub(super) fn support(device: &File) -> nix::Result<Support> {
        let mut support = Support::default();
        // SAFETY: writes one `Support`.
        unsafe { get_support(device.as_raw_fd(), &raw mut support) }?;
        Ok(support)
    }

    pub(super) fn set_timeout(device: &File, mut seconds: libc::c_int) -> nix::Result<()> {
        // SAFETY: reads and writes one int.
        unsafe { settimeout(device.as_raw_fd(), &raw mut seconds) }.map(drop)
    }

    pub(super) fn timeout(device: &File) -> nix::Result<libc::c_int> {
        let mut seconds = 0;
        // SAFETY: writes one int.
        unsafe { gettimeout(device.as_raw_fd(), &raw mut seconds) }?;
        Ok(seconds)
    }

    pub(super) fn left(device: &File) -> nix::Result<libc::c_int> {
        let mut seconds = 0;
        // SAFETY: writes one int.
        unsafe { gettimeleft(device.as_raw_fd(), &raw mut seconds) }?;
        Ok(seconds)
    }

    /// `WDIOF_MAGICCLOSE`.
    pub(super) const MAGIC_CLOSE: u32 = 0x0100;
    /// `WDIOF_ALARMONLY`.
    pub(super) const ALARM_ONLY: u32 = 0x0400;
}

/// `/dev/watchdog`, which is the first device by its old name.
const MISC: (u64, u64) = (10, 130);
const ARMED: &str = ". It was opened for this and cannot be disarmed: unless a program opens and pets it at once, this machine is reset";

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(path: &Path) -> Plan {
        let timeout = Duration::from_secs(2);
        Plan { path: path.to_owned(), timeout, stand_in: false, log_only: false }
    }

    fn refused(plan: &Plan) -> String {
        Watchdog::open(plan).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_watchdog_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        assert!(refused(&plan(&dir.path().join("none"))).contains("modprobe"));
        assert!(refused(&plan(Path::new("/dev/null"))).contains("of another kind"));
        assert!(refused(&plan(dir.path())).ends_with("it is no device"));
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(refused(&plan(&file)).contains("--stand-in"), "a file in /dev by a slip protects no machine");
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(refused(&Plan { stand_in: true, ..plan(&pipe) }).contains("no process reads"));
    }

    #[test]
    fn a_stand_in_is_told_what_a_device_would_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "before ").unwrap();
        let mut dog = Watchdog::open(&Plan { stand_in: true, ..plan(&file) }).unwrap();
        dog.pet().unwrap();
        let held = dog.hold().unwrap();
        assert!(held.is_some() && dog.left().is_none());
        dog.release().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "before .V");
    }

    #[test]
    fn a_time_out_that_the_device_does_not_take_is_told_with_the_one_it_has() {
        let (wish, has) = (Duration::from_secs(2), Duration::from_secs(15));
        let text = timeout_text(wish, Some(Errno::EINVAL), Some(has));
        assert!(
            text.contains("of 2s (Invalid argument): it keeps 15s. Give --watchdog-timeout 15s"),
            "{text}"
        );
    }

    #[test]
    fn the_errors_of_the_system_are_told_apart() {
        let told = |errno: Errno| Why::of(errno.into()).to_string();
        assert!(told(Errno::EBUSY).contains("RuntimeWatchdogSec"));
        assert!(told(Errno::EACCES).contains("permission denied"));
        assert!(told(Errno::EIO).contains("I/O error") || told(Errno::EIO).contains("Input/output"));
    }
}
