//! The network of a play that can be cut, or loses datagrams.
//!
//! Every agent is told to advertise an address of this network in place of its own, and what is sent there is passed on:
//!
//! ```text
//!    n1 binds A1, advertises R1                               n2 binds A2, advertises R2
//!    A1 ── to R2 ──► the socket R2 is ours; it came from A1, so the socket R1 sends it ──► A2
//! ```
//!
//! So each agent hears the others from where they say that they are, and nothing in an agent knows of it. What a real
//! network says of a port that is closed ends here; last words pass, as they come from the host of the agent.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::chance;

/// The sockets between the agents.
pub(super) struct Network {
    inner: Arc<Inner>,
    /// Dropped with the network, and the tasks with it.
    _tasks: JoinSet<()>,
}

struct Inner {
    ports: Vec<Port>,
    by_address: BTreeMap<SocketAddr, usize>,
    /// Where each agent has an address of its own: what leaves its host by another socket.
    by_host: BTreeMap<IpAddr, usize>,
    /// The part of all datagrams that is lost, from 0 to 1.
    loss: f64,
}

/// Where others reach an agent.
struct Port {
    socket: UdpSocket,
    agent: SocketAddr,
    /// Behind the cut.
    beyond: AtomicBool,
}

impl Network {
    /// Between agents, with where each is to be reached and where it is.
    ///
    /// # Errors
    /// A socket is taken, or the system has none left.
    pub(super) fn new(
        agents: impl IntoIterator<Item = (std::net::UdpSocket, SocketAddr)>,
        loss: f64,
    ) -> io::Result<Self> {
        let ports: Vec<Port> = agents
            .into_iter()
            .map(|(socket, agent)| {
                socket.set_nonblocking(true)?;
                let socket = UdpSocket::from_std(socket)?;
                Ok(Port { socket, agent, beyond: AtomicBool::new(false) })
            })
            .collect::<io::Result<_>>()?;
        let by_address = ports.iter().enumerate().map(|(i, port)| (port.agent, i)).collect();
        let by_host: BTreeMap<IpAddr, usize> =
            ports.iter().enumerate().map(|(i, port)| (port.agent.ip(), i)).collect();
        let by_host = if by_host.len() == ports.len() { by_host } else { BTreeMap::new() };
        let inner = Arc::new(Inner { ports, by_address, by_host, loss });
        let mut tasks = JoinSet::new();
        for to in 0..inner.ports.len() {
            let inner = Arc::clone(&inner);
            tasks.spawn(async move { inner.pass_on(to).await });
        }
        Ok(Self { inner, _tasks: tasks })
    }

    /// Nothing passes any more between these agents and all others.
    pub(super) fn cut(&self, beyond: &[usize]) {
        for (index, port) in self.inner.ports.iter().enumerate() {
            port.beyond.store(beyond.contains(&index), Ordering::Relaxed);
        }
    }

    /// Everything passes again, but for what is lost.
    pub(super) fn heal(&self) {
        self.cut(&[]);
    }
}

impl Inner {
    /// Passes on what is sent to an agent.
    async fn pass_on(&self, to: usize) {
        let Some(there) = self.ports.get(to) else { return };
        let mut buffer = vec![0; LARGEST];
        loop {
            // Only a socket that is broken says so, again and again: the agents will tell what that means.
            let Ok((length, sender)) = there.socket.recv_from(&mut buffer).await else { return };
            let Some(here) = self.sender(sender) else { continue };
            if here.beyond.load(Ordering::Relaxed) != there.beyond.load(Ordering::Relaxed)
                || (self.loss > 0.0 && chance::share() < self.loss)
            {
                continue;
            }
            if let Some(datagram) = buffer.get(..length) {
                // A queue that is full loses it, as a real one would.
                let _ = here.socket.try_send_to(datagram, there.agent);
            }
        }
    }

    fn sender(&self, address: SocketAddr) -> Option<&Port> {
        let known = self.by_address.get(&address).or_else(|| self.by_host.get(&address.ip()));
        self.ports.get(*known?)
    }
}

/// More than any datagram has.
const LARGEST: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Host {
        own: UdpSocket,
        reached: SocketAddr,
    }

    async fn two(loss: f64) -> (Network, [Host; 2]) {
        let mut ports = Vec::new();
        let mut hosts = Vec::new();
        for _ in 0..2 {
            let own = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            hosts.push(Host { reached: port.local_addr().unwrap(), own });
            ports.push((port, hosts.last().unwrap().own.local_addr().unwrap()));
        }
        (Network::new(ports, loss).unwrap(), hosts.try_into().ok().unwrap())
    }

    /// What the second hears of one word of the first, and from where.
    async fn heard([first, second]: &[Host; 2]) -> Option<SocketAddr> {
        first.own.send_to(b"word", second.reached).await.unwrap();
        let mut buffer = [0; 16];
        let word = second.own.recv_from(&mut buffer);
        let (length, from) = tokio::time::timeout(Duration::from_millis(200), word).await.ok()?.unwrap();
        assert_eq!(&buffer[..length], b"word");
        Some(from)
    }

    #[tokio::test]
    async fn a_datagram_comes_from_where_its_sender_is_reached_unless_it_is_cut_off() {
        let (network, hosts) = two(0.0).await;
        assert_eq!(heard(&hosts).await, Some(hosts[0].reached));
        network.cut(&[1]);
        assert_eq!(heard(&hosts).await, None);
        network.cut(&[0, 1]);
        assert_eq!(heard(&hosts).await, Some(hosts[0].reached), "both on one side");
        network.cut(&[0]);
        network.heal();
        assert_eq!(heard(&hosts).await, Some(hosts[0].reached));
    }

    #[tokio::test]
    async fn what_is_to_be_lost_is_lost() {
        let (_network, hosts) = two(1.0).await;
        assert_eq!(heard(&hosts).await, None);
    }
}
