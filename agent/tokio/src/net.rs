//! The UDP socket: options, datagrams in and out, and what kernels say about them.
//!
//! A datagram to a port where no process listens is answered by the other host's
//! kernel (*port unreachable*), and ours keeps that answer on the socket's error
//! queue together with the address it was going to (`IP_RECVERR`, see ip(7)).
//! That is the cheapest and surest evidence that a process is gone, if it is true: any host can forge such a message.
//! A true one quotes the beginning of the datagram that it is about. The quote goes to the machine, which knows what it
//! has sent.
//!
//! The price: once such an answer is pending, the next send or receive on the
//! socket fails with it, whomever it concerns. So the queue is emptied first,
//! and an operation that failed that way is tried again.
//!
//! Path MTU: Linux' default for UDP stays (`IP_PMTUDISC_WANT`, see ip(7)): datagrams must not be cut on their way, and
//! where a router says that its link takes less, the kernel remembers it for ten minutes and cuts them itself. That word
//! (`EMSGSIZE`) goes to the machine, which measures whether the pieces arrive. Routers that say nothing
//! are found out by the machine alone.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tracing::{info, warn};

/// Binds `address` without sharing it.
///
/// # Errors
/// The address is taken, not ours, or not allowed.
pub fn bind(address: SocketAddr) -> Result<std::net::UdpSocket, BindError> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))
        .map_err(|error| BindError::Make { address, error })?;
    let option = |name| move |error: Errno| BindError::Option { name, address, error: error.into() };
    if address.is_ipv6() {
        // The wildcard takes IPv4 too; a particular address means itself.
        let alone = !address.ip().is_unspecified();
        setsockopt(&socket, sockopt::Ipv6V6Only, &alone).map_err(option("IPV6_V6ONLY"))?;
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true).map_err(option("IPV6_RECVERR"))?;
    }
    if address.is_ipv4() || address.ip().is_unspecified() {
        setsockopt(&socket, sockopt::Ipv4RecvErr, &true).map_err(option("IP_RECVERR"))?;
    }
    if address.ip().is_unspecified() {
        // At which of our addresses we are called. A kernel that does not say leaves the choice of the source to itself.
        let _ = match address {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true),
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true),
        };
    }
    // Only counts what is lost; a kernel may do without.
    let _ = setsockopt(&socket, sockopt::RxqOvfl, &1);
    size_buffers(&socket);
    socket.set_nonblocking(true).map_err(|error| BindError::Option { name: "O_NONBLOCK", address, error })?;
    if let Err(error) = socket.bind(&address.into()) {
        let remedy = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => "another process, perhaps another agent, has it; give --bind",
            Some(libc::EADDRNOTAVAIL) => "no interface of this host has this address; give --bind",
            Some(libc::EACCES) if address.port() < 1024 => {
                "ports below 1024 are for those with CAP_NET_BIND_SERVICE; give --bind"
            }
            _ => "give another --bind",
        };
        return Err(BindError::Listen { address, remedy, error });
    }
    Ok(socket.into())
}

/// Why there is no socket to gossip on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system makes no such socket.
    #[error("cannot make a UDP socket for {address}: {error}")]
    Make {
        /// Where it would have listened.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The system refuses an option that the protocol cannot do without.
    #[error("cannot set {name} on the UDP socket for {address}: {error}")]
    Option {
        /// As its manual page calls it.
        name: &'static str,
        /// Where it would have listened.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on UDP {address}: {remedy}: {error}")]
    Listen {
        /// Where it would have listened.
        address: SocketAddr,
        /// What it means and what to do, for people.
        remedy: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

impl BindError {
    /// What the system says.
    #[must_use]
    pub fn of_system(&self) -> &io::Error {
        match self {
            Self::Make { error, .. } | Self::Option { error, .. } | Self::Listen { error, .. } => error,
        }
    }
}

/// Why a bound socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// No runtime of tokio with I/O turned on is here to watch it.
    #[error("cannot watch the UDP socket: {0}")]
    Watch(io::Error),
    /// The system does not say where it listens.
    #[error("cannot read the address of the UDP socket: {0}")]
    Address(io::Error),
}

/// A bound UDP socket that knows about refusals and losses.
#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
    local: SocketAddr,
    /// Control messages land here.
    control: Vec<u8>,
    /// The kernel's count of datagrams it dropped before we read them.
    overflow: u32,
}

/// A datagram in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// Where it comes from.
    pub(crate) from: SocketAddr,
    /// The address of this host that it was sent to, where the socket listens on all of them.
    pub(crate) at: Option<IpAddr>,
    /// In bytes, as far as there was room.
    pub(crate) length: usize,
}

