//! The loop around a machine: one node, its socket and its clock.
//!
//! *Wait for one thing, hand it in, take out everything that comes of it; only then wait again.* [`Member`](crate::Member) and
//! the agent `heartsay` are both built on it, and the simulator's loop is the same with a made-up world:
//!
//! ```no_run
//! # use std::{error::Error, net::UdpSocket, sync::Arc};
//! # use heartsay_membership::{Event, Instant, Node};
//! # use heartsay_tokio::{Observer, Shell, clock::Clock};
//! struct Print;
//!
//! impl Observer for Print {
//!     fn event(&mut self, _: &Node, _: Instant, event: Event) {
//!         println!("{event:?}");
//!     }
//! }
//!
//! async fn drive(node: Node, socket: UdpSocket, clock: Arc<Clock>) -> Result<(), Box<dyn Error>> {
//!     let mut shell = Shell::new(node, socket, clock)?;
//!     shell.tell_wall_clock(&mut Print);
//!     loop {
//!         // A program selects here between this and its own requests.
//!         shell.ready(Instant::NEVER).await?;
//!         shell.turn(&mut Print)?;
//!     }
//! }
//! ```
//!
//! One rule is the shell's own: queued datagrams are handed in before the time is, so that no verdict is given about a
//! member whose answer is already here.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use heartsay_membership::{Command, Event, Input, Instant, Node, Output, Rejected};
use tokio::time::Sleep;
use tracing::debug;

use crate::clock::{self, Clock};
use crate::net::{self, Arrived, SendFailure, SocketError, Udp, WatchError};
use crate::sources::Sources;

/// A node with its socket and its clock. The program around it waits with [`ready`](Self::ready) and then calls
/// [`turn`](Self::turn); everything that comes of it goes to an [`Observer`].
#[derive(Debug)]
pub struct Shell {
    node: Node,
    udp: Udp,
    /// From which addresses datagrams leave; `None`: from the one that is bound.
    sources: Option<Sources>,
    /// Who is answered, and at which address it called.
    answers: Option<(SocketAddr, IpAddr)>,
    clock: Arc<Clock>,
    timer: Pin<Box<Sleep>>,
    buffer: Vec<u8>,
    /// When the node wants to be called.
    wake: Instant,
    /// When the node was last told the wall clock, and the offset of it.
    wall_clock: (Instant, i64),
}

/// Sees what happens in a [`Shell`], in the order in which it happens. The node is as it was left by the input that
/// caused it.
pub trait Observer {
    /// The node has something to tell.
    fn event(&mut self, node: &Node, now: Instant, event: Event);

    /// A datagram was refused. Any peer can cause it.
    fn rejected(&mut self, _node: &Node, _now: Instant, from: SocketAddr, why: &Rejected) {
        debug!(%from, %why, "a datagram was refused");
    }

    /// A datagram has left.
    fn sent(&mut self, _now: Instant, _to: SocketAddr) {}

    /// A datagram did not leave, or a kernel said that it did not arrive.
    fn failed(&mut self, _now: Instant, to: SocketAddr, failure: SendFailure) {
        debug!(%to, why = failure.hint, "a datagram does not get through");
    }

    /// A message came that no process listens at `to`. Any host can forge one; the node verifies it.
    fn refused(&mut self, _to: SocketAddr) {}
}

impl Shell {
    /// A shell for `node`, which others reach through `socket`, a socket of [`net::bind`]. To be called within the runtime that will
    /// drive it. `clock` is the one whose time the node was made with.
    ///
    /// # Errors
    /// There is no reactor, or the socket is broken.
    pub fn new(node: Node, socket: std::net::UdpSocket, clock: Arc<Clock>) -> Result<Self, WatchError> {
        let now = clock.now();
        let udp = Udp::new(socket)?;
        Ok(Self {
            node,
            sources: udp.is_on_all().then(Sources::default),
            answers: None,
            udp,
            timer: Box::pin(tokio::time::sleep_until(clock.deadline(now))),
            clock,
            buffer: vec![0; BUFFER],
            wake: now,
            wall_clock: (now, 0),
        })
    }

    /// The node, to look at.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Datagrams that the kernel dropped before they were read.
    #[must_use]
    pub fn overflow(&self) -> u32 {
        self.udp.overflow()
    }

    /// Waits until there is something to read, or until the node wants to be called, but not past `latest`. May be dropped
    /// and called again.
    ///
    /// # Errors
    /// The reactor is gone.
    pub async fn ready(&mut self, latest: Instant) -> io::Result<()> {
        self.timer.as_mut().reset(self.clock.deadline(self.wake.min(latest)));
        tokio::select! {
            biased;
            ready = self.udp.ready() => ready,
            () = &mut self.timer => Ok(()),
        }
    }

