//! A member inside another program: the code of docs/embed.md and of the README, word for word. It leans on no test
//! support, because it shows that these lines suffice.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, SystemTime};

use heartsay_membership::{
    Cluster, Command, Config, Event, HostId, Identity, Input, Instant, Name, Node, Output, Profile,
};

/// The contract between the machine and the world.
fn drive(
    node: &mut Node,
    socket: &UdpSocket,
    now: impl Fn() -> Instant,
    mut tell: impl FnMut(Event),
) -> io::Result<()> {
    let mut buffer = [0; 1500];
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
            Err(_) => node.handle(now(), Input::Timeout),
        };
        if let Err(rejected) = handled {
            eprintln!("{rejected}"); // forged or damaged
        }
    }
}

/// A member that knows only itself.
fn member(name: &str, host: HostId, address: SocketAddr, seed: u64) -> Result<Node, Box<dyn Error>> {
    let unix_ms = u64::try_from(SystemTime::UNIX_EPOCH.elapsed()?.as_millis())?;
    let me = Identity {
        name: Name::new(name)?,
        host_id: host,       // 128 random bits, made once and kept
        generation: unix_ms, // above that of every earlier start
        address,             // where the others reach it
        state: vec![("tag/role".to_owned(), b"web".to_vec())],
    };
    let config = Config::new(Cluster::new("shop")?, Profile::Lan);
    let mut node = Node::new(me, config, seed, Instant::EPOCH)?;
    node.handle(Instant::EPOCH, Input::WallClock { unix_ms })?; // again once a minute
    Ok(node)
}

/// Runs a member on this socket; all start with the same seed.
pub fn start(
    name: &str,
    socket: &UdpSocket,
    seed: SocketAddr,
    tell: impl FnMut(Event),
) -> Result<(), Box<dyn Error>> {
    let mut host = [0; 16];
    getrandom::fill(&mut host)?;
    let host = HostId(u128::from_be_bytes(host));
    let mut node = member(name, host, socket.local_addr()?, getrandom::u64()?)?;
    node.handle(Instant::EPOCH, Input::Command(Command::Seeds(vec![seed])))?;
    let began = std::time::Instant::now();
    drive(&mut node, socket, || Instant::EPOCH + began.elapsed(), tell)?;
    Ok(())
}