/// What a kernel, ours or another, says about a datagram of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketError {
    /// A message says that no process listens at `to`.
    Refused {
        /// Where the datagram was going.
        to: SocketAddr,
        /// How many bytes of that datagram it quotes.
        quoted: usize,
    },
    /// Anything else: it did not get there, and this is why.
    Failed {
        /// Where it was going.
        to: SocketAddr,
        /// What stood in the way.
        failure: SendFailure,
    },
}

/// Why a datagram did not leave, or did not arrive. Never fatal: the protocol
/// lives with loss; people want to know the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendFailure {
    /// Short stable word for counters.
    pub label: &'static str,
    /// What it means and what to do, for people.
    pub hint: &'static str,
}

impl Udp {
    /// Reads and writes `socket` from here on. Within the runtime that will.
    ///
    /// # Errors
    /// There is no reactor, or the socket is broken.
    pub(crate) fn new(socket: std::net::UdpSocket) -> Result<Self, WatchError> {
        let socket = UdpSocket::from_std(socket).map_err(WatchError::Watch)?;
        let local = socket.local_addr().map_err(WatchError::Address)?;
        Ok(Self { socket, local, control: vec![0; CONTROL_BYTES], overflow: 0 })
    }

    /// Datagrams that the kernel dropped because we read too slowly, as far as
    /// the datagrams read after them tell.
    pub(crate) fn overflow(&self) -> u32 {
        self.overflow
    }

    /// Waits until there is something to read: a datagram or an error.
    ///
    /// # Errors
    /// The reactor is gone.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        self.socket.ready(Interest::READABLE | Interest::ERROR).await.map(drop)
    }

    /// Whether it listens on all addresses of this host.
    pub(crate) fn is_on_all(&self) -> bool {
        self.local.ip().is_unspecified()
    }

    /// Reads one datagram into `buffer` without waiting.
    /// A longer one is cut to the buffer.
    ///
    /// # Errors
    /// The socket is broken. What a kernel says of a datagram is no error here.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<Arrived>> {
        // Bounded, so that a flood of refusals cannot hold us here.
        for _ in 0..MOST_PENDING {
            let fd = self.socket.as_raw_fd();
            let (control, overflow) = (&mut self.control, &mut self.overflow);
            let read = self.socket.try_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(buffer)];
                let message =
                    recvmsg::<SockaddrStorage>(fd, &mut slices, Some(control), MsgFlags::MSG_DONTWAIT)?;
                let mut at = None;
                for note in message.cmsgs()? {
                    if let ControlMessageOwned::RxqOvfl(dropped) = note {
                        *overflow = dropped;
                    } else if let ControlMessageOwned::Ipv4PacketInfo(info) = note {
                        at = Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
                    } else if let ControlMessageOwned::Ipv6PacketInfo(info) = note {
                        at = Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical());
                    }
                }
                let from = message.address.as_ref().and_then(socket_addr);
                Ok(from.map(|from| Arrived { from, at, length: message.bytes }))
            });
            match read {
                Ok(Some(arrived)) => return Ok(Some(arrived)),
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(e) if may_concern_another(&e) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Takes the next entry off the error queue. What it quotes of our datagram goes into `quoted`, as far as there is
    /// room.
    pub(crate) fn socket_error(&mut self, quoted: &mut [u8]) -> Option<SocketError> {
        loop {
            let fd = self.socket.as_raw_fd();
            let control = &mut self.control;
            let read = self.socket.try_io(Interest::ERROR, || {
                let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
                let mut slices = [IoSliceMut::new(quoted)];
                let message = recvmsg::<SockaddrStorage>(fd, &mut slices, Some(control), flags)?;
                let Some(to) = message.address.as_ref().and_then(socket_addr) else { return Ok(None) };
                let mut note = None;
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::Ipv4RecvErr(e, _) | ControlMessageOwned::Ipv6RecvErr(e, _) =
                        control
                    {
                        note = Some(e);
                    }
                }
                Ok(note.map(|note| classify(to, message.bytes, &note)))
            });
            match read {
                Ok(Some(socket_error)) => return Some(socket_error),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    /// Sends one datagram without waiting, from `source` where one is given.
    ///
    /// # Errors
    /// It did not leave this host, and why.
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        source: Option<IpAddr>,
    ) -> Result<(), SendFailure> {
        let mut failure = None;
        // The first failure may concern an earlier datagram.
        for _ in 0..=1 {
            match self.send_once(to, bytes, source) {
                Ok(()) => return Ok(()),
                Err(e) if may_concern_another(&e) => failure = Some(e),
                Err(e) => return Err(failure_of(e.raw_os_error())),
            }
        }
        Err(failure_of(failure.and_then(|e| e.raw_os_error())))
    }

    fn send_once(&self, to: SocketAddr, bytes: &[u8], source: Option<IpAddr>) -> io::Result<()> {
        let target = match (self.local, to) {
            (SocketAddr::V6(_), SocketAddr::V4(to)) => {
                SocketAddr::new(IpAddr::V6(to.ip().to_ipv6_mapped()), to.port())
            }
            _ => to,
        };
        let (four, six);
        let note = match source {
            None => return SockRef::from(&self.socket).send_to(bytes, &target.into()).map(drop),
            Some(IpAddr::V4(source)) if self.local.is_ipv4() => {
                four = info_of_v4(source);
                ControlMessage::Ipv4PacketInfo(&four)
            }
            Some(source) => {
                let source = match source {
                    IpAddr::V4(source) => source.to_ipv6_mapped(),
                    IpAddr::V6(source) => source,
                };
                six = info_of_v6(source);
                ControlMessage::Ipv6PacketInfo(&six)
            }
        };
        let (slices, target) = ([IoSlice::new(bytes)], SockaddrStorage::from(target));
        sendmsg(self.socket.as_raw_fd(), &slices, &[note], MsgFlags::MSG_DONTWAIT, Some(&target))?;
        Ok(())
    }
}

/// Says from which address a datagram is to leave, by whichever interface.
fn info_of_v4(source: Ipv4Addr) -> libc::in_pktinfo {
    let [source, any] =
        [source, Ipv4Addr::UNSPECIFIED].map(|ip| libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) });
    libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: any }
}