    /// Reads what is there, and tells the node the time if that is due. Returns how late the time was told, if it was.
    ///
    /// Wanted after each [`ready`](Self::ready), and after a [`command`](Self::command) that came in its place, so that a
    /// flood of commands does not keep datagrams waiting.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn turn(&mut self, observer: &mut impl Observer) -> io::Result<Option<Duration>> {
        if self.clock.offset() != self.wall_clock.1 {
            // Before any peer is answered: it may have been a long sleep of all clocks but this one.
            self.tell_wall_clock(observer);
        }
        let emptied = self.read_inbox(observer)?;
        if self.clock.now() < self.wake {
            return Ok(None);
        }
        self.clear_backlog(emptied, observer)?;
        Ok(self.tell_time(observer))
    }

    /// Hands a command to the node.
    ///
    /// # Errors
    /// The node refuses it, and is as before.
    pub fn command(&mut self, command: Command, observer: &mut impl Observer) -> Result<(), Rejected> {
        self.hand_in(self.clock.now(), Input::Command(command), observer)
    }

    /// Tells the node what the wall clock says, and gives it fresh entropy. To be called once before anything else; each [`turn`](Self::turn) does it
    /// after that when it is due, or when the clock was set.
    pub fn tell_wall_clock(&mut self, observer: &mut impl Observer) {
        let unix_ms = self.clock.unix_ms();
        let now = self.clock.now();
        self.wall_clock = (now, self.clock.offset());
        // Never refused.
        let _ = self.hand_in(now, Input::WallClock { unix_ms }, observer);
        // This is also the moment after a copy of this machine was started. If the system has nothing to give, what the
        // node has stays good: its nonces depend on what they seal too.
        match clock::entropy() {
            Ok(secret) => drop(self.hand_in(now, Input::Entropy { secret }, observer)),
            Err(why) => debug!(%why, "no fresh entropy"),
        }
    }

    /// Reads the error queue and up to [`BATCH`] datagrams. Whether none is left.
    fn read_inbox(&mut self, observer: &mut impl Observer) -> io::Result<bool> {
        for _ in 0..BATCH {
            let Some(error) = self.udp.socket_error(&mut self.buffer) else { break };
            let now = self.clock.now();
            match error {
                SocketError::Refused { to, quoted } => {
                    observer.refused(to);
                    let quoted = self.buffer.get(..quoted).unwrap_or(&[]);
                    // Never an error: the node ignores one that proves nothing.
                    let _ = self.node.handle(now, Input::Refused { to, quoted });
                    self.drain(now, observer);
                }
                SocketError::Failed { to, failure } => self.failed(now, to, failure, observer),
            }
        }
        for _ in 0..BATCH {
            let Some(arrived) = self.udp.receive(&mut self.buffer)? else { return Ok(true) };
            let Arrived { from, at, length } = arrived;
            let now = self.clock.now();
            let bytes = self.buffer.get(..length).unwrap_or(&[]);
            match self.node.handle(now, Input::Datagram { from, bytes }) {
                Ok(()) => {
                    if let (Some(sources), Some(at)) = (&mut self.sources, at) {
                        sources.heard(from.ip(), at);
                    }
                }
                Err(why) => observer.rejected(&self.node, now, from, &why),
            }
            self.answers = at.map(|at| (from, at));
            self.drain(now, observer);
            self.answers = None;
        }
        Ok(false)
    }

    /// Before the time is told: reads what had come by then. Bounded, so that a flood cannot stop the clock.
    fn clear_backlog(&mut self, mut emptied: bool, observer: &mut impl Observer) -> io::Result<()> {
        for _ in 0..BACKLOG {
            if emptied {
                break;
            }
            emptied = self.read_inbox(observer)?;
        }
        Ok(())
    }

    /// The wake-up that the node asked for, if that is still due; how late it is.
    fn tell_time(&mut self, observer: &mut impl Observer) -> Option<Duration> {
        let now = self.clock.now();
        if now < self.wake {
            return None;
        }
        let late = now.since(self.wake);
        // Never refused.
        let _ = self.hand_in(now, Input::Timeout, observer);
        if now.since(self.wall_clock.0) >= MINUTE {
            self.tell_wall_clock(observer);
        }
        Some(late)
    }

    /// Hands one thing in and takes out everything that comes of it.
    fn hand_in(
        &mut self,
        now: Instant,
        input: Input<'_>,
        observer: &mut impl Observer,
    ) -> Result<(), Rejected> {
        let result = self.node.handle(now, input);
        self.drain(now, observer);
        result
    }

    fn drain(&mut self, now: Instant, observer: &mut impl Observer) {
        loop {
            match self.node.poll_output() {
                Output::Transmit(datagram) => match self.send(now, datagram.to, &datagram.bytes) {
                    Ok(()) => observer.sent(now, datagram.to),
                    Err(failure) => self.failed(now, datagram.to, failure, observer),
                },
                Output::Event(event) => observer.event(&self.node, now, event),
                Output::Timeout(when) => break self.wake = when,
            }
        }
    }

    /// Sends one datagram, from the address of this host from which it should leave.
    fn send(&mut self, now: Instant, to: SocketAddr, bytes: &[u8]) -> Result<(), SendFailure> {
        let Some(sources) = &mut self.sources else { return self.udp.send(to, bytes, None) };
        let called = self.answers.filter(|(from, _)| *from == to).map(|(_, at)| at);
        let source = called.or_else(|| {
            sources.look(now, self.node.own().address.ip());
            sources.towards(to.ip())
        });
        match self.udp.send(to, bytes, source) {
            // This host may have lost it, or it may be the address of many.
            Err(failure) if source.is_some() && failure.label != net::TOO_LARGE => {
                sources.doubt();
                self.udp.send(to, bytes, None)
            }
            sent => sent,
        }
    }

    fn failed(&mut self, now: Instant, to: SocketAddr, failure: SendFailure, observer: &mut impl Observer) {
        if failure.label == net::TOO_LARGE {
            // The node only notes it; nothing comes of it now.
            let _ = self.node.handle(now, Input::TooLong { to });
        }
        observer.failed(now, to, failure);
    }
}

