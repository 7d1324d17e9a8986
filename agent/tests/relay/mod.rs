//! A socket between a program and an agent, which can break every connection and let none through for a while.

use std::io::{Read as _, Write as _, copy};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub struct Relay {
    pub socket: PathBuf,
    cut: Arc<AtomicBool>,
    _dir: tempfile::TempDir,
}

impl Relay {
    pub fn to(agent: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("relay.sock");
        let (listener, agent, cut) =
            (UnixListener::bind(&socket).unwrap(), agent.to_owned(), Arc::new(AtomicBool::new(false)));
        let is_cut = Arc::clone(&cut);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Some(inner) = UnixStream::connect(&agent).ok().filter(|_| !is_cut.load(Ordering::SeqCst))
                else {
                    continue;
                };
                let (mut asks, mut hears) = (stream.try_clone().unwrap(), inner.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = copy(&mut asks, &mut hears);
                    // Its program has gone.
                    let _ = hears.shutdown(Shutdown::Both);
                });
                let is_cut = Arc::clone(&is_cut);
                thread::spawn(move || pass(inner, stream, &is_cut));
            }
        });
        Self { socket, cut, _dir: dir }
    }

    /// Each connection breaks in the middle of what comes by it next, and new ones come to nothing.
    pub fn cut_in_the_next_line(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.cut.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, is_cut: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let cut = is_cut.load(Ordering::SeqCst);
        let whole = &bytes[..count];
        if to.write_all(if cut { &whole[..count / 2] } else { whole }).is_err() || cut {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