fn info_of_v6(source: Ipv6Addr) -> libc::in6_pktinfo {
    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: source.octets() }, ipi6_ifindex: 0 }
}

/// Asks for room, and says how to get it where the system gives little.
fn size_buffers(socket: &Socket) {
    // With the right to, past the system's limit.
    if setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    // The kernel doubles what was asked for and reports the double.
    let granted = socket.recv_buffer_size().unwrap_or(0) / 2;
    if granted < RECEIVE_BUFFER / 8 {
        warn!(
            granted,
            wanted = RECEIVE_BUFFER,
            "small UDP receive buffer: datagrams may be lost in bursts; raise net.core.rmem_max"
        );
    } else if granted < RECEIVE_BUFFER {
        info!(
            granted,
            wanted = RECEIVE_BUFFER,
            "UDP receive buffer; raise net.core.rmem_max for clusters of thousands"
        );
    }
}

/// Errors that a socket reports once, with the next operation.
fn may_concern_another(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EMSGSIZE
                | libc::EACCES
                | libc::EPROTO
                | libc::EINTR
        )
    )
}

fn classify(to: SocketAddr, quoted: usize, note: &libc::sock_extended_err) -> SocketError {
    match (note.ee_origin, note.ee_type, note.ee_code) {
        (libc::SO_EE_ORIGIN_ICMP, ICMP_UNREACHABLE, ICMP_PORT)
        | (libc::SO_EE_ORIGIN_ICMP6, ICMP6_UNREACHABLE, ICMP6_PORT) => SocketError::Refused { to, quoted },
        _ => SocketError::Failed { to, failure: failure_of(i32::try_from(note.ee_errno).ok()) },
    }
}

