//! Three members in one process, over real sockets: they meet, one falls silent, the others call it down.
//!
//! ```text
//! cargo run --example udp -p heartsay-membership
//! ```
//!
//! The loop is the whole contract: take out what the node wants done, read what has come, and only then tell it the time.

#![allow(
    clippy::disallowed_methods,
    reason = "an example is the world around the machine, and reads its clock"
)]

use std::error::Error;
use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use heartsay_membership::{
    Cluster, Command, Config, HostId, Identity, Input, Instant, Name, Node, Output, Profile, next_generation,
};

fn main() -> Result<(), Box<dyn Error>> {
    let begun = std::time::Instant::now();
    let now = || Instant::EPOCH + begun.elapsed();
    let unix_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let sockets = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<Vec<_>, _>>()?;
    let seed = sockets.first().ok_or("no socket")?.local_addr()?;

    let mut members = Vec::new();
    for (number, socket) in (1_u64..).zip(sockets) {
        socket.set_nonblocking(true)?;
        let me = Identity {
            name: Name::new(&format!("n{number}"))?,
            host_id: HostId(number.into()),
            generation: next_generation(None, unix_ms),
            address: socket.local_addr()?,
            state: Vec::new(),
        };
        let mut node = Node::new(me, Config::new(Cluster::new("demo")?, Profile::Local), number, now())?;
        node.handle(now(), Input::WallClock { unix_ms })?;
        node.handle(now(), Input::Command(Command::Seeds(vec![seed])))?;
        members.push((node, socket, now()));
    }

    let mut buffer = [0; 2048];
    while begun.elapsed() < Duration::from_secs(10) {
        // The third says nothing more, and hears nothing.
        let running = if begun.elapsed() < Duration::from_secs(4) { 3 } else { 2 };
        for (node, socket, wake) in members.iter_mut().take(running) {
            loop {
                match node.poll_output() {
                    Output::Transmit(datagram) => drop(socket.send_to(&datagram.bytes, datagram.to)),
                    Output::Event(event) => println!("{:?} {}: {event:?}", begun.elapsed(), node.me()),
                    Output::Timeout(when) => break *wake = when,
                }
            }
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let bytes = buffer.get(..length).unwrap_or_default();
                if let Err(rejected) = node.handle(now(), Input::Datagram { from, bytes }) {
                    println!("{}: {rejected}", node.me());
                }
            } else if now() >= *wake {
                node.handle(now(), Input::Timeout)?;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
