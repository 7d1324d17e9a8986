//! Members over real sockets with somebody between them, who has no key, records everything, and sends it again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use heartsay_membership::{Cluster, Config, Event, Key, Keyring, Name, Profile, Status};
use heartsay_tokio::{Member, Options, View};

#[tokio::test]
async fn a_recording_is_worth_nothing_to_any_member_before_and_after_a_restart_of_either() {
    let between = Between::of(3);
    let dir = tempfile::tempdir().unwrap();
    let options = |i: usize, seed: usize| Options {
        bind: between.inner[i],
        advertise: Some(between.outer(i)),
        seeds: vec![between.outer(seed).to_string()],
        state_dir: Some(dir.path().join(i.to_string())),
        ..Options::new(Name::new(&format!("n{i}")).unwrap())
    };
    let mut members = Vec::new();
    for i in 0..3 {
        members.push(Some(Member::spawn(config(), options(i, usize::from(i == 0))).await.unwrap()));
    }
    for member in members.iter().flatten() {
        sees(member, |view| view.alive().count() == 3).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    between.attack(&members).await;
    for restarted in [1, 0] {
        let began = members[restarted].take().unwrap();
        began.leave().await.unwrap();
        for member in members.iter().flatten() {
            let left = format!("n{restarted}");
            sees(member, |view| view.member(&left).is_some_and(|gone| gone.status == Status::Left)).await;
        }
        let again = options(restarted, usize::from(restarted == 0) * 2);
        members[restarted] = Some(Member::spawn(config(), again).await.unwrap());
        for member in members.iter().flatten() {
            sees(member, |view| view.alive().count() == 3).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        between.attack(&members).await;
    }
}

/// One who forwards all datagrams between members, and keeps a copy of each.
struct Between {
    /// Where the members listen.
    inner: Vec<SocketAddr>,
    /// Where others reach them.
    sockets: Arc<Vec<UdpSocket>>,
    recording: Recording,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Who sent, and what.
type Recording = Arc<Mutex<Vec<(usize, Vec<u8>)>>>;

impl Between {
    fn of(count: usize) -> Self {
        let free = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let inner: Vec<SocketAddr> =
            (0..count).map(|_| free()).collect::<Vec<_>>().iter().map(|s| s.local_addr().unwrap()).collect();
        let sockets: Arc<Vec<UdpSocket>> = Arc::new((0..count).map(|_| free()).collect());
        let (recording, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let threads = (0..count).map(|to| {
            let (sockets, inner) = (Arc::clone(&sockets), inner.clone());
            let (recording, over): (Recording, _) = (Arc::clone(&recording), Arc::clone(&over));
            sockets[to].set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 2048];
                while !over.load(Ordering::Relaxed) {
                    let Ok((length, from)) = sockets[to].recv_from(&mut buffer) else { continue };
                    // What a member answers to a copy comes back here too, and goes nowhere.
                    let Some(from) = inner.iter().position(|member| *member == from) else { continue };
                    recording.lock().unwrap().push((from, buffer[..length].to_vec()));
                    let _ = sockets[from].send_to(&buffer[..length], inner[to]);
                }
            })
        });
        let threads = threads.collect();
        Self { inner, sockets, recording, over, threads }
    }

    fn outer(&self, member: usize) -> SocketAddr {
        self.sockets[member].local_addr().unwrap()
    }

    /// Sends all that was recorded to all members, from an address of its own.
    async fn attack(&self, members: &[Option<Member>]) {
        let recording = self.recording.lock().unwrap().clone();
        assert!(recording.len() > 50, "{}", recording.len());
        let mut events: Vec<_> = members.iter().flatten().map(Member::events).collect();
        let outsider = UdpSocket::bind("127.0.0.1:0").unwrap();
        outsider.set_nonblocking(true).unwrap();
        let (mut sent, mut drawn, mut longest) = (0, 0, 0);
        for (at, (_, bytes)) in recording.iter().enumerate() {
            for to in &self.inner {
                outsider.send_to(bytes, to).unwrap();
                sent += bytes.len();
            }
            if at % 50 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut buffer = [0; 2048];
        while let Ok(length) = outsider.recv(&mut buffer) {
            drawn += length;
            longest = longest.max(length);
        }
        assert!(drawn < sent / 10 && longest <= 100, "{drawn} bytes for {sent}, at most {longest}");
        for member in members.iter().flatten() {
            sees(member, |view| view.alive().count() == 3).await;
        }
        for events in &mut events {
            let told = std::iter::from_fn(|| events.try_recv().ok());
            let changes: Vec<_> = told.filter(|event| !matches!(event, Event::Stalled(_))).collect();
            assert!(changes.is_empty(), "{changes:?}");
        }
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn config() -> Config {
    let keyring = Keyring::new(vec![Key::from_bytes([7; 32])]);
    Config { keyring, ..Config::new(Cluster::new("test").unwrap(), Profile::Local) }
}

async fn sees(member: &Member, what: impl FnMut(&View) -> bool) {
    let mut view = member.view();
    tokio::time::timeout(Duration::from_secs(20), view.wait_for(what)).await.expect("within 20 s").unwrap();
}