fn failure_of(errno: Option<i32>) -> SendFailure {
    let (label, hint) = match errno.unwrap_or(0) {
        libc::EPERM | libc::EACCES => ("forbidden", "a packet filter refuses it"),
        libc::ENOBUFS => (
            "no-buffers",
            "the kernel is out of buffers, or its neighbour table is full (net.ipv4.neigh.default.gc_thresh3)",
        ),
        libc::EINVAL => (
            "invalid",
            "the kernel refuses the address, or its neighbour table is full (net.ipv4.neigh.default.gc_thresh3)",
        ),
        libc::EHOSTUNREACH | libc::EHOSTDOWN => {
            ("host-unreachable", "no route to that host, or nobody answers for it")
        }
        libc::ENETUNREACH => ("network-unreachable", "no route to that network"),
        libc::EMSGSIZE => (
            TOO_LARGE,
            "a link on the way takes less (path MTU); set datagram_size to that MTU less 48, on every member",
        ),
        libc::EAFNOSUPPORT => ("other-family", "an IPv6 address, but bind is IPv4; bind [::] for both"),
        libc::EADDRNOTAVAIL => ("no-source", "this host has no address to send from to there"),
        libc::EAGAIN => ("send-buffer-full", "the send buffer is full; raise net.core.wmem_max"),
        _ => ("other", "the kernel refuses it"),
    };
    SendFailure { label, hint }
}

/// Every [`SendFailure::label`].
pub const SEND_FAILURES: [&str; 10] = [
    "forbidden",
    "no-buffers",
    "invalid",
    "host-unreachable",
    "network-unreachable",
    TOO_LARGE,
    "other-family",
    "no-source",
    "send-buffer-full",
    "other",
];
/// Label of the obstacle that says something about datagrams of this length only.
pub const TOO_LARGE: &str = "too-large";

/// An IPv4 address inside an IPv6 one is shown as IPv4.
fn socket_addr(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddr::new(v4.ip().into(), v4.port()));
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(SocketAddr::new(IpAddr::V6(v6.ip()).to_canonical(), v6.port()))
}

