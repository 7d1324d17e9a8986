//! Whether systemd has a unit active. It is asked over its bus, and tells there what changes. Beside that the kernel tells
//! what becomes of the unit's cgroup. That alone counts where there is no bus, and while systemd does not answer: it reads
//! its units anew, for seconds on a large host.
//!
//! Road not taken: the cgroup alone. It knows neither that a unit without a process is active (`RemainAfterExit=`), nor
//! that what runs is not ready yet, or is a child that is left when the service has failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::bus::{Bus, State};
use super::cgroup::{Cgroup, FROZEN};
use super::probe::Found;

/// One unit of the systemd of this host.
#[derive(Debug)]
pub(super) struct Unit {
    socket: PathBuf,
    unit: String,
    cgroup: Cgroup,
    bus: Option<Bus>,
    /// What systemd said last, and what the kernel said then.
    last: Option<(Found, Found)>,
    looked: Instant,
}

impl Unit {
    /// Of this name, with the bus at `socket` and all cgroups below `root`.
    pub(super) fn new(socket: &Path, root: &Path, unit: &str) -> Self {
        let (socket, cgroup) = (socket.to_owned(), Cgroup::new(root, unit));
        Self { socket, unit: unit.to_owned(), cgroup, bus: None, last: None, looked: Instant::now() }
    }

    /// Looks within `limit`, of which systemd gets the most part.
    pub(super) async fn look(&mut self, limit: Duration) -> Found {
        self.looked = Instant::now();
        let kernel = self.cgroup.look().await;
        match tokio::time::timeout(limit.mul_f64(0.8).min(PATIENCE), self.ask()).await {
            Ok(Some(state)) => {
                let found = judge(&state, &kernel);
                self.last = Some((found.clone(), kernel));
                found
            }
            silent => {
                // An answer may be half read.
                self.bus = None;
                let there = silent.is_err() || self.last.is_some();
                match &self.last {
                    // Nothing has happened since.
                    Some((found, before)) if *before == kernel => found.clone(),
                    _ if there => {
                        Found { text: format!("{} (systemd does not answer)", kernel.text), ..kernel }
                    }
                    _ => kernel,
                }
            }
        }
    }