/// One byte more than any datagram may have, so that a longer one is seen to be.
const BUFFER: usize = 1_473;
/// Datagrams between two looks at what else the program waits for.
const BATCH: usize = 256;
/// Batches before the time is told regardless; a few times what the kernel queues.
const BACKLOG: usize = 16;
/// Between two looks at the wall clock.
const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    use heartsay_membership::{Cluster, Config, HostId, Identity, Name, Profile};

    /// Writes down what happens.
    #[derive(Default)]
    struct Diary(Vec<&'static str>);

    impl Observer for Diary {
        fn event(&mut self, _: &Node, _: Instant, _: Event) {}

        fn rejected(&mut self, _: &Node, _: Instant, _: SocketAddr, _: &Rejected) {
            self.0.push("rejected");
        }

        fn sent(&mut self, _: Instant, _: SocketAddr) {
            self.0.push("sent");
        }

        fn refused(&mut self, _: SocketAddr) {
            self.0.push("refused");
        }
    }

    fn shell() -> (Shell, SocketAddr) {
        let clock = Arc::new(Clock::start());
        let socket = net::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let me = Identity {
            name: Name::new("n1").unwrap(),
            host_id: HostId(1),
            generation: clock.unix_ms(),
            address,
            state: Vec::new(),
        };
        let config = Config::new(Cluster::new("test").unwrap(), Profile::Local);
        let node = Node::new(me, config, 1, clock.now()).unwrap();
        (Shell::new(node, socket, clock).unwrap(), address)
    }

    /// Waits for the moment that the node asked for, without looking at the socket.
    async fn until_due(shell: &Shell) {
        tokio::time::sleep_until(shell.clock.deadline(shell.wake + Duration::from_millis(1))).await;
    }

    #[tokio::test]
    async fn datagrams_that_are_there_are_read_before_the_time_is_told() {
        let (mut shell, address) = shell();
        let mut diary = Diary::default();
        shell.tell_wall_clock(&mut diary);
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let seeds = vec![other.local_addr().unwrap()];
        shell.command(Command::Seeds(seeds), &mut diary).unwrap();
        // More than one batch, and still all of them come first.
        for _ in 0..BATCH + 1 {
            other.send_to(b"noise", address).unwrap();
        }
        until_due(&shell).await;
        diary.0.clear();
        shell.ready(Instant::NEVER).await.unwrap();
        assert!(shell.turn(&mut diary).unwrap().is_some(), "the time was due");
        assert_eq!(diary.0[..BATCH + 1], ["rejected"; BATCH + 1]);
        assert!(diary.0.contains(&"sent"), "{:?}", diary.0.last());
    }

    #[tokio::test]
    async fn a_refusal_is_read_off_the_error_queue() {
        let (mut shell, _) = shell();
        let mut diary = Diary::default();
        shell.tell_wall_clock(&mut diary);
        let gone = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        shell.command(Command::Seeds(vec![gone]), &mut diary).unwrap();
        let refused = async {
            while !diary.0.contains(&"refused") {
                shell.ready(Instant::NEVER).await.unwrap();
                shell.turn(&mut diary).unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.expect("within 10 s");
    }

    #[tokio::test]
    async fn a_wait_ends_at_the_latest_time_that_the_program_names() {
        let (mut shell, _) = shell();
        let mut diary = Diary::default();
        shell.tell_wall_clock(&mut diary);
        shell.wake = Instant::NEVER;
        let latest = shell.clock.now() + Duration::from_millis(20);
        shell.ready(latest).await.unwrap();
        assert!(shell.clock.now() >= latest);
        assert_eq!(shell.turn(&mut diary).unwrap(), None, "the node did not ask for it");
    }
}