/// Some hundred datagrams with the kernel's overhead on each: a burst of a
/// cluster of a thousand. Honest guess.
const RECEIVE_BUFFER: usize = 1 << 20;
const SEND_BUFFER: usize = 1 << 19;
/// Room for an error with its address and a drop counter.
const CONTROL_BYTES: usize = 256;
const MOST_PENDING: usize = 16;
const ICMP_UNREACHABLE: u8 = 3;
const ICMP_PORT: u8 = 3;
const ICMP6_UNREACHABLE: u8 = 1;
const ICMP6_PORT: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    async fn within<T>(wish: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(10), wish).await.expect("within 10 s")
    }

    async fn next(udp: &mut Udp, buffer: &mut [u8]) -> Arrived {
        loop {
            if let Some(datagram) = udp.receive(buffer).unwrap() {
                return datagram;
            }
            udp.ready().await.unwrap();
            while udp.socket_error(&mut []).is_some() {}
        }
    }

    async fn next_error(udp: &mut Udp, quoted: &mut [u8]) -> SocketError {
        loop {
            if let Some(socket_error) = udp.socket_error(quoted) {
                return socket_error;
            }
            udp.ready().await.unwrap();
            let _ = udp.receive(&mut [0; 16]);
        }
    }

    fn udp(at: &str) -> Result<Udp, Box<dyn std::error::Error>> {
        Ok(Udp::new(bind(at.parse()?)?)?)
    }

    fn closed_port(ip: &str) -> SocketAddr {
        std::net::UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_refusal_names_the_address_that_refused_and_quotes_what_was_sent() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(mut udp) = udp(&SocketAddr::new(ip.parse().unwrap(), 0).to_string()) else {
                crate::skipped::skipped(format!("{ip} is not on this host"));
                continue;
            };
            let gone = closed_port(ip);
            udp.send(gone, b"anybody?", None).unwrap();
            let mut quote = [0; 64];
            let error = within(next_error(&mut udp, &mut quote)).await;
            assert_eq!(error, SocketError::Refused { to: gone, quoted: 8 });
            assert_eq!(&quote[..8], b"anybody?");
            assert_eq!(udp.socket_error(&mut quote), None);
        }
    }

    #[tokio::test]
    async fn the_ipv6_wildcard_speaks_ipv4_and_hears_its_refusals() {
        let Ok(mut udp) = udp("[::]:0") else {
            crate::skipped::skipped("no IPv6 on this host");
            return;
        };
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let here = SocketAddr::new("127.0.0.1".parse().unwrap(), udp.local.port());
        other.send_to(b"hello", here).unwrap();
        let mut buffer = [0; 16];
        let arrived = within(next(&mut udp, &mut buffer)).await;
        assert_eq!((arrived.from, arrived.length), (other.local_addr().unwrap(), 5));
        assert_eq!(arrived.at, Some(here.ip()), "as IPv4");
        let gone = closed_port("127.0.0.1");
        udp.send(gone, b"anybody?", None).unwrap();
        let mut quote = [0; 4];
        let error = within(next_error(&mut udp, &mut quote)).await;
        assert_eq!(
            (error, &quote),
            (SocketError::Refused { to: gone, quoted: 4 }, b"anyb"),
            "as far as it fits"
        );
    }

    #[tokio::test]
    async fn refusals_by_some_cost_nothing_to_others() {
        let mut udp = udp("127.0.0.1:0").unwrap();
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        other.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let gone: Vec<_> = (0..8).map(|_| closed_port("127.0.0.1")).collect();
        for to in &gone {
            udp.send(*to, b"anybody?", None).unwrap();
            udp.send(other.local_addr().unwrap(), b"hello", None).unwrap();
            other.send_to(b"hello", udp.local).unwrap();
        }
        let mut buffer = [0; 16];
        for _ in &gone {
            assert_eq!(other.recv(&mut buffer).unwrap(), 5);
            // Without emptying the error queue in between.
            let got = within(async {
                loop {
                    if let Some(datagram) = udp.receive(&mut buffer).unwrap() {
                        return datagram;
                    }
                    udp.ready().await.unwrap();
                }
            });
            assert_eq!(got.await.length, 5);
        }
        let mut refused = Vec::new();
        while let Some(SocketError::Refused { to, .. }) = udp.socket_error(&mut []) {
            refused.push(to);
        }
        assert_eq!(refused, gone);
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_a_remedy() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _first = bind(taken).unwrap();
        let refused = bind(taken).unwrap_err().to_string();
        assert!(refused.contains(&taken.to_string()) && refused.contains("--bind"), "{refused}");
    }

    #[tokio::test]
    async fn what_cannot_leave_is_a_hint_and_no_error() {
        let udp = udp("127.0.0.1:0").unwrap();
        assert_eq!(udp.send("[::1]:9".parse().unwrap(), b"x", None).unwrap_err().label, "other-family");
        let large = vec![0; 70_000];
        assert_eq!(udp.send("127.0.0.1:9".parse().unwrap(), &large, None).unwrap_err().label, "too-large");
    }

    #[tokio::test]
    async fn a_datagram_leaves_from_the_address_that_it_is_to_leave_from() {
        for (all, own, other) in [
            ("0.0.0.0:0", "127.0.0.2", "127.0.0.3"),
            ("[::]:0", "127.0.0.2", "127.0.0.3"),
            ("[::]:0", "::1", "::1"),
        ] {
            let peer = std::net::UdpSocket::bind((other, 0));
            let (Ok(mut udp), Ok(peer)) = (udp(all), peer) else {
                crate::skipped::skipped("no IPv6 on this host");
                continue;
            };
            peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let own: IpAddr = own.parse().unwrap();
            let here = SocketAddr::new(own, udp.local.port());
            peer.send_to(b"hello", here).unwrap();
            let mut buffer = [0; 16];
            let arrived = within(next(&mut udp, &mut buffer)).await;
            assert_eq!(arrived.at, Some(own), "{all}");
            udp.send(arrived.from, b"hello to you", arrived.at).unwrap();
            assert_eq!(peer.recv_from(&mut buffer).unwrap(), (12, here), "{all}");
        }
    }

    #[tokio::test]
    async fn a_source_that_this_host_does_not_have_is_a_failure() {
        for all in ["0.0.0.0:0", "[::]:0"] {
            let Ok(udp) = udp(all) else { continue };
            let foreign = Some("192.0.2.1".parse().unwrap());
            let refused = udp.send("127.0.0.1:9".parse().unwrap(), b"x", foreign).unwrap_err();
            assert!(["invalid", "no-source", "network-unreachable"].contains(&refused.label), "{refused:?}");
        }
    }
}