    /// Waits until systemd, or the kernel, tells of a change.
    pub(super) async fn stirred(&mut self) {
        let told = async {
            match &mut self.bus {
                // Its end is a change too.
                Some(bus) => drop(bus.changed().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = told => {}
            () = self.cgroup.stirred() => {}
        }
        // One that is started again and again keeps nobody busy.
        tokio::time::sleep_until(self.looked + BETWEEN).await;
    }

    /// `None`: there is no bus that knows systemd.
    async fn ask(&mut self) -> Option<State> {
        if let Some(bus) = &mut self.bus
            && let Ok(state) = bus.state(&self.unit).await
        {
            return Some(state);
        }
        // The bus may have been started anew.
        self.bus = None;
        let mut bus = Bus::connect(&self.socket).await.ok()?;
        let state = bus.state(&self.unit).await.ok()?;
        self.bus = Some(bus);
        Some(state)
    }
}

fn judge(state: &State, kernel: &Found) -> Found {
    let State { active, sub, load, result } = state;
    match (active.as_str(), load.as_str()) {
        // Only the kernel shows it to all versions alike.
        ("active" | "reloading" | "refreshing", _) if kernel.text == FROZEN => kernel.clone(),
        ("active" | "reloading" | "refreshing", _) => Found::passing(format!("{active} ({sub})")),
        (_, "loaded" | "") => match result.as_str() {
            "" | "success" => Found::critical(format!("{active} ({sub})")),
            result => Found::critical(format!("{active} ({sub}): {result}")),
        },
        (_, load) => Found::critical(format!("{active}: {load}")),
    }
}

/// For systemd: an answer takes it a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);
/// From one look to the next, whatever is told meanwhile.
const BETWEEN: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn what_systemd_says_counts_and_its_changes_are_known_at_once() {
        let lab = Lab::new();
        let mut unit = lab.unit("web@1.service");
        let look = async |unit: &mut Unit| unit.look(LIMIT).await;
        assert_eq!(look(&mut unit).await, Found::passing("active (running)"));
        for (active, sub, load, result, found) in [
            (
                "deactivating",
                "stop-sigterm",
                "loaded",
                "signal",
                Found::critical("deactivating (stop-sigterm): signal"),
            ),
            ("failed", "failed", "loaded", "oom-kill", Found::critical("failed (failed): oom-kill")),
            ("activating", "start-pre", "loaded", "success", Found::critical("activating (start-pre)")),
            ("active", "exited", "loaded", "success", Found::passing("active (exited)")),
            ("reloading", "reload", "loaded", "success", Found::passing("reloading (reload)")),
            ("inactive", "dead", "masked", "success", Found::critical("inactive: masked")),
        ] {
            lab.becomes([active, sub, load, result]);
            tokio::time::timeout(LIMIT, unit.stirred()).await.unwrap();
            assert_eq!(look(&mut unit).await, found);
        }
    }

    #[tokio::test]
    async fn while_systemd_is_silent_nothing_changes_but_by_the_kernel() {
        let lab = Lab::new();
        let mut unit = lab.unit("web.service");
        lab.becomes(["active", "exited", "loaded", "success"]);
        let before = unit.look(LIMIT).await;
        lab.cgroup("web.service", "populated 1");
        lab.says.lock().silent = true;
        let found = unit.look(LIMIT).await;
        assert_eq!(found, Found::passing("runs (systemd does not answer)"));
        lab.says.lock().silent = false;
        assert_eq!(unit.look(LIMIT).await, before);
        lab.says.lock().silent = true;
        assert_eq!(unit.look(LIMIT).await, before, "what it said last");
        lab.cgroup("web.service", "populated 0");
        let found = unit.look(LIMIT).await;
        assert_eq!(found, Found::critical("nothing runs in it (systemd does not answer)"));
    }

    #[tokio::test]
    async fn a_bus_that_goes_is_noticed_and_without_one_the_kernel_alone_counts() {
        let lab = Lab::new();
        let mut unit = lab.unit("web.service");
        lab.cgroup("web.service", "populated 1");
        assert_eq!(unit.look(LIMIT).await, Found::passing("active (running)"));
        fs::remove_file(lab.dir.path().join("bus")).unwrap();
        lab.says.lock().ends = true;
        lab.changed.notify_one();
        tokio::time::timeout(LIMIT, unit.stirred()).await.unwrap();
        assert_eq!(
            unit.look(LIMIT).await,
            Found::passing("active (running)"),
            "the kernel says what it said"
        );
        assert_eq!(lab.unit("web.service").look(LIMIT).await, Found::passing("runs"));
    }

    #[tokio::test]
    async fn a_bus_that_talks_nonsense_is_none() {
        for nonsense in [
            &b"ERROR\r\n"[..],
            b"OK 1\r\nx",
            &[b'l'; 4096],
            b"",
            b"OK 1\r\nl\x02\0\x01\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff",
        ] {
            let lab = Lab::new();
            let socket = lab.dir.path().join("liar");
            let liar = UnixListener::bind(&socket).unwrap();
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = liar.accept().await.unwrap();
                    stream.write_all(nonsense).await.unwrap();
                }
            });
            lab.cgroup("web.service", "populated 1");
            let mut unit = Unit::new(&socket, lab.dir.path(), "web.service");
            assert_eq!(unit.look(LIMIT).await, Found::passing("runs"), "{nonsense:?}");
        }
    }

    const LIMIT: Duration = Duration::from_secs(20);

    /// A bus with a systemd, and cgroups.
    struct Lab {
        dir: tempfile::TempDir,
        says: Arc<Mutex<Says>>,
        changed: Arc<Notify>,
    }

    #[derive(Clone)]
    struct Says {
        state: [&'static str; 4],
        silent: bool,
        ends: bool,
    }

    impl Lab {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("cgroup.controllers"), "").unwrap();
            let listener = UnixListener::bind(dir.path().join("bus")).unwrap();
            let state = ["active", "running", "loaded", "success"];
            let says = Arc::new(Mutex::new(Says { state, silent: false, ends: false }));
            let changed = Arc::new(Notify::new());
            let shared = (Arc::clone(&says), Arc::clone(&changed));
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (says, changed) = shared.clone();
                    tokio::spawn(async move { serve(stream, &says, &changed).await });
                }
            });
            Self { dir, says, changed }
        }

        fn unit(&self, name: &str) -> Unit {
            Unit::new(&self.dir.path().join("bus"), self.dir.path(), name)
        }

        fn becomes(&self, state: [&'static str; 4]) {
            self.says.lock().state = state;
            self.changed.notify_one();
        }

        fn cgroup(&self, unit: &str, events: &str) {
            let dir = self.dir.path().join("system.slice").join(unit);
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("cgroup.events"), format!("{events}\nfrozen 0\n")).unwrap();
        }
    }

    /// As much of a bus as is asked for, which reads a call by what is in it.
    async fn serve(mut stream: tokio::net::UnixStream, says: &Mutex<Says>, changed: &Notify) {
        let mut inbox = Vec::new();
        let has = |bytes: &[u8], word: &str| bytes.windows(word.len()).any(|part| part == word.as_bytes());
        while !has(&inbox, "BEGIN\r\n") {
            if stream.read_buf(&mut inbox).await.unwrap() == 0 {
                return;
            }
        }
        let begin = inbox.windows(7).position(|part| part == b"BEGIN\r\n").unwrap() + 7;
        inbox.drain(..begin);
        stream.write_all(b"DATA\r\nOK 0123456789abcdef\r\n").await.unwrap();
        loop {
            while let Some(length) = super::super::bus::tests::whole(&inbox) {
                let call: Vec<u8> = inbox.drain(..length).collect();
                let now = says.lock().clone();
                let asked = |word: &&str| has(&call, word);
                let properties = ["ActiveState", "SubState", "LoadState", "Result", "Id"];
                let Some(at) = properties.iter().position(asked).filter(|_| !now.silent) else {
                    continue;
                };
                let value = now.state.get(at).copied().unwrap_or("web.service");
                let answer = super::super::bus::tests::answer(call[8..12].try_into().unwrap(), value);
                stream.write_all(&answer).await.unwrap();
            }
            tokio::select! {
                got = stream.read_buf(&mut inbox) => if got.unwrap() == 0 { return },
                () = changed.notified() => {
                    if says.lock().ends {
                        return;
                    }
                    stream.write_all(&super::super::bus::tests::signal()).await.unwrap();
                }
            }
        }
    }
}
