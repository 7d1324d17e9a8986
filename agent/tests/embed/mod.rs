//! A member inside another program, without tokio: the code of docs/embed.md and of the README, word for word. It leans
//! on no test support, because it shows that these lines suffice.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use heartsay_membership::{
    Cluster, Command, Config, Event, HostId, Identity, Input, Instant, Name, Node, Output, Profile,
    next_generation,
};

/// The contract between the machine and the world.
fn drive(
    node: &mut Node,
    socket: &UdpSocket,
    now: impl Fn() -> Instant,
    mut tell: impl FnMut(Event),
) -> io::Result<()> {
    let mut buffer = [0; 1500];
    let mut minute = now() + Duration::from_secs(60);
    loop {
        let wake = loop {
            match node.poll_output() {
                Output::Transmit(datagram) => drop(socket.send_to(&datagram.bytes, datagram.to)),
                Output::Event(event) => tell(event),
                Output::Timeout(when) => break when,
            }
        };
        socket.set_read_timeout(Some(wake.since(now()).max(Duration::from_millis(1))))?;
        let handled = match socket.recv_from(&mut buffer) {
            Ok((length, from)) => node.handle(now(), Input::Datagram { from, bytes: &buffer[..length] }),
            Err(_) if now() >= minute => {
                minute = now() + Duration::from_secs(60);
                node.handle(now(), Input::WallClock { unix_ms: unix_ms() })
            }
            Err(_) => node.handle(now(), Input::Timeout),
        };
        if let Err(rejected) = handled {
            eprintln!("{rejected}"); // forged or damaged
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A member that knows only itself.
fn member(name: &str, address: SocketAddr) -> Result<Node, Box<dyn Error>> {
    let me = Identity {
        name: Name::new(name)?,
        // Made once and kept.
        host_id: HostId::random(&mut rand::rng()),
        // Kept too: at a later start the last one stands in place of `None`.
        generation: next_generation(None, unix_ms()),
        // Where the others reach it.
        address,
        state: vec![("tag/role".to_owned(), b"web".to_vec())],
    };
    let config = Config::new(Cluster::new("shop")?, Profile::Lan);
    let mut node = Node::new(me, config, rand::random(), Instant::EPOCH)?;
    node.handle(Instant::EPOCH, Input::WallClock { unix_ms: unix_ms() })?;
    Ok(node)
}

/// Runs a member on this socket; all start with the same seed.
pub fn start(
    name: &str,
    socket: &UdpSocket,
    seed: SocketAddr,
    tell: impl FnMut(Event),
) -> Result<(), Box<dyn Error>> {
    let mut node = member(name, socket.local_addr()?)?;
    node.handle(Instant::EPOCH, Input::Command(Command::Seeds(vec![seed])))?;
    let began = std::time::Instant::now();
    drive(&mut node, socket, || Instant::EPOCH + began.elapsed(), tell)?;
    Ok(())
}
